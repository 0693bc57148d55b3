"""Every figure of the book: one style, one palette, ground truth solid and predictions dashed."""

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.plots import analysis, network
from deepmucs_utils.plots.images import (
    GREY,
    TRAINING_SET_COLOURS,
    WIDTH,
    by_culture,
    centre,
    culture_legend,
    cutout_sheet,
    frame,
    intervals,
    learning_curve,
    outline,
    outline_polygons,
    outline_records,
    profiles,
    row,
    training_curves,
    use_style,
)

"""The base of all figures: what notebooks call, and what is drawn where."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from deepmucs_utils import plots

matplotlib.use("Agg")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_name_that_a_notebook_takes_from_plots_exists(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for name, member in re.findall(r"(?<!\.)\bplots\.(\w+)(?:\.(\w+))?", code):
        found = getattr(plots, name)
        assert not member or hasattr(found, member)


@pytest.mark.parametrize(("height", "width"), [(5, 8), (9, 4), (20, 30)])
def test_a_cutout_stands_in_the_middle_of_a_square_of_its_grey_level(height, width):
    mask = np.ones((height, width), bool)
    cutout = SimpleNamespace(mask=mask, matte=mask * 0.5, pixels=mask * 180.0, level=100.0)
    tile, inside = plots.centre(cutout, 10)
    assert tile.shape == inside.shape == (10, 10)
    assert (tile[inside] == 140).all() and (tile[~inside] == 100).all()
    rows, columns = inside.any(1), inside.any(0)
    assert rows.sum() == min(height, 10) and columns.sum() == min(width, 10)
    assert abs(np.flatnonzero(rows).mean() - 4.5) <= 0.5


def test_outlines_of_ground_truth_are_solid_those_of_predictions_dashed_and_limits_stay():
    (ax,) = plots.row([np.zeros((20, 30))], [None])
    mask = np.zeros((20, 30), bool)
    mask[5:10, 3:9] = True
    plots.outline(ax, mask, "A172")
    plots.outline(ax, mask, "A172", dashed=True)
    plots.outline_polygons(ax, [[[-5, 2, 40, 2, 40, 30]]], "A172")
    (_, solid), (_, dashes) = (lines.get_linestyle()[0] for lines in ax.collections[:2])
    assert solid is None and dashes is not None
    (path,) = ax.collections[0].get_paths()
    assert path.get_extents().bounds == (3, 5, 5, 4)  # through the centres of border pixels
    assert ax.get_xlim() == (-0.5, 29.5) and ax.get_ylim() == (19.5, -0.5)
    plt.close()

"""The eight cell cultures of LIVECell: names, order, colours, cell areas and file names.

The order is that of the published table of counts (``generation/published_counts.csv``); category
ids, table columns and legends all follow it. The palette is Okabe and Ito's, which stays
distinguishable with the common forms of colour blindness.

A further culture is one more row of `CULTURES`. The sets that the paper published stay without it,
the others take it in; ``book/extending.md`` shows it, and how the phantom draws one.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from deepmucs_utils.errors import DeepMuCSError


@dataclass(frozen=True)
class Culture:
    """One cell culture.

    Parameters
    ----------
    name : str
        Prefix of LIVECell's file names, e.g. ``"SHSY5Y"``; the key everywhere in code and data.
    label : str
        The name in print, e.g. ``"SH-SY5Y"``.
    colour : str
        Colour in every figure, as ``#rrggbb``.
    areas : tuple of int
        Smallest and largest plausible area of a cell, px²: a third of the 5th and three times the
        95th percentile measured on genuine LIVECell images; BV2 after threshold segmentation.
    mean_area : int
        Mean area of a cell on the same images, px²; of BV2 the median.
    """

    name: str
    label: str
    colour: str
    areas: tuple[int, int]
    mean_area: int


CULTURES = (
    Culture("A172", "A172", "#E69F00", (78, 7923), 1137),
    Culture("BT474", "BT-474", "#56B4E9", (49, 3093), 511),
    Culture("BV2", "BV-2", "#009E73", (40, 1000), 166),
    Culture("Huh7", "Huh7", "#F0E442", (48, 8630), 1347),
    Culture("MCF7", "MCF7", "#0072B2", (43, 1496), 272),
    Culture("SHSY5Y", "SH-SY5Y", "#D55E00", (30, 2443), 366),
    Culture("SkBr3", "SkBr3", "#CC79A7", (49, 1808), 314),
    Culture("SKOV3", "SK-OV-3", "#8C6BB1", (114, 8888), 1247),
)
CULTURE_NAMES = tuple(culture.name for culture in CULTURES)
LABELS = {culture.name: culture.label for culture in CULTURES}
COLOURS = {culture.name: culture.colour for culture in CULTURES}
PLAUSIBLE_AREAS = {culture.name: culture.areas for culture in CULTURES}  # px²
MEAN_AREAS = {culture.name: culture.mean_area for culture in CULTURES}  # px²
CATEGORY_ID = {name: index + 1 for index, name in enumerate(CULTURE_NAMES)}
CATEGORIES = [
    {"id": CATEGORY_ID[name], "name": name, "supercategory": "cell"} for name in CULTURE_NAMES
]

_NAME = re.compile(r"([A-Za-z0-9]+)_Phase_([A-Z]\d+)_\d+_(\d+)d(\d+)h(\d+)m_\d+\.(?:tiff?|png)")


class ImageName(NamedTuple):
    """What a LIVECell file name says of its image.

    Parameters
    ----------
    culture : str
        Culture's name.
    well : str
        Row and column on the plate, e.g. ``"C7"``; frames of one well show the same cells.
    hours : float
        Time since the start of the experiment, in hours.
    """

    culture: str
    well: str
    hours: float


def parse_name(file_name):
    """Read culture, well and time from a LIVECell file name.

    Parameters
    ----------
    file_name : str
        E.g. ``"A172_Phase_C7_1_02d16h00m_2.tif"``, without folders: culture, well, position in
        the well, time, and which of the four crops of the original field.

    Returns
    -------
    ImageName

    Raises
    ------
    DeepMuCSError
        If the name is not of LIVECell's form.

    Examples
    --------
    >>> parse_name("A172_Phase_C7_1_02d16h00m_2.tif")
    ImageName(culture='A172', well='C7', hours=64.0)
    """
    match = _NAME.fullmatch(file_name)
    if match is None:
        raise DeepMuCSError(
            f"{file_name}: not a LIVECell file name; expected the form "
            "A172_Phase_C7_1_02d16h00m_2.tif (culture, well, position, time, crop)."
        )
    culture, well, days, hours, minutes = match.groups()
    return ImageName(culture, well, 24.0 * int(days) + int(hours) + int(minutes) / 60)

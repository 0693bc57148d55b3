"""What each culture of the phantom looks like.

A culture is a mixture of cell states that shifts with time, from sparse to confluent. The eight of
LIVECell are two tables beside this module: ``cultures.csv`` has one row per culture and
``states.csv`` one row per state, with the columns of `PhantomCulture` and `State`.

The numbers were fitted by eye and to statistics of the train and val images of a sample of LIVECell
(Edlund et al., Nature Methods 18 (2021) 1038, CC BY-NC 4.0). BV2, of which no annotated image was
at hand, follows two images without annotations.
"""

import ast
import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class State:
    """One state of a culture's cells: spread, in a sheet, spindle-shaped, rounded, dying.

    Lengths are in pixels of the image, phases in radians.

    Parameters
    ----------
    share : tuple of float
        Weight among the states when the culture is sparse, and when it is confluent.
    area : float
        Median area of the mask of a lone cell, px², before the culture's ``fill``.
    spread : float
        Standard deviation of the logarithm of the area.
    aspect : float
        Median ratio of length to width.
    corners : float
        Mean number of tips; 0 for an oval.
    pull : float
        How far the sides between tips are drawn in: 0 straight, 1 to the centre.
    wave : float
        Amplitude of the outline's slow waves, as a share of the radius.
    ruffle : float
        Amplitude of its fine waves, px.
    processes : float
        Mean number of thin processes.
    reach : float
        Their mean length, in cell radii.
    ball : float
        Phase of the cap of a rounded cell; 0 for spread cells.
    height : float
        Phase of the lamella.
    taper : float
        Distance over which the lamella rises from its free edge.
    body : float
        Phase of the thick middle around the nucleus.
    nucleus : float
        Radius of the nucleus as a share of the cell's; 0 for none.
    clear : float
        How much the nucleus stands out: its edge, and the grains that spare it.
    nucleoli : float
        Phase of nucleoli.
    grain : float
        Phase of the granules around the nucleus.
    thin : float
        Distance from the nucleus over which granules thin out, in cell radii.
    fine : float
        Standard deviation of the phase of the cytoplasm's fine grain.
    margin : float
        Phase of the thickened, ruffled margin; in a rounded cell, of its lumps and blebs.
    contact : float
        Depth of the groove where cells meet, as a phase; negative for a ridge.
    hand : float
        Standard deviation of the error of the annotated outline: annotators draw faint edges less
        exactly than bright ones.
    """

    share: tuple[float, float]
    area: float
    spread: float = 0.4
    aspect: float = 1.5
    corners: float = 0.0
    pull: float = 0.0
    wave: float = 0.1
    ruffle: float = 0.0
    processes: float = 0.0
    reach: float = 1.0
    ball: float = 0.0
    height: float = 0.15
    taper: float = 1.5
    body: float = 0.2
    nucleus: float = 0.4
    clear: float = 0.5
    nucleoli: float = 0.3
    grain: float = 0.2
    thin: float = 0.5
    fine: float = 0.05
    margin: float = 0.05
    contact: float = 0.1
    hand: float = 1.0


@dataclass(frozen=True)
class PhantomCulture:
    """A culture of the phantom.

    Parameters
    ----------
    name : str
        Prefix of its file names: letters and digits.
    states : tuple of State
    cover : tuple of float
        Share of the image that cells cover at the first and the last time.
    colony : float
        Share of cells that grow in colonies instead of anywhere.
    colonies : float
        Mean number of colonies in an image of LIVECell's size.
    crowding : float
        Least distance of two centres as a share of the sum of their radii.
    fill : float
        How far neighbours grow into gaps between them: 1 keeps the outlines, 1.5 makes a sheet.
    web : float
        Radius of the curves that smooth the outer side of a sheet of spread cells, px; 0 for none.
    above : float
        Share of cells that lie over others instead of sharing borders with them.
    size : float
        Radius (standard deviation) of granules, px.
    debris : float
        Mean number of specks of debris in an image of LIVECell's size.
    halo : float
        Optics: width of the halo, px.
    noise : tuple of float
        Standard deviation (grey levels), autocorrelation at lag 1 along x and along y.
    """

    name: str
    states: tuple[State, ...]
    cover: tuple[float, float] = (0.08, 0.3)
    colony: float = 0.7
    colonies: float = 10.0
    crowding: float = 0.7
    fill: float = 1.1
    web: float = 0.0
    above: float = 0.05
    size: float = 0.55
    debris: float = 20.0
    halo: float = 1.2
    noise: tuple[float, float, float] = (1.1, 0.1, 0.2)


def _read_cultures():
    states = {}
    for row in _read_table("states.csv"):
        states.setdefault(row.pop("culture"), []).append(State(**row))
    rows = _read_table("cultures.csv")
    return tuple(PhantomCulture(states=tuple(states[row["name"]]), **row) for row in rows)


def _read_table(name):
    """One dict per row of a table in this folder."""
    with (files(__package__) / name).open(encoding="utf-8", newline="") as table:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(table)]


def _value(text):
    """A number, a tuple of numbers or, failing both, a word."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


PHANTOM_CULTURES = _read_cultures()

"""What each culture of the phantom looks like.

A culture is a mixture of cell states that shifts with time, from sparse to confluent. The eight of
LIVECell are two tables beside this module: ``cultures.csv`` has one row per culture and
``states.csv`` one row per state, with the columns of `PhantomCulture` and `State`.

The numbers were set so that `deepmucs measure` of the phantom agrees with the package's table of
genuine LIVECell statistics (`studies.phantom.reference`); that table, not these, is the source.
It has only estimates for BV2, which follows them and published descriptions: round, phase-bright
cells of 8 to 10 µm with some spindle-shaped ones.
"""

import ast
import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class State:
    """One state of a culture's cells: rounded, spread, in a sheet, dead fragment.

    Parameters
    ----------
    form : {"round", "smooth", "polygon", "neurite", "blebs"}
        Kind of outline, see `deepmucs_utils.phantom.outlines`.
    area : float
        Median area of the mask of a lone cell, px².
    phase : float
        Largest phase without organelles, radians.
    texture : float
        Standard deviation of the phase of fine structure, radians.
    dots : float
        Phase of organelles that show as single dots, radians.
    share : tuple of float
        Weight among the states when the culture is sparse, and when it is confluent.
    spread : float
        Standard deviation of the logarithm of the area.
    aspect : float
        Median ratio of length to width.
    edge : float
        Width over which a flat cell rises from its edge, px; 0 for the cap of a rounded cell.
    contact : float
        Height of the line along which cells touch, as a share of the cells' height: negative for
        a furrow, which is bright, positive for a ridge.
    hairs : float
        Number of thin processes (filopodia, retraction fibres), which are not annotated.
    hand : float
        Standard deviation of the error of the annotated outline, px: annotators draw faint edges
        less exactly than bright ones.
    """

    form: str
    area: float
    phase: float
    texture: float
    dots: float
    share: tuple[float, float]
    spread: float = 0.4
    aspect: float = 1.5
    edge: float = 1.5
    contact: float = -0.4
    hairs: float = 0.0
    hand: float = 1.2


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
        Probability that a cell is placed against an earlier one instead of anywhere, at the last
        time; a third of it at the first.
    crowding : float
        Smallest distance of two centres as a share of the sum of their radii.
    sheet : int
        Width up to which gaps between cells close, px; 0 for cells that stay apart.
    grain : float
        Radius (standard deviation) of organelles, px.
    specks : float
        Mean number of specks of debris in an image of LIVECell's size.
    noise : tuple of float
        Standard deviation (grey levels), autocorrelation at lag 1 along x and along y.
    """

    name: str
    states: tuple[State, ...]
    cover: tuple[float, float] = (0.08, 0.3)
    colony: float = 0.7
    crowding: float = 0.7
    sheet: int = 0
    grain: float = 0.5
    specks: float = 20.0
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

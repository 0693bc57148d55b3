"""What each culture of the phantom looks like.

A culture is a mixture of cell states that shifts with time, from sparse to confluent. The numbers
were set so that what `deepmucs measure` finds in the phantom agrees with the package's table of
genuine LIVECell statistics (`studies.phantom.reference`); that table, not this one, is the source.
BV2, of which the table has estimates only, follows them and published descriptions: round,
phase-bright cells of 8 to 10 µm with some spindle-shaped ones.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """One state of the cells of a culture: rounded, spread, in a sheet, dead fragment.

    Parameters
    ----------
    form : {"round", "smooth", "polygon", "neurite", "blebs"}
        Kind of outline, see `deepmucs_utils.phantom.outlines`.
    area : float
        Median area of the mask of a lone cell, px².
    phase : float
        Greatest phase without organelles, radians.
    texture : float
        Standard deviation of the phase of fine structure, radians.
    dots : float
        Phase of organelles that show as single dots, radians.
    share : tuple of float
        Weight among the states when the culture is sparse, and when it is confluent.
    spread : float
        Standard deviation of the area's logarithm.
    aspect : float
        Median ratio of length to width.
    edge : float
        Depth over which a flat cell rises from its edge, px; 0 for a cap, as of a rounded cell.
    contact : float
        Height of the line along which cells touch, as a share of theirs: below 0 a furrow, which
        is bright, above 0 a ridge.
    hairs : float
        Number of thin processes (filopodia, retraction fibres), which are not annotated.
    hand : float
        Standard deviation of the error of the annotated outline, px: faint edges are drawn less
        exactly than bright ones.
    """

    form: str
    area: float
    phase: float
    texture: float
    dots: float
    share: tuple
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
        Prefix of its file names.
    states : tuple of State
    cover : tuple of float
        Share of the image that cells cover at the first and at the last time.
    colony : float
        Probability that a cell lies against an earlier one instead of anywhere, at the last
        time; a third of it at the first.
    crowding : float
        Least distance of two centres as a share of the sum of their radii.
    sheet : int
        Width of gaps between cells that close, px; 0 for cells that stay apart.
    grain : float
        Radius (standard deviation) of organelles, px.
    specks : float
        Debris and out-of-focus specks in an image of LIVECell's size.
    noise : tuple of float
        Standard deviation (grey levels), autocorrelation at lag 1 along x and along y.
    """

    name: str
    states: tuple
    cover: tuple = (0.08, 0.3)
    colony: float = 0.7
    crowding: float = 0.7
    sheet: int = 0
    grain: float = 0.5
    specks: float = 20.0
    noise: tuple = (1.1, 0.1, 0.2)


PHANTOM_CULTURES = (
    PhantomCulture(
        "A172",
        (
            State("polygon", 1430, 0.15, 0.02, 0.15, (0.85, 0.93), 0.55, 1.75, hairs=0.3, hand=1.4),
            State("round", 330, 0.9, 0.05, 0.2, (0.12, 0.05), 0.3, 1.15, edge=0, hand=0.4),
            State("blebs", 180, 0.6, 0.05, 0.2, (0.03, 0.02)),
        ),
        (0.12, 0.50),
        0.6,
        0.55,
        5,
        0.55,
        4,
        (1.27, 0.05, 0.28),
    ),
    PhantomCulture(
        "BT474",
        (
            State("smooth", 560, 0.26, 0.03, 0.15, (0.75, 0.9), 0.45, 1.7, edge=3.6, hand=1),
            State("round", 270, 0.9, 0.06, 0.2, (0.07, 0.03), 0.35, 1.15, edge=0, hand=0.4),
            State("blebs", 170, 0.7, 0.05, 0.3, (0.05, 0.03)),
        ),
        (0.06, 0.28),
        0.8,
        0.66,
        11,
        0.55,
        300,
        (1.07, 0.15, 0.11),
    ),
    PhantomCulture(
        "BV2",
        (
            State("round", 152, 0.5, 0.06, 0.2, (0.95, 0.93), 0.2, 1.1, edge=0, hand=0.4),
            State("neurite", 150, 0.4, 0.05, 0.15, (0.05, 0.07), 0.3, 2.5),
        ),
        (0.03, 0.13),
        0.75,
        0.9,
        0,
        0.6,
        15,
        (1.05, 0.26, 0.24),
    ),
    PhantomCulture(
        "Huh7",
        (
            State("smooth", 1350, 0.045, 0.025, 0.2, (0.85, 0.92), 0.55, 1.65, edge=1, hand=0.9),
            State("round", 300, 0.9, 0.06, 0.25, (0.08, 0.05), 0.35, 1.2, edge=0, hand=0.4),
            State("blebs", 170, 0.7, 0.05, 0.3, (0.07, 0.03), hairs=4),
        ),
        (0.08, 0.25),
        0.5,
        0.66,
        9,
        0.55,
        90,
        (1.04, 0.08, 0.16),
    ),
    PhantomCulture(
        "MCF7",
        (
            State("round", 230, 1.1, 0.06, 0.2, (0.75, 0.04), 0.3, 1.25, edge=0, hand=0.4),
            State("smooth", 285, 0.15, 0.005, 0.38, (0.25, 0.96), 0.4, 2.1, contact=-1, hand=0.4),
        ),
        (0.06, 0.56),
        0.9,
        0.66,
        13,
        0.6,
        14,
        (1.33, 0.33, 0.30),
    ),
    PhantomCulture(
        "SHSY5Y",
        (
            State("neurite", 375, 0.24, 0.03, 0.14, (0.85, 0.93), 0.6, 2, 3.2, hairs=0.6, hand=1.9),
            State("round", 180, 0.65, 0.05, 0.2, (0.15, 0.07), 0.3, 1.2, edge=0, hand=0.4),
        ),
        (0.08, 0.36),
        0.8,
        0.5,
        0,
        0.65,
        14,
        (1.0, 0.12, 0.14),
    ),
    PhantomCulture(
        "SkBr3",
        (
            State("round", 260, 0.78, 0.04, 0.09, (0.88, 0.82), 0.28, 1.18, edge=0, hand=0.4),
            State("smooth", 430, 0.2, 0.08, 0.14, (0.12, 0.18), 0.45, 1.5, hairs=1),
        ),
        (0.05, 0.20),
        0.55,
        0.85,
        0,
        0.5,
        110,
        (0.95, 0.04, 0.18),
    ),
    PhantomCulture(
        "SKOV3",
        (
            State("smooth", 1460, 0.056, 0.03, 0.11, (0.45, 0.65), 0.5, 1.45, 2.2, hairs=0.5),
            State("polygon", 1350, 0.056, 0.03, 0.11, (0.25, 0.2), 0.5, 1.6, 2.2, hairs=0.5),
            State("round", 480, 0.9, 0.07, 0.2, (0.18, 0.09), 0.35, 1.15, edge=0, hand=0.4),
        ),
        (0.07, 0.26),
        0.4,
        0.70,
        3,
        0.65,
        6,
        (1.25, 0.17, 0.22),
    ),
)

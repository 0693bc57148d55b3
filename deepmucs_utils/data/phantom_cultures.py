"""What each culture of the phantom looks like.

A culture is a mixture of cell states that shifts with time. Numbers follow the statistics measured
on genuine LIVECell images (area, aspect, solidity, cover, specks and noise of each culture).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """One state of the cells of a culture: rounded, spread, in a sheet, dead fragment.

    Parameters
    ----------
    form : {"round", "smooth", "polygon", "neurite"}
        Kind of outline; see `deepmucs_utils.data.phantom_outlines`.
    area : float
        Median area of the mask, px².
    spread : float
        Standard deviation of the area's logarithm.
    aspect : float
        Median ratio of length to width.
    phase : float
        Phase in the middle of the cell, radians.
    edge : float
        Width over which the thickness rises from the edge, px; 0 for a spherical cap.
    texture : float
        Phase of organelles, radians.
    share : tuple of float
        Weight among the states when the culture is sparse, and when it is confluent.
    """

    form: str
    area: float
    spread: float
    aspect: float
    phase: float
    edge: float
    texture: float
    share: tuple


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
        Probability that a cell lies against an earlier one instead of anywhere.
    crowding : float
        Least distance of two centres as a share of the sum of their radii.
    specks : float
        Debris and out-of-focus specks in an image of LIVECell's size.
    noise : tuple of float
        Standard deviation (grey levels), autocorrelation at lag 1 along x and along y.
    """

    name: str
    states: tuple
    cover: tuple
    colony: float
    crowding: float
    specks: float
    noise: tuple


PHANTOM_CULTURES = (
    PhantomCulture(
        "A172",
        (
            State("polygon", 1080, 0.55, 1.8, 0.16, 2.0, 0.30, (0.85, 0.95)),
            State("round", 330, 0.25, 1.1, 0.75, 0.0, 0.20, (0.15, 0.05)),
        ),
        (0.15, 0.50), 0.5, 0.60, 12, (1.30, 0.05, 0.28),
    ),
    PhantomCulture(
        "BT474",
        (
            State("smooth", 520, 0.45, 1.5, 0.16, 2.0, 0.30, (0.7, 0.9)),
            State("round", 260, 0.40, 1.15, 0.70, 0.0, 0.30, (0.3, 0.1)),
        ),
        (0.08, 0.28), 0.85, 0.66, 180, (1.10, 0.15, 0.11),
    ),
    PhantomCulture(
        "BV2",
        (
            State("round", 170, 0.20, 1.08, 1.0, 0.0, 0.25, (0.95, 0.95)),
            State("neurite", 150, 0.30, 2.5, 0.4, 2.0, 0.15, (0.05, 0.05)),
        ),
        (0.04, 0.14), 0.6, 0.85, 20, (1.08, 0.26, 0.24),
    ),
    PhantomCulture(
        "Huh7",
        (
            State("smooth", 1200, 0.55, 1.5, 0.11, 2.0, 0.36, (0.75, 0.9)),
            State("round", 300, 0.35, 1.2, 0.70, 0.0, 0.40, (0.25, 0.1)),
        ),
        (0.10, 0.26), 0.7, 0.66, 67, (1.07, 0.08, 0.16),
    ),
    PhantomCulture(
        "MCF7",
        (
            State("round", 230, 0.30, 1.25, 0.75, 0.0, 0.35, (0.75, 0.1)),
            State("smooth", 260, 0.40, 1.55, 0.45, 2.2, 0.38, (0.25, 0.9)),
        ),
        (0.08, 0.55), 0.8, 0.68, 15, (1.35, 0.33, 0.30),
    ),
    PhantomCulture(
        "SHSY5Y",
        (
            State("neurite", 330, 0.60, 2.2, 0.40, 2.2, 0.28, (0.85, 0.9)),
            State("round", 150, 0.30, 1.2, 0.7, 0.0, 0.2, (0.15, 0.1)),
        ),
        (0.10, 0.36), 0.75, 0.55, 19, (1.03, 0.12, 0.14),
    ),
    PhantomCulture(
        "SkBr3",
        (
            State("round", 290, 0.28, 1.15, 0.95, 0.0, 0.32, (0.85, 0.8)),
            State("smooth", 420, 0.45, 1.5, 0.40, 2.2, 0.30, (0.15, 0.2)),
        ),
        (0.06, 0.20), 0.6, 0.80, 84, (0.97, 0.04, 0.18),
    ),
    PhantomCulture(
        "SKOV3",
        (
            State("smooth", 1350, 0.50, 1.45, 0.13, 2.0, 0.16, (0.5, 0.75)),
            State("polygon", 1200, 0.50, 1.7, 0.13, 2.0, 0.18, (0.2, 0.15)),
            State("round", 480, 0.35, 1.15, 0.75, 0.0, 0.30, (0.3, 0.1)),
        ),
        (0.08, 0.26), 0.45, 0.70, 12, (1.29, 0.20, 0.22),
    ),
)  # fmt: skip

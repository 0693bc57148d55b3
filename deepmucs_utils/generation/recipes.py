"""Recipes: how many images and cells of each culture a set has.

The published sets and their per-class totals (paper, section IV; counts from the authors'
repository) stand in ``published_counts.csv``. The demo sets are the same recipes at one twentieth,
small enough for two CPU cores.
"""

from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files

import pandas as pd

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.errors import DeepMuCSError

PUBLISHED = pd.read_csv(files(__package__) / "published_counts.csv", index_col="dataset")
CANVAS = (520, 704)  # LIVECell's image size; the paper does not state its canvas

DEMO_SOURCES = {
    "Demo40": "DeepMuCS800",
    "Demo80": "DeepMuCS1600",
    "Demo200": "DeepMuCS4000",
    "Demo_val": "DeepMuCS_val",
    "Demo_test": "DeepMuCS_test",
}
DEMO_FRACTION = Fraction(1, 20)
DEMO_CANVAS = (256, 352)  # half a LIVECell image each way: a quarter of the training cost
DEMO_TEST_LEAST = 60  # cells of every culture in Demo_test, so that a per-class AP means something

SET_NAMES = (*PUBLISHED.index, *DEMO_SOURCES)


@dataclass(frozen=True)
class Recipe:
    """What a co-culture set is made of.

    Parameters
    ----------
    name : str
        One of ``SET_NAMES``.
    split : {"train", "val", "test"}
        Split of LIVECell that gives cells, backgrounds and artefacts.
    images : int
        Number of images.
    cells : dict of str to int
        Number of cells of each culture, in the table's order; cultures left out are absent.
    canvas : tuple of int
        Height and width of an image, px.
    note : str
        How the numbers differ from the published ones, in words.
    """

    name: str
    split: str
    images: int
    cells: dict
    canvas: tuple
    note: str

    @property
    def total(self):
        """Number of cells in the set."""
        return sum(self.cells.values())


def scale_counts(published, fraction):
    """Scale per-class counts, keeping the sum right.

    The total is the rounded sum of ``fraction × count``; every culture gets the floor of its share,
    and what is left goes to the largest remainders, ties in the given order.

    Parameters
    ----------
    published : dict of str to int
    fraction : Fraction

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> scale_counts({"A172": 341, "Huh7": 125}, Fraction(1, 50))
    {'A172': 7, 'Huh7': 2}
    """
    want = {culture: fraction * count for culture, count in published.items()}
    cells = {culture: int(share) for culture, share in want.items()}
    left = round(sum(want.values())) - sum(cells.values())
    by_remainder = sorted(want, key=lambda culture: cells[culture] - want[culture])
    for culture in by_remainder[:left]:
        cells[culture] += 1
    return cells


def get_recipe(name, fraction=1.0, cultures=None, n_images=None):
    """Look up a set by name and scale it.

    Parameters
    ----------
    name : str
        One of ``SET_NAMES``.
    fraction : float
        Share of the set's images and cells to make, in (0, 1].
    cultures : sequence of str, optional
        Cultures to keep; default all eight.
    n_images : int, optional
        Number of images, instead of ``fraction``.

    Returns
    -------
    Recipe

    Raises
    ------
    DeepMuCSError
        If a name is unknown or nothing would be left of the set.
    """
    if name not in SET_NAMES:
        raise DeepMuCSError(f"set {name!r}: unknown; expected one of {', '.join(SET_NAMES)}.")
    kept = tuple(cultures or CULTURE_NAMES)
    for culture in kept:
        if culture not in CULTURE_NAMES:
            raise DeepMuCSError(
                f"culture {culture!r}: unknown; expected some of {', '.join(CULTURE_NAMES)}."
            )
    if not 0 < fraction <= 1:
        raise DeepMuCSError(f"fraction {fraction}: expected a number above 0 and at most 1.")
    if n_images is not None and n_images < 1:
        raise DeepMuCSError(f"n_images {n_images}: expected at least 1.")

    demo = name in DEMO_SOURCES
    source = PUBLISHED.loc[DEMO_SOURCES.get(name, name)]
    share = Fraction(str(fraction)) * (DEMO_FRACTION if demo else 1)
    if n_images is not None:
        share = Fraction(int(n_images), int(source["images"]))
    images = round(share * int(source["images"]))
    published = {c: int(source[c]) for c in CULTURE_NAMES if c in kept}
    cells = scale_counts(published, share)
    notes = [] if share == 1 else [f"{source.name} at {share} of its published counts"]
    if name == "Demo_test" and share == DEMO_FRACTION:
        short = [culture for culture in cells if cells[culture] < DEMO_TEST_LEAST]
        cells |= dict.fromkeys(short, DEMO_TEST_LEAST)
        notes.append(f"topped up to {DEMO_TEST_LEAST} cells of {', '.join(short)}")
    if len(kept) < len(CULTURE_NAMES):
        notes.append(f"without {', '.join(c for c in CULTURE_NAMES if c not in kept)}")
    cells = {culture: count for culture, count in cells.items() if count}
    if images < 1 or sum(cells.values()) < images:
        raise DeepMuCSError(
            f"set {name} at {float(share):g} of {source.name}: {sum(cells.values())} cells for "
            f"{images} images; expected at least one image and a cell for each; take a larger "
            "fraction or n_images, or more cultures."
        )
    return Recipe(
        name, str(source["split"]), images, cells, DEMO_CANVAS if demo else CANVAS, "; ".join(notes)
    )

"""Recipes: how many images and cells of each culture a set has.

``named_sets.csv`` lists the sets that have a name: at fraction 1, a set has ``share`` of ``images``
images of ``height`` × ``width`` px, and ``grouped`` of its draws take a group of touching cells
where one fits. There are four kinds:

published
    The paper's sets (section IV) with its per-class totals: ``published_counts.csv``, from the
    authors' repository. Their canvas is LIVECell's image size; the paper does not state it.
demo
    The published sets at one twentieth, on half a LIVECell image each way: small enough for two
    CPU cores.
dense
    Our own: the published sets hold some 12 cells per image, and no real culture is as empty.
pairs
    Our own, to analyse interactions of two cultures.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.resources import files
from math import prod

import pandas as pd

from deepmucs_utils.data.cultures import CULTURE_NAMES, MEAN_AREAS
from deepmucs_utils.errors import DeepMuCSError

PUBLISHED = pd.read_csv(files(__package__) / "published_counts.csv", index_col="dataset")
_TABLE = pd.read_csv(files(__package__) / "named_sets.csv", keep_default_na=False)
_NAMED = {named.name: named for named in _TABLE.itertuples()}
SET_NAMES = tuple(_NAMED)

DEMO_TEST_LEAST = 60  # cells of every culture in Demo_test, so that a per-class AP means something

DENSE_COVER = (0.1, 0.5)  # share of an image that its cells cover
DENSE_DRAWN = (0.12, 0.42)  # from which it is drawn: donors' areas vary, so less is certain

PAIRS_CELLS = 60  # of each culture per image, on average: with 20 images each holds 40 or more


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
    cover : tuple of float, optional
        Range of the share of an image that its cells cover; None deals cells evenly.
    grouped : float
        Share of draws that take a group of touching cells where one fits; 0 takes single cells
        only.
    """

    name: str
    split: str
    images: int
    cells: dict[str, int]
    canvas: tuple[int, int]
    note: str
    cover: tuple | None = None
    grouped: float = 0.5

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


def get_recipe(name: str, fraction=1.0, cultures=None, n_images=None, mix=None) -> Recipe:
    """Look up a set by name and scale it.

    Parameters
    ----------
    name : str
        One of ``SET_NAMES``.
    fraction : float
        Share of the set's images and cells, in (0, 1].
    cultures : sequence of str, optional
        Cultures to keep; default all eight.
    n_images : int, optional
        Number of images, instead of ``fraction``.
    mix : dict of str to int, optional
        Parts of each culture in a set of pairs, such as ``{"A172": 99, "SkBr3": 1}``; default equal
        parts.

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
    for culture in cultures or ():
        if culture not in CULTURE_NAMES:
            raise DeepMuCSError(
                f"culture {culture!r}: unknown; expected some of {', '.join(CULTURE_NAMES)}."
            )
    kept = tuple(c for c in CULTURE_NAMES if not cultures or c in cultures)
    if not 0 < fraction <= 1:
        raise DeepMuCSError(f"fraction {fraction}: expected a number above 0 and at most 1.")
    if n_images is not None and n_images < 1:
        raise DeepMuCSError(f"n_images {n_images}: expected at least 1.")
    named = _NAMED[name]
    if mix is not None and (named.kind != "pairs" or set(mix) != set(kept)):
        raise DeepMuCSError(
            f"set {name} with the mix {mix}: expected Pairs_val or Pairs_test, and a part for each "
            f"of {', '.join(kept)}."
        )

    share = Fraction(str(fraction)) * Fraction(named.share)
    if n_images is not None:
        share = Fraction(int(n_images), named.images)
    images = round(share * named.images)
    canvas = named.height, named.width
    recipe = Recipe(name, named.split, images, {}, canvas, "", grouped=named.grouped)
    if named.kind == "dense":
        recipe = _dense(recipe, kept)
    elif named.kind == "pairs":
        recipe = _pairs(recipe, kept, mix)
    else:
        recipe = _published(recipe, kept, named, share)
    if recipe.images < 1 or recipe.total < recipe.images:
        raise DeepMuCSError(
            f"set {name} with {recipe.images} images: only {recipe.total} cells; expected at least "
            "one image and a cell for each; take a larger fraction or n_images, or more cultures."
        )
    return recipe


def _published(recipe, kept, named, share):
    """A share of the counts of a published set."""
    counts = {c: int(PUBLISHED.loc[named.source, c]) for c in kept if c in PUBLISHED}
    cells = scale_counts(counts, share)
    notes = [] if share == 1 else [f"{named.source} at {share} of its published counts"]
    if recipe.name == "Demo_test" and share == Fraction(named.share):
        short = [culture for culture in cells if cells[culture] < DEMO_TEST_LEAST]
        cells |= dict.fromkeys(short, DEMO_TEST_LEAST)
        notes.append(f"topped up to {DEMO_TEST_LEAST} cells of {', '.join(short)}")
    if len(kept) < len(CULTURE_NAMES):
        notes.append(f"without {', '.join(c for c in CULTURE_NAMES if c not in kept)}")
    cells = {culture: count for culture, count in cells.items() if count}
    return replace(recipe, cells=cells, note="; ".join(notes))


def _dense(recipe, kept):
    """Every culture covers the same area; how many cells that takes follows its mean area."""
    area = recipe.images * prod(recipe.canvas) * sum(DENSE_DRAWN) / 2 / len(kept)
    cells = {culture: round(area / MEAN_AREAS[culture]) for culture in kept}
    note = (
        f"not published: {DENSE_COVER[0]:.0%} to {DENSE_COVER[1]:.0%} cover, equal by culture, at "
        "the mean areas measured on LIVECell"
    )
    return replace(recipe, cells=cells, note=note, cover=DENSE_DRAWN)


def _pairs(recipe, kept, mix):
    """Many single cells of every culture in each image, none of them in a donor's group."""
    parts = {culture: mix[culture] if mix else 1 for culture in kept}
    total = PAIRS_CELLS * recipe.images * len(parts)
    cells = scale_counts(parts, Fraction(total, sum(parts.values())))
    note = f"not published: {PAIRS_CELLS} single cells of each culture an image, on average"
    if mix:
        note += f", mixed {':'.join(map(str, parts.values()))}"
    return replace(recipe, cells=cells, note=note)

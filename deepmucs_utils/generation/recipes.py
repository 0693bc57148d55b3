"""Recipes: how many images and cells of each culture a set has.

The published sets and their per-class totals (paper, section IV; counts from the authors'
repository) stand in ``published_counts.csv``. The demo sets are the same recipes at one twentieth,
small enough for two CPU cores. The dense sets are ours: the published ones hold some 12 cells
per image, and no real culture is as empty.
"""

from dataclasses import dataclass, replace
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

DENSE_IMAGES = {"Dense_train": 200, "Dense_val": 40, "Dense_test": 80}
DENSE_COVER = (0.1, 0.5)  # share of an image that its cells cover
DENSE_DRAWN = (0.12, 0.42)  # from which it is drawn: donors' areas vary, so less is certain
GROUPED = 0.5  # share of draws that take a group of touching cells where one fits
DENSE_GROUPED = 0.9

PAIRS_IMAGES = {"Pairs_val": 20, "Pairs_test": 20}  # to analyse interactions of two cultures
PAIRS_CELLS = 60  # of each culture per image, on average: with 20 images each holds 40 or more
# px², mean of each culture on a sample of genuine LIVECell images (BV2: median, after threshold
# segmentation); turns cover into numbers of cells
MEAN_AREAS = {
    "A172": 1137,
    "BT474": 511,
    "BV2": 166,
    "Huh7": 1347,
    "MCF7": 272,
    "SHSY5Y": 366,
    "SkBr3": 314,
    "SKOV3": 1247,
}

# Published training sets, and their demo versions, from the smallest to the largest: nested, each
# begins with the images of the one before.
NESTS = (("DeepMuCS800", "DeepMuCS1600", "DeepMuCS4000"), ("Demo40", "Demo80", "Demo200"))

SET_NAMES = (*PUBLISHED.index, *DEMO_SOURCES, *DENSE_IMAGES, *PAIRS_IMAGES)


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
    inner : Recipe, optional
        The smaller set that this one begins with, when nested.
    """

    name: str
    split: str
    images: int
    cells: dict[str, int]
    canvas: tuple[int, int]
    note: str
    cover: tuple | None = None
    grouped: float = GROUPED
    inner: "Recipe | None" = None

    @property
    def total(self):
        """Number of cells in the set."""
        return sum(self.cells.values())

    def stages(self):
        """Parts that are dealt one after the other: ``(cells, images, cover)`` of each."""
        if self.inner is None:
            return [(self.cells, self.images, self.cover)]
        rest = {culture: n - self.inner.cells.get(culture, 0) for culture, n in self.cells.items()}
        rest = {culture: n for culture, n in rest.items() if n}
        return [*self.inner.stages(), (rest, self.images - self.inner.images, self.cover)]


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


def get_recipe(
    name: str, fraction=1.0, cultures=None, n_images=None, nested=False, mix=None
) -> Recipe:
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
    nested : bool
        Whether a training set begins with the images of the next smaller one.
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
    if mix is not None and (name not in PAIRS_IMAGES or set(mix) != set(kept)):
        raise DeepMuCSError(
            f"set {name} with the mix {mix}: expected one of {', '.join(PAIRS_IMAGES)}, and a part "
            f"for each of {', '.join(kept)}."
        )

    if name in DENSE_IMAGES:
        recipe = _dense(name, fraction, kept, n_images)
    elif name in PAIRS_IMAGES:
        recipe = _pairs(name, fraction, kept, n_images, mix)
    else:
        recipe = _published(name, fraction, kept, n_images)
    if nested:
        recipe = _nest(recipe, fraction, kept, n_images)
    if recipe.images < 1 or recipe.total < recipe.images:
        raise DeepMuCSError(
            f"set {name} with {recipe.images} images: only {recipe.total} cells; expected at least "
            "one image and a cell for each; take a larger fraction or n_images, or more cultures."
        )
    return recipe


def _published(name, fraction, kept, n_images):
    demo = name in DEMO_SOURCES
    source = PUBLISHED.loc[DEMO_SOURCES.get(name, name)]
    share = Fraction(str(fraction)) * (DEMO_FRACTION if demo else 1)
    if n_images is not None:
        share = Fraction(int(n_images), int(source["images"]))
    images = round(share * int(source["images"]))
    published = {c: int(source[c]) for c in kept if c in source}
    cells = scale_counts(published, share)
    notes = [] if share == 1 else [f"{source.name} at {share} of its published counts"]
    if name == "Demo_test" and share == DEMO_FRACTION:
        short = [culture for culture in cells if cells[culture] < DEMO_TEST_LEAST]
        cells |= dict.fromkeys(short, DEMO_TEST_LEAST)
        notes.append(f"topped up to {DEMO_TEST_LEAST} cells of {', '.join(short)}")
    if len(kept) < len(CULTURE_NAMES):
        notes.append(f"without {', '.join(c for c in CULTURE_NAMES if c not in kept)}")
    cells = {culture: count for culture, count in cells.items() if count}
    canvas = DEMO_CANVAS if demo else CANVAS
    return Recipe(name, str(source["split"]), images, cells, canvas, "; ".join(notes))


def _dense(name, fraction, kept, n_images):
    """Every culture covers the same area; how many cells that takes follows its mean area."""
    images = n_images or round(Fraction(str(fraction)) * DENSE_IMAGES[name])
    area = images * CANVAS[0] * CANVAS[1] * sum(DENSE_DRAWN) / 2 / len(kept)
    cells = {c: round(area / MEAN_AREAS[c]) for c in kept}
    note = (
        f"not published: {DENSE_COVER[0]:.0%} to {DENSE_COVER[1]:.0%} cover, equal by culture, at "
        "the mean areas measured on LIVECell"
    )
    split = name.removeprefix("Dense_")
    return Recipe(name, split, images, cells, CANVAS, note, DENSE_DRAWN, DENSE_GROUPED)


def _pairs(name, fraction, kept, n_images, mix):
    """Many single cells of every culture in each image, none of them in a donor's group."""
    images = n_images or round(Fraction(str(fraction)) * PAIRS_IMAGES[name])
    parts = {c: 1 if mix is None else mix[c] for c in kept}
    total = PAIRS_CELLS * images * len(parts)
    cells = scale_counts(parts, Fraction(total, sum(parts.values())))
    note = f"not published: {PAIRS_CELLS} single cells of each culture an image, on average"
    if mix is not None:
        note += f", mixed {':'.join(map(str, parts.values()))}"
    return Recipe(name, name.removeprefix("Pairs_"), images, cells, CANVAS, note, grouped=0.0)


def _nest(recipe, fraction, kept, n_images):
    """Put the next smaller training set at the beginning of a set."""
    nest = next((names for names in NESTS if recipe.name in names), ())
    place = nest.index(recipe.name) if nest else 0
    if place == 0 or n_images is not None:
        raise DeepMuCSError(
            f"set {recipe.name}{' with n_images' if n_images else ''}: nothing to nest; expected a "
            f"whole set or a fraction of one of {', '.join(n for ns in NESTS for n in ns[1:])}."
        )
    inner = _published(nest[place - 1], fraction, kept, None)
    if place > 1:
        inner = _nest(inner, fraction, kept, None)
    note = "; ".join(filter(None, (recipe.note, f"begins with {inner.name}")))
    nested = replace(recipe, inner=inner, note=note)
    *_, (rest, images, _) = nested.stages()
    if min(rest.values(), default=0) < 0 or sum(rest.values()) < images:
        raise DeepMuCSError(
            f"set {recipe.name} at fraction {fraction}: too few cells to begin with {inner.name}; "
            "take a larger fraction."
        )
    return nested

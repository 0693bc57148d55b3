"""The plan of a set: which donors go into which image, decided before any pixel is touched.

All draws that link images are made here, from one seed: which cultures meet in an image, how many
cells of each, and which donor every cell comes from. After that each image can be composed alone
and in any order.
"""

from dataclasses import dataclass

import numpy as np

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.bank import Bank
from deepmucs_utils.generation.cells import SYMMETRIES
from deepmucs_utils.generation.recipes import Recipe

FITTING = 50  # rounds of scaling rows and columns; a few are enough
CULTURES_PER_IMAGE = (2, 4)  # the paper's quoted examples show four; its Fig. 1 several


@dataclass(frozen=True)
class ImagePlan:
    """The donors and the background of one image.

    Parameters
    ----------
    index : int
        Number of the image in its set.
    first_id : int
        Annotation id of its first cell.
    block : int
        Block of wells that all its donors come from.
    cells : tuple of (int, int)
        Row in the bank's table of cutouts and symmetry, 0 to 7, of each piece: a single cell or a
        group of them.
    background : int
        Row in the bank's table of backgrounds, of the same block where it has any.
    """

    index: int
    first_id: int
    block: int
    cells: tuple
    background: int


def deal_counts(cells, images, rng, shares=None, areas=None):
    """Deal the cells of each culture to images.

    Each image gets two to four cultures where the counts allow it. The number of images in which a
    culture appears is proportional to the square root of its count, so that frequent cultures come
    in larger groups. Each of these images gets one cell; the rest are dealt multinomially.

    Parameters
    ----------
    cells : dict of str to int
        Cells of each culture in the whole set.
    images : int
    rng : numpy.random.Generator
    shares : ndarray of float, shape (images,), optional
        Relative cover of the images. With it, all cultures appear in equally many images, cells
        are dealt in proportion to the cover, and chance decides only about fractions of a cell.
    areas : sequence of float, optional
        Mean area of a cell of each culture, px²; with ``shares``.

    Returns
    -------
    ndarray of int, shape (images, len(cells))
        Row sums are at least one; column sums are the given counts.
    """
    counts = np.array(list(cells.values()))
    most = np.minimum(counts, images)
    least_per, most_per = (min(n, len(counts)) for n in CULTURES_PER_IMAGE)
    most_per = max(most_per, -(-len(counts) // images))  # few images must hold every culture
    wanted = rng.integers(least_per, most_per + 1, images)
    often = np.sqrt(counts) if shares is None else np.ones(len(counts))
    appearances = _share_out(often, most, min(wanted.sum(), most.sum()))
    room = _match(wanted, appearances.sum(), most_per, rng)

    present = np.zeros((images, len(counts)), bool)
    # The most frequent culture first, into the images with most room (Gale and Ryser's theorem).
    for culture in np.argsort(-appearances, kind="stable"):
        order = np.lexsort((rng.random(images), -room))
        chosen = order[: appearances[culture]]
        present[chosen, culture] = True
        room[chosen] -= 1

    dealt = present.astype(int)
    if shares is not None:
        fitted = _fit(present, shares, counts * np.asarray(areas))
    for culture, count in enumerate(counts):
        places = np.flatnonzero(present[:, culture])
        chance = np.full(len(places), 1 / len(places))
        if shares is not None:
            expected = fitted[places, culture] * (count - len(places))
            dealt[places, culture] += expected.astype(int)
            chance = expected % 1 / max((expected % 1).sum(), 1e-9)
        left = count - dealt[:, culture].sum()
        dealt[places, culture] += rng.multinomial(left, chance)
    return dealt


def _fit(present, shares, areas):
    """Share of each culture's cells that each image gets, so that the images' areas are in
    proportion to ``shares``: rows and columns are scaled in turn (iterative proportional fitting).

    Parameters
    ----------
    present : ndarray of bool, shape (images, cultures)
    shares : ndarray of float, shape (images,)
    areas : ndarray of float, shape (cultures,)
        Area of each culture in the whole set.

    Returns
    -------
    ndarray of float, shape (images, cultures)
        Column sums are 1.
    """
    rows = shares / shares.sum() * areas.sum()
    fitted = present.astype(float)
    for _ in range(FITTING):
        fitted *= (rows / fitted.sum(1))[:, None]
        fitted *= areas / fitted.sum(0)
    return fitted / areas


def _share_out(weights, most, total):
    """Whole numbers in proportion to ``weights``, between 1 and ``most``, with the given sum."""
    shares = np.ones(len(weights), int)
    while shares.sum() < total:
        shares[np.argmax(np.where(shares < most, weights / (shares + 0.5), -1))] += 1
    return shares


def _match(wanted, total, most, rng):
    """Raise or lower entries of ``wanted``, between 1 and ``most``, until they sum to ``total``."""
    while (surplus := wanted.sum() - total) != 0:
        able = np.flatnonzero(wanted > 1 if surplus > 0 else wanted < most)
        chosen = rng.permutation(able)[: abs(surplus)]
        wanted[chosen] -= np.sign(surplus)
    return wanted


def assign_blocks(wells_by_culture):
    """Partition the wells of each culture into blocks.

    An image draws from one block only, so that images of different blocks share no well and are
    independent. There are as many blocks as the culture with the fewest wells has wells.

    Parameters
    ----------
    wells_by_culture : dict of str to sequence of str

    Returns
    -------
    list of dict of str to list of str
        For each block, its wells of each culture.
    """
    wells = {culture: sorted(set(found)) for culture, found in wells_by_culture.items()}
    number = min(map(len, wells.values()))
    return [
        {culture: found[block::number] for culture, found in wells.items()}
        for block in range(number)
    ]


class Dealer:
    """Deals donors without replacement; when all are used, again with another symmetry.

    A cell that is in a single donor and in a group counts as used with either. Cells of a size that
    the border often cuts come earlier, in proportion to their weight.

    Parameters
    ----------
    donors : ndarray of int
        Rows of the bank's table of cutouts: single donors and groups of one culture.
    members : list of tuple of int
        Annotation ids of the cells of each.
    rng : numpy.random.Generator
    weights : ndarray of float
    """

    def __init__(self, donors, members, rng, weights):
        self._donors, self._members, self._rng, self._weights = donors, members, rng, weights
        self._sizes = [len(cells) for cells in members]
        self._turn = rng.integers(SYMMETRIES, size=len(donors))
        self._start_round()

    def _start_round(self):
        self._used = set()
        keys = self._rng.exponential(size=len(self._donors)) / self._weights
        self._queues = {}
        # Exponential keys over weights, smallest first: a weighted draw without replacement. Queues
        # are emptied from their ends.
        for place in np.argsort(-keys, kind="stable").tolist():
            self._queues.setdefault(self._sizes[place], []).append(place)

    def deal(self, count, grouped=0.0):
        """Deal donors with a given number of cells in all.

        Parameters
        ----------
        count : int
        grouped : float
            Share of draws that prefer a group.

        Yields
        ------
        row, symmetry : int
        """
        while count:
            groups_first = self._rng.random() < grouped
            while (place := next(self._unused(count, groups_first), None)) is None:
                self._start_round()
            symmetry = int(self._turn[place])
            self._turn[place] = (symmetry + 1) % SYMMETRIES
            self._used.update(self._members[place])
            count -= self._sizes[place]
            yield int(self._donors[place]), symmetry

    def _unused(self, room, groups_first):
        """Donors none of whose cells is used.

        Of groups, a size comes first in proportion to how many of it are left.
        """
        for size in self._order(room, groups_first):
            queue = self._queues.get(size, [])
            while queue:
                place = queue.pop()
                if self._used.isdisjoint(self._members[place]):
                    yield place

    def _order(self, room, groups_first):
        """Sizes of donors in the order in which they are tried."""
        if not groups_first:
            yield 1
        groups = [s for s in sorted(self._queues) if 1 < s <= room and self._queues[s]]
        keys = self._rng.exponential(size=len(groups)) / [len(self._queues[s]) for s in groups]
        yield from (groups[place] for place in np.argsort(keys).tolist())
        if groups_first:
            yield 1


def make_plan(recipe: Recipe, bank: Bank, seed: int):
    """Plan every image of a set.

    Parameters
    ----------
    recipe : Recipe
    bank : Bank
    seed : int

    Returns
    -------
    plans : list of ImagePlan
    facts : dict
        ``blocks`` (their number), ``wells`` (by culture, those of each block), ``note`` (what the
        root is too small for, in words), ``donors`` (cells that are in a donor) and ``reuse`` (uses
        per such cell), both by culture.

    Raises
    ------
    DeepMuCSError
        If the bank lacks a culture of the recipe.
    """
    wells = {
        culture: bank.columns["well"][bank.donors(culture, groups=False)]
        for culture in recipe.cells
    }
    missing = [culture for culture in wells if not len(wells[culture])]
    if missing:
        rest = [culture for culture in wells if culture not in missing]
        raise DeepMuCSError(
            f"set {recipe.name}: the root's {recipe.split} split has no donor cells of "
            f"{', '.join(missing)}; leave them out with --cultures {','.join(rest)}."
        )
    # The first stream of a seed is the plan's, the following ones are the images'.
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    blocks = assign_blocks(wells)
    dealers = _dealers(recipe, bank, blocks, rng)
    areas = [_mean_area(bank, culture) for culture in recipe.cells]
    backgrounds = [_backgrounds(bank, blocks, block, rng) for block in blocks]

    shares = rng.uniform(*recipe.cover, recipe.images) if recipe.cover else None
    plans, first_id = [], 1
    for index, counts in enumerate(deal_counts(recipe.cells, recipe.images, rng, shares, areas)):
        block = index % len(blocks)
        pieces = tuple(
            piece
            for culture, count in zip(recipe.cells, counts.tolist(), strict=True)
            for piece in dealers[culture][block].deal(count, recipe.grouped)
        )
        plans.append(ImagePlan(index, first_id, block, pieces, next(backgrounds[block])))
        first_id += int(counts.sum())
    return plans, _facts(recipe, bank, blocks)


def _mean_area(bank, culture):
    """Mean area of a cell in a donor, px²."""
    donors = bank.donors(culture)
    return bank.columns["area"][donors].sum() / bank.columns["cells"][donors].sum()


def _dealers(recipe, bank, blocks, rng):
    """By culture, a dealer for the donors of each block."""
    dealers = {}
    for culture in recipe.cells:
        donors = bank.donors(culture, groups=recipe.grouped > 0)
        wells = bank.columns["well"][donors]
        for block in blocks:
            own = donors[np.isin(wells, block[culture])]
            members = [tuple(bank.annotations(row).tolist()) for row in own]
            dealer = Dealer(own, members, rng, bank.columns["weight"][own])
            dealers.setdefault(culture, []).append(dealer)
    return dealers


def _backgrounds(bank, blocks, block, rng):
    """Backgrounds of a block (or all, where it has none), each used before any is used again."""
    table = bank.backgrounds
    own = [
        not any(well in other.get(culture, ()) for other in blocks if other is not block)
        for culture, well in zip(table["culture"], table["well"], strict=True)
    ]
    rows = np.flatnonzero(own) if any(own) else np.arange(len(table))
    while True:
        yield from rng.spawn(1)[0].permutation(rows).tolist()


def _facts(recipe, bank, blocks):
    """What the plan says of itself; see `make_plan`."""
    donors = {
        culture: len({cell for row in bank.donors(culture) for cell in bank.annotations(row)})
        for culture in recipe.cells
    }
    reuse = {culture: round(recipe.cells[culture] / donors[culture], 3) for culture in donors}
    wells = {culture: [block[culture] for block in blocks] for culture in recipe.cells}
    note = ""
    if len(blocks) == 1:
        single = [culture for culture in wells if len(wells[culture][0]) == 1]
        note = (
            f"one block only: the root's {recipe.split} split has a single well of "
            f"{', '.join(single)}, so its images are not independent"
        )
    return {"blocks": len(blocks), "wells": wells, "note": note, "donors": donors, "reuse": reuse}

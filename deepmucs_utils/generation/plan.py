"""The plan of a set: which donors go into which image, decided before any pixel is touched.

All draws that tie images together happen here, from one seed: which cultures meet in an image, how
many cells each gives, and which donor every cell comes from. After that each image can be composed
alone and in any order.
"""

from dataclasses import dataclass

import numpy as np

from deepmucs_utils.errors import DeepMuCSError

CULTURES_PER_IMAGE = (2, 4)  # the paper's quoted examples show four; its Fig. 1 several
SYMMETRIES = 8  # quarter turns and mirror images


@dataclass(frozen=True)
class ImagePlan:
    """What one image is composed of.

    Parameters
    ----------
    index : int
        Number of the image in its set.
    first_id : int
        Annotation id of its first cell.
    block : int
        Block of wells that all its donors come from.
    cells : tuple of (int, int)
        Row in the bank's table of cutouts and symmetry, 0 to 7, of each cell.
    """

    index: int
    first_id: int
    block: int
    cells: tuple


def deal_counts(cells, images, rng):
    """Deal the cells of each culture to images.

    Each image gets two to four cultures where the counts allow it. In how many images a culture
    appears goes with the root of its count, so that frequent cultures come in larger groups; each
    of these gets one cell, and the rest are dealt multinomially.

    Parameters
    ----------
    cells : dict of str to int
        Cells of each culture in the whole set.
    images : int
    rng : numpy.random.Generator

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
    appearances = _share_out(np.sqrt(counts), most, min(wanted.sum(), most.sum()))
    wanted = _match(wanted, appearances.sum(), most_per, rng)

    present = np.zeros((images, len(counts)), bool)
    room = wanted.copy()
    for culture in np.argsort(-appearances, kind="stable"):  # Gale and Ryser: widest first
        order = np.lexsort((rng.random(images), -room))
        chosen = order[: appearances[culture]]
        present[chosen, culture] = True
        room[chosen] -= 1

    dealt = present.astype(int)
    for culture, count in enumerate(counts):
        places = np.flatnonzero(present[:, culture])
        extra = rng.multinomial(count - len(places), np.full(len(places), 1 / len(places)))
        dealt[places, culture] += extra
    return dealt


def _share_out(weights, most, total):
    """Whole numbers in proportion to ``weights``, between 1 and ``most``, with the given sum."""
    shares = np.ones(len(weights), int)
    while shares.sum() < total:
        open_ = shares < most
        shares[np.argmax(np.where(open_, weights / (shares + 0.5), -1))] += 1
    return shares


def _match(wanted, total, most, rng):
    """Raise or lower entries of ``wanted``, between 1 and ``most``, until they sum to ``total``."""
    wanted = wanted.copy()
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
    blocks : dict of (str, str) to int
        Block of each (culture, well).
    n_blocks : int
    """
    n_blocks = min(len(set(wells)) for wells in wells_by_culture.values())
    blocks = {
        (culture, well): place % n_blocks
        for culture, wells in wells_by_culture.items()
        for place, well in enumerate(sorted(set(wells)))
    }
    return blocks, n_blocks


class Dealer:
    """Deals donors without replacement; when all are used, again with another symmetry.

    Parameters
    ----------
    donors : ndarray of int
        Rows of the bank's table of cutouts.
    rng : numpy.random.Generator
    """

    def __init__(self, donors, rng):
        self._donors = donors
        self._first = rng.integers(SYMMETRIES, size=len(donors))
        self._rng = rng
        self._queue = []
        self.rounds = 0

    def draw(self):
        """The next donor's row and its symmetry."""
        if not self._queue:
            self._queue = list(self._rng.permutation(len(self._donors)))
            self.rounds += 1
        place = self._queue.pop()
        symmetry = (self._first[place] + self.rounds - 1) % SYMMETRIES
        return int(self._donors[place]), int(symmetry)


def make_plan(recipe, bank, seed):
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
        ``blocks`` (their number), ``donors`` and ``reuse`` (draws a donor) by culture.

    Raises
    ------
    DeepMuCSError
        If the bank lacks a culture of the recipe.
    """
    donors = {culture: bank.cells(culture) for culture in recipe.cells}
    lacking = [culture for culture, rows in donors.items() if len(rows) == 0]
    if lacking:
        rest = [culture for culture in recipe.cells if culture not in lacking]
        raise DeepMuCSError(
            f"set {recipe.name}: the root's {recipe.split} split has no donor cells of "
            f"{', '.join(lacking)}; leave them out with --cultures {','.join(rest)}."
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    wells = bank.cutouts["well"].to_numpy()
    blocks, n_blocks = assign_blocks({c: wells[rows] for c, rows in donors.items()})
    dealers = {}
    for culture, rows in donors.items():
        block_of = np.array([blocks[culture, well] for well in wells[rows]])
        for block in range(n_blocks):
            dealers[culture, block] = Dealer(rows[block_of == block], rng)

    plans, first_id = [], 1
    for index, counts in enumerate(deal_counts(recipe.cells, recipe.images, rng)):
        block = index % n_blocks
        cells = tuple(
            dealers[culture, block].draw()
            for culture, count in zip(recipe.cells, counts, strict=True)
            for _ in range(count)
        )
        plans.append(ImagePlan(index, first_id, block, cells))
        first_id += len(cells)
    n_donors = {culture: len(rows) for culture, rows in donors.items()}
    reuse = {c: round(recipe.cells[c] / n_donors[c], 3) for c in recipe.cells}
    return plans, {"blocks": n_blocks, "donors": n_donors, "reuse": reuse}

"""The same metrics on resampled sets: what intervals and comparisons of models rest on.

Images that share donors are not independent, so what is drawn with replacement is the block of
wells that an image's donors come from (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapters 8 and 10). All models are evaluated on the same draws: their differences are paired.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import average_precision
from deepmucs_utils.evaluation.metrics import NUMBERS


@dataclass(frozen=True)
class Replicates:
    """Metrics of models on a set and on replicates of it.

    Parameters
    ----------
    values : pandas.DataFrame
        Row 0 is the set itself, then one row per replicate; columns (metric, model, culture), in
        percent. Culture ``"all"`` is the mean over cultures.
    cells : dict of str to int
        Cells by culture, ``"all"`` first; cultures without cells are left out.
    blocks : dict of str to int
        In how many blocks each culture has cells; for ``"all"`` the number of blocks, or 1 where
        every culture lies in one block only.
    n_blocks : int
    by_image : bool
        True where images have no ``block`` and each is its own.
    drawn : int
        Number of draws, those that lost a culture included.
    """

    values: pd.DataFrame
    cells: dict
    blocks: dict
    n_blocks: int
    by_image: bool
    drawn: int

    def interval(self, values, culture) -> dict:
        """`interval` of columns of ``values``, or of a difference of two, for a culture."""
        return interval(values.to_numpy(), self.blocks[culture])

    def note(self, drawn=None) -> str:
        """What intervals rest on and are conditional on, in words for a caption."""
        if self.blocks["all"] == 1:
            return "Each culture lies in one donor block: no interval can be given."
        replicates = len(self.values) - 1
        alone = sum(n == 1 for culture, n in self.blocks.items() if culture != "all")
        unit = "images (conditional on these donors)" if self.by_image else "donor blocks"
        return (
            f"95% bootstrap intervals over {self.n_blocks} {unit}, {replicates} "
            f"replicates ({(drawn or self.drawn) - replicates} draws without a cell of some "
            "culture were drawn again), corrected for the optimism of AP on few cells, for the "
            "models as trained: the spread between trainings is not in them"
            + (f", nor that of the {alone} culture(s) that lie in one block alone" if alone else "")
            + "."
        )


def resample(models, metrics, iou_type="segm", replicates=1000, seed=0) -> Replicates:
    """Evaluate models on replicates of their common set.

    Parameters
    ----------
    models : dict of str to Matched
        By name; all on the same ground truth.
    metrics : sequence of str
        Keys of `metrics.NUMBERS` with one area range.
    iou_type : {"bbox", "segm"}
    replicates, seed : int
        Number of replicates, and the seed of the one generator that draws them.

    Returns
    -------
    Replicates

    Raises
    ------
    DeepMuCSError
        If the set has no cell in the area range, or a block for some of its images only.

    Notes
    -----
    Cells are matched once; a replicate only weights each image with how often it was drawn, which
    gives exactly the AP of a set that holds the image as many times. A draw that leaves a culture
    without cells is discarded and drawn again, so each replicate is a mean over the same cultures.
    """
    area = NUMBERS[metrics[0]].area
    first = next(iter(models.values()))
    matches = first.by_culture(iou_type, area)
    cells = {culture: found.cells for culture, found in matches.items() if found.cells.any()}
    if not cells:
        raise DeepMuCSError(
            f"{first.source}: no cell that {metrics[0]} counts; nothing to resample."
        )
    blocks, by_image = image_blocks(first)
    counts = np.stack(list(cells.values()))
    weights, drawn = draw_images(blocks, counts, replicates, seed)
    weights = np.vstack([np.ones_like(blocks), weights])
    values = {}
    for name, model in tqdm(models.items(), f"bootstrap, {iou_type}, {area}", disable=None):
        for culture in cells:
            curves = average_precision(model.by_culture(iou_type, area)[culture], weights)
            for metric in metrics:
                curve = curves[metric == "AR"][NUMBERS[metric].rows]
                values[metric, name, culture] = 100 * curve.mean(axis=0)
        for metric in metrics:
            by_culture = [values[metric, name, culture] for culture in cells]
            values[metric, name, "all"] = np.mean(by_culture, axis=0)
    held = dict(zip(cells, _present(blocks, counts).sum(axis=1).tolist(), strict=True))
    n_blocks = int(blocks.max()) + 1
    return Replicates(
        values=pd.DataFrame(values),
        cells={"all": int(counts.sum())} | {name: int(n.sum()) for name, n in cells.items()},
        blocks={"all": n_blocks if max(held.values()) > 1 else 1} | held,
        n_blocks=n_blocks,
        by_image=by_image,
        drawn=drawn,
    )


def image_blocks(matched) -> tuple[np.ndarray, bool]:
    """Number the block of each image.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    blocks : ndarray of int, shape (I,)
        Number of each image's block, from 0.
    by_image : bool
        True where images have no ``block`` and each is its own.

    Raises
    ------
    DeepMuCSError
        If some images have a block and others not.
    """
    images = matched.truth["images"]
    named = ["block" in image for image in images]
    if any(named) != all(named):
        raise DeepMuCSError(
            f"{matched.source}: images[{named.index(False)}] has no block but others have; "
            "expected a block for every image or for none."
        )
    key = "block" if any(named) else "id"
    return pd.factorize(np.array([str(image[key]) for image in images]))[0], not any(named)


def draw_images(blocks, cells, replicates, seed) -> tuple[np.ndarray, int]:
    """Draw as many blocks as there are, with replacement, so that every culture keeps cells.

    Parameters
    ----------
    blocks : ndarray of int, shape (I,)
        Number of each image's block, from 0.
    cells : ndarray of int, shape (K, I)
        Cells of each culture in each image.
    replicates, seed : int

    Returns
    -------
    weights : ndarray of int, shape (replicates, I)
        How often each image is in each replicate.
    drawn : int
        Number of draws made, those that lost a culture included.
    """
    n_blocks, present = blocks.max() + 1, _present(blocks, cells)
    generator = np.random.default_rng(seed)
    kept, drawn = [], 0
    while len(kept) < replicates:
        draw = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks))
        drawn += 1
        if (present @ draw > 0).all():
            kept.append(draw[blocks])
    return np.array(kept), drawn


def _present(blocks, cells):
    """Whether a culture has cells in a block; bool, shape (K, B)."""
    return np.stack(
        [np.bincount(blocks, weights=row, minlength=blocks.max() + 1) > 0 for row in cells]
    )


def interval(values, n_blocks) -> dict:
    """95 % limits that the replicates give, as the notes of `intervals.bootstrap` define them.

    Parameters
    ----------
    values : ndarray of float, shape (1 + replicates,)
        The estimate, then the replicates.
    n_blocks : int

    Returns
    -------
    dict
        ``estimate``, ``low``, ``high``.
    """
    estimate, replicates = values[0], values[1:]
    if n_blocks == 1:
        return {"estimate": estimate, "low": np.nan, "high": np.nan}
    centre = estimate - (replicates.mean() - estimate)
    error = replicates.std() * np.sqrt(n_blocks / (n_blocks - 1))
    half = student.ppf(0.975, n_blocks - 1) * error
    return {"estimate": estimate, "low": centre - half, "high": centre + half}


def clipped(limits):
    """Limits of an AP, which lies between 0 and 100."""
    low, high = np.clip([limits["low"], limits["high"]], 0, 100).tolist()
    return limits | {"low": low, "high": high}

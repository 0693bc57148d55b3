"""Measure a root, LIVECell or phantom: what its images give, pooled culture by culture."""

from dataclasses import dataclass

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_index
from deepmucs_utils.data.masks import segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies.phantom.measure_image import LAGS, PERIODS, STEPS, measure_image
from deepmucs_utils.studies.phantom.reference import RANGES, rim

AREAS = {"p05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "p95": 0.95}  # quantiles
_MEDIANS = {
    "mean": "mean_minus_bg_median",
    "sd": "sd_inside_median",
    "core_mean": "core_mean_minus_bg",
    "core_sd": "texture_sd_core",
    "core_skew": "texture_core_skew",
    "p01": "p01_minus_bg",
    "p99": "p99_minus_bg",
    "contact": "contact_median",
    "contact_sd": "contact_sd",
    **{f"acf{lag}": f"texture_acf{lag}" for lag in LAGS},
    **{f"power{top}": f"power_to_{top}px" for top in PERIODS[1:]},
}
_SHARES = {"contact_p10": 0.1, "contact_p90": 0.9}  # quantiles over cells


@dataclass(frozen=True)
class Measurement:
    """What was measured on a root.

    Parameters
    ----------
    statistics : DataFrame
        One row per culture; the columns are explained in `summarise`.
    profiles : DataFrame
        Columns ``culture, statistic, -6 … 10``: mean and median over cells of the grey level at
        each distance from the edge, and the number of cells.
    cells : DataFrame
        One row per cell, as `measure_image` gives them.
    """

    statistics: pd.DataFrame
    profiles: pd.DataFrame
    cells: pd.DataFrame


def measure_root(root, splits=SPLITS, cache=CACHE, jobs=2, measure=measure_image) -> Measurement:
    """Measure all annotated images of a root.

    Parameters
    ----------
    root : path-like
        Its cultures may be others than LIVECell's eight.
    splits : sequence of str
        Splits to pool.
    cache : path-like
        Folder for derived data.
    jobs : int
        Worker processes; the result does not depend on their number.
    measure : callable
        `measure_image`, or the same with a memory.

    Returns
    -------
    Measurement

    Raises
    ------
    DeepMuCSError
        If the root has no annotated image in these splits.
    """
    livecell = LiveCell(root)
    tasks = [
        (name, cells)
        for split in splits
        for name, cells in read_index(livecell, split, cache, cultures=None).groupby("file_name")
    ]
    if not tasks:
        raise DeepMuCSError(f"{root}: no annotated image in {', '.join(splits)}; expected some.")
    work = (delayed(measure)(livecell.image(name), segmentations(one)) for name, one in tasks)
    found = Parallel(n_jobs=jobs, return_as="generator")(work)
    found = tqdm(found, "measure", len(tasks), unit="image", disable=None)
    cells, images, edges = [], [], []
    for (name, table), (of_cells, of_image, of_edges) in zip(tasks, found, strict=True):
        origin = {"culture": table["culture"].iloc[0], "file_name": name}
        cells += [origin | cell for cell in of_cells]
        images.append(origin | of_image)
        edges += [[origin["culture"], *edge] for edge in of_edges]
    cells, images = pd.DataFrame(cells), pd.DataFrame(images)
    columns = ["culture", *map(str, STEPS)]
    profiles = _pool_profiles(pd.DataFrame(edges, columns=columns), images["culture"].unique())
    return Measurement(summarise(cells, images, profiles), profiles, cells)


def _pool_profiles(edges, cultures):
    """Mean, median and number of the edge profiles of each culture, as `Measurement` has them."""
    pooled = edges.groupby("culture").agg(["mean", "median", "count"])
    pooled = pooled.reindex(sorted(cultures, key=str.lower)).stack(future_stack=True)
    pooled = pooled.rename(index={"count": "n_cells"}).rename_axis(["culture", "statistic"])
    return pooled.reset_index()


def summarise(cells, images, profiles):
    """Statistics of each culture.

    Parameters
    ----------
    cells, images : DataFrame
        Rows of `measure_image` with ``culture``.
    profiles : DataFrame
        As in `Measurement`.

    Returns
    -------
    DataFrame
        One row per culture: ``images, cells``; quartiles and percentiles of ``area`` and medians of
        ``aspect, solidity, circularity`` over cells that the border doesn't cut; medians of
        contrast and texture over all cells; rim and trough of the mean edge profile (see
        `reference.rim`); least and greatest over images of ``cover, overlap, specks, noise,
        noise_x1, noise_y1, touching`` (``…_low, …_high``); ``touching, core_to_margin``, means
        over all cells; ``contact_p10, contact_p90``, percentiles over cells of ``contact``.
    """
    whole = cells[~cells["border"]].groupby("culture")
    areas = whole["area"].quantile(list(AREAS.values())).unstack()
    shapes = whole[["aspect", "solidity", "circularity"]].median()
    known = cells.reindex(columns=["culture", "touching", "core_to_margin", *_MEDIANS])
    known = known.groupby("culture")
    ranges = images.reindex(columns=["culture", *RANGES]).groupby("culture").agg(["min", "max"])
    ranges.columns = [f"{name}_{'low' if end == 'min' else 'high'}" for name, end in ranges.columns]
    parts = [
        images.groupby("culture").size().rename("images"),
        cells.groupby("culture").size().rename("cells"),
        areas.set_axis([f"area_{name}" for name in AREAS], axis=1),
        shapes.add_suffix("_median"),
        known[[*_MEDIANS]].median().rename(columns=_MEDIANS),
        pd.DataFrame({name: rim(profiles, name, least=1) for name in images["culture"].unique()}).T,
        ranges,
        known["contact"].quantile(list(_SHARES.values())).unstack().set_axis([*_SHARES], axis=1),
        known[["touching", "core_to_margin"]].mean(),
    ]
    return pd.concat(parts, axis=1).sort_index().rename_axis("culture").reset_index()

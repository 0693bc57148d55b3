"""Measure a root, LIVECell or phantom: what its images give, put together culture by culture."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_index
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies.phantom.measure_image import LAGS, STEPS, measure_image


@dataclass(frozen=True)
class Measurement:
    """What was measured on a root.

    Parameters
    ----------
    statistics : DataFrame
        One row a culture; the columns are explained in `summarise`.
    profiles : DataFrame
        Columns ``culture, statistic, -6 … 10``: mean and median over cells of the grey level at
        each distance from the edge, and the number of cells.
    cells : DataFrame
        One row a cell, as `deepmucs_utils.studies.phantom.measure_image.measure_image` gives them.
    """

    statistics: pd.DataFrame
    profiles: pd.DataFrame
    cells: pd.DataFrame


def measure_root(root, splits=SPLITS, cache=CACHE, jobs=2):
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

    Returns
    -------
    Measurement

    Raises
    ------
    DeepMuCSError
        If the root has no annotated image in these splits.
    """
    livecell = LiveCell(root)
    tasks = []
    for split in splits:
        index = read_index(livecell, split, cache, cultures=None)
        tasks += [(name, cells) for name, cells in index.groupby("file_name")]
    if not tasks:
        raise DeepMuCSError(f"{root}: no annotated image in {', '.join(splits)}; expected some.")
    work = (delayed(_measure_one)(livecell, name, list(cells["polygon"])) for name, cells in tasks)
    found = Parallel(n_jobs=jobs, return_as="generator")(work)
    found = list(tqdm(found, "measure", len(tasks), unit="image", disable=None))
    cells, images, profiles = [], [], []
    for (name, table), (of_cells, of_image, of_edges) in zip(tasks, found, strict=True):
        origin = {"culture": table["culture"].iloc[0], "file_name": name}
        cells += [origin | cell for cell in of_cells]
        images.append(origin | of_image)
        profiles += [(origin["culture"], edge) for edge in of_edges]
    cells, images = pd.DataFrame(cells), pd.DataFrame(images)
    profiles = _profile_table(profiles, sorted(images["culture"].unique(), key=str.lower))
    return Measurement(summarise(cells, images, profiles), profiles, cells)


def _measure_one(livecell, name, polygons):
    return measure_image(livecell.image(name), polygons)


def _profile_table(profiles, cultures):
    rows = []
    for culture in cultures:
        edges = np.array([edge for name, edge in profiles if name == culture])
        edges = edges.reshape(-1, len(STEPS))
        n = (~np.isnan(edges)).sum(0)
        filled = np.where(n > 0, edges, 0) if len(edges) else np.full((1, len(STEPS)), np.nan)
        for statistic, values in (
            ("mean", np.where(n > 0, np.nanmean(filled, 0), np.nan)),
            ("median", np.where(n > 0, np.nanmedian(filled, 0), np.nan)),
            ("n_cells", n),
        ):
            rows.append([culture, statistic, *values])
    return pd.DataFrame(rows, columns=["culture", "statistic", *map(str, STEPS)])


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
        One row a culture: ``images, cells``; quartiles and percentiles of ``area`` and medians of
        ``aspect, solidity, circularity`` over cells that the border doesn't cut; medians of
        contrast and texture over all cells; ``rim_peak`` and ``inner_trough``, extremes of the mean
        edge profile, with their places; least and greatest over images of ``cover, overlap, specks,
        noise, noise_x1, noise_y1`` (``…_low, …_high``) and of the share of cells that touch another
        one; ``touching`` over all cells.
    """
    whole = cells[~cells["border"]]
    rows = []
    for culture, of_images in images.groupby("culture"):
        ours, uncut = (table[table["culture"] == culture] for table in (cells, whole))
        row = {"culture": culture, "images": len(of_images), "cells": len(ours)}
        for name, share in (
            ("p05", 0.05),
            ("q25", 0.25),
            ("median", 0.5),
            ("q75", 0.75),
            ("p95", 0.95),
        ):
            row[f"area_{name}"] = uncut["area"].quantile(share)
        for name in ("aspect", "solidity", "circularity"):
            row[f"{name}_median"] = uncut[name].median()
        names = {
            "mean": "mean_minus_bg_median",
            "sd": "sd_inside_median",
            "core_mean": "core_mean_minus_bg",
            "core_sd": "texture_sd_core",
            "core_skew": "texture_core_skew",
            "p01": "p01_minus_bg",
            "p99": "p99_minus_bg",
        }
        names |= {f"acf{lag}": f"texture_acf{lag}" for lag in LAGS}
        row |= {
            ours_: ours.get(name, pd.Series([np.nan])).median() for name, ours_ in names.items()
        }
        row |= _extremes(profiles, culture)
        for name in ("cover", "overlap", "specks", "noise", "noise_x1", "noise_y1"):
            values = of_images.get(name, pd.Series([np.nan]))
            row |= {f"{name}_low": values.min(), f"{name}_high": values.max()}
        touching = (ours["neighbours"] > 0).groupby(ours["file_name"]).mean()
        row["touching"] = (ours["neighbours"] > 0).mean()
        row |= {"touching_low": touching.min(), "touching_high": touching.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def _extremes(profiles, culture):
    """Height and place of the rim and of the trough inside it."""
    row = profiles[(profiles["culture"] == culture) & (profiles["statistic"] == "mean")]
    values = row[list(map(str, STEPS))].to_numpy(float)[0]
    if np.isnan(values).all():
        return {}
    peak, trough = np.nanargmax(values), np.nanargmin(values)
    return {
        "rim_peak": values[peak],
        "rim_peak_at_px": int(STEPS[peak]),
        "inner_trough": values[trough],
        "inner_trough_at_px": int(STEPS[trough]),
        "n_free_edge_cells": int(
            profiles.loc[
                (profiles["culture"] == culture) & (profiles["statistic"] == "n_cells"), "0"
            ].iloc[0]
        ),
    }

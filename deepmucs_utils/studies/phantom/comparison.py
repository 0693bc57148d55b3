"""How near a measured root, such as the phantom, comes to LIVECell.

The limits: median area, aspect and solidity within 15 %; mean grey level inside within 1 of the
background; rim and trough of the edge profile within 25 % and 1 px of their place, and the profile
below 0.3 from 4 px outwards; autocorrelation of the texture within 0.1; standard deviation of the
noise within 15 %, and its lean to one axis in the right direction; cover, touching cells and specks
within the range that LIVECell's images show.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from deepmucs_utils.data.livecell import CACHE
from deepmucs_utils.studies.phantom.measure_root import measure_root
from deepmucs_utils.studies.phantom.reference import (
    FLAT_FROM,
    read_range,
    reference_profiles,
    reference_statistics,
    rim,
)

_RANGES = {
    "confluence": "cover",
    "touching_frac": "touching",
    "specks_per_image_lt150px": "specks",
    "noise_sd": "noise",
    "noise_acf_x1": "noise_x1",
    "noise_acf_y1": "noise_y1",
    "overlap_px_frac": "overlap",
}


def report(root, against=None, out=None, cache=CACHE, jobs=2):
    """Measure a root, compare it with LIVECell or another root, and say so in a table.

    Parameters
    ----------
    root, against : path-like
        The second is optional.
    out : path-like, optional
        Folder for ``statistics.csv, profiles.csv`` and ``comparison.csv``.
    cache : path-like
    jobs : int

    Returns
    -------
    str
    """
    measurement = measure_root(root, cache=cache, jobs=jobs)
    other = None if against is None else measure_root(against, cache=cache, jobs=jobs)
    comparison = compare(measurement, other)
    if out is not None:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        measurement.statistics.to_csv(out / "statistics.csv", index=False)
        measurement.profiles.to_csv(out / "profiles.csv", index=False)
        comparison.to_csv(out / "comparison.csv", index=False)
    return describe(comparison)


def describe(comparison):
    """A comparison in words: a row a criterion, a column a culture, measured / reference.

    Parameters
    ----------
    comparison : DataFrame
        From `compare`.

    Returns
    -------
    str
        What lies outside its limits is marked with ``!``.
    """
    entries = [
        f"{row.measured:.3g} / {row.reference:.3g}{' ' if row.passed else '!'}"
        for row in comparison.itertuples()
    ]
    table = comparison.assign(entry=entries).pivot(
        index="criterion", columns="culture", values="entry"
    )
    table = table.loc[list(dict.fromkeys(comparison["criterion"]))].fillna("")
    passed = comparison["passed"]
    return (
        f"{table.to_string()}\n\nmeasured / reference; ! marks what lies outside its limits: "
        f"{(~passed).sum()} of {len(passed)}"
    )


def as_reference(measurement):
    """The statistics of a measured root in the form of the package's table of LIVECell."""
    table = measurement.statistics.set_index("culture").copy()
    for column, name in _RANGES.items():
        low, high = table[f"{name}_low"], table[f"{name}_high"]
        table[column] = [f"{a}..{b}" for a, b in zip(low, high, strict=True)]
    return table


def compare(measurement, against=None, widen=0.25):
    """Compare a measured root with LIVECell, criterion by criterion.

    Parameters
    ----------
    measurement : Measurement
    against : Measurement, optional
        Another root to compare with, instead of the package's table of LIVECell.
    widen : float
        How far the observed ranges of cover, touching and specks are widened at both ends (as a
        share of the value): most cultures show one to three images, which is less than the range
        of all.

    Returns
    -------
    DataFrame
        Columns ``culture, criterion, measured, reference, low, high, passed``; one row for each
        criterion that the reference has for the culture.
    """
    statistics = measurement.statistics.set_index("culture")
    if against is None:
        reference, profiles = reference_statistics(), reference_profiles()
    else:
        reference, profiles = as_reference(against), against.profiles
    rows = []
    for culture in statistics.index.intersection(reference.index):
        ours, theirs = statistics.loc[culture], reference.loc[culture]
        for criterion, found, wanted, low, high in _criteria(
            ours, theirs, rim(measurement.profiles, culture), rim(profiles, culture), widen
        ):
            if np.isnan(wanted):
                continue
            rows.append((culture, criterion, found, wanted, low, high, low <= found <= high))
    names = ["culture", "criterion", "measured", "reference", "low", "high", "passed"]
    return pd.DataFrame(rows, columns=names)


def _criteria(ours, theirs, our_rim, their_rim, widen):
    """Criterion, measured and reference value and the limits, one after the other."""
    for name in ("area_median", "aspect_median", "solidity_median"):
        yield name, ours[name], float(theirs[name]), *_within(float(theirs[name]), 0.15)
    yield "mean_minus_bg_median", ours["mean_minus_bg_median"], 0.0, -1.0, 1.0
    if their_rim is None:
        their_rim = {
            "peak": float(theirs["rim_peak"]),
            "peak_at": float(theirs["rim_peak_at_px"]),
            "trough": float(theirs["inner_trough"]),
            "trough_at": float(theirs["inner_trough_at_px"]),
        }
    if our_rim is None:
        our_rim = dict.fromkeys(("peak", "peak_at", "trough", "trough_at", "outside"), np.nan)
    for name, key in (("rim_peak", "peak"), ("inner_trough", "trough")):
        yield name, our_rim[key], their_rim[key], *_within(their_rim[key], 0.25)
        place = their_rim[f"{key}_at"]
        yield f"{name}_at_px", our_rim[f"{key}_at"], place, place - 1, place + 1
    yield f"profile_from_+{FLAT_FROM}px", our_rim["outside"], 0.0, 0.0, 0.3
    for lag in (1, 2, 3):
        wanted = float(theirs[f"texture_acf{lag}"])
        yield f"texture_acf{lag}", ours[f"texture_acf{lag}"], wanted, wanted - 0.1, wanted + 0.1
    low, high = read_range(theirs["noise_sd"])
    middle = (ours["noise_low"] + ours["noise_high"]) / 2
    yield "noise_sd", middle, (low + high) / 2, 0.85 * low, 1.15 * high
    lean = _lean(read_range(theirs["noise_acf_x1"]), read_range(theirs["noise_acf_y1"]))
    if lean:
        found = np.sign(
            ours["noise_y1_low"]
            + ours["noise_y1_high"]
            - ours["noise_x1_low"]
            - ours["noise_x1_high"]
        )
        yield "noise_along_y_not_x", found, lean, lean, lean
    for name, key in (
        ("cover", "confluence"),
        ("touching", "touching_frac"),
        ("specks", "specks_per_image_lt150px"),
    ):
        low, high = read_range(theirs[key])
        found = ours["touching"] if name == "touching" else ours[f"{name}_high"]
        yield name, found, (low + high) / 2, low * (1 - widen), high * (1 + widen)


def _within(value, share):
    reach = abs(value) * share
    return value - reach, value + reach


def _lean(along_x, along_y):
    """1 if noise is correlated more along y in all images, −1 if more along x, 0 if it depends."""
    return float(along_y[0] > along_x[1]) - float(along_x[0] > along_y[1])

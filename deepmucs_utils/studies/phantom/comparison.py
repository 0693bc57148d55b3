"""How near a measured root, such as the phantom, comes to LIVECell: `CRITERIA`."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Memory

from deepmucs_utils.data.livecell import CACHE
from deepmucs_utils.studies.phantom.measure_image import LAGS, measure_image
from deepmucs_utils.studies.phantom.measure_root import Measurement, measure_root
from deepmucs_utils.studies.phantom.reference import (
    FITTED,
    FLAT_FROM,
    reference_profiles,
    reference_statistics,
    rim,
)
from deepmucs_utils.workflow import params

#: How far observed ranges are widened at both ends, as a share: most cultures show one to three
#: images, which is less than the range of all.
WIDEN = 0.25


def _near(name, share=0.0, reach=0.0):
    """Within a share of the reference, or a distance from it."""

    def criterion(ours, theirs):
        wanted, room = theirs[name], abs(theirs[name]) * share + reach
        return ours[name], wanted, wanted - room, wanted + room

    return criterion


def _between(name, *limits):
    """Between fixed limits, whatever the reference."""
    return lambda ours, theirs: (ours[name], *limits)


def _in_range(name, measured, widen=WIDEN):
    """Within the range that the reference's images show, widened."""

    def criterion(ours, theirs):
        low, high = theirs[f"{name}_low"], theirs[f"{name}_high"]
        return measured(ours), (low + high) / 2, low * (1 - widen), high * (1 + widen)

    return criterion


def _noise_direction(ours, theirs):
    """1 if noise is correlated more along y, −1 if more along x; NaN where the reference's images
    disagree."""
    y, x = (ours[f"noise_{axis}1_low"] + ours[f"noise_{axis}1_high"] for axis in "yx")
    along_y = theirs["noise_y1_low"] > theirs["noise_x1_high"]
    along_x = theirs["noise_x1_low"] > theirs["noise_y1_high"]
    wanted = float(along_y) - float(along_x) or np.nan
    return np.sign(y - x), wanted, wanted, wanted


#: By name, functions of the statistics of a culture and of its reference: the measured number, that
#: of the reference, the least and the greatest allowed. A reference of NaN asks for nothing.
CRITERIA = {
    "area_median": _near("area_median", share=0.15),
    "aspect_median": _near("aspect_median", share=0.15),
    "solidity_median": _near("solidity_median", share=0.15),
    "mean_minus_bg_median": _between("mean_minus_bg_median", 0.0, -1.0, 1.0),
    "rim_peak": _near("rim_peak", share=0.25),
    "rim_peak_at_px": _near("rim_peak_at_px", reach=1),
    "inner_trough": _near("inner_trough", share=0.25),
    "inner_trough_at_px": _near("inner_trough_at_px", reach=1),
    f"profile_from_+{FLAT_FROM}px": _between("outside", 0.0, 0.0, 0.3),
    **{f"texture_acf{lag}": _near(f"texture_acf{lag}", reach=0.1) for lag in LAGS},
    **{name: _near(name, share=0.4) for name in FITTED if name.startswith("power")},
    "core_to_margin": _near("core_to_margin", share=0.1),
    **{f"contact_{name}": _near(f"contact_{name}", 0.25, 1) for name in ("median", "p10", "p90")},
    "contact_sd": _near("contact_sd", share=0.25),
    "noise_sd": _in_range("noise", lambda ours: (ours["noise_low"] + ours["noise_high"]) / 2, 0.15),
    "noise_along_y_not_x": _noise_direction,
    "cover": _in_range("cover", lambda ours: ours["cover_high"]),
    "touching": _in_range("touching", lambda ours: ours["touching"]),
    "specks": _in_range("specks", lambda ours: ours["specks_high"]),
}


def compare(measurement: Measurement, against: Measurement | None = None) -> pd.DataFrame:
    """Compare a measured root with LIVECell, criterion by criterion.

    Parameters
    ----------
    measurement : Measurement
    against : Measurement, optional
        Another root to compare with, instead of the package's table of LIVECell.

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
        reference, profiles = against.statistics.set_index("culture"), against.profiles
    rows = []
    for culture in statistics.index.intersection(reference.index):
        ours = statistics.loc[culture].to_dict() | rim(measurement.profiles, culture)
        known = {k: v for k, v in rim(profiles, culture).items() if not np.isnan(v)}
        theirs = reference.loc[culture].to_dict() | known
        for name, criterion in CRITERIA.items():
            found, wanted, low, high = criterion(ours, theirs)
            if not np.isnan(wanted):
                rows.append((culture, name, found, wanted, low, high, low <= found <= high))
    names = ["culture", "criterion", "measured", "reference", "low", "high", "passed"]
    return pd.DataFrame(rows, columns=names)


def as_text(comparison: pd.DataFrame) -> str:
    """A comparison in words: one row per criterion, one column per culture, measured / reference.

    What lies outside its limits is marked with ``!``.
    """
    entries = [
        f"{row.measured:.3g} / {row.reference:.3g}{' ' if row.passed else '!'}"
        for row in comparison.itertuples()
    ]
    table = comparison.assign(entry=entries).pivot(
        index="criterion", columns="culture", values="entry"
    )
    table = table.loc[comparison["criterion"].unique()].fillna("")
    passed = comparison["passed"]
    return (
        f"{table.to_string()}\n\nmeasured / reference; ! marks what lies outside its limits: "
        f"{(~passed).sum()} of {len(passed)}"
    )


def compare_roots(root, against=None, out=None, cache=CACHE, jobs=2) -> pd.DataFrame:
    """Measure a root and compare it with LIVECell or another root; see `compare`.

    Parameters
    ----------
    root, against : path-like
        The second is optional.
    out : path-like, optional
        Folder for ``statistics.csv, profiles.csv`` and ``comparison.csv``.
    cache : path-like
    jobs : int
    """
    measurement = measure_root(root, cache=cache, jobs=jobs)
    other = None if against is None else measure_root(against, cache=cache, jobs=jobs)
    comparison = compare(measurement, other)
    if out is not None:
        tables = {"statistics": measurement.statistics, "profiles": measurement.profiles}
        Path(out).mkdir(parents=True, exist_ok=True)
        for name, table in (tables | {"comparison": comparison}).items():
            table.to_csv(Path(out) / f"{name}.csv", index=False)
    return comparison


def study(root, folder):
    """The comparison of a root with LIVECell, as records; measured images are kept in a folder."""
    measure = Memory(folder, verbose=0).cache(measure_image)
    jobs = os.cpu_count()
    measurement = measure_root(root, cache=params.cache(), jobs=jobs, measure=measure)
    return compare(measurement).to_dict("records")

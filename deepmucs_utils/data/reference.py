"""Statistics of genuine LIVECell images, and how near to them a measured root comes.

Two tables come with the package, numbers only: ``livecell_culture_statistics.csv``, a row a
culture, and ``livecell_halo_profiles.csv``, the grey level by distance from free edges of masks.
They were measured on 14 annotated images (3,278 cells) of LIVECell (Edlund et al., Nature Methods
18 (2021) 1038, CC BY-NC 4.0); BV2, of which no annotated image was at hand, was estimated by
threshold segmentation of two images without annotations. An entry ``a..b`` gives the least and the
greatest value over images. `deepmucs_utils.data.measure` has the definitions.
"""

from importlib.resources import files

import numpy as np
import pandas as pd

PROFILE_LEAST = 10  # cells that a step of a profile needs to count
FLAT_FROM = 4  # px outside the edge from which the profile must be flat


def reference_statistics():
    """The reference statistics; DataFrame, one row a culture, index its name."""
    return pd.read_csv(files(__package__) / "livecell_culture_statistics.csv", index_col="culture")


def reference_profiles():
    """The reference edge profiles; DataFrame with ``culture, statistic, -6 … 10``."""
    table = pd.read_csv(files(__package__) / "livecell_halo_profiles.csv")
    return table.rename(columns=lambda name: name.lstrip("+"))


def read_range(entry):
    """Least and greatest value of an entry such as ``"0.41..0.55"``, ``"~150..240"`` or 0.35.

    Returns
    -------
    tuple of float
    """
    parts = str(entry).lstrip("~").split(" ")[0].split("..")
    return float(parts[0]), float(parts[-1])


def rim(profiles, culture):
    """Rim and trough of a culture's mean edge profile.

    The rim is the greatest value, the trough the least value inside it; steps with fewer than
    `PROFILE_LEAST` cells don't count.

    Parameters
    ----------
    profiles : DataFrame
        From `reference_profiles` or a `Measurement`.
    culture : str

    Returns
    -------
    dict or None
        ``peak, trough`` (grey levels), ``peak_at, trough_at`` (px) and ``outside``, the greatest
        absolute value from `FLAT_FROM` px outwards; None if the culture has no profile.
    """
    ours = profiles[profiles["culture"] == culture].set_index("statistic")
    if ours.empty:
        return None
    steps = np.array([int(name) for name in ours.columns if name.lstrip("-").isdigit()])
    columns = list(map(str, steps))
    mean = ours.loc["mean", columns].to_numpy(float)
    known = ours.loc["n_cells", columns].to_numpy(float) >= PROFILE_LEAST
    if not known.any():
        return None
    mean = np.where(known, mean, np.nan)
    peak, trough = np.nanargmax(mean), np.nanargmin(mean)
    return {
        "peak": mean[peak],
        "peak_at": int(steps[peak]),
        "trough": mean[trough],
        "trough_at": int(steps[trough]),
        "outside": float(np.nanmax(np.abs(mean[steps >= FLAT_FROM]))),
    }


def compare(measurement, widen=0.25):
    """Compare a measured root with the reference, criterion by criterion.

    Parameters
    ----------
    measurement : Measurement
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
    reference, profiles = reference_statistics(), reference_profiles()
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
            ours["noise_y1_low"] + ours["noise_y1_high"]
            - ours["noise_x1_low"] - ours["noise_x1_high"]
        )  # fmt: skip
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

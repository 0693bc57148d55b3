"""Statistics of genuine LIVECell images.

Two tables come with the package, numbers only: ``livecell_culture_statistics.csv``, a row a
culture, and ``livecell_halo_profiles.csv``, the grey level by distance from free edges of masks.
They were measured on 14 annotated images (3,278 cells) of LIVECell (Edlund et al., Nature Methods
18 (2021) 1038, CC BY-NC 4.0); BV2, of which no annotated image was at hand, was estimated by
threshold segmentation of two images without annotations. An entry ``a..b`` gives the least and the
greatest value over images. `deepmucs_utils.studies.phantom.measure_image` has the definitions.
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

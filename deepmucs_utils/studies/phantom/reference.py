"""Statistics of genuine LIVECell images.

Three tables come with the package, numbers only: ``livecell_culture_statistics.csv``, one row per
culture, and ``livecell_halo_profiles.csv``, the grey level by distance from free edges of masks,
judge the phantom. They were measured on 14 annotated images (3,278 cells) of LIVECell (Edlund et
al., Nature Methods 18 (2021) 1038, CC BY-NC 4.0); BV2, of which no annotated image was at hand, was
estimated by threshold segmentation of two images without annotations. An entry ``a..b`` gives the
least and the greatest value over images. ``livecell_fit_statistics.csv`` is what the phantom is
fitted to: `measure_root` on 9 of these images (2,043 cells), those of the sample's train and val
splits. The criteria on contacts, on texture by period, and on core and margin are from this table.
`studies.phantom.measure_image` has the definitions.
"""

from importlib.resources import files

import numpy as np
import pandas as pd

from deepmucs_utils.studies.phantom.measure_image import PERIODS

#: Columns that only the table for fitting has.
FITTED = ("core_to_margin", "contact_median", "contact_p10", "contact_p90", "contact_sd")
FITTED += tuple(f"power_to_{period}px" for period in PERIODS[1:])
PROFILE_LEAST = 10  # cells that a step of a profile needs to count
FLAT_FROM = 4  # px outside the edge from which the profile must be flat
RIM = ("rim_peak", "rim_peak_at_px", "inner_trough", "inner_trough_at_px", "outside")
#: Columns of the table that hold ranges over images, by their name in a measurement.
RANGES = {
    "cover": "confluence",
    "overlap": "overlap_px_frac",
    "specks": "specks_per_image_lt150px",
    "noise": "noise_sd",
    "noise_x1": "noise_acf_x1",
    "noise_y1": "noise_acf_y1",
    "touching": "touching_frac",
}


def reference_statistics() -> pd.DataFrame:
    """The reference statistics; index the culture, ranges as ``…_low`` and ``…_high``."""
    table = pd.read_csv(files(__package__) / "livecell_culture_statistics.csv", index_col="culture")
    for name, column in RANGES.items():
        ends = [read_range(entry) for entry in table[column]]
        table[[f"{name}_low", f"{name}_high"]] = ends
    fitted = pd.read_csv(files(__package__) / "livecell_fit_statistics.csv", index_col="culture")
    return table.join(fitted[[*FITTED]])


def reference_profiles() -> pd.DataFrame:
    """The reference edge profiles; columns ``culture, statistic, -6 … 10``."""
    table = pd.read_csv(files(__package__) / "livecell_halo_profiles.csv")
    return table.rename(columns=lambda name: name.lstrip("+"))


def read_range(entry) -> tuple[float, float]:
    """Least and greatest value of an entry such as ``"0.41..0.55"``, ``"~150..240"`` or 0.35."""
    parts = str(entry).lstrip("~").split(" ")[0].split("..")
    return float(parts[0]), float(parts[-1])


def rim(profiles, culture, least=PROFILE_LEAST):
    """Rim and trough of a culture's mean edge profile.

    Parameters
    ----------
    profiles : DataFrame
        From `reference_profiles` or a `Measurement`.
    culture : str
    least : int
        Cells that a step of the profile needs to count.

    Returns
    -------
    dict
        `RIM`: height (grey levels) and place (px) of the greatest and of the least value, and
        ``outside``, the greatest absolute value from `FLAT_FROM` px outwards; NaN without a
        profile.
    """
    ours = profiles[profiles["culture"] == culture].set_index("statistic")
    columns = [name for name in ours.columns if name.lstrip("-").isdigit()]
    steps = np.array(columns, int)
    ours = ours.reindex(["mean", "n_cells"])[columns].to_numpy(float)
    mean = np.where(ours[1] >= least, ours[0], np.nan)
    if np.isnan(mean).all():
        return dict.fromkeys(RIM, np.nan)
    peak, trough = np.nanargmax(mean), np.nanargmin(mean)
    outside = float(np.nanmax(np.abs(mean[steps >= FLAT_FROM])))
    values = (mean[peak], int(steps[peak]), mean[trough], int(steps[trough]), outside)
    return dict(zip(RIM, values, strict=True))

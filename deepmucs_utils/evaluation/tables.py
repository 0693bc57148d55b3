"""Tables of an analysis as files: CSV for people, JSON for programs, both complete or absent."""

from pathlib import Path

import numpy as np

from deepmucs_utils.files import write_json, write_text


def write_tables(tables, out_dir) -> list[Path]:
    """Write each table as CSV and as JSON.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        By file name without ending.
    out_dir : str or Path
        Folder, made if missing.

    Returns
    -------
    list of Path
        The CSV and JSON files. JSON holds a list of rows, NaN as null, infinity as text; a named
        index is a column in both.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in tables.items():
        flat = table.reset_index() if any(table.index.names) else table
        flat = flat.set_axis([_column(key) for key in flat.columns], axis=1)
        csv, json = folder / f"{name}.csv", folder / f"{name}.json"
        write_text(csv, flat.to_csv(index=False))
        finite = flat.astype(object).replace({np.inf: "inf", -np.inf: "-inf"})
        write_json(json, finite.to_dict("records"))
        written += [csv, json]
    return written


def _column(key):
    """A column's name as text; of two levels one behind the other."""
    return " ".join(map(str, key)).strip() if isinstance(key, tuple) else str(key)

"""Tables of an analysis as files: CSV for people, JSON for programs, both complete or absent."""

import json
import math
from pathlib import Path

import pandas as pd

from deepmucs_utils.files import write_text


def write_tables(tables, out_dir):
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
        if isinstance(flat.columns, pd.MultiIndex):
            flat.columns = [" ".join(map(str, key)).strip() for key in flat.columns]
        records = [
            {str(key): _plain(value) for key, value in row.items()}
            for row in flat.to_dict("records")
        ]
        contents = {
            ".csv": flat.to_csv(index=False),
            ".json": json.dumps(records, indent=1, ensure_ascii=False) + "\n",
        }
        for ending, content in contents.items():
            path = folder / f"{name}{ending}"
            write_text(path, content)
            written.append(path)
    return written


def _plain(value):
    """A value that JSON knows."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

"""Tables of an analysis as files, each complete or absent."""

from pathlib import Path

from deepmucs_utils.files import write_text


def write_tables(tables, out_dir) -> list[Path]:
    """Write each table as CSV.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        By file name without ending.
    out_dir : str or Path
        Folder, made if missing.

    Returns
    -------
    list of Path
        The files. A named index is a column; names of two levels stand one behind the other.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        flat = table.reset_index() if any(table.index.names) else table
        keys = [key if isinstance(key, tuple) else (key,) for key in flat.columns]
        names = [" ".join(map(str, key)).strip() for key in keys]
        write_text(path, flat.set_axis(names, axis=1).to_csv(index=False))
    return paths

"""Files that appear under their names only when they are complete."""

import os
from pathlib import Path


def replace_file(path, write):
    """Let ``write`` make a file under a temporary name, then give it its own.

    Parameters
    ----------
    path : path-like
    write : callable
        Takes the temporary path.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Write a text file in UTF-8, all of it or nothing."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))

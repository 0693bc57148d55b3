"""Files that appear under their names only when they are complete."""

import json
import os
from pathlib import Path

from deepmucs_utils.errors import DeepMuCSError


def replace_file(path, write):
    """Let ``write`` make a file under a temporary name, then rename it.

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


def write_json(path, content, indent=1):
    """Write a JSON file in UTF-8, all of it or nothing.

    Parameters
    ----------
    path : path-like
    content : dict or list
        As JSON has it; also tuples, paths, numpy's scalars and arrays. NaN becomes null.
    indent : int, optional
        None writes a single line.
    """
    text = json.dumps(_plain(content), indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path):
    """Content of a JSON file in UTF-8.

    Raises
    ------
    DeepMuCSError
        If there is no such file, or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DeepMuCSError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DeepMuCSError(f"{path}: not a json file ({error}).") from error


def _plain(value):
    """The same content in the types that `json` takes."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return None if value != value else value

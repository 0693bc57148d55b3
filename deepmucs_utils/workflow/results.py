"""Stored results: ``results.json`` of finished runs under ``book/results``, as tables.

A run's file is stored by copying it there under a new name. It records what was measured on what:
data, model, iterations, hardware, commit and duration.
"""

from pathlib import Path

import pandas as pd

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.metrics import with_nan
from deepmucs_utils.files import read_json

NEEDED = ("parameters", "sets", "metrics", "environment", "seconds", "finished")


def kept_results(folder) -> dict[str, dict]:
    """Read all stored results.

    Parameters
    ----------
    folder : path-like
        With one ``*.json`` per run, as `runs.write_results` writes it.

    Returns
    -------
    dict of str to dict
        Content by file name without ending, the smallest training set first; null as NaN in the
        metrics.

    Raises
    ------
    DeepMuCSError
        If there is no file, or one is no result.
    """
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        missing = [key for key in NEEDED if key not in content]
        if missing:
            raise DeepMuCSError(
                f"{path}: lacks {', '.join(missing)}; expected a run's results.json, copied whole."
            )
        found[path.stem] = content | {"metrics": with_nan(content["metrics"])}
    if not found:
        raise DeepMuCSError(f"{folder}: holds no results; copy the results.json of a run there.")
    return dict(sorted(found.items(), key=lambda item: item[1]["sets"]["train"]["images"]))


def conditions(results) -> pd.DataFrame:
    """What was measured on what.

    Parameters
    ----------
    results : dict of str to dict
        From `kept_results`.

    Returns
    -------
    DataFrame
        One row per run: data, model, iterations, images and cells, hardware, minutes, commit.
    """
    rows = {}
    for name, content in results.items():
        root = content["parameters"]["data_root"]
        sets, machine = content["sets"], content["environment"]
        rows[name] = {
            "data": "phantom" if root is None else Path(root).name,
            "model": content["parameters"]["model"],
            "iterations": content["parameters"]["iterations"],
            "training images": sets["train"]["images"],
            "training cells": sets["train"]["total"],
            "test set": sets["test"]["name"],
            "test images": sets["test"]["images"],
            "test cells": sets["test"]["total"],
            "hardware": machine["gpu"] or f"{machine['cpus']} CPU cores",
            "training (min)": round(content["seconds"]["training"] / 60, 1),
            "torch": machine["packages"]["torch"],
            "commit": machine["commit"],
            "finished": content["finished"][:10],
        }
    return pd.DataFrame(rows).T

"""The curves of a training: losses, learning rate, speed and validation AP, as they come.

``curves.jsonl`` has one line an iteration and one a validation; TensorBoard files lie beside it.
"""

import json
import math
from pathlib import Path

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_text

CURVES = "curves.jsonl"


class Curves:
    """Writes the curves of a run.

    Parameters
    ----------
    folder : path-like
    start : int
        Iteration that comes next; what an interrupted training wrote from there on is removed.
    """

    def __init__(self, folder, start):
        self.path = Path(folder) / CURVES
        kept = [line for line in _lines(self.path) if json.loads(line)["iteration"] <= start]
        write_text(self.path, "".join(kept))
        self._file = open(self.path, "a", encoding="utf-8")
        self._tensorboard = SummaryWriter(Path(folder) / "tensorboard", purge_step=start + 1)

    def add(self, iteration, **values):
        """Append numbers of one iteration (counted from 1); NaN is written as null."""
        plain = {name: None if math.isnan(value) else value for name, value in values.items()}
        self._file.write(json.dumps({"iteration": iteration} | plain) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._tensorboard.add_scalar(name, value, iteration)

    def close(self):
        self._file.close()
        self._tensorboard.close()


def _lines(path):
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as file:
        return [line for line in file if line.endswith("\n")]  # the last may be cut


def read_curves(run):
    """Read the curves of a run.

    Parameters
    ----------
    run : path-like
        Its folder; the training may still be going on.

    Returns
    -------
    DataFrame
        One row an iteration; columns ``lr``, ``total_loss``, the losses by detectron2's names,
        ``images_per_second``, and for validations ``val_segm_AP``, ``val_segm_AP50``,
        ``val_bbox_AP`` (percent, NaN between them).

    Raises
    ------
    DeepMuCSError
        If the folder holds no curves.
    """
    path = Path(run) / CURVES
    lines = _lines(path)
    if not lines:
        raise DeepMuCSError(f"{path}: no curves yet; `deepmucs train` writes them.")
    rows = {}
    for line in lines:
        record = json.loads(line)
        rows.setdefault(record.pop("iteration"), {}).update(record)
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("iteration")

"""The files of a run: configuration, checkpoints and the curves of the training.

A run is a folder with ``config.yaml``, ``last.pth`` (the state to resume from), ``best.pth`` (the
weights with the best validation AP), ``curves.jsonl`` (one line per iteration and per validation)
and TensorBoard's files.
"""

import json
import math
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import pandas as pd
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import replace_file, write_text
from deepmucs_utils.segmentation.config import load_config

CONFIG, LAST, BEST, CURVES = "config.yaml", "last.pth", "best.pth", "curves.jsonl"


def write_config(cfg, folder):
    """Write ``config.yaml``, complete: `read_config` needs nothing else."""
    write_text(Path(folder) / CONFIG, cfg.dump())


def read_config(folder):
    """Read a run's configuration.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    CfgNode
        With ``MODEL.DEVICE`` of this machine.

    Raises
    ------
    DeepMuCSError
        If the folder is no run.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise DeepMuCSError(f"{folder}: no run, {CONFIG} is missing; `deepmucs train` writes one.")
    return load_config(path)


def differences(one, other):
    """Names of the keys in which two configurations differ, except the device.

    Parameters
    ----------
    one, other : CfgNode

    Returns
    -------
    list of str
        E.g. ``["SOLVER.MAX_ITER"]``.
    """
    trees = (yaml.safe_load(cfg.dump()) for cfg in (one, other))
    one, other = (pd.json_normalize(tree).to_dict("records")[0] for tree in trees)
    names = (one.keys() | other.keys()) - {"MODEL.DEVICE"}
    return sorted(name for name in names if one.get(name) != other.get(name))


def save(content, path):
    """Write tensors and numbers; the file is complete as soon as it has its name."""
    replace_file(path, lambda partial: torch.save(content, partial))


def load(path):
    """Read a checkpoint to the CPU; nothing in it is executed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict

    Raises
    ------
    DeepMuCSError
        If the file is missing, damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise DeepMuCSError(f"{path}: no such file; expected a checkpoint.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise DeepMuCSError(
            f"{path}: refused ({reason}); expected a checkpoint that holds nothing but "
            "tensors and plain values."
        ) from None


class Curves:
    """Writes losses, learning rate, speed and validation AP of a training.

    Parameters
    ----------
    folder : Path
    start : int
        Iterations done; what an interrupted training wrote of later ones is removed.
    """

    def __init__(self, folder, start):
        kept = [line for line in _lines(folder / CURVES) if json.loads(line)["iteration"] <= start]
        write_text(folder / CURVES, "".join(kept))
        self._file = open(folder / CURVES, "a", encoding="utf-8")
        self._tensorboard = SummaryWriter(folder / "tensorboard", purge_step=start + 1)

    def add(self, iteration, **values):
        """Append numbers of one iteration (counted from 1); one that is not finite becomes null."""
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"iteration": iteration} | plain) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._tensorboard.add_scalar(name, value, iteration)

    def close(self):
        self._file.close()
        self._tensorboard.close()


def _lines(path):
    """The complete lines of a text file; a process that was killed may leave half a one."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as file:
        return [line for line in file if line.endswith("\n")]


def read_curves(run) -> pd.DataFrame:
    """Read the curves of a run.

    Parameters
    ----------
    run : path-like
        Its folder; the training may still be under way.

    Returns
    -------
    pandas.DataFrame
        One row per iteration; columns ``lr``, ``total_loss``, the losses by detectron2's names,
        ``images_per_second``, and for validations ``val_segm_AP``, ``val_segm_AP50``,
        ``val_bbox_AP`` (percent, NaN between them).

    Raises
    ------
    DeepMuCSError
        If the folder holds no curves.
    """
    path = Path(run) / CURVES
    records = [json.loads(line) for line in _lines(path)]
    if not records:
        raise DeepMuCSError(f"{path}: no curves yet; `deepmucs train` writes them.")
    return pd.DataFrame(records).groupby("iteration").first().astype(float)

"""Files of a run: configuration, checkpoints and the state from which a training goes on."""

import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
import yaml

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import replace_file, write_text
from deepmucs_utils.segmentation.config import load_config

CONFIG, LAST, BEST = "config.yaml", "last.pth", "best.pth"


def write_config(cfg, folder):
    """Write ``config.yaml``, complete: `read_config` needs nothing else."""
    write_text(Path(folder) / CONFIG, cfg.dump())


def read_config(folder):
    """Read a run's configuration.

    Returns
    -------
    CfgNode
        With ``MODEL.DEVICE`` as this machine has it.

    Raises
    ------
    DeepMuCSError
        If the folder is no run.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise DeepMuCSError(f"{folder}: no run, {CONFIG} is missing; `deepmucs train` makes one.")
    return load_config(path)


def differences(one, other):
    """Names of the keys in which two configurations differ, except the device.

    Returns
    -------
    list of str
        E.g. ``["SOLVER.MAX_ITER"]``.
    """
    one, other = (dict(_flat(yaml.safe_load(cfg.dump()))) for cfg in (one, other))
    names = (one.keys() | other.keys()) - {"MODEL.DEVICE"}
    return sorted(name for name in names if one.get(name) != other.get(name))


def _flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DeepMuCSError(
            f"{path}: refused ({reason}); expected a checkpoint that holds nothing but "
            "tensors and plain values."
        ) from None

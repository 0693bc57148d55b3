"""What a result was computed with: versions, machine and commit."""

import os
import platform
import subprocess
from importlib.metadata import distributions

from deepmucs_utils.workflow import params

PACKAGES = (
    "deepmucs-utils detectron2 sal-detectron2 torch torchvision timm numpy scipy "
    "opencv-python-headless pycocotools hotcoco"
).split()


def environment() -> dict:
    """What a result was computed with.

    Returns
    -------
    dict
        ``python``, ``packages`` (version by name), ``platform``, ``cpus``, ``gpu`` (name or None)
        and ``commit`` (None outside a checkout; with a plus sign where tracked files are changed).
    """
    import torch

    return {
        "python": platform.python_version(),
        "packages": {d.name: d.version for d in distributions() if d.name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": _commit(),
    }


def _commit():
    command = ["git", "-C", str(params.repository()), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

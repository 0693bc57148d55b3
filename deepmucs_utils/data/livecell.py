"""A LIVECell root: its layout, its images and the index of its annotations.

The official download keeps images under ``images/livecell_{train_val,test}_images/<Culture>/`` and
one COCO file a split under ``annotations/LIVECell/``. Images in flat folders are accepted as well.
Nothing is ever written inside a root; the index lives in a cache folder.

Source: Edlund et al., Nature Methods 2021 (the paper's reference [3]).
"""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from deepmucs_utils.data.cultures import CULTURE_NAMES, parse_name
from deepmucs_utils.errors import DeepMuCSError

SPLITS = ("train", "val", "test")
INDEX_VERSION = 1
CACHE = Path(".cache")


class LiveCell:
    """A folder in LIVECell's layout.

    Parameters
    ----------
    root : path-like
        The folder that holds ``images`` and ``annotations``.

    Raises
    ------
    DeepMuCSError
        If the folder or its image or annotation folder is missing.
    """

    def __init__(self, root):
        self.root = Path(root)
        for folder in (self.root, self.root / "images", self.root / "annotations"):
            if not folder.is_dir():
                raise DeepMuCSError(
                    f"{folder}: no such folder; expected a LIVECell root with the folders images "
                    "and annotations, as in the official download or from `deepmucs phantom`."
                )

    def annotation_file(self, split):
        """Path of the COCO file of ``split`` (one of ``SPLITS``)."""
        if split not in SPLITS:
            raise DeepMuCSError(f"split {split!r}: expected one of {', '.join(SPLITS)}.")
        path = self.root / "annotations" / "LIVECell" / f"livecell_coco_{split}.json"
        if not path.is_file():
            raise DeepMuCSError(f"{path}: no such file; expected the {split} annotations there.")
        return path

    @cached_property
    def _paths(self):
        return {path.name: path for path in sorted((self.root / "images").rglob("*.tif"))}

    def image_path(self, file_name):
        """Path of an image, wherever under ``images`` it lies."""
        try:
            return self._paths[file_name]
        except KeyError:
            raise DeepMuCSError(
                f"{file_name}: annotated, but not found under {self.root / 'images'}; "
                "complete the download."
            ) from None

    def image(self, file_name):
        """Read an image.

        Returns
        -------
        ndarray of uint8, shape (height, width)
        """
        path = self.image_path(file_name)
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DeepMuCSError(f"{path}: not a readable image; download it again.")
        return image


def digest(path):
    """SHA-256 of a file's content, as a hexadecimal string."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_index(root, split, cache=CACHE):
    """Read the annotations of one split as a table, one row a cell.

    The table is built when first needed and kept as Parquet in the cache, keyed by the annotation
    file's content and the format's version.

    Parameters
    ----------
    root : path-like or LiveCell
    split : {"train", "val", "test"}
    cache : path-like
        Folder for derived data.

    Returns
    -------
    DataFrame
        Columns ``annotation_id, image_id, file_name, height, width, culture, well, hours,
        x, y, w, h`` (bounding box, px), ``area`` (px²) and ``polygon`` (list of float arrays
        ``[x0, y0, x1, y1, …]``, px).
    """
    livecell = root if isinstance(root, LiveCell) else LiveCell(root)
    source = livecell.annotation_file(split)
    target = Path(cache) / "index" / f"{split}-v{INDEX_VERSION}-{digest(source)[:16]}.parquet"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        _index(source).to_parquet(partial, index=False)
        os.replace(partial, target)
    return pd.read_parquet(target)


def _index(source):
    """Build the index of the COCO file ``source``; see `read_index` for the columns."""
    try:
        coco = json.loads(source.read_bytes())
        images = pd.DataFrame(coco["images"])
        annotations = coco["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeepMuCSError(
            f"{source}: not a COCO file ({error!r}); expected the keys images and annotations; "
            "download it again."
        ) from None
    if isinstance(annotations, dict):  # LIVECell's size-split files key annotations by id
        annotations = list(annotations.values())

    names = [parse_name(name) for name in images["file_name"]]
    images = images.assign(
        culture=[name.culture for name in names],
        well=[name.well for name in names],
        hours=[name.hours for name in names],
    ).rename(columns={"id": "image_id"})
    unknown = sorted(set(images["culture"]) - set(CULTURE_NAMES))
    if unknown:
        raise DeepMuCSError(
            f"{source}: images of unknown cultures {', '.join(unknown)}; "
            f"expected {', '.join(CULTURE_NAMES)}."
        )
    columns = ["image_id", "file_name", "height", "width", "culture", "well", "hours"]
    if not annotations:
        raise DeepMuCSError(f"{source}: no annotations; expected at least one cell.")
    cells = pd.DataFrame(
        {
            "annotation_id": [cell["id"] for cell in annotations],
            "image_id": [cell["image_id"] for cell in annotations],
            "area": [float(cell["area"]) for cell in annotations],
            "polygon": [
                [np.asarray(part, dtype=float) for part in cell["segmentation"]]
                for cell in annotations
            ],
        }
    )
    box = np.array([cell["bbox"] for cell in annotations], dtype=float)
    cells[["x", "y", "w", "h"]] = box
    orphans = ~cells["image_id"].isin(images["image_id"])
    if orphans.any():
        first = cells[orphans].iloc[0]
        raise DeepMuCSError(
            f"{source}: annotation {first['annotation_id']} names image {first['image_id']}, "
            "which is not among the file's images; download it again."
        )
    return cells.merge(images[columns].drop_duplicates("image_id"), on="image_id")

"""A LIVECell root: its layout, its images and the index of its annotations.

The official download keeps images under ``images/livecell_{train_val,test}_images/<Culture>/`` and
one COCO file per split under ``annotations/LIVECell/``. Images in flat folders are accepted too.
Nothing is ever written inside a root; the index lives in a cache folder.

Source: Edlund et al., Nature Methods 2021 (the paper's reference [3]).
"""

import hashlib
from functools import cached_property
from pathlib import Path

import cv2
import pandas as pd
import pyarrow as pa

from deepmucs_utils.data.coco import CELLS, read_coco
from deepmucs_utils.data.cultures import CULTURE_NAMES, ImageName, parse_name
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import replace_file

SPLITS = ("train", "val", "test")
AREA_LIMITS = (324, 961)  # px², between small, medium and large cells (LIVECell's issue 17)
INDEX_VERSION = 4
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
        path = self._annotation_path(split)
        if not path.is_file():
            raise DeepMuCSError(f"{path}: no such file; expected the {split} annotations there.")
        return path

    def has_split(self, split):
        """Whether the root has the annotations of ``split``."""
        return self._annotation_path(split).is_file()

    def _annotation_path(self, split):
        return self.root / "annotations" / "LIVECell" / f"livecell_coco_{split}.json"

    @cached_property
    def paths(self):
        """Paths of all image files under ``images``, by their names."""
        return {path.name: path for path in sorted((self.root / "images").rglob("*.tif"))}

    def image_path(self, file_name):
        """Path of an image, wherever it is under ``images``."""
        if file_name not in self.paths:
            raise DeepMuCSError(
                f"{file_name}: annotated, but not found under {self.root / 'images'}; "
                "complete the download."
            )
        return self.paths[file_name]

    def image(self, file_name):
        """Read an image.

        Returns
        -------
        ndarray of uint8, shape (height, width)
        """
        return read_image(self.image_path(file_name))


def read_image(path):
    """Read an 8-bit grey image.

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    DeepMuCSError
        If the file is missing or no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if Path(path).is_file() else None
    if image is None:
        raise DeepMuCSError(
            f"{path}: not a readable image, expected an 8-bit grey PNG or TIFF; download it or "
            "compose the set again."
        )
    return image


def digest(path):
    """SHA-256 of a file's content, as a hexadecimal string."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_index(root, split, cache=CACHE, cultures=CULTURE_NAMES) -> pd.DataFrame:
    """Read the annotations of one split as a table, one row per cell.

    The table is built when first needed and kept in the cache, keyed by the annotation file's
    content and the format's version.

    Parameters
    ----------
    root : path-like or LiveCell
    split : {"train", "val", "test"}
    cache : path-like
        Folder for derived data.
    cultures : sequence of str, optional
        Cultures that the root may have; None for any, as of a phantom with cultures of its own.

    Returns
    -------
    DataFrame
        Columns ``annotation_id, image_id, file_name, height, width, culture, well, hours,
        x, y, w, h`` (bounding box, px), ``area`` (px²), ``iscrowd`` (bool), ``rle`` (compressed
        counts of a mask that is no polygon, otherwise missing) and ``polygon`` (list of lists of
        float ``[x0, y0, x1, y1, …]``, px; kept by Arrow and turned into lists when read; missing
        where there is ``rle``). `masks.segmentations` gives either.

    Raises
    ------
    DeepMuCSError
        If the annotations can't be read, or the split has other cultures.
    """
    cells, images = _index_files(root, split, cache, cultures)
    table = pa.ipc.open_file(pa.memory_map(str(cells))).read_all()
    images = pd.read_parquet(images).drop(columns="cells").set_index("image_id")
    cells = images.loc[table["image_id"].to_numpy()].reset_index()
    cells.insert(0, "annotation_id", table["id"].to_numpy())
    cells[[*"xywh"]] = table["bbox"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    cells["area"] = table["area"].to_numpy()
    cells["iscrowd"] = table["iscrowd"].fill_null(0).to_numpy() > 0
    cells["rle"] = table["rle"].to_pandas()
    cells["polygon"] = pd.arrays.ArrowExtensionArray(table["segmentation"])
    return cells


def read_images(root, split, cache=CACHE):
    """Read the images of one split as a table, one row per image.

    Parameters
    ----------
    root, split, cache
        See `read_index`.

    Returns
    -------
    DataFrame
        Columns ``image_id, file_name, height, width, culture, well, hours`` and ``cells`` (number
        of annotations).
    """
    return pd.read_parquet(_index_files(root, split, cache, CULTURE_NAMES)[1])


def _index_files(root, split, cache, cultures):
    """Files of the index, written when they are missing: cells (Arrow) and images (Parquet)."""
    livecell = root if isinstance(root, LiveCell) else LiveCell(root)
    source = livecell.annotation_file(split)
    stem = Path(cache) / "index" / f"{split}-v{INDEX_VERSION}-{digest(source)[:16]}"
    cells, images = stem.with_suffix(".arrow"), stem.with_suffix(".parquet")
    if not (cells.is_file() and images.is_file()):
        stem.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cells, lambda partial: _write_index(source, partial, images))
    if cultures is not None:
        unknown = sorted({*pd.read_parquet(images)["culture"]} - {*cultures})
        if unknown:
            raise DeepMuCSError(
                f"{source}: images of unknown cultures {', '.join(unknown)}; "
                f"expected {', '.join(cultures)}; take another root."
            )
    return cells, images


def _write_index(source, cells, images):
    """Write the annotations of a COCO file and, once these are complete, its images."""
    table, parts = read_coco(source)
    names = pd.DataFrame(map(parse_name, table["file_name"]), columns=ImageName._fields)
    table = table.rename(columns={"id": "image_id"}).join(names)
    counts = pd.Series(0, table["image_id"])
    with pa.ipc.new_file(cells, CELLS) as file:
        for part in parts:
            file.write_table(part)
            found = part["image_id"].to_pandas().value_counts()
            counts[found.index] += found
    if not counts.any():
        raise DeepMuCSError(f"{source}: no annotations; expected at least one cell.")
    replace_file(images, table.assign(cells=counts.to_numpy()).to_parquet)

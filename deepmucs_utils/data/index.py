"""The index: a COCO file read by blocks into two tables, one row a cell and one row an image.

Cells are kept as an Arrow file, which is opened again by mapping it into memory; their polygons
stay lists of numbers until someone rasterises them. Images, a few thousand, are kept as Parquet.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from deepmucs_utils.data.coco_blocks import ANNOTATION, Blocks
from deepmucs_utils.data.cultures import parse_name
from deepmucs_utils.errors import DeepMuCSError

_STRINGS = ("file_name", "culture", "well")


def write_index(source, cells, images):
    """Write the index of a COCO file.

    Parameters
    ----------
    source : path-like
        COCO file with polygons, in LIVECell's form (annotations in a list, or keyed by id as in
        its size-split files); with or without white space.
    cells, images : path-like
        Files to write, Arrow and Parquet; see `livecell.read_index` and `livecell.read_images` for
        the columns.

    Raises
    ------
    DeepMuCSError
        If the file is not whole, not COCO, or names unknown images.
    """
    source = Path(source)
    try:
        with open(source, "rb") as file:
            blocks = Blocks(file)
            whole = None if blocks.find_start() else json.loads(source.read_bytes())
            entries = blocks.images() if whole is None else whole["images"]
            if entries is None:  # they come after the annotations: read the file twice
                for _ in blocks.tables():
                    pass
                entries = blocks.rest()["images"]
                file.seek(0)
                blocks = Blocks(file)
                blocks.find_start()
            table = _image_table(source, entries)
            writer = _Writer(source, cells, table)
            try:
                parts = blocks.tables() if whole is None else _plain_tables(whole["annotations"])
                for part in parts:
                    writer.write(part)
                if whole is None:
                    blocks.rest()  # a document that is cut short after the annotations
            finally:
                written = writer.close()
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        if isinstance(error, DeepMuCSError):
            raise
        raise DeepMuCSError(
            f"{source}: not a COCO file with polygons ({str(error)[:120]!r}); expected the keys "
            "images and annotations; download it again."
        ) from None
    if not written:
        raise DeepMuCSError(f"{source}: no annotations; expected at least one cell.")
    table.assign(cells=writer.counts).to_parquet(images, index=False)


def _plain_tables(annotations):
    if isinstance(annotations, dict):
        annotations = list(annotations.values())
    rows = [{name: cell[name] for name in ANNOTATION.names} for cell in annotations]
    if rows:
        yield pa.Table.from_pylist(rows, ANNOTATION)


def _image_table(source, entries):
    """One row an image, with what the file name says of it."""
    names = [parse_name(entry["file_name"]) for entry in entries]
    images = pd.DataFrame(entries)[["id", "file_name", "height", "width"]]
    images = images.rename(columns={"id": "image_id"}).assign(
        culture=[name.culture for name in names],
        well=[name.well for name in names],
        hours=[name.hours for name in names],
    )
    return images.drop_duplicates("image_id", ignore_index=True)


class _Writer:
    """Writes annotations joined with their images' facts, table by table, and counts them.

    Parameters
    ----------
    source, target : path-like
    images : DataFrame
        See `_image_table`.
    """

    def __init__(self, source, target, images):
        self._source, self._target = source, target
        self._order = np.argsort(images["image_id"].to_numpy(), kind="stable")
        self._ids = images["image_id"].to_numpy()[self._order]
        names = ("file_name", "height", "width", "culture", "well", "hours")
        self._facts = {name: pa.array(images[name]) for name in names}
        self._file = None
        self.counts = np.zeros(len(images), int)

    def write(self, table):
        """Check a table of annotations, join it and append it."""
        for name in ("id", "image_id", "bbox", "segmentation"):
            if table[name].null_count:
                raise ValueError(f"an annotation without {name}")
        place = self._places(table)
        self.counts += np.bincount(place, minlength=len(self.counts))
        box = table["bbox"].combine_chunks()
        if not (pa.compute.list_value_length(box).to_numpy() == 4).all():
            raise ValueError("a bounding box without four numbers")
        box = box.flatten().to_numpy().reshape(-1, 4)
        columns = {"annotation_id": table["id"], "image_id": table["image_id"]}
        rows = pa.array(place, pa.int32())
        for name, facts in self._facts.items():
            text = name in _STRINGS
            columns[name] = (
                pa.DictionaryArray.from_arrays(rows, facts) if text else facts.take(rows)
            )
        columns |= {name: box[:, number] for number, name in enumerate("xywh")}
        columns |= {"area": table["area"], "polygon": table["segmentation"]}
        joined = pa.table(columns)
        self._file = self._file or pa.ipc.new_file(self._target, joined.schema)
        self._file.write_table(joined)

    def _places(self, table):
        """Row of each annotation's image."""
        image_id = table["image_id"].to_numpy()
        found = np.minimum(np.searchsorted(self._ids, image_id), max(len(self._ids) - 1, 0))
        lost = np.flatnonzero(self._ids[found] != image_id) if len(self._ids) else [0]
        if len(lost):
            first = int(lost[0])
            raise DeepMuCSError(
                f"{self._source}: annotation {table['id'][first]} names image {image_id[first]}, "
                "which is not among the file's images; download it again."
            )
        return self._order[found]

    def close(self):
        """Finish the file; whether there was anything to write."""
        if self._file is not None:
            self._file.close()
        return self._file is not None

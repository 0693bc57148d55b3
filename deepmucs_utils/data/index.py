"""The index: a COCO file read by blocks into Parquet tables, one row a cell and one row an image.

LIVECell's training annotations are a single JSON document of several hundred megabytes. Parsing it
whole takes half a minute and gigabytes; here the array of annotations is cut at the objects' ends
and parsed block by block by pyarrow, and polygons stay lists of numbers until someone rasterises
them.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from deepmucs_utils.data.cultures import parse_name
from deepmucs_utils.errors import DeepMuCSError

BLOCK = 4 << 20  # bytes of JSON read at a time

_START = re.compile(rb'"annotations"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_END = re.compile(rb"\}\s*\]")
_EMPTY = re.compile(rb"\s*\]")
_ANNOTATION = pa.schema(
    {
        "id": pa.int64(),
        "image_id": pa.int64(),
        "area": pa.float64(),
        "bbox": pa.list_(pa.float64()),
        "segmentation": pa.list_(pa.list_(pa.float64())),
    }
)
_STRINGS = ("file_name", "culture", "well")


def write_index(source, cells, images):
    """Write the index of a COCO file as two Parquet files.

    Parameters
    ----------
    source : path-like
        COCO file with polygons, in LIVECell's form (annotations in a list, or keyed by id as in
        its size-split files); with or without white space.
    cells, images : path-like
        Files to write; see `livecell.read_index` and `livecell.read_images` for the columns.

    Raises
    ------
    DeepMuCSError
        If the file is not whole, not COCO, or names unknown images.
    """
    source = Path(source)
    try:
        with open(source, "rb") as file:
            blocks = _Blocks(file)
            whole = None if blocks.find_start() else json.loads(source.read_bytes())
            entries = blocks.images() if whole is None else whole["images"]
            if entries is None:  # they come after the annotations: read the file twice
                for _ in blocks.tables():
                    pass
                entries = blocks.rest()["images"]
                file.seek(0)
                blocks = _Blocks(file)
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


class _Blocks:
    """The annotations of an open COCO file, table by table; the rest of the document is kept."""

    def __init__(self, file):
        self._file = file
        self._buffer = b""
        self._head = b""
        self._tail = b""

    def find_start(self):
        """Read up to the first annotation; whether there is a list of annotations at all."""
        while True:
            more = self._file.read(BLOCK)
            self._buffer += more
            found = _START.search(self._buffer, max(len(self._buffer) - len(more) - 64, 0))
            if found:
                self._head = self._buffer[: found.end()]
                self._buffer = self._buffer[found.end() :]
                return True
            if not more:
                return False

    def images(self):
        """The document's images, which LIVECell lists first; None when they come later."""
        try:
            return json.loads(self._head + b"]}")["images"]
        except (ValueError, KeyError):
            return None

    def rest(self):
        """The document without its annotations, once these are read."""
        return json.loads(self._head + self._tail)

    def tables(self):
        """Yield the annotations as Arrow tables."""
        if _EMPTY.match(self._buffer):
            self._tail = self._buffer + self._file.read()
            return
        ended = False
        while not ended:
            more = self._file.read(BLOCK)
            self._buffer += more
            ended, table = self._next(not more)
            if table is not None:
                yield table
        self._tail = self._buffer + self._file.read()

    def _next(self, last):
        """Parse the whole objects of the buffer; whether the list has ended, and their table."""
        separator = _BETWEEN.search(self._buffer)
        if separator and not last:
            lines = self._buffer.replace(separator[0], separator[0].replace(b",", b"\n"))
            cut = self._buffer.rfind(separator[0])
            try:
                table = _parse(lines[: cut + 1])
            except pa.ArrowInvalid:  # the list ends here, or its spacing varies
                pass
            else:
                self._buffer = self._buffer[cut + len(separator[0]) - 1 :]
                return False, table
        end = _END.search(self._buffer)
        if end:
            text = self._buffer[: end.start() + 1]
            self._buffer = self._buffer[end.end() - 1 :]
            return True, _parse(_BETWEEN.sub(b"}\n{", text))
        if last:
            raise ValueError("the list of annotations has no end")
        *_, separator = [None, *_BETWEEN.finditer(self._buffer)]
        if separator is None:
            return False, None
        text = self._buffer[: separator.start() + 1]
        self._buffer = self._buffer[separator.end() - 1 :]
        return False, _parse(_BETWEEN.sub(b"}\n{", text))


def _parse(text):
    """Parse objects, one a line, or spread over lines."""
    first = text[: text.find(b"}")]
    options = pa.json.ParseOptions(
        explicit_schema=_ANNOTATION,
        unexpected_field_behavior="ignore",
        newlines_in_values=b"\n" in first.strip(),
    )
    reading = pa.json.ReadOptions(block_size=max(len(text) // 4, 1 << 20))
    return pa.json.read_json(pa.BufferReader(text), reading, options)


def _plain_tables(annotations):
    if isinstance(annotations, dict):
        annotations = list(annotations.values())
    rows = [{name: cell[name] for name in _ANNOTATION.names} for cell in annotations]
    if rows:
        yield pa.Table.from_pylist(rows, _ANNOTATION)


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
        self._file = self._file or pa.parquet.ParquetWriter(
            self._target, joined.schema, compression="none", use_dictionary=list(_STRINGS),
            write_statistics=False,
        )  # fmt: skip
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

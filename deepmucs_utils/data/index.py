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

from deepmucs_utils.data.cultures import CULTURE_NAMES, parse_name
from deepmucs_utils.errors import DeepMuCSError

BLOCK = 8 << 20  # bytes of JSON read at a time
ROWS = 1 << 16  # annotations in a row group

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
        If the file is not whole, not COCO, or names unknown cultures or images.
    """
    source = Path(source)
    try:
        with open(source, "rb") as file:
            blocks = _Blocks(file)
            start = blocks.find_start()
            if start is None:
                file.seek(0)
                document = json.load(file)
                tables = _plain_tables(document["annotations"])
                _write(source, tables, cells, images, document)
            else:
                _write(source, blocks.tables(), cells, images, blocks)
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        if isinstance(error, DeepMuCSError):
            raise
        raise DeepMuCSError(
            f"{source}: not a COCO file with polygons ({str(error)[:120]!r}); expected the keys "
            "images and annotations; download it again."
        ) from None


class _Blocks:
    """The annotations of an open COCO file, table by table; the rest of the document is kept."""

    def __init__(self, file):
        self._file = file
        self._buffer = b""
        self._head = b""
        self._tail = b""

    def find_start(self):
        """Read up to the first annotation; None when there is no list of annotations."""
        while True:
            more = self._file.read(BLOCK)
            self._buffer += more
            found = _START.search(self._buffer, max(len(self._buffer) - len(more) - 64, 0))
            if found or not more:
                break
        if found is None:
            return None
        self._head = self._buffer[: found.end()]
        self._buffer = self._buffer[found.end() :]
        return found.end()

    def tables(self):
        """Yield the annotations as Arrow tables."""
        if _EMPTY.match(self._buffer):
            self._tail = self._buffer + self._file.read()
            return
        ended = False
        while not ended:
            more = self._file.read(BLOCK)
            self._buffer += more
            text, rest, ended = self._cut(not more)
            if text:
                yield _parse(text)
            self._buffer = rest
        self._tail = self._buffer + self._file.read()

    def _cut(self, last):
        """Whole objects, one a line; what follows them; and whether the array has ended."""
        separator = _BETWEEN.search(self._buffer)
        lines = self._buffer.replace(separator[0], b"}\n{") if separator else self._buffer
        if lines.count(b"}") > lines.count(b"}\n{"):  # the array ends here, or spacing varies
            lines = _BETWEEN.sub(b"}\n{", lines)
            end = _END.search(lines)
            if end:
                return lines[: end.start() + 1], lines[end.end() - 1 :], True
        if last:
            raise ValueError("the list of annotations has no end")
        cut = lines.rfind(b"}\n{")
        return (lines[: cut + 1], lines[cut + 2 :], False) if cut >= 0 else (b"", lines, False)

    def __getitem__(self, key):
        """The rest of the document, once all annotations are read."""
        return json.loads(self._head + self._tail)[key]


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


def _write(source, tables, cells, images, document):
    """Write annotations to a raw file first when images stand behind them; then both tables."""
    writer, pending, rows = None, [], 0
    raw = Path(f"{cells}.raw")
    try:
        for table in tables:
            for name in ("id", "image_id", "bbox", "segmentation"):
                if table[name].null_count:
                    raise ValueError(f"an annotation without {name}")
            pending.append(table)
            rows += len(table)
            if sum(map(len, pending)) >= ROWS:
                writer = _flush(pending, raw, writer)
        if not rows:
            raise DeepMuCSError(f"{source}: no annotations; expected at least one cell.")
        writer = _flush(pending, raw, writer)
        writer.close()
        table = _image_table(source, document["images"])
        counts = _join(source, raw, table, cells)
    finally:
        if writer is not None:
            writer.close()
        raw.unlink(missing_ok=True)
    table.assign(cells=counts).to_parquet(images, index=False)


_PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def _flush(pending, path, writer):
    table = pa.concat_tables(pending)
    pending.clear()
    writer = writer or pa.parquet.ParquetWriter(path, table.schema, **_PLAIN)
    if len(table):
        writer.write_table(table)
    return writer


def _image_table(source, entries):
    """One row an image, with what the file name says of it."""
    names = [parse_name(entry["file_name"]) for entry in entries]
    unknown = sorted({name.culture for name in names} - set(CULTURE_NAMES))
    if unknown:
        raise DeepMuCSError(
            f"{source}: images of unknown cultures {', '.join(unknown)}; "
            f"expected {', '.join(CULTURE_NAMES)}."
        )
    images = pd.DataFrame(entries)[["id", "file_name", "height", "width"]]
    images = images.rename(columns={"id": "image_id"}).assign(
        culture=[name.culture for name in names],
        well=[name.well for name in names],
        hours=[name.hours for name in names],
    )
    return images.drop_duplicates("image_id", ignore_index=True)


def _join(source, raw, images, target):
    """Give each annotation its image's facts, row group by row group; count cells an image."""
    order = np.argsort(images["image_id"].to_numpy(), kind="stable")
    ids = images["image_id"].to_numpy()[order]
    counts = np.zeros(len(images), int)
    writer = None
    with pa.parquet.ParquetFile(raw, memory_map=False) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            image_id = table["image_id"].to_numpy()
            found = np.minimum(np.searchsorted(ids, image_id), len(ids) - 1)
            lost = np.flatnonzero(ids[found] != image_id) if len(ids) else np.arange(1)
            if len(lost):
                raise DeepMuCSError(
                    f"{source}: annotation {table['id'][int(lost[0])]} names image "
                    f"{image_id[lost[0]]}, which is not among the file's images; download it again."
                )
            place = order[found]
            counts += np.bincount(place, minlength=len(images))
            box = table["bbox"].combine_chunks()
            if not (pa.compute.list_value_length(box).to_numpy() == 4).all():
                raise ValueError("a bounding box without four numbers")
            box = box.flatten().to_numpy().reshape(-1, 4)
            columns = {"annotation_id": table["id"], "image_id": table["image_id"]}
            for name in ("file_name", "height", "width", "culture", "well", "hours"):
                values = pa.array(images[name].to_numpy()[place])
                columns[name] = values.dictionary_encode() if name in _STRINGS else values
            columns |= {name: box[:, number] for number, name in enumerate("xywh")}
            columns |= {"area": table["area"], "polygon": table["segmentation"]}
            joined = pa.table(columns)
            writer = writer or pa.parquet.ParquetWriter(
                target, joined.schema, compression="none", use_dictionary=list(_STRINGS),
                write_statistics=False,
            )  # fmt: skip
            writer.write_table(joined)
    writer.close()
    return counts

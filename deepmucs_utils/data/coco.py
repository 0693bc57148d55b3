"""COCO files read as tables.

LIVECell's training annotations are one JSON document of several hundred megabytes. A first pass
only finds where each annotation begins and ends; they are then parsed some thousand at a time, so
memory holds the text and little else. Arrow parses polygons fast; a chunk that holds anything else
(run lengths, a fault) is parsed annotation by annotation.
"""

from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.json
from hotcoco import mask as rle

from deepmucs_utils.errors import DeepMuCSError

CHUNK = 2_000  # annotations parsed at a time

CELLS = pa.schema(
    {
        "annotation_id": pa.int64(),
        "image": pa.int32(),
        **dict.fromkeys("xywh", pa.float64()),
        "area": pa.float64(),
        "iscrowd": pa.bool_(),
        "rle": pa.string(),
        "polygon": pa.list_(pa.list_(pa.float64())),
    }
)
_PARSED = pa.schema(
    {
        "id": pa.int64(),
        "image_id": pa.int64(),
        "bbox": pa.list_(pa.float64()),
        "segmentation": CELLS.field("polygon").type,
        "area": pa.float64(),
        "iscrowd": pa.int64(),
    }
)
_REQUIRED = _PARSED.names[:4]
_RLE = CELLS.field("rle")


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw] | dict[str, msgspec.Raw]


class _RunLengths(msgspec.Struct):
    size: list[int]
    counts: str | list[int]


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
    segmentation: list[list[float]] | _RunLengths
    area: float | None = None
    iscrowd: bool | int = 0


def read_coco(path):
    """Read a COCO file.

    Parameters
    ----------
    path : path-like
        Annotations in a list, or keyed by id as in LIVECell's size-split files. A segmentation is
        a list of polygons, possibly empty, or run lengths, compressed or not.

    Returns
    -------
    images : DataFrame
        Columns ``image_id, file_name, height, width`` (px); an id that is listed again is left out.
    cells : iterator of pyarrow.Table
        The annotations in the file's order, with the columns of `CELLS`: id, row of ``images``,
        bounding box (px), area (px², null where the file has none), whether it is a crowd, and
        either ``rle`` (compressed counts) or ``polygon``; the other one is null.

    Raises
    ------
    DeepMuCSError
        If the document is damaged or not COCO; while iterating, if an annotation lacks a field,
        names an unknown image or has run lengths that don't fit its image.
    """
    try:
        document = msgspec.json.decode(Path(path).read_bytes(), type=_Document)
    except ValueError as error:
        raise DeepMuCSError(
            f"{path}: not a COCO file ({error}); expected a whole JSON document with the keys "
            "images and annotations; download or export it again."
        ) from None
    entries = map(msgspec.structs.asdict, document.images)
    images = pd.DataFrame(entries, columns=_Image.__struct_fields__)
    images = images.rename(columns={"id": "image_id"}).drop_duplicates("image_id")
    annotations = document.annotations
    if isinstance(annotations, dict):
        annotations = list(annotations.values())
    return images.reset_index(drop=True), _read_cells(path, annotations, images)


def _read_cells(path, annotations, images):
    """Parse annotations chunk by chunk; see `read_coco`."""
    images = images.set_index("image_id")
    for first in range(0, len(annotations), CHUNK):
        chunk = annotations[first : first + CHUNK]
        table = _parse_polygons(chunk)
        if table is None:
            table = _parse_each(path, chunk, first, images)
        place = images.index.get_indexer(table["image_id"].to_numpy())
        if place.min() < 0:
            lost = table.slice(place.argmin(), 1).to_pylist()[0]
            raise DeepMuCSError(
                f"{path}: annotation {lost['id']} names image {lost['image_id']}, which is not "
                "among the file's images; add the image or remove the annotation."
            )
        box = table["bbox"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
        columns = [
            table["id"],
            pa.array(place, pa.int32()),
            *box.T,
            table["area"],
            table["iscrowd"].fill_null(0).cast(pa.bool_()),
            table["rle"],
            table["segmentation"],
        ]
        yield pa.table(columns, CELLS)


def _parse_polygons(chunk):
    """Annotations that all have polygons, by Arrow; None when there is anything else."""
    text = b"\n".join(chunk)
    parsing = pa.json.ParseOptions(
        explicit_schema=_PARSED, newlines_in_values=True, unexpected_field_behavior="ignore"
    )
    try:
        table = pa.json.read_json(
            pa.BufferReader(text), pa.json.ReadOptions(block_size=len(text)), parsing
        )
    except pa.ArrowInvalid:
        return None
    lengths = pa.compute.list_value_length(table["bbox"])
    if any(map(_has_nulls, table.select(_REQUIRED))) or (lengths.to_numpy() != 4).any():
        return None
    return table.append_column(_RLE, pa.nulls(len(table), _RLE.type))


def _has_nulls(column):
    """Whether a column or the lists in it hold a null."""
    if column.null_count:
        return True
    return pa.types.is_list(column.type) and _has_nulls(pa.compute.list_flatten(column))


def _parse_each(path, chunk, first, images):
    """Annotations of any form, one by one."""
    rows = []
    for number, raw in enumerate(chunk, first + 1):
        try:
            cell = msgspec.json.decode(raw, type=_Annotation)
            row = msgspec.structs.asdict(cell) | {"iscrowd": int(cell.iscrowd)}
            if isinstance(cell.segmentation, _RunLengths):
                row |= {"segmentation": None, "rle": _compress(cell, images)}
        except ValueError as error:
            raise DeepMuCSError(
                f"{path}: annotation number {number} is not COCO's ({error}); correct it or "
                "download the file again."
            ) from None
        rows.append(row)
    return pa.Table.from_pylist(rows, _PARSED.append(_RLE))


def _compress(cell, images):
    """Compressed counts of an annotation's run lengths."""
    size, counts = cell.segmentation.size, cell.segmentation.counts
    if cell.image_id in images.index:
        expected = images.loc[cell.image_id, ["height", "width"]].tolist()
        if size != expected:
            raise ValueError(f"run lengths of size {size}, expected its image's {expected}")
    return rle.frPyObjects({"size": size, "counts": counts}, *size)["counts"].decode()

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
_NUMBERS = pa.list_(pa.field("item", pa.float64(), nullable=False))
CELLS = pa.schema(
    {
        "id": pa.int64(),
        "image_id": pa.int64(),
        "bbox": _NUMBERS,
        "segmentation": pa.list_(pa.field("item", _NUMBERS, nullable=False)),
        "area": pa.float64(),
        "iscrowd": pa.int64(),
        "rle": pa.string(),
    }
)
_OPTIONAL = "area", "iscrowd"
_POLYGONS = pa.schema([field.with_nullable(field.name in _OPTIONAL) for field in [*CELLS][:-1]])


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw] | dict[str, msgspec.Raw]


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
    segmentation: list[list[float]] | dict
    area: float | None = None
    iscrowd: bool | int | None = None


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
        Columns ``id, file_name, height, width`` (px); an id that is listed again is left out.
    cells : iterator of pyarrow.Table
        The annotations in the file's order, with the columns of `CELLS`: as in the file, but that
        ``rle`` has the compressed counts of run lengths and ``segmentation`` only polygons; the
        other one is null. ``area`` and ``iscrowd`` are null where the file has none.

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
    listed = document.annotations
    annotations = [*listed.values()] if isinstance(listed, dict) else listed
    sizes = {image.id: [image.height, image.width] for image in document.images}
    return images.drop_duplicates("id", ignore_index=True), _read_cells(path, annotations, sizes)


def _read_cells(path, annotations, sizes):
    """Parse annotations chunk by chunk; see `read_coco`."""
    known = pa.array([*sizes], pa.int64())
    for first in range(0, len(annotations), CHUNK):
        chunk = annotations[first : first + CHUNK]
        table = _parse_polygons(chunk)
        if table is None:
            table = _parse_each(path, chunk, first, sizes)
        lost = table.filter(pa.compute.invert(pa.compute.is_in(table["image_id"], known)))
        if len(lost):
            raise DeepMuCSError(
                f"{path}: annotation {lost['id'][0]} names image {lost['image_id'][0]}, which is "
                "not among the file's images; add the image or remove the annotation."
            )
        yield table


def _parse_polygons(chunk):
    """Annotations that all have polygons, by Arrow; None when there is anything else."""
    text = b"\n".join(chunk)
    reading = pa.json.ReadOptions(block_size=len(text))
    parsing = pa.json.ParseOptions(
        explicit_schema=_POLYGONS, newlines_in_values=True, unexpected_field_behavior="ignore"
    )
    try:
        table = pa.json.read_json(pa.BufferReader(text), reading, parsing)
        table["bbox"].cast(pa.list_(pa.float64(), 4))
    except pa.ArrowInvalid:
        return None
    return table.append_column("rle", pa.nulls(len(table), pa.string())).cast(CELLS)


def _parse_each(path, chunk, first, sizes):
    """Annotations of any form, one by one."""
    rows = []
    for number, raw in enumerate(chunk, first + 1):
        try:
            cell = msgspec.json.decode(raw, type=_Annotation)
            row = msgspec.structs.asdict(cell) | {"iscrowd": int(cell.iscrowd or 0)}
            if isinstance(cell.segmentation, dict):
                size = sizes.get(cell.image_id, cell.segmentation["size"])
                if cell.segmentation["size"] != size:
                    raise ValueError(f"its mask is not of its image's size, {size}")
                code = rle.frPyObjects(cell.segmentation, *size)["counts"].decode()
                row |= {"segmentation": None, "rle": code}
        except (ValueError, TypeError, KeyError) as error:
            raise DeepMuCSError(
                f"{path}: annotation number {number} is not COCO's ({error}); correct it or "
                "download the file again."
            ) from None
        rows.append(row)
    return pa.Table.from_pylist(rows, CELLS)

"""The annotations of a COCO file, read by blocks as Arrow tables.

LIVECell's training annotations are a single JSON document of several hundred megabytes. The array
of annotations is cut at the objects' ends and parsed block by block. Nine tenths of the text are
polygons, so these are taken out first and read by their commas alone; what is left is short.
"""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.json

BLOCK = 1 << 20  # bytes of JSON read at a time; more does not stay in the processor's cache

ANNOTATION = pa.schema(
    {
        "id": pa.int64(),
        "image_id": pa.int64(),
        "area": pa.float64(),
        "bbox": pa.list_(pa.float64()),
        "segmentation": pa.list_(pa.list_(pa.float64())),
    }
)

_START = re.compile(rb'"annotations"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_END = re.compile(rb"\}\s*\]")
_EMPTY = re.compile(rb"\s*\]")
_PLACE = ANNOTATION.get_field_index("segmentation")
_WITHOUT_POLYGONS = ANNOTATION.set(_PLACE, pa.field("segmentation", pa.int64()))
_OPEN, _CLOSE, _COMMA, _SPACE = b"[], "


class Blocks:
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
            cut = self._buffer.rfind(separator[0])
            try:
                table = parse(self._buffer[: cut + 1], separator[0])
            except pa.ArrowInvalid:  # the list ends here, or its spacing varies
                pass
            else:
                self._buffer = self._buffer[cut + len(separator[0]) - 1 :]
                return False, table
        end = _END.search(self._buffer)
        if end:
            text = self._buffer[: end.start() + 1]
            self._buffer = self._buffer[end.end() - 1 :]
            return True, parse(_BETWEEN.sub(b"},{", text))
        if last:
            raise ValueError("the list of annotations has no end")
        *_, separator = [None, *_BETWEEN.finditer(self._buffer)]
        if separator is None:
            return False, None
        text = self._buffer[: separator.start() + 1]
        self._buffer = self._buffer[separator.end() - 1 :]
        return False, parse(_BETWEEN.sub(b"},{", text))


def parse(text, separator=b"},{"):
    """Parse annotations.

    Parameters
    ----------
    text : bytes
        Whole JSON objects.
    separator : bytes
        What stands between two of them, with the closing and the opening brace.

    Returns
    -------
    pyarrow.Table
        One row an object, in the order of the text, with the columns of `ANNOTATION`; null where
        an object lacks one.

    Raises
    ------
    pyarrow.ArrowInvalid
        If the text is something else.
    """
    rest, polygons = take_polygons(text)
    if polygons is not None:
        try:
            table = _read(rest, separator, _WITHOUT_POLYGONS)
        except pa.ArrowInvalid:  # other lists of lists, or no polygons in some objects
            table = None
        if table is not None and len(table) == len(polygons) and not table[_PLACE].null_count:
            return table.set_column(_PLACE, ANNOTATION.field(_PLACE), polygons)
    return _read(text, separator, ANNOTATION)


def _read(text, separator, schema):
    """Parse objects by pyarrow, each on a line of its own or over several."""
    lines = text.replace(separator, separator.replace(b",", b"\n"))
    options = pa.json.ParseOptions(
        explicit_schema=schema,
        unexpected_field_behavior="ignore",
        newlines_in_values=b"\n" in lines[: lines.find(b"}")].strip(),
    )
    reading = pa.json.ReadOptions(block_size=max(len(lines) // 4, 1 << 20))
    return pa.json.read_json(pa.BufferReader(lines), reading, options)


def take_polygons(text):
    """Take lists of lists of numbers out of a JSON text.

    Parameters
    ----------
    text : bytes
        Whole JSON objects.

    Returns
    -------
    rest : bytes
        The text with 0 in the place of each.
    polygons : pyarrow.ListArray of lists of float64, or None
        None when brackets or spaces stand otherwise than a plain writer of JSON puts them.
    """
    codes = np.frombuffer(text, np.uint8)
    brackets = np.flatnonzero((codes == _OPEN) | (codes == _CLOSE))
    opens = codes[brackets] == _OPEN
    depth = np.cumsum(np.where(opens, 1, -1))
    if not len(depth) or depth[-1] != 0 or depth.min() < 0 or depth.max() != 2:
        return text, None
    inner = np.flatnonzero(depth * opens == 2)  # the next bracket closes it
    first = np.flatnonzero(opens[:-1] & opens[1:])
    last = np.flatnonzero(~opens[:-1] & ~opens[1:]) + 1
    numbers, counts = _numbers(text, brackets[inner] + 1, brackets[inner + 1])
    if numbers is None or len(first) != len(last):
        return text, None
    ends = [0, *(brackets[last] + 1).tolist()]
    starts = [*brackets[first].tolist(), len(text)]
    rest = b"0".join([text[end:start] for end, start in zip(ends, starts, strict=True)])
    rings = pa.ListArray.from_arrays(_offsets(counts), numbers)
    held = np.diff(np.searchsorted(inner, first), append=len(inner))
    return rest, pa.ListArray.from_arrays(_offsets(held), rings)


def _offsets(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _numbers(text, starts, ends):
    """Numbers between commas in parts of a text, and how many each part holds; or None.

    Arrow converts strings fast, and finds them by offsets: each number is a string here, and what
    stands between two of them a null.
    """
    parts = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    gap = 1 if b", " in text else 0
    separator = b", "[: 1 + gap]
    joined = separator.join(parts)
    codes = np.frombuffer(joined, np.uint8)
    commas = np.flatnonzero(codes == _COMMA)
    if gap and (codes[commas + 1] != _SPACE).any():
        return None, None
    length = 2 * len(commas) + 1
    offsets = np.zeros(length + 1, np.int32)
    offsets[1:-1:2], offsets[2:-1:2], offsets[-1] = commas, commas + 1 + gap, len(joined)
    valid = np.full(length // 8 + 1, 0b01010101, np.uint8)
    buffers = [pa.py_buffer(part) for part in (valid, offsets, joined)]
    try:
        values = pa.Array.from_buffers(pa.string(), length, buffers).cast(pa.float64())
    except pa.ArrowInvalid:
        return None, None
    numbers = np.frombuffer(values.buffers()[1], np.float64)[:length:2]
    bounds = np.cumsum(ends - starts + len(separator)) - len(separator)
    counts = np.diff(np.searchsorted(commas, bounds), prepend=-1)
    return pa.array(np.ascontiguousarray(numbers)), counts

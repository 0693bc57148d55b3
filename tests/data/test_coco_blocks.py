import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.data.coco_blocks import parse, take_polygons

COORDINATES = st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(0, 703)
POLYGONS = st.lists(st.lists(COORDINATES, min_size=1, max_size=8), min_size=1, max_size=3)


def annotation(polygons, number=0, **more):
    return (
        {"id": number, "image_id": 1, "area": 2.5, "bbox": [1, 2.0, 3, 4]}
        | more
        | {"segmentation": polygons}
    )


def joined(cells, separators):
    return separators[0].join(json.dumps(c, separators=separators) for c in cells).encode()


@given(st.lists(POLYGONS, min_size=1, max_size=6), st.sampled_from([(", ", ": "), (",", ":")]))
@settings(max_examples=60, deadline=None)
def test_polygons_taken_out_are_those_of_the_text_to_the_last_bit(polygons, separators):
    cells = [annotation(polygon, number) for number, polygon in enumerate(polygons)]
    rest, taken = take_polygons(joined(cells, separators))
    assert taken.to_pylist() == polygons
    left = json.loads(b"[" + rest + b"]")
    assert left == [cell | {"segmentation": 0} for cell in cells]


ODD = {
    "no polygon": annotation([]),
    "an empty polygon": annotation([[]]),
    "other lists of lists": annotation([[1.5, 2, 3, 4]], parts=[[1, 2]]),
    "brackets in a text": annotation([[1.5, 2, 3, 4]], note="[[5, 6"),
    "a list in a text": annotation([[1.5, 2, 3, 4]], note="[[5, 6]]"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_written_otherwise_is_read_all_the_same(odd):
    cells = [annotation([[7, 8, 9.25]], 1), ODD[odd] | {"id": 2}, annotation([[1e-5, 2]], 3)]
    table = parse(joined(cells, (", ", ": ")), b"}, {")
    assert table["segmentation"].to_pylist() == [cell["segmentation"] for cell in cells]
    assert table["id"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("numbers", ["1.5,2, 3", "1.5, 2,3", "1.5 , 2", "1.5,  2", "[1], 2"])
def test_uneven_spaces_lose_no_digit(numbers):
    text = json.dumps(annotation([[4, 5]])).replace("4, 5", numbers)
    _, taken = take_polygons(text.encode())
    assert taken is None or taken.to_pylist() == json.loads(text)["segmentation"]

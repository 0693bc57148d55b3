import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from deepmucs_utils.data import coco
from deepmucs_utils.data.coco import CELLS, read_coco
from deepmucs_utils.errors import DeepMuCSError

SIZE = [20, 30]
LAYOUTS = {
    "with spaces": {},
    "without spaces": {"separators": (",", ":")},
    "over lines": {"indent": 2},
    "images last": {"last": "images"},
    "keys sorted": {"sort_keys": True},
}
COORDINATES = st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(0, 703)
POLYGONS = st.lists(st.lists(COORDINATES, max_size=8), max_size=3)


def annotation(number, segmentation, **more):
    box = {"bbox": [1, 2.0, 3, 4.5], "area": 2.5, "iscrowd": 0}
    facts = {"image_id": number % 4, "category_id": 1, "id": 7 * number}
    return {"segmentation": segmentation} | box | facts | more


def document(segmentations):
    images = [{"id": i, "file_name": f"{i}.tif", "height": 20, "width": 30} for i in range(4)]
    cells = [annotation(number, each) for number, each in enumerate(segmentations)]
    info = {"info": {"note": 'tricky "annotations": [ }, { ]'}}
    kinds = {"categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "}, {"}]}
    return info | {"images": images, "annotations": cells} | kinds


def polygons(count, seed=0):
    rng = np.random.default_rng(seed)
    return [[np.round(rng.uniform(0, 30, 2 * n), 2).tolist() for n in (3, 9)] for _ in range(count)]


def read(folder, content, last=None, **layout):
    if last:
        content[last] = content.pop(last)
    source = folder / "coco.json"
    source.write_text(content if isinstance(content, str) else json.dumps(content, **layout))
    images, parts = read_coco(source)
    return images, pa.concat_tables([CELLS.empty_table(), *parts])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_table_is_the_document_whatever_its_layout_and_the_chunks(
    tmp_path, monkeypatch, layout, chunk
):
    monkeypatch.setattr(coco, "CHUNK", chunk)
    content = document(polygons(40))
    expected = list(content["annotations"])
    images, cells = read(tmp_path, content, **LAYOUTS[layout])
    assert cells["id"].to_pylist() == [cell["id"] for cell in expected]
    assert cells["segmentation"].to_pylist() == [cell["segmentation"] for cell in expected]
    assert cells["area"].to_pylist() == [2.5] * 40
    assert cells["bbox"].to_pylist() == [[1, 2, 3, 4.5]] * 40
    assert cells["image_id"].to_pylist() == [cell["image_id"] for cell in expected]
    assert images["file_name"].tolist() == [f"{number}.tif" for number in range(4)]


@given(st.lists(POLYGONS, min_size=1, max_size=6), st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=60, deadline=None)
def test_coordinates_are_those_of_the_text_to_the_last_bit(tmp_path_factory, segmentations, layout):
    folder = tmp_path_factory.mktemp("coco")
    _, cells = read(folder, document(segmentations), **LAYOUTS[layout])
    assert cells["segmentation"].to_pylist() == segmentations


ODD = {
    "other lists of lists": {"parts": [[1, 2]]},
    "brackets in a text": {"note": "[[5, 6"},
    "an object in an object": {"attributes": {"id": 5, "segmentation": [[1, 2]]}},
    "a field named as a column": {"rle": "529"},
    "no area and no iscrowd": {"area": None, "iscrowd": None},
    "iscrowd as a boolean": {"iscrowd": False},
}


@pytest.mark.parametrize("odd", ODD)
def test_unusual_fields_change_nothing_else(tmp_path, odd):
    content = document(polygons(3))
    changed = content["annotations"][1] | ODD[odd]
    content["annotations"][1] = {key: value for key, value in changed.items() if value is not None}
    _, cells = read(tmp_path, content)
    assert cells["segmentation"].to_pylist() == polygons(3)
    assert cells["id"].to_pylist() == [0, 7, 14]
    assert not any(cells["iscrowd"].to_pylist()) and not any(cells["rle"].to_pylist())


def test_annotations_may_be_keyed_by_id(tmp_path):
    content = document(polygons(5))
    content["annotations"] = {str(cell["id"]): cell for cell in content["annotations"]}
    assert read(tmp_path, content)[1] == read(tmp_path, document(polygons(5)))[1]


def test_polygons_run_lengths_and_crowds_may_stand_side_by_side(tmp_path):
    counts = [5, 3, 10, 7, 575]
    code = coco_mask.frPyObjects({"size": SIZE, "counts": counts}, *SIZE)["counts"].decode()
    forms = [polygons(1)[0], {"size": SIZE, "counts": counts}, {"size": SIZE, "counts": code}, []]
    content = document(forms)
    content["annotations"][1]["iscrowd"] = 1
    _, cells = read(tmp_path, content)
    assert cells["segmentation"].to_pylist() == [forms[0], None, None, []]
    assert cells["rle"].to_pylist() == [None, code, code, None]
    assert cells["iscrowd"].to_pylist() == [0, 1, 0, 0]


def test_a_file_without_annotations_has_an_empty_table(tmp_path):
    images, cells = read(tmp_path, document([]))
    assert len(images) == 4 and len(cells) == 0


def test_a_document_cut_anywhere_is_refused(tmp_path):
    text = json.dumps(document(polygons(6)))
    for end in range(0, len(text), 97):
        with pytest.raises(DeepMuCSError, match="not a COCO file"):
            read(tmp_path, text[:end])


@pytest.mark.parametrize("name", ["id", "image_id", "bbox", "segmentation"])
def test_an_annotation_that_lacks_a_field_is_named(tmp_path, name):
    content = document(polygons(5))
    del content["annotations"][3][name]
    with pytest.raises(DeepMuCSError, match=f"number 4 .*required field `{name}`"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "number 4 .*length 4"),
        ({"segmentation": [[1, None, 3, 4]]}, "number 4 .*got `null`"),
        (
            {"segmentation": {"size": [30, 20], "counts": [600]}},
            "number 4 .*image's size",
        ),
        ({"segmentation": {"size": SIZE, "counts": [500, 500]}}, "number 4 .*exceed"),
        ({"segmentation": {"size": SIZE, "counts": "!!"}}, "number 4 .*invalid RLE"),
        ({"image_id": 9}, "annotation 21 names image 9"),
    ],
)
def test_an_annotation_that_does_not_fit_is_refused_in_one_sentence(tmp_path, change, message):
    content = document(polygons(5))
    content["annotations"][3] |= change
    with pytest.raises(DeepMuCSError, match=message):
        read(tmp_path, content)

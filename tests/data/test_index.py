import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.data import coco_blocks
from deepmucs_utils.data.index import write_index
from deepmucs_utils.errors import DeepMuCSError

NAMES = [f"A172_Phase_C{n}_1_00d20h00m_4.tif" for n in range(1, 5)]
LAYOUTS = {
    "with spaces": {},
    "without spaces": {"separators": (",", ":")},
    "over lines": {"indent": 2},
    "images last": {"last": "images"},
}


def document(cells, seed=0):
    rng = np.random.default_rng(seed)
    annotations = [
        {
            "segmentation": [
                np.round(rng.uniform(0, 500, 2 * rng.integers(3, 30)), 2).tolist()
                for _ in range(rng.integers(1, 3))
            ],
            "area": float(rng.uniform(1, 900)),
            "iscrowd": 0,
            "image_id": int(rng.integers(4)),
            "bbox": rng.uniform(0, 500, 4).tolist(),
            "category_id": 1,
            "id": 7 * number,
        }
        for number in range(cells)
    ]
    images = [{"id": i, "file_name": n, "height": 520, "width": 704} for i, n in enumerate(NAMES)]
    info = {"info": {"note": 'tricky "annotations": [ }, { ]'}}
    kinds = {"categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "}, {"}]}
    return info | {"images": images, "annotations": annotations} | kinds


def indexed(tmp_path, content, last=None, **layout):
    if last:
        content[last] = content.pop(last)
    source = tmp_path / "coco.json"
    source.write_text(content if isinstance(content, str) else json.dumps(content, **layout))
    write_index(source, tmp_path / "cells", tmp_path / "images")
    return pa.ipc.open_file(tmp_path / "cells").read_all(), pd.read_parquet(tmp_path / "images")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [200, 5_000, 1 << 22])
def test_the_index_is_the_document_whatever_its_spacing_and_the_blocks(
    tmp_path, monkeypatch, layout, block
):
    monkeypatch.setattr(coco_blocks, "BLOCK", block)
    content = document(40)
    expected = list(content["annotations"])
    cells, images = indexed(tmp_path, content, **LAYOUTS[layout])
    assert cells["annotation_id"].to_pylist() == [cell["id"] for cell in expected]
    assert cells["polygon"].to_pylist() == [cell["segmentation"] for cell in expected]
    assert cells["area"].to_pylist() == [cell["area"] for cell in expected]
    boxes = zip(*(cells[name].to_pylist() for name in "xywh"), strict=True)
    assert [list(box) for box in boxes] == [cell["bbox"] for cell in expected]
    names = [NAMES[cell["image_id"]] for cell in expected]
    assert cells["file_name"].to_pylist() == names
    assert images["cells"].tolist() == [names.count(name) for name in NAMES]


@given(st.integers(1, 60), st.integers(50, 3000), st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=25, deadline=None)
def test_no_annotation_is_lost_or_doubled_at_a_blocks_edge(tmp_path_factory, cells, block, layout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_blocks, "BLOCK", block)
        folder = tmp_path_factory.mktemp("index")
        table, images = indexed(folder, document(cells, seed=cells), **LAYOUTS[layout])
    assert table["annotation_id"].to_pylist() == [7 * number for number in range(cells)]
    assert images["cells"].sum() == cells


def test_a_document_cut_anywhere_is_refused(tmp_path):
    text = json.dumps(document(6))
    for end in range(100, len(text), 97):
        with pytest.raises(DeepMuCSError, match="not a COCO file|no annotations"):
            indexed(tmp_path, text[:end])


@pytest.mark.parametrize("name", ["id", "image_id", "bbox", "segmentation"])
def test_an_annotation_that_lacks_something_is_refused(tmp_path, name):
    content = document(5)
    del content["annotations"][3][name]
    with pytest.raises(DeepMuCSError, match=f"not a COCO file.*without {name}"):
        indexed(tmp_path, content)


def test_masks_instead_of_polygons_are_refused(tmp_path):
    content = document(5)
    content["annotations"][2]["segmentation"] = {"size": [520, 704], "counts": "abc"}
    with pytest.raises(DeepMuCSError, match="not a COCO file with polygons"):
        indexed(tmp_path, content)

"""What cannot be evaluated is refused with one sentence that names the record."""

import copy

import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from tests.coco_scenes import cell, dataset, detection, square, write

TRUTH = dataset([cell("A172", square(10, 10))])
FOUND = [detection("A172", square(10, 10), 0.9), detection("BV2", square(50, 50), 0.8)]
RLE = FOUND[1]["segmentation"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_id": 7}, "record 1: image_id 7 is not among the 1"),
        ({"category_id": 9}, "record 1: category_id 9 is not among the 8"),
        ({"score": "high"}, "record 1: score is 'high'"),
        ({"score": float("nan")}, "record 1: score is nan"),
        ({"bbox": [1, 2, 3]}, r"record 1: bbox is \[1, 2, 3\]"),
        ({"segmentation": RLE | {"size": [50, 200]}}, r"size is \[50, 200\].*\[100, 100\]"),
        ({"segmentation": RLE | {"counts": "abc"}}, "record 1: the mask cannot be decoded"),
        ({"segmentation": RLE | {"counts": [10, 20]}}, "record 1: the mask's counts are a list"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5]]}, "record 1: segmentation is not an RLE"),
    ],
)
def test_a_faulty_prediction_is_named(tmp_path, change, says):
    found = copy.deepcopy(FOUND)
    found[1] |= change
    with pytest.raises(DeepMuCSError, match=says):
        match_files(*write(tmp_path, TRUTH, found))


@pytest.mark.parametrize("key", ["image_id", "category_id", "bbox", "score", "segmentation"])
def test_a_missing_key_is_named(tmp_path, key):
    found = copy.deepcopy(FOUND)
    del found[0][key]
    with pytest.raises(DeepMuCSError, match=f"record 0: has no {key}; expected"):
        match_files(*write(tmp_path, TRUTH, found))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_id": 3}, r"annotations\[0\]: image_id 3"),
        ({"area": None}, r"annotations\[0\]: area is None"),
        ({"segmentation": RLE | {"size": [1, 1]}}, r"annotations\[0\]: the mask's size"),
    ],
)
def test_a_faulty_annotation_is_named(tmp_path, change, says):
    truth = copy.deepcopy(TRUTH)
    truth["annotations"][0] |= change
    with pytest.raises(DeepMuCSError, match=says):
        match_files(*write(tmp_path, truth, FOUND))


def test_files_that_are_missing_or_of_another_kind_are_named(tmp_path):
    truth, found = write(tmp_path, TRUTH, FOUND)
    with pytest.raises(DeepMuCSError, match="nowhere.json: cannot be read"):
        match_files(tmp_path / "nowhere.json", found)
    with pytest.raises(DeepMuCSError, match="expected a COCO annotation file"):
        match_files(found, found)
    with pytest.raises(DeepMuCSError, match="expected a COCO results list"):
        match_files(truth, truth)
    found.write_text("not json")
    with pytest.raises(DeepMuCSError, match="not a json file"):
        match_files(truth, found)
    found.write_text('[{"image_id": 0')
    with pytest.raises(DeepMuCSError, match="not a json file"):
        match_files(truth, found)

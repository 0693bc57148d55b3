import json

import cv2
import numpy as np
import pytest

from deepmucs_utils.data.livecell import LiveCell, read_index
from deepmucs_utils.data.masks import paint, segmentations
from deepmucs_utils.errors import DeepMuCSError

NAME = "A172_Phase_C7_1_00d20h00m_4.tif"


def cell(number, image_id=1):
    polygon = [10, 20, 20, 20, 20, 30, 10, 30]
    box = {"bbox": [10, 20, 10, 10], "area": 100, "segmentation": [polygon]}
    return {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0} | box


@pytest.fixture()
def root(tmp_path):
    """A root with one image and two cells in its train split."""
    (tmp_path / "images" / "anywhere").mkdir(parents=True)
    (tmp_path / "annotations" / "LIVECell").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "anywhere" / NAME), np.full((40, 50), 128, np.uint8))
    write(tmp_path, [cell(1), cell(2)])
    return tmp_path


def image(name=NAME):
    return {"id": 1, "file_name": name, "height": 40, "width": 50}


def write(root, annotations, **changes):
    coco = {"images": [image()], "annotations": annotations} | changes
    path = root / "annotations" / "LIVECell" / "livecell_coco_train.json"
    path.write_text(coco if isinstance(coco, str) else json.dumps(coco))
    return path


def test_the_index_has_one_row_per_cell_with_what_the_file_name_says(root, tmp_path):
    index = read_index(root, "train", tmp_path / "cache")
    assert index["annotation_id"].tolist() == [1, 2]
    row = index.iloc[0]
    assert (row["culture"], row["well"], row["hours"]) == ("A172", "C7", 20.0)
    assert row[["x", "y", "w", "h"]].tolist() == [10, 20, 10, 10]
    assert list(row["polygon"][0]) == [10, 20, 20, 20, 20, 30, 10, 30]


def test_an_index_follows_its_annotations(root, tmp_path):
    assert len(read_index(root, "train", tmp_path / "cache")) == 2
    write(root, [cell(1), cell(2), cell(3)])
    assert len(read_index(root, "train", tmp_path / "cache")) == 3


def test_annotations_keyed_by_id_are_read_too(root, tmp_path):
    write(root, {"1": cell(1), "2": cell(2)})
    assert len(read_index(root, "train", tmp_path / "cache")) == 2


def test_run_lengths_and_crowds_reach_the_masks(root, tmp_path):
    code = {"size": [40, 50], "counts": [5, 2, 1993]}
    write(root, [cell(1), cell(2) | {"segmentation": code, "iscrowd": 1}])
    index = read_index(root, "train", tmp_path / "cache")
    assert index["iscrowd"].tolist() == [False, True]
    scene = paint(segmentations(index), 40, 50)
    assert [mask.sum() for _, mask in scene.masks] == [100, 2]
    assert scene.owner[5:7, 0].tolist() == [1, 1] and scene.owner[25, 15] == 0


def test_images_lie_anywhere_below_the_images_folder(root):
    assert LiveCell(root).image(NAME).shape == (40, 50)


def test_a_missing_folder_file_or_image_is_named(root, tmp_path):
    with pytest.raises(DeepMuCSError, match="nowhere: no such folder"):
        LiveCell(tmp_path / "nowhere")
    with pytest.raises(DeepMuCSError, match="livecell_coco_val.json: no such file"):
        read_index(root, "val", tmp_path / "cache")
    with pytest.raises(DeepMuCSError, match="A172_Phase_C8.*not found"):
        LiveCell(root).image("A172_Phase_C8_1_00d20h00m_4.tif")
    LiveCell(root).image_path(NAME).write_bytes(b"II*")
    with pytest.raises(DeepMuCSError, match="not a readable image"):
        LiveCell(root).image(NAME)


@pytest.mark.parametrize(
    ("annotations", "changes", "message"),
    [
        ([], {}, "no annotations"),
        ([cell(7, image_id=5)], {}, "annotation 7 names image 5"),
        ([cell(1)], {"images": [image("cat.tif")]}, "cat.tif: not a LIVECell"),
        (None, {"images": 3}, "not a COCO file"),
    ],
)
def test_a_faulty_annotation_file_is_refused_in_one_sentence(
    root, tmp_path, annotations, changes, message
):
    write(root, annotations, **changes)
    with pytest.raises(DeepMuCSError, match=message):
        read_index(root, "train", tmp_path / "cache")


def test_a_culture_that_livecell_lacks_is_refused_unless_it_is_named(root, tmp_path):
    name = NAME.replace("A172", "HeLa")
    write(root, [cell(1)], images=[image(name)])
    with pytest.raises(DeepMuCSError, match="train.json: images of unknown cultures HeLa"):
        read_index(root, "train", tmp_path / "cache")
    for cultures in (["HeLa"], None):
        assert len(read_index(root, "train", tmp_path / "cache", cultures)) == 1


def test_a_partial_download_is_refused(root, tmp_path):
    path = write(root, [cell(1)])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DeepMuCSError, match="not a COCO file"):
        read_index(root, "train", tmp_path / "cache")

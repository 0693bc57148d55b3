import json
import tracemalloc

import cv2
import numpy as np
import pytest

from deepmucs_utils.data.livecell import SPLITS, LiveCell, read_index
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture
from deepmucs_utils.phantom.faults import spoil_cells
from deepmucs_utils.phantom.plate import Shot, list_shots
from deepmucs_utils.phantom.write import write_phantom

SMALL = {"images": 2, "cultures": ("MCF7", "SkBr3"), "size": (128, 160)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("phantom") / "root", **SMALL, seed=3, jobs=1)


def content(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_it_reads_as_a_livecell_root_with_splits_from_different_wells(root, tmp_path):
    wells = {}
    for split in SPLITS:
        index = read_index(root, split, tmp_path)
        assert set(index["culture"]) == set(SMALL["cultures"])
        wells[split] = set(index["well"])
        image = LiveCell(root).image(index["file_name"][0])
        assert image.shape == SMALL["size"] and image.dtype == np.uint8
    assert not wells["train"] & wells["val"] and not wells["train"] & wells["test"]
    assert not wells["val"] & wells["test"]


def test_images_are_in_the_folders_of_the_official_download(root):
    for split, folder in (("train", "train_val"), ("val", "train_val"), ("test", "test")):
        coco = json.loads((root / f"annotations/LIVECell/livecell_coco_{split}.json").read_text())
        assert [category["name"] for category in coco["categories"]] == ["cell"]
        for image in coco["images"]:
            culture = image["file_name"].split("_")[0]
            path = root / "images" / f"livecell_{folder}_images" / culture / image["file_name"]
            assert path.is_file()


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(root, tmp_path):
    again = write_phantom(tmp_path / "again", **SMALL, seed=3, jobs=2)
    assert content(again) == content(root)


def test_another_seed_gives_other_images(root, tmp_path):
    other = content(write_phantom(tmp_path / "other", **SMALL, seed=4, jobs=1))
    assert all(data != other[name] for name, data in content(root).items())


def test_an_image_and_its_cells_are_written_as_drawn(root):
    cultures = [culture for culture in PHANTOM_CULTURES if culture.name in SMALL["cultures"]]
    shot = list_shots(cultures, SMALL["images"])[-1]
    image, polygons, rng = shot.draw(1.0, SMALL["size"], seed=3)
    polygons, _ = spoil_cells(polygons, rng)
    assert (LiveCell(root).image(shot.name) == image).all()
    coco = json.loads((root / "annotations/LIVECell/livecell_coco_test.json").read_text())
    (number,) = (entry["id"] for entry in coco["images"] if entry["file_name"] == shot.name)
    written = [cell for cell in coco["annotations"] if cell["image_id"] == number]
    assert [cell["id"] for cell in written] == list(range(number + 1, number + 1 + len(polygons)))
    for cell, polygon in zip(written, polygons, strict=True):
        assert cell["segmentation"] == [polygon.round(2).ravel().tolist()]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    def draw(self, density, size, seed):
        polygons = np.random.default_rng(seed).uniform(0, 64, (300, 40, 2))
        return np.zeros(size, np.uint8), list(polygons), np.random.default_rng(seed)

    monkeypatch.setattr(Shot, "draw", draw)
    peaks = []
    for images in (2, 2, 20):  # the first one loads what is loaded once
        tracemalloc.start()
        write_phantom(tmp_path / f"{len(peaks)}", images, ["MCF7"], size=(64, 64), jobs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_polygons_lie_inside_their_image_and_agree_with_their_box_and_area(root, tmp_path):
    index = read_index(root, "train", tmp_path)
    for _, cell in index.iterrows():
        points = np.reshape(cell["polygon"][0], (-1, 2))
        assert (points >= 0).all() and (points <= (160, 128)).all()
        assert np.allclose(points.min(0), (cell["x"], cell["y"]), atol=0.01)
        assert np.allclose(np.ptp(points, axis=0), (cell["w"], cell["h"]), atol=0.02)
        assert cell["area"] == pytest.approx(cv2.contourArea(points.astype(np.float32)), abs=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cultures": ["HeLa"]}, "HeLa"),
        ({"cultures": [PhantomCulture("He-La", states=())]}, "He-La.*letters and digits"),
        ({"cultures": ["A172", PhantomCulture("A172", states=())]}, "only once"),
        ({"images": 0}, "images 0"),
        ({"density": 0}, "density 0"),
        ({"size": (8, 8)}, "size"),
    ],
)
def test_a_parameter_out_of_range_gives_one_sentence_and_no_files(tmp_path, options, words):
    with pytest.raises(DeepMuCSError, match=words):
        write_phantom(tmp_path / "root", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DeepMuCSError, match="not an empty folder"):
        write_phantom(tmp_path, **SMALL)
    assert (tmp_path / "mine.txt").read_text() == "precious"

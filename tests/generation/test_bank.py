import json
import pickle
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.data.livecell import LiveCell, read_images, read_index
from deepmucs_utils.generation.bank import build_bank

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def bank(root, cache):
    return build_bank(root, "train", cache, 1)


def test_every_cell_is_a_donor_or_excluded_with_a_reason(bank, root, cache):
    index = read_index(root, "train", cache)
    donors = bank.members["annotation_id"][bank.members["annotation_id"] >= 0].unique()
    assert len(donors) + bank.exclusions["cells"].sum() == len(index)
    by_culture = bank.exclusions.groupby("culture")["cells"].sum()
    excluded = index[~index["annotation_id"].isin(donors)].groupby("culture").size()
    assert by_culture.to_dict() == excluded.to_dict()
    assert set(bank.exclusions["reason"]) <= {
        "cut by the border",
        "too small",
        "overlapped",
        "double contour",
        "too few free edges",
        "area outside the culture's range",
    }


def test_a_cutout_is_its_donor_images_pixels_and_masks(bank, root, cache):
    index = read_index(root, "train", cache).set_index("annotation_id")
    livecell = LiveCell(root)
    for row in range(0, len(bank.cutouts), 17):
        entry, cutout = bank.cutouts.iloc[row], bank.cutout(row)
        image = livecell.image(entry["file_name"])
        here = np.s_[entry["top"] :, entry["left"] :]
        assert np.array_equal(image[here][: entry["height"], : entry["width"]], cutout.pixels)
        first = entry["first_member"]
        members = bank.members.iloc[first : first + entry["cells"]]
        assert np.bincount(cutout.labels.ravel())[1:].tolist() == members["area"].tolist()
        if entry["kind"] != "artefact":
            areas = index.loc[members["annotation_id"], "area"].to_numpy()
            assert members["area"].to_numpy() == pytest.approx(areas, rel=0.35, abs=20)


def test_backgrounds_are_plain_noise_at_their_images_level(bank):
    assert (bank.backgrounds["structured"] <= 0.01).all()
    assert (bank.backgrounds["level"] - 128).abs().max() < 1
    for row in range(len(bank.backgrounds)):
        noise = bank.backgrounds["noise"].iloc[row]
        assert bank.background(row).std() == pytest.approx(noise, rel=0.1)


def test_the_bank_does_not_depend_on_the_number_of_workers(bank, root, tmp_path):
    other = build_bank(root, "train", tmp_path, 2)
    for path in bank.folder.iterdir():
        assert path.read_bytes() == (other.folder / path.name).read_bytes(), path.name


def test_duplicates_and_images_of_a_later_split_give_nothing(root, tmp_path):
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    names = read_images(copy, "train", tmp_path)["file_name"]
    paths = LiveCell(copy)
    same, foreign = names[0], names[2]
    shutil.copyfile(paths.image_path(same), paths.image_path(names[1]))  # now the same pixels
    folder = copy / "annotations" / "LIVECell"
    train = json.loads((folder / "livecell_coco_train.json").read_text())
    val = json.loads((folder / "livecell_coco_val.json").read_text())
    entry = next(image for image in train["images"] if image["file_name"] == foreign)
    val["images"].append(entry | {"id": 10**6})
    (folder / "livecell_coco_val.json").write_text(json.dumps(val))
    bank = build_bank(copy, "train", tmp_path, 1)
    assert not bank.cutouts["file_name"].isin([names[1], foreign]).any()
    assert not bank.backgrounds["file_name"].isin([names[1], foreign]).any()
    counts = bank.exclusions.groupby("reason")["cells"].sum()
    cells = read_index(copy, "train", tmp_path).groupby("file_name").size()
    assert counts["image is a duplicate"] == cells[names[1]]
    assert counts["image is in another split as well"] == cells[foreign]


def test_an_image_without_room_for_clean_texture_gives_no_background(root, tmp_path):
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    name = read_images(copy, "train", tmp_path)["file_name"][0]
    path = LiveCell(copy).image_path(name)
    rng = np.random.default_rng(0)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    image[:, : image.shape[1] * 19 // 20] = rng.integers(0, 256, (image.shape[0], 1))
    cv2.imwrite(str(path), image)
    bank = build_bank(copy, "train", tmp_path, 1)
    assert [fault["file_name"] for fault in bank.facts["no_background"]] == [name]
    assert name not in set(bank.backgrounds["file_name"])


def test_the_artefact_rates_are_those_of_the_images(bank):
    assert len(bank.facts["artefact_rates"]) <= bank.facts["images"]
    artefacts = bank.cutouts[bank.cutouts["kind"] == "artefact"]
    assert isinstance(artefacts, pd.DataFrame) and len(artefacts) > 0
    assert (artefacts["area"] <= 150).all()


def test_a_bank_travels_as_its_folder_and_is_opened_there(bank):
    bank.sprite(0)  # its files are mapped
    content = pickle.dumps(bank)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).sprite(0).pixels, bank.sprite(0).pixels)

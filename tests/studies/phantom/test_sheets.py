from pathlib import Path

import cv2
import pytest

from deepmucs_utils.data.livecell import LiveCell
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom.sheets import (
    DETAIL,
    GAP,
    LABEL,
    WHOLE,
    ZOOM,
    write_blind_sheets,
    write_sheets,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("sheets") / "root"
    return write_phantom(out, images=2, cultures=["BV2"], size=(300, 380), jobs=1)


def test_a_sheet_shows_two_images_of_each_root_at_two_scales(root, tmp_path):
    (path,) = write_sheets(root, root, tmp_path / "sheets", tmp_path)
    sheet = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape == (2 * WHOLE[0] + GAP, 4 * WHOLE[1] + 3 * GAP)
    half = sheet.shape[1] // 2 - GAP // 2
    assert (sheet[:, :half] == sheet[:, -half:]).all()  # the same root on both sides


def test_sheets_inside_the_checkout_are_refused(root, tmp_path):
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        pytest.skip("this copy of the package is no checkout")
    with pytest.raises(DeepMuCSError, match="inside the repository"):
        write_sheets(root, root, checkout / "sheets", tmp_path)
    assert not (checkout / "sheets").exists()


def test_roots_without_a_common_culture_are_one_sentence(root, tmp_path):
    other = write_phantom(tmp_path / "o", images=1, cultures=["A172"], size=(128, 128), jobs=1)
    with pytest.raises(DeepMuCSError, match="no culture in common"):
        write_sheets(root, other, tmp_path / "sheets", tmp_path)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Images of the same names, other pixels."""
    out = tmp_path_factory.mktemp("sheets") / "other"
    return write_phantom(out, images=2, cultures=["BV2"], size=(300, 380), seed=1, jobs=1)


def tile_shows(tile, image):
    """Whether the inside of a tile of a blind sheet is part of an image at the same scale."""
    pixels = tile[LABEL : LABEL + ZOOM * DETAIL[0], : ZOOM * DETAIL[1]][9:-9, 9:-9]
    whole = cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    return cv2.matchTemplate(whole, pixels, cv2.TM_CCOEFF_NORMED).max() > 0.999


def test_the_key_of_a_blind_sheet_agrees_with_its_pictures(root, other, tmp_path):
    (path,) = write_blind_sheets(root, other, tmp_path / "sheets", pairs=3, cache=tmp_path)
    sheet = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    height, width = ZOOM * DETAIL[0] + LABEL + GAP, ZOOM * DETAIL[1] + GAP
    assert sheet.shape == (2 * height, 4 * width)
    key = read_json(tmp_path / "sheets" / "key" / "key.json")["BV2"]
    assert list(key) == ["1", "2", "3", "4", "5", "6"]
    kinds = []
    for number, entry in key.items():
        kind, name = entry.split(", ")
        row, column = divmod(int(number) - 1, 4)
        tile = sheet[row * height :, column * width :][:height, :width]
        source, opposite = (other, root) if kind == "real" else (root, other)
        assert tile_shows(tile, LiveCell(source).image(name))
        assert not tile_shows(tile, LiveCell(opposite).image(name))
        kinds.append(kind)
    assert all({*kinds[i : i + 2]} == {"real", "phantom"} for i in (0, 2, 4))
    real = {entry for entry in key.values() if entry.startswith("real")}
    assert len(real) == 3  # of different images, as there are enough
    assert (sheet[height:, 2 * width :] == 255).all()


def test_blind_sheets_repeat_with_their_seed_and_differ_with_another(root, other, tmp_path):
    keys = []
    for seed in (0, 0, 1):
        write_blind_sheets(root, other, tmp_path / "s", pairs=4, seed=seed, cache=tmp_path)
        keys.append(read_json(tmp_path / "s" / "key" / "key.json"))
    assert keys[0] == keys[1] != keys[2]


def test_images_without_annotations_and_chosen_splits_are_shown_too(root, other, tmp_path):
    cells = write_phantom(tmp_path / "o", images=1, cultures=["SkBr3"], size=(300, 380), jobs=1)
    folder = next((cells / "images").rglob("*.tif")).parent
    paths = write_blind_sheets(
        cells, other, tmp_path / "sheets", images=folder, splits=("val",), cache=tmp_path
    )
    assert [path.name for path in paths] == ["SkBr3.png"]
    key = read_json(tmp_path / "sheets" / "key" / "key.json")["SkBr3"]
    of_split = {entry.split(", ")[1] for entry in key.values() if entry.startswith("phantom")}
    assert len(of_split) == 1


def test_blind_sheets_inside_the_checkout_are_refused_too(root, tmp_path):
    with pytest.raises(DeepMuCSError, match="inside the repository"):
        write_blind_sheets(root, root, Path(__file__).parent / "sheets", cache=tmp_path)

from pathlib import Path

import cv2
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom.sheets import GAP, WHOLE, write_sheets


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

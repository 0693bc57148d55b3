import numpy as np
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom.difficulty import SIDE, measure_difficulty, read_crops


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("difficulty") / "root"
    return write_phantom(
        out, images=1, cultures=["A172", "SkBr3"], density=1.5, size=(300, 400), jobs=1
    )


def test_a_crop_shows_one_cell_and_nothing_around_it(root, tmp_path):
    crops, cells = read_crops(root, "train", 10, np.random.default_rng(0), tmp_path)
    labels = cells["culture"].to_numpy()
    assert crops.shape == (len(labels), SIDE, SIDE)
    assert set(labels) == {"A172", "SkBr3"}
    shown = (crops != 0).sum((1, 2))
    assert (shown[labels == "SkBr3"] < 1000).all()  # one round cell of 300 px², not its neighbours
    assert (crops[:, :2] == 0).mean() > 0.8


@pytest.mark.slow
def test_cultures_that_differ_are_distinguished_and_the_same_seed_gives_the_same(root, tmp_path):
    found = measure_difficulty(root, most=60, epochs=12, cache=tmp_path)
    assert found["balanced_accuracy"] > 75
    assert np.array(found["confusion"]).sum() == found["test_cells"]
    assert measure_difficulty(root, most=60, epochs=12, cache=tmp_path) == found


def test_a_root_of_one_culture_is_one_sentence(tmp_path):
    root = write_phantom(tmp_path / "root", images=1, cultures=["BV2"], size=(200, 200), jobs=1)
    with pytest.raises(DeepMuCSError, match="1 cultures in both"):
        measure_difficulty(root, cache=tmp_path)

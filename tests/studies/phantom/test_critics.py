import cv2
import numpy as np
import pytest

from deepmucs_utils.data.livecell import LiveCell
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom import critics
from deepmucs_utils.studies.phantom.critics import SIDE, measure_critics


def write(folder, seed, images=1):
    """A root of one culture."""
    return write_phantom(
        folder, images=images, cultures=["BV2"], density=2, size=(300, 400), seed=seed, jobs=1
    )


@pytest.fixture
def by_texture(monkeypatch):
    """A single critic, which needs no training: the standard deviation of a crop."""

    def scores(train, labels, test, seed):
        return test.std((1, 2, 3))

    monkeypatch.setattr(critics, "CRITICS", {"texture": scores})


def test_crops_lie_within_one_quarter_of_their_image(tmp_path):
    root = write(tmp_path / "root", 0)
    for path in LiveCell(root).paths.values():
        cv2.imwrite(
            str(path), np.kron([[10, 60], [110, 160]], np.ones((150, 200))).astype(np.uint8)
        )
    rng = np.random.default_rng(0)
    crops = critics._read(root, ("train", "val"), 100, rng, tmp_path / "cache")
    assert set(crops) == {("well", "BV2"), ("quarter", "BV2")}
    levels = [np.unique(quarter).tolist() for quarter in crops["quarter", "BV2"]]
    assert levels and all(level in ([-75], [-25], [25], [75]) for level in levels)  # median 85
    assert all(well.shape[1:] == (1, SIDE, SIDE) for well in crops["well", "BV2"])


def test_the_same_images_under_two_names_are_not_distinguished(tmp_path, by_texture):
    root = write(tmp_path / "root", 0)
    (row,) = measure_critics(root, root, cache=tmp_path)
    assert 0.35 < row["auc"] < 0.65
    assert row["null_least"] <= row["null"] <= row["null_most"]
    assert (row["culture"], row["critic"], row["null_by_well"]) == ("BV2", "texture", False)


def test_a_phantom_with_twice_the_contrast_is_distinguished(tmp_path, by_texture):
    root, other = write(tmp_path / "root", 0), write(tmp_path / "other", 1)
    for path in LiveCell(other).paths.values():
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)
        cv2.imwrite(str(path), (2 * (image - 128) + 128).clip(0, 255).astype(np.uint8))
    (row,) = measure_critics(root, other, cache=tmp_path)
    assert row["auc"] > 0.85
    assert measure_critics(root, other, cache=tmp_path) == [row]


def test_as_many_crops_of_both_kinds_are_judged_and_wells_are_held_out(tmp_path, monkeypatch):
    root, other = write(tmp_path / "root", 0), write(tmp_path / "other", 1)
    seen = []

    def judge(real, synthetic, *options):
        seen.append([[len(one) for one in kind] for kind in (real, synthetic)])
        return {"auc": 0.5}

    rows = measure_critics(root, other, cache=tmp_path, judge=judge)
    assert [row["critic"] for row in rows] == list(critics.CRITICS)
    real, synthetic = seen[critics.DRAWS]
    assert real == synthetic
    assert len(real) == rows[0]["real_wells"] > 1

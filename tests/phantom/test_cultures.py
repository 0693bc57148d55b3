from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import read_index
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture, State
from deepmucs_utils.phantom.draw import draw_image
from deepmucs_utils.phantom.layout import SIZE
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom.comparison import compare
from deepmucs_utils.studies.phantom.measure_image import measure_image
from deepmucs_utils.studies.phantom.measure_root import measure_root
from deepmucs_utils.studies.phantom.sheets import write_sheets


def draw(culture, time, seed=0, size=(300, 300)):
    place, rng = np.random.default_rng(seed).spawn(2)
    return draw_image(culture, time, 1.0, size, place, rng)


def union(polygons, size):
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 1)
    return mask > 0


def test_the_phantom_has_livecells_eight_cultures():
    assert tuple(culture.name for culture in PHANTOM_CULTURES) == CULTURE_NAMES


def test_a_ninth_culture_is_written_indexed_measured_and_shown(tmp_path):
    hela = PhantomCulture(
        "HeLa",
        states=(
            State(share=(0.7, 0.9), area=700, corners=4, height=0.2),
            State(share=(0.3, 0.1), area=300, aspect=1.1, ball=0.9),
        ),
        cover=(0.1, 0.4),
    )
    root = write_phantom(tmp_path / "root", images=2, cultures=[hela], size=(200, 260), jobs=1)
    images = sorted(root.rglob("HeLa_Phase_*.tif"))
    assert len(images) == 6
    assert cv2.imread(str(images[0]), cv2.IMREAD_GRAYSCALE).shape == (200, 260)
    index = read_index(root, "train", tmp_path, cultures=["HeLa"])
    assert set(index["culture"]) == {"HeLa"} and len(index) > 10
    (row,) = measure_root(root, cache=tmp_path, jobs=1).statistics.itertuples()
    assert row.culture == "HeLa" and row.images == 6 and 300 < row.area_median < 700
    (sheet,) = write_sheets(root, root, tmp_path / "sheets", tmp_path)
    assert sheet.name == "HeLa.png"


def test_a_ninth_culture_beside_the_eight_has_no_reference_to_compare_with(tmp_path):
    ninth = replace(PHANTOM_CULTURES[0], name="Ninth")
    root = write_phantom(tmp_path / "r", 1, ["SkBr3", ninth], size=(200, 260), jobs=1)
    measurement = measure_root(root, cache=tmp_path, jobs=1)
    assert list(measurement.statistics["culture"]) == ["Ninth", "SkBr3"]
    assert set(compare(measurement)["culture"]) == {"SkBr3"}


@pytest.mark.parametrize("culture", PHANTOM_CULTURES, ids=lambda culture: culture.name)
def test_cells_cover_more_of_the_image_at_the_end_than_at_the_start(culture):
    first, last = (
        union(draw(culture, time, size=SIZE)[1], SIZE).mean() / culture.cover[time]
        for time in (0, 1)
    )
    assert last * culture.cover[1] > 1.5 * first * culture.cover[0]
    assert last == pytest.approx(1, abs=0.35)
    assert first == pytest.approx(1, abs=0.5)  # few cells


def test_the_mixture_of_states_shifts_with_time():
    culture = PhantomCulture(
        "Two",
        states=(
            State(share=(1, 0), area=150, spread=0, ball=0.5),
            State(share=(0, 1), area=600, spread=0, ball=0.5),
        ),
        cover=(0.1, 0.1),
        colony=0,
    )
    small, large = (
        np.median([cv2.contourArea(p.astype(np.float32)) for p in draw(culture, time)[1]])
        for time in (0, 1)
    )
    assert small == pytest.approx(150, rel=0.15)
    assert large == pytest.approx(600, rel=0.15)


def test_the_annotated_outline_lies_outside_the_bright_rim():
    culture = PhantomCulture(
        "Round",
        states=(State((1, 1), area=500, spread=0, aspect=1, wave=0.02, ball=0.8, hand=0),),
        cover=(0.05, 0.05),
        colony=0,
        debris=0,
    )
    image, polygons = draw(culture, 0)
    _, _, profiles = measure_image(image, [[polygon.ravel()] for polygon in polygons])
    mean = np.nanmean(profiles, 0)  # from -6 to +10 px
    assert mean.argmax() in (5, 6)  # at -1 or 0 px
    assert np.abs(mean[9:]).max() < 0.05 * mean.max()  # from +3 px outwards


def test_polygons_have_as_many_vertices_as_livecells():
    vertices = [len(polygon) for culture in PHANTOM_CULTURES for polygon in draw(culture, 0.5)[1]]
    low, middle, high = np.percentile(vertices, (5, 50, 95))
    assert low >= 8 and 14 <= middle <= 40 and high <= 70  # of LIVECell: 8, 14 to 37, 24 to 69

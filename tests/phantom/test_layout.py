import cv2
import numpy as np
import pytest

from deepmucs_utils.phantom.annotate import annotate
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture, State
from deepmucs_utils.phantom.layout import SCALE, arrange
from deepmucs_utils.phantom.outlines import ANGLES, radii

DISC = State((1, 1), area=700, spread=0, aspect=1, wave=0, hand=0)
SIZE = (260, 352)


def layout_of(culture, time=0.5, cover=0.2, place=0, seed=0):
    streams = (np.random.default_rng(number) for number in (place, seed))
    return arrange(culture, cover, time, SIZE, *streams)


def one_culture(**options):
    return PhantomCulture("One", (DISC,), above=0, **options)


@pytest.mark.parametrize("state", [s for c in PHANTOM_CULTURES for s in c.states], ids=str)
def test_an_outline_has_about_the_area_that_was_asked_for(state):
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(20):
        table = radii(state, 15.0, rng)
        areas.append(0.5 * np.mean(table**2) * 2 * np.pi)
        assert (table > 0).all() and np.isfinite(table).all()
    assert np.mean(areas) == pytest.approx(np.pi * 15**2, rel=0.1)


def test_a_lone_disc_is_annotated_as_a_disc_of_its_area():
    culture = one_culture(colony=0, crowding=1.3, fill=1.0)
    polygons = annotate(culture, layout_of(culture, cover=0.08), np.random.default_rng(0))
    inside = [p for p in polygons if (p > 2).all() and (p < np.array(SIZE[::-1]) - 2).all()]
    areas = [cv2.contourArea(p.astype(np.float32)) for p in inside]
    assert len(areas) >= 5
    assert np.median(areas) == pytest.approx(DISC.area, rel=0.1)


def test_cells_of_a_sheet_share_their_borders():
    def gaps(fill):
        culture = one_culture(colony=1, colonies=3, fill=fill)
        covered = (layout_of(culture, 1, 0.4).layers[0].label > 0).astype(np.uint8)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
        closed = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, disc)
        return 1 - covered.sum() / closed.sum()

    assert gaps(1.5) < 0.01 < gaps(0.9)


def test_every_cell_is_in_one_piece():
    for culture in PHANTOM_CULTURES:
        layout = layout_of(culture, 1, 0.4)
        for layer in layout.layers:
            for number in np.unique(layer.label)[1:]:
                count, *_ = cv2.connectedComponents(
                    (layer.label == number).astype(np.uint8), connectivity=4
                )
                assert count == 2, (culture.name, number)


def test_a_place_grows_and_another_place_is_another():
    culture = one_culture(colony=1, colonies=3, fill=1.3)
    covered = {
        (place, time): layout_of(culture, time, cover, place, seed).layers[0].label > 0
        for seed, (place, time, cover) in enumerate(((0, 0.2, 0.1), (0, 0.9, 0.4), (1, 0.9, 0.4)))
    }
    early = covered[0, 0.2]
    assert (early & covered[0, 0.9]).sum() > 0.8 * early.sum()
    assert (early & covered[1, 0.9]).sum() < 0.8 * early.sum()


def test_cells_of_the_second_layer_lie_over_others():
    culture = PhantomCulture("Two", (DISC,), above=0.25, crowding=0.4, colony=0)
    layout = layout_of(culture, cover=0.5)
    below, above = (layer.label > 0 for layer in layout.layers)
    assert (below & above).mean() > 0.02


def test_the_canvas_is_finer_than_the_image():
    label = layout_of(one_culture()).layers[0].label
    assert label.shape == tuple(SCALE * side for side in SIZE)
    assert len(ANGLES) > 2 * np.pi * 30  # finer than a pixel for cells up to 60 px

import re

import numpy as np
import pytest

from deepmucs_utils.data.cultures import parse_name
from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES
from deepmucs_utils.phantom.plate import HOURS, MOST_IMAGES, VISITS, WELLS, Shot, list_shots


def shots_of(culture, split, images=None):
    return [shot for shot in list_shots([culture], images) if shot.split == split]


def place(shot):
    return shot.well, shot.position, shot.crop


def test_a_set_may_have_twelve_blocks_of_test_images_and_six_of_val_images():
    assert WELLS["test"] > 12 and WELLS["val"] > 6  # one well more, as one may give no donors


@pytest.mark.parametrize("culture", PHANTOM_CULTURES, ids=lambda culture: culture.name)
def test_every_well_is_on_a_plate_of_96_and_in_one_split_only(culture):
    wells = {split: {shot.well for shot in shots_of(culture, split)} for split in SPLITS}
    assert {split: len(own) for split, own in wells.items()} == WELLS
    assert len(set.union(*wells.values())) == sum(WELLS.values())
    assert all(re.fullmatch("[A-H]([1-9]|1[0-2])", well) for well in set.union(*wells.values()))


@pytest.mark.parametrize("split", SPLITS)
def test_every_place_is_seen_while_it_is_sparse_and_again_later(split):
    hours = {}
    for shot in shots_of(PHANTOM_CULTURES[0], split):
        hours.setdefault(place(shot), []).append(shot.hours)
    assert len(hours) == WELLS[split]
    for found in hours.values():
        assert len(found) == VISITS and min(found) < HOURS / 2 < max(found)
        assert 0.4 * HOURS < np.ptp(found) < 0.6 * HOURS
    assert {0, HOURS} <= {hour for found in hours.values() for hour in found}


@pytest.mark.parametrize("images", [1, 2, 5, 16, 100, MOST_IMAGES])
@pytest.mark.parametrize("split", SPLITS)
def test_names_are_livecells_and_differ_for_any_number_of_images(images, split):
    shots = shots_of(PHANTOM_CULTURES[1], split, images)
    names = [shot.name for shot in shots]
    assert len(set(names)) == len(names) == images
    assert all(shot.crop <= 4 and shot.position <= 2 for shot in shots)
    for shot in shots[:5]:
        assert parse_name(shot.name) == (shot.culture.name, shot.well, shot.hours)
    visits = [shot.hours for shot in shots]
    assert visits == sorted(visits)


def test_from_16_images_a_well_on_all_its_places_are_seen():
    places = {place(shot) for shot in shots_of(PHANTOM_CULTURES[0], "train", 16 * WELLS["train"])}
    assert len(places) == 8 * WELLS["train"]


def test_the_same_name_gives_the_same_image_whatever_else_is_written():
    alone = Shot("train", PHANTOM_CULTURES[6], "A1", 1, 1, 10)
    one, other = (alone.draw(1.0, (96, 128), seed=2) for _ in range(2))
    assert (one[0] == other[0]).all()
    assert all((p == q).all() for p, q in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("change", [{"hours": 11}, {"crop": 2}, {"well": "A2"}])
def test_another_name_gives_another_image(change):
    shot = {"well": "A1", "position": 1, "crop": 1, "hours": 10}
    one, other = (
        Shot("train", PHANTOM_CULTURES[6], **of).draw(1.0, (96, 128), seed=2)[0]
        for of in (shot, shot | change)
    )
    assert (one != other).any()


@pytest.mark.parametrize(
    ("change", "same"), [({"hours": 50}, True), ({"crop": 2}, False), ({"well": "A2"}, False)]
)
def test_a_place_has_one_stream_of_random_numbers_at_all_times(change, same, monkeypatch):
    def draw(culture, time, density, size, place, rng):
        return place.random(), rng.random()

    monkeypatch.setattr("deepmucs_utils.phantom.plate.draw_image", draw)
    shot = {"well": "A1", "position": 1, "crop": 1, "hours": 10}
    one, other = (
        Shot("train", PHANTOM_CULTURES[6], **of).draw(1.0, (96, 128), seed=2)
        for of in (shot, shot | change)
    )
    assert (one[0] == other[0]) == same and one[1] != other[1]

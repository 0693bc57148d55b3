import csv
import json

import cv2
import numpy as np
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies.realism.blind_test import PAIRS, SIDE, ZOOM, score, write_sheet


@pytest.fixture()
def sheet(tmp_path):
    """A sheet on which every composite is brighter than every real picture."""
    mask = np.zeros((200, 200), bool)
    mask[90:110, 90:110] = True
    pictures = {}
    for name, grey in (("real", 128), ("made", 128)):
        image = np.full((200, 200), grey, np.uint8)
        image[mask] = 160 if name == "made" else 100
        pictures[name] = [(image, np.array([[99.5, 99.5]]))]
    write_sheet(tmp_path, pictures["real"], pictures["made"], seed=1)
    return tmp_path


def answer(folder, answers):
    with open(folder / "answers.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair", "composite"])
        writer.writerows(enumerate(answers, 1))


def test_the_key_says_on_which_side_the_composite_is(sheet):
    key = json.loads((sheet / "blind_test_key.json").read_text())
    picture = cv2.imread(str(sheet / "blind_test.png"), cv2.IMREAD_GRAYSCALE)
    assert len(key) == PAIRS and 10 < key.count("left") < 30
    side = SIDE * ZOOM
    bright = picture[22 : 22 + side, 4 : 4 + side].max() > 180  # the first pair's left picture
    assert bright == (key[0] == "left")


def test_all_right_answers_and_guesses_are_scored(sheet):
    key = json.loads((sheet / "blind_test_key.json").read_text())
    answer(sheet, key)
    assert score(sheet)["share"] == 1 and score(sheet)["p"] < 1e-9
    answer(sheet, [*key[:20], *({"left": "right", "right": "left"}[side] for side in key[20:])])
    half = score(sheet)
    assert half["right"] == 20 and half["low"] < 0.5 < half["high"] and half["p"] > 0.4


@pytest.mark.parametrize("wrong", ["", "both", "links"])
def test_a_pair_without_a_clear_answer_is_named(sheet, wrong):
    key = json.loads((sheet / "blind_test_key.json").read_text())
    answer(sheet, [*key[:6], wrong, *key[7:]])
    with pytest.raises(DeepMuCSError, match=f"pair 7 has the answer '{wrong}'"):
        score(sheet)


def test_without_a_sheet_there_is_nothing_to_score(tmp_path):
    with pytest.raises(DeepMuCSError, match="deepmucs realism"):
        score(tmp_path)

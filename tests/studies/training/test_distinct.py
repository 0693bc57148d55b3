"""Second detections of a cell, by hand and against all pairs of whole masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from deepmucs_utils.studies.training.distinct import distinct

SHAPE = (40, 60)


def masks_of(*boxes):
    """Filled boxes (x0, y0, x1, y1) as masks."""
    masks = np.zeros((len(boxes), *SHAPE), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    return masks


def kept(masks, overlap, threshold, across=True, classes=None):
    codes = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    boxes = np.array([coco_mask.toBbox(code) for code in codes]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.zeros(len(masks), int) if classes is None else np.array(classes)
    return distinct(boxes, codes, classes, overlap, threshold, across).tolist()


#: Intersection over union of the first with the second 2/3, over the smaller 1; the third is apart.
NESTED = (0, 0, 30, 20), (0, 0, 20, 20), (40, 0, 50, 10)


@pytest.mark.parametrize(
    ("overlap", "threshold", "expected"),
    [
        ("", 0.0, [True, True, True]),
        ("box", 0.6, [True, False, True]),
        ("box", 0.7, [True, True, True]),
        ("mask", 0.6, [True, False, True]),
        ("mask", 0.7, [True, True, True]),
        ("smaller", 0.9, [True, False, True]),
    ],
)
def test_a_detection_that_overlaps_a_more_certain_one_too_much_is_left_out(
    overlap, threshold, expected
):
    assert kept(masks_of(*NESTED), overlap, threshold) == expected
    swapped = masks_of(NESTED[1], NESTED[0], NESTED[2])
    assert kept(swapped, overlap, threshold) == expected


@pytest.mark.parametrize("overlap", ["box", "mask", "smaller"])
def test_classes_are_told_apart_unless_one_cell_may_have_two(overlap):
    masks = masks_of(*NESTED)
    assert kept(masks, overlap, 0.5, across=False, classes=[1, 2, 1]) == [True, True, True]
    assert kept(masks, overlap, 0.5, across=False, classes=[1, 1, 1]) == [True, False, True]
    assert kept(masks, overlap, 0.5, across=True, classes=[1, 2, 1]) == [True, False, True]


def test_crossing_elongated_cells_are_two_by_their_masks_and_one_by_their_boxes():
    diagonal = np.abs(np.arange(40)[:, None] - np.arange(60)) < 3
    masks = np.stack([diagonal, diagonal[::-1]]).astype(np.uint8)
    assert kept(masks, "box", 0.5) == [True, False]
    assert kept(masks, "mask", 0.5) == kept(masks, "smaller", 0.5) == [True, True]


def test_what_was_left_out_suppresses_nothing():
    chain = masks_of((0, 0, 20, 20), (10, 0, 30, 20), (20, 0, 40, 20))
    assert kept(chain, "mask", 0.3) == [True, False, True]


def test_no_detection_and_an_empty_mask_are_no_duplicates():
    assert kept(masks_of(), "mask", 0.5) == []
    assert kept(masks_of((0, 0, 9, 9), (0, 0, 0, 0), (0, 0, 0, 0)), "smaller", 0.5) == [True] * 3


@given(st.integers(0, 2**32), st.sampled_from(["mask", "smaller"]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_it_is_the_greedy_rule_over_all_pairs_of_whole_masks(seed, overlap, across):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 25, (12, 2))
    masks = masks_of(*np.hstack([start, start + rng.integers(1, 15, (12, 2))]))
    classes, threshold = rng.integers(0, 2, 12), rng.choice([0.2, 0.5, 0.8])
    expected = []
    for row, mask in enumerate(masks):
        shares = []
        for other in np.flatnonzero(expected):
            if across or classes[row] == classes[other]:
                both = np.sum(mask & masks[other])
                areas = mask.sum(), masks[other].sum()
                shares.append(both / (min(areas) if overlap == "smaller" else sum(areas) - both))
        expected.append(all(share <= threshold for share in shares))
    assert kept(masks, overlap, threshold, across, classes) == expected

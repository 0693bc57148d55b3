"""Which detections are second detections of a cell that a more certain one has already.

The network's heads suppress boxes of one class that overlap (``MODEL.ROI_HEADS.NMS_THRESH_TEST``).
What is compared here comes after them, of detections with masks; only those are compared whose
boxes meet, so memory does not grow with pairs or pixels. The study `duplicates` found none of it
worth its place in the network: ``book/measured/duplicates.json``.
"""

import numpy as np
from hotcoco import mask as rle


def distinct(boxes, codes, classes, overlap, threshold, across):
    """Go through detections by falling score and leave out those that overlap an earlier one.

    Parameters
    ----------
    boxes : ndarray of float, shape (n, 4)
        x and y of two corners, px, by falling score.
    codes : sequence of dict
        The masks' run lengths.
    classes : ndarray of int, shape (n,)
    overlap : {"", "box", "mask", "smaller"}
        Intersection over union of boxes, that of masks, or the masks' intersection over the area
        of the smaller one; empty leaves out nothing.
    threshold : float
        The greatest overlap of two different cells.
    across : bool
        Whether detections of different classes may be of one cell.

    Returns
    -------
    ndarray of bool, shape (n,)
        The detections to keep.
    """
    kept = np.ones(len(boxes), bool)
    if not overlap:
        return kept
    areas = np.array(rle.area(list(codes)), float) if len(codes) else np.zeros(0)
    sides = boxes[:, 2:] - boxes[:, :2]
    for row in range(len(boxes)):
        if not kept[row]:
            continue
        first, last = boxes[row:, :2], boxes[row:, 2:]
        meet = np.minimum(last[0], last) - np.maximum(first[0], first)
        near = kept[row:] & (meet > 0).all(1) & (across | (classes[row:] == classes[row]))
        others = row + np.flatnonzero(near)[1:]
        if not len(others):
            continue
        if overlap == "box":
            shared = meet[others - row].prod(1)
            share = shared / (sides[row].prod() + sides[others].prod(1) - shared)
        else:
            crowd = overlap == "smaller"  # COCO divides by the area of the first mask alone then
            theirs = [codes[other] for other in others]
            share = np.asarray(rle.iou([codes[row]], theirs, [crowd] * len(others)))[0]
            if crowd:
                share = share * areas[row] / np.maximum(np.minimum(areas[row], areas[others]), 1)
        kept[others[share > threshold]] = False
    return kept

"""What one image gives to the bank: donors, artefacts, a background, and what was left out."""

import hashlib
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import cKDTree

from deepmucs_utils.data.clean_area import find_structure
from deepmucs_utils.data.cultures import PLAUSIBLE_AREAS
from deepmucs_utils.data.masks import paint, segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.artefacts import find_artefacts
from deepmucs_utils.generation.backgrounds import clear
from deepmucs_utils.generation.cells import LEAST_FREE, cut, extract, fault, rim_and_roundness
from deepmucs_utils.generation.groups import find_groups

LEAST_SEARCHED = 0.05  # share of an image that must be free for its artefact rate to count
MOST_STRUCTURED = 0.01  # share of a background that may still be more than plain noise


@dataclass
class Harvest:
    """What one image gives.

    Parameters
    ----------
    culture : str
    annotated : int
        Number of annotated cells.
    content : str
        SHA-256 of the pixels; two images with the same content are duplicates.
    cutouts : list of (dict, Cutout, list of tuple)
        Table entry, cutout, and annotation id, area and centre of each of its cells.
    background : tuple of (dict, ndarray) or None
    no_background : list of dict
        ``file_name`` and ``reason`` when the image gives no background.
    reasons : list of (str, str)
        Culture and reason for every cell that is in no donor.
    artefact_rate : list of float
        Artefacts a px²; empty when too little of the image is free.
    nearest : ndarray of float
        Distance from each cell's centre to the nearest other one, px.
    """

    culture: str
    annotated: int
    content: str
    cutouts: list = field(default_factory=list)
    background: tuple | None = None
    no_background: list = field(default_factory=list)
    reasons: list = field(default_factory=list)
    artefact_rate: list = field(default_factory=list)
    nearest: np.ndarray = field(default_factory=lambda: np.empty(0))


def harvest(path, cells, foreign=False):
    """Take everything that one image gives.

    Parameters
    ----------
    path : path-like
    cells : DataFrame
        Its rows of the index.
    foreign : bool
        Whether a later split lists the image as well; then it gives nothing.

    Returns
    -------
    Harvest
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DeepMuCSError(f"{path}: not a readable image; download it again.")
    first = cells.iloc[0]
    culture = str(first["culture"])
    if foreign:
        found = Harvest(culture, len(cells), Path(path).name)
        found.reasons = [(culture, "image is in another split as well")] * len(cells)
        return found
    origin = {"culture": culture, "file_name": str(first["file_name"]), "well": str(first["well"])}
    origin["hours"] = float(first["hours"])
    found = Harvest(culture, len(cells), hashlib.sha256(image.tobytes()).hexdigest())
    scene = paint(segmentations(cells), *image.shape)
    _take_donors(found, image, scene, cells, origin)
    _take_artefacts(found, image, scene.mask, origin)
    _take_background(found, image, scene.mask, origin)
    return found


def _take_donors(found, image, scene, cells, origin):
    """Single donors and groups, and the reason of every cell that is in neither."""
    ids, crowd = cells["annotation_id"].to_numpy(), cells["iscrowd"].to_numpy()
    area_range = PLAUSIBLE_AREAS[found.culture]
    reasons = [
        "is a crowd" if crowd[row] else fault(scene, row, area_range) for row in range(len(ids))
    ]
    sound = np.array([not reason for reason in reasons])
    grouped = set()
    for group in find_groups(scene, sound):
        cutout, corner, free = cut(image, scene, group)
        if free >= LEAST_FREE and len(np.unique(cutout.labels)) == len(group) + 1:
            grouped.update(group)
            found.cutouts.append(_entry(origin, "group", cutout, corner, free, ids[group], image))
    for row in np.flatnonzero(sound):
        cutout, reasons[row], free = extract(image, scene, row, area_range)
        if cutout is not None:
            _, corner, _ = cut(image, scene, [row])
            found.cutouts.append(_entry(origin, "cell", cutout, corner, free, ids[[row]], image))
    found.reasons = [
        (found.culture, reason)
        for row, reason in enumerate(reasons)
        if reason and row not in grouped
    ]
    centres = np.array(
        [np.mean(np.nonzero(mask), axis=1) + box[:2] for box, mask in scene.masks if mask.any()]
    )
    if len(centres) > 1:
        found.nearest = cKDTree(centres).query(centres, k=2)[0][:, 1]


def _entry(origin, kind, cutout, corner, free, ids, image):
    """Table row and members of a donor."""
    height, width = cutout.labels.shape
    areas = np.bincount(cutout.labels.ravel(), minlength=len(ids) + 1)[1:]
    centres = [np.mean(np.nonzero(cutout.labels == n), axis=1) for n in range(1, len(ids) + 1)]
    inside = (1 - height / image.shape[0]) * (1 - width / image.shape[1])
    rim, roundness = rim_and_roundness(cutout)
    entry = origin | {
        "kind": kind,
        "annotation_id": int(ids[0]),
        "cells": len(ids),
        "area": int(areas.sum()),
        "free": free,
        "level": cutout.level,
        "rim": rim,
        "roundness": roundness,
        "weight": 1 / max(inside, 0.1),
        "top": corner[0],
        "left": corner[1],
    }
    members = [
        (int(i), int(a), round(float(y), 2), round(float(x), 2))
        for i, a, (y, x) in zip(ids, areas, centres, strict=True)
    ]
    return entry, cutout, members


def _take_artefacts(found, image, mask, origin):
    artefacts, searched = find_artefacts(image, mask)
    found.cutouts += [
        _entry(origin, "artefact", cutout, (top, left), 1.0, [-1], image)
        for top, left, cutout in artefacts
    ]
    if searched >= LEAST_SEARCHED * image.size:
        found.artefact_rate = [len(artefacts) / searched]


def _take_background(found, image, mask, origin):
    """A cleared image, accepted by the structure that remains in it."""
    rng = np.random.default_rng(zlib.crc32(origin["file_name"].encode()))
    clearing = clear(image, mask, rng)
    reason = clearing.reason
    if clearing.background is not None:
        structure, _ = find_structure(clearing.background, np.zeros_like(mask))
        structured = float(structure.mean())
        if structured > MOST_STRUCTURED:
            reason = f"{structured:.1%} still structured after clearing"
    if reason:
        found.no_background = [{"file_name": origin["file_name"], "reason": reason}]
        return
    facts = {"clean": float(clearing.clean.mean()), "structured": structured}
    facts |= {"noise": clearing.noise, "level": float(clearing.background.mean())}
    found.background = (origin | facts, clearing.background)

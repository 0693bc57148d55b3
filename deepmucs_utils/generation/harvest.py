"""What one image gives to the bank: donors, artefacts, a background, and what was excluded."""

import hashlib
import zlib
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from deepmucs_utils.data.clean_area import find_structure
from deepmucs_utils.data.cultures import PLAUSIBLE_AREAS
from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.data.masks import Scene, paint
from deepmucs_utils.generation.artefacts import find_artefacts
from deepmucs_utils.generation.backgrounds import clear
from deepmucs_utils.generation.cells import LEAST_FREE, Cutout, cut, distance_to, extract, fault
from deepmucs_utils.generation.groups import find_groups

LEAST_SEARCHED = 0.05  # share of an image that must be free for its artefact rate to count
MOST_STRUCTURED = 0.01  # share of a background that may be more than plain noise
RIM = 2.5  # px inside the mask: the outermost two pixels
LEAST_INSIDE = 0.1  # share of places in an image, so that no weight exceeds 10


@dataclass
class Harvest:
    """What one image gives.

    Parameters
    ----------
    origin : dict
        ``culture, file_name, well, hours`` of the image.
    annotated : int
        Number of annotated cells.
    content : str
        SHA-256 of the pixels; images with the same content are duplicates.
    excluded : list of str
        Reason for every cell that is in no donor.
    cutouts : list of (dict, Cutout, list of tuple)
        Table entry, cutout, and ``(annotation id, area, y, x)`` of each of its cells.
    backgrounds : list of (dict, ndarray)
        Table entry and cleared image, unless there is none.
    no_background : list of dict
        ``file_name`` and ``reason``, where the image gives no background.
    artefact_rates : list of float
        Artefacts per px², unless too little of the image is free.
    nearest : list of float
        Distance from each cell's centre to the nearest other one, px.
    """

    origin: dict
    annotated: int
    content: str
    excluded: list[str] = field(default_factory=list)
    cutouts: list[tuple] = field(default_factory=list)
    backgrounds: list[tuple] = field(default_factory=list)
    no_background: list[dict] = field(default_factory=list)
    artefact_rates: list[float] = field(default_factory=list)
    nearest: list[float] = field(default_factory=list)


def harvest(path, cells: pd.DataFrame, foreign: bool) -> Harvest:
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

    Raises
    ------
    DeepMuCSError
        If the image cannot be read.
    """
    image = read_image(path)
    origin = cells.iloc[0][["culture", "file_name", "well"]].astype(str).to_dict()
    origin["hours"] = float(cells["hours"].iloc[0])
    if foreign:
        reasons = ["image is in another split as well"] * len(cells)
        return Harvest(origin, len(cells), origin["file_name"], reasons)
    found = Harvest(origin, len(cells), hashlib.sha256(image.tobytes()).hexdigest())
    scene = paint(cells["polygon"].tolist(), *image.shape)
    _take_donors(found, image, scene, cells["annotation_id"].to_numpy())
    _take_artefacts(found, image, scene.mask)
    _take_background(found, image, scene.mask)
    found.nearest = _nearest_distances(scene)
    return found


def _take_donors(found, image, scene, ids):
    """Single donors and groups, and the reason of every cell that is in neither."""
    areas = PLAUSIBLE_AREAS[found.origin["culture"]]
    sound = np.array([not fault(scene, row, areas) for row in range(len(ids))])
    grouped = set()
    for group in find_groups(scene, sound):
        cutout = cut(image, scene, group)
        if cutout.free >= LEAST_FREE and len(np.unique(cutout.labels)) == len(group) + 1:
            grouped.update(group)
            found.cutouts.append(_entry(found.origin, "group", cutout, ids[group], image.shape))
    for row in range(len(ids)):
        cutout, reason = extract(image, scene, row, areas)
        if cutout is not None:
            found.cutouts.append(_entry(found.origin, "cell", cutout, ids[[row]], image.shape))
        elif row not in grouped:
            found.excluded.append(reason)


def _take_artefacts(found, image, mask):
    """Artefacts, and their rate where enough of the image is free."""
    artefacts, searched = find_artefacts(image, mask)
    found.cutouts += [_entry(found.origin, "artefact", one, [-1], image.shape) for one in artefacts]
    if searched >= LEAST_SEARCHED * image.size:
        found.artefact_rates.append(len(artefacts) / searched)


def _take_background(found, image, mask):
    """A cleared image, unless structure remains in it."""
    name = found.origin["file_name"]
    clearing = clear(image, mask, np.random.default_rng(zlib.crc32(name.encode())))
    background, reason = clearing.background, clearing.reason
    if background is not None:
        structure, _ = find_structure(background, np.zeros_like(mask))
        structured = float(structure.mean())
        if structured > MOST_STRUCTURED:
            reason = f"{structured:.1%} still structured after clearing"
    if reason:
        found.no_background.append({"file_name": name, "reason": reason})
        return
    facts = {"clean": float(clearing.clean.mean()), "structured": structured}
    facts |= {"noise": clearing.noise, "level": float(background.mean())}
    found.backgrounds.append((found.origin | facts, background))


def _entry(origin, kind, cutout, ids, shape):
    """Table entry, cutout and members of a donor or an artefact."""
    numbers = range(1, len(ids) + 1)
    areas = np.bincount(cutout.labels.ravel(), minlength=len(ids) + 1)[1:]
    centres = [np.mean(np.nonzero(cutout.labels == number), axis=1) for number in numbers]
    inside = np.prod(1 - np.divide(cutout.labels.shape, shape))
    rim, roundness = _rim_and_roundness(cutout)
    entry = origin | {
        "kind": kind,
        "annotation_id": int(ids[0]),
        "cells": len(ids),
        "area": int(areas.sum()),
        "free": cutout.free,
        "level": cutout.level,
        "rim": rim,
        "roundness": roundness,
        "weight": 1 / max(inside, LEAST_INSIDE),
        "top": cutout.top,
        "left": cutout.left,
    }
    members = [
        (int(i), int(area), round(float(y), 2), round(float(x), 2))
        for i, area, (y, x) in zip(ids, areas, centres, strict=True)
    ]
    return entry, cutout, members


def _rim_and_roundness(cutout: Cutout):
    """How bright the rim is above the surroundings (grey levels), and 4π area / perimeter² of the
    whole piece (1 for a disc)."""
    mask = cutout.mask
    rim = cutout.pixels[mask & (distance_to(~mask) <= RIM)].mean() - cutout.level
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    area = sum(cv2.contourArea(contour) for contour in contours)
    return float(rim), float(min(4 * np.pi * area / max(perimeter, 1) ** 2, 1))


def _nearest_distances(scene: Scene):
    """Distance from each cell's centre to the nearest other one, px."""
    centres = [
        np.mean(np.nonzero(mask), axis=1) + box[:2] for box, mask in scene.masks if mask.any()
    ]
    return cKDTree(centres).query(centres, k=2)[0][:, 1].tolist() if len(centres) > 1 else []

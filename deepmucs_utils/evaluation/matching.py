"""Which detection found which cell: the one matching that every metric and analysis shares.

COCO's protocol, with LIVECell's settings, matches within a culture, the highest score first. The
matching is hotcoco's, which gives pycocotools' numbers in a fraction of the time; here its answer
is laid out as arrays, one culture at a time, so that precision and recall are a few sums away.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from hotcoco import COCO, COCOeval
from hotcoco import mask as rle

from deepmucs_utils.data.livecell import AREA_LIMITS
from deepmucs_utils.evaluation.records import (
    culture_names,
    one_class,
    read_ground_truth,
    read_predictions,
)

IOU_TYPES = ("bbox", "segm")
SMALL, LARGE = AREA_LIMITS
#: Areas in square pixels, by LIVECell's limits, where COCO has 32**2 and 96**2. As in COCO both
#: ends belong to a range, so a cell of exactly 324 px² counts as small and as medium.
AREA_RANGES = {
    "all": (0, 1e10),
    "small": (0, SMALL),
    "medium": (SMALL, LARGE),
    "large": (LARGE, 1e10),
}
#: Most detections per image that LIVECell's evaluation counts, the best first; COCO's own limit is
#: 100. Every number here is read at the last one.
MAX_DETECTIONS = (100, 500, 2000)
OVERLAPS = np.arange(50, 100, 5) / 100
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
_CHUNK = 4_000_000  # detections times replicates that are in memory at once


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one culture in falling order of score, and which of them found a cell.

    Parameters
    ----------
    image : ndarray of int, shape (D,)
        Index of each detection's image.
    hit, counted : ndarray of bool, shape (T, D)
        At each of T overlaps: whether it found a cell; whether it counts at all (crowd regions and
        what lies outside the area range do not).
    cells : ndarray of int, shape (I,)
        Cells to be found in each of the I images.
    record : ndarray of int, shape (D,), optional
        Each detection's place in the results list.
    cell : ndarray of int, shape (T, D), optional
        Place of the cell that it found in the list of annotations, -1 for none.
    score : ndarray of float, shape (D,), optional
    """

    image: np.ndarray
    hit: np.ndarray
    counted: np.ndarray
    cells: np.ndarray
    record: np.ndarray | None = None
    cell: np.ndarray | None = None
    score: np.ndarray | None = None

    def at_half(self) -> "ClassMatches":
        """The same at the first overlap alone, an IoU of 0.5."""
        return replace(self, hit=self.hit[:1], counted=self.counted[:1], cell=self.cell[:1])


def ranked(score, cells, **arrays) -> ClassMatches:
    """Matches in falling order of score, from arrays whose last axis is that of detections."""
    order = np.argsort(-score, kind="stable")
    arrays = {name: values[..., order] for name, values in arrays.items()}
    return ClassMatches(score=score[order], cells=cells, **arrays)


@dataclass(frozen=True)
class Matched:
    """One model's detections on one set; each matching is made when first needed, and once.

    Parameters
    ----------
    truth : dict
        From `read_ground_truth`.
    records : list of dict
        From `read_predictions`.
    source : str
        The ground truth's file, named in errors.
    """

    truth: dict
    records: list
    source: str = "ground truth"
    _pairs: dict = field(default_factory=dict, init=False, repr=False)
    _classes: dict = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The annotations, see `cell_table`."""
        return cell_table(self.truth)

    @cached_property
    def pooled(self) -> "Matched":
        """The same with all cultures as one class, called ``cell``."""
        return Matched(*one_class(self.truth, self.records), self.source)

    def evaluation(self, iou_type="segm", areas=tuple(AREA_RANGES)) -> COCOeval:
        """hotcoco's evaluation, matched but not accumulated.

        Parameters
        ----------
        iou_type : {"bbox", "segm"}
            Whether the overlap is that of boxes or of masks.
        areas : sequence of str
            Keys of `AREA_RANGES`.

        Returns
        -------
        hotcoco.COCOeval

        Notes
        -----
        A detection without a partner is ignored in an area range that its own area is not in.
        That area is the mask's for ``"segm"`` (as in detectron2; pycocotools takes the box's if a
        record has both) and the box's for ``"bbox"``. A cell's area is always its mask's, so a
        false box on a small cell can count as large, and APl is lower for boxes than for masks.
        """
        if iou_type not in self._pairs:
            unused = {"bbox": "segmentation", "segm": "bbox"}[iou_type]
            cells = COCO(self.truth)
            found = [{k: v for k, v in record.items() if k != unused} for record in self.records]
            self._pairs[iou_type] = cells, cells.load_res(found)
        evaluation = COCOeval(*self._pairs[iou_type], iou_type)
        evaluation.params.max_dets = list(MAX_DETECTIONS)
        evaluation.params.area_rng = [list(AREA_RANGES[name]) for name in areas]
        evaluation.params.area_rng_lbl = list(areas)
        evaluation.evaluate()
        return evaluation

    def by_culture(self, iou_type="segm", area="all") -> dict[str, ClassMatches]:
        """The matches of each culture.

        Parameters
        ----------
        iou_type : {"bbox", "segm"}
        area : str
            A key of `AREA_RANGES`.

        Returns
        -------
        dict of str to ClassMatches
            By culture, in the order of category ids; cultures without cells are included. Images
            are in the order of the ground truth, overlaps are those of `OVERLAPS`.
        """
        if (iou_type, area) not in self._classes:
            position = {image["id"]: index for index, image in enumerate(self.truth["images"])}
            names = culture_names(self.truth)
            entries = {category: [] for category in names}
            for entry in self.evaluation(iou_type, [area]).eval_imgs:
                if entry is not None:
                    entries[entry["category_id"]].append(entry)
            self._classes[iou_type, area] = {
                name: _arrange(entries[category], position) for category, name in names.items()
            }
        return self._classes[iou_type, area]

    def ranking(self) -> ClassMatches:
        """All cultures' detections in one ranking, at a mask IoU of 0.5.

        A hit is still a cell of the detection's own culture.
        """
        parts = [matches.at_half() for matches in self.by_culture().values()]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in ("image", "hit", "counted", "record", "cell", "score")
        }
        return ranked(cells=np.sum([part.cells for part in parts], axis=0), **joined)


def match_files(ground_truth, predictions) -> Matched:
    """Read a set's ground truth and one model's predictions, for `Matched`.

    Parameters
    ----------
    ground_truth : str or Path
        COCO json of the set, or the set's folder.
    predictions : str or Path
        COCO results list with boxes, scores and RLE masks.

    Returns
    -------
    Matched

    Raises
    ------
    DeepMuCSError
        If a file cannot be read or a record is faulty.
    """
    truth = read_ground_truth(ground_truth)
    return Matched(truth, read_predictions(predictions, truth), str(ground_truth))


def cell_table(ground_truth) -> pd.DataFrame:
    """One row per annotation, in the file's order.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.

    Returns
    -------
    pandas.DataFrame
        Columns ``annotation_id`` (as in the file), ``image`` (index), ``culture``, ``area`` (px²),
        ``crowd``.
    """
    position = {image["id"]: index for index, image in enumerate(ground_truth["images"])}
    names, annotations = culture_names(ground_truth), ground_truth["annotations"]
    return pd.DataFrame(
        {
            "annotation_id": [cell["source_id"] for cell in annotations],
            "image": np.array([position[cell["image_id"]] for cell in annotations], int),
            "culture": [names[cell["category_id"]] for cell in annotations],
            "area": np.array([cell["area"] for cell in annotations], float),
            "crowd": np.array([bool(cell.get("iscrowd")) for cell in annotations], bool),
        }
    )


def overlaps(records, others, crowd=False) -> np.ndarray:
    """Intersection over union of each record's mask with each of the others.

    Parameters
    ----------
    records, others : list of dict
        With ``segmentation``.
    crowd : bool
        Whether the others are crowd regions: then the union is the record alone.

    Returns
    -------
    ndarray of float, shape (records, others)
    """
    if not records or not others:
        return np.zeros((len(records), len(others)))
    masks = ([record["segmentation"] for record in group] for group in (records, others))
    return np.asarray(rle.iou(*masks, [crowd] * len(others)))


def _arrange(entries, position):
    """Arrays of one culture from hotcoco's record of each image."""
    cells = np.zeros(len(position), int)
    for entry in entries:
        cells[position[entry["image_id"]]] = np.sum(np.asarray(entry["gtIgnore"]) == 0)
    sizes = [len(entry["dtScores"]) for entry in entries]

    def joined(key, rows=1):
        parts = [np.reshape(entry[key], (rows, n)) for entry, n in zip(entries, sizes, strict=True)]
        return np.concatenate([np.empty((rows, 0)), *parts], axis=1)

    counted = joined("dtIgnore", OVERLAPS.size) == 0
    hit = (joined("dtMatched", OVERLAPS.size) > 0) & counted
    return ranked(
        joined("dtScores")[0],
        cells,
        image=np.repeat([position[entry["image_id"]] for entry in entries], sizes).astype(int),
        hit=hit,
        counted=counted,
        record=joined("dtIds")[0].astype(int) - 1,  # both lists are numbered from 1
        cell=np.where(hit, joined("dtMatches", OVERLAPS.size).astype(int) - 1, -1),
    )


def average_precision(matches, weights=None, among=None) -> tuple[np.ndarray, np.ndarray]:
    """AP of one culture at each overlap, in weighted sets of images, all sets at once.

    Parameters
    ----------
    matches : ClassMatches
    weights : ndarray of int, shape (R, I), optional
        How often each image is in each of R sets; by default there is one set, as it is. Every set
        must hold a cell of the culture.
    among : ndarray of int, shape (I,), optional
        Number of cells in each image to which the precision is normalised (Hoiem et al., ECCV
        2012, section 3): the precision there would be with as many cells as these, found at the
        same recall, beside the same false detections. By default the cells themselves.

    Returns
    -------
    ap, recall : ndarray of float, shape (T, R)
        AP and greatest recall, between 0 and 1.
    """
    if weights is None:
        weights = np.ones((1, matches.cells.size), int)
    columns = max(1, _CHUNK // max(1, matches.image.size))
    ap = np.empty((len(matches.hit), len(weights)))
    recall = np.empty_like(ap)
    for start in range(0, len(weights), columns):
        part = slice(start, start + columns)
        by_image = np.ascontiguousarray(weights[part].T, dtype=np.int32)
        cells = matches.cells @ by_image
        scale = 1 if among is None else (among @ by_image) / cells
        before = None
        for row, (hit, counted) in enumerate(zip(matches.hit, matches.counted, strict=True)):
            if before is None or (counted != before).any():  # without crowds it is always the same
                before, total = counted, _running_sum(by_image[matches.image[counted]])
            hits = np.flatnonzero(hit[counted])
            true = _running_sum(by_image[matches.image[counted][hits]])
            among_all = total[hits] - true + true * scale
            precision = true * scale / np.where(among_all > 0, among_all, 1)
            ap[row, part] = interpolated_ap(precision, true / cells)
            recall[row, part] = true[-1] / cells if len(true) else 0
    return ap, recall


def _running_sum(weights):
    return np.cumsum(weights, axis=0, dtype=np.int32)


def interpolated_precision(precision, recall) -> tuple[np.ndarray, np.ndarray]:
    """COCO's interpolation: at each of 101 recalls the best precision at that recall or beyond.

    The curve falls only at detections that found a cell, so it is a staircase with one step for
    each of these.

    Parameters
    ----------
    precision, recall : ndarray of float, shape (n, …)
        After each detection that found a cell, in falling order of score.

    Returns
    -------
    precision : ndarray of float, shape (n, …)
        Height of each step.
    width : ndarray of int, shape (n, …)
        How many of `RECALLS` lie on it; those beyond the last step have precision 0.
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(RECALLS, recall, side="right")
    return best, np.diff(reached, axis=0, prepend=0)


def interpolated_ap(precision, recall) -> np.ndarray:
    """Mean of the interpolated precision over the 101 recalls: the AP, between 0 and 1.

    Parameters
    ----------
    precision, recall
        See `interpolated_precision`.

    Returns
    -------
    ndarray of float, shape (…)
    """
    best, width = interpolated_precision(precision, recall)
    return (best * width).sum(axis=0) / RECALLS.size

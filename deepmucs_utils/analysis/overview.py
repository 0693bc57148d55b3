"""All tables on one model and one test set, in one go."""

from pathlib import Path

import pandas as pd

from deepmucs_utils.analysis.composition import agreement, count, fractions
from deepmucs_utils.analysis.confusion import calibration, confusion_matrix
from deepmucs_utils.analysis.correction import composition, keep_cultures, learn_correction
from deepmucs_utils.analysis.error_kinds import decompose
from deepmucs_utils.analysis.operating_point import best_threshold, confident
from deepmucs_utils.analysis.per_image import image_table
from deepmucs_utils.analysis.surroundings import (
    EDGES,
    ap_by,
    cell_properties,
    cells_by_bin,
    precision_recall,
)
from deepmucs_utils.evaluation.metrics import evaluate, per_class_table
from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions


def analyse_model(test_set, predictions, val_set=None, val_predictions=None, threshold=None):
    """Tables on one model: by culture, by kind of error, by surroundings, by image, composition.

    Parameters
    ----------
    test_set : str or Path
        Folder of a set, with ``annotations.json`` and perhaps ``provenance.parquet``; or a COCO
        file.
    predictions : str or Path
        COCO results list for it.
    val_set, val_predictions : str or Path, optional
        The same for the validation set, from which the threshold and the correction of the
        composition come.
    threshold : float, optional
        Smallest score that counts as a cell; by default the best one on val, or 0.5 without val.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``per_class, cells_by_bin, precision_recall, confusion, calibration, errors, images,
        fractions, agreement``; ``ap_by_density``, ``ap_by_border`` and, with provenance,
        ``ap_by_visible``; with val ``composition``; ``settings`` (threshold, where it is from,
        expected calibration error).
    """
    truth_path = Path(test_set)
    folder = truth_path if truth_path.is_dir() else truth_path.parent
    truth_path = folder / "annotations.json" if truth_path.is_dir() else truth_path
    truth = read_ground_truth(truth_path)
    records = read_predictions(predictions, truth)
    val = None
    if val_set is not None:
        val_path = Path(val_set)
        val = read_ground_truth(val_path / "annotations.json" if val_path.is_dir() else val_path)
        val_records = read_predictions(val_predictions, val)
    source = "given"
    if threshold is None:
        source = "best F1 on val" if val else "default"
        threshold = best_threshold(val, val_records)[0] if val else 0.5

    kept = confident(records, threshold)
    calibrated, error = calibration(truth, records)
    counts = count(truth, kept)
    by_image = fractions(counts)
    tables = {
        "per_class": per_class_table(evaluate(truth_path, predictions)),
        "cells_by_bin": cells_by_bin(truth),
        "precision_recall": precision_recall(truth, records),
        "confusion": confusion_matrix(truth, kept),
        "calibration": calibrated,
        "errors": decompose(truth, records),
        "images": image_table(truth, records, threshold),
        "fractions": by_image,
        "agreement": agreement(by_image),
    }
    provenance = folder / "provenance.parquet"
    provenance = pd.read_parquet(provenance) if provenance.is_file() else None
    properties = cell_properties(truth, provenance)
    for name, edges in EDGES.items():
        if not properties[name].isna().any():
            tables[f"ap_by_{name}"] = ap_by(truth, records, properties[name], edges)
    if val:
        of_val = count(val, confident(val_records, threshold))
        present = [
            name for name, n in zip(of_val.cultures, of_val.true.sum(axis=0), strict=True) if n
        ]
        of_val, of_test = keep_cultures(of_val, present), keep_cultures(counts, present)
        tables["composition"] = composition(of_test, learn_correction(of_val), of_val)
    tables["settings"] = pd.DataFrame(
        [{"threshold": threshold, "threshold_from": source, "calibration_error": error}]
    )
    return tables

"""All tables on one model and one test set, in one go."""

from pathlib import Path

import numpy as np
import pandas as pd

from deepmucs_utils.analysis import composition, counting, surroundings
from deepmucs_utils.analysis.error_kinds import decompose
from deepmucs_utils.analysis.per_image import image_table
from deepmucs_utils.evaluation.metrics import evaluate, per_class_table


def read_provenance(test_set) -> pd.DataFrame | None:
    """Provenance of a set's cells, or None where there is none.

    Parameters
    ----------
    test_set : str or Path
        Folder of a set, or its COCO file.
    """
    folder = Path(test_set)
    path = (folder if folder.is_dir() else folder.parent) / "provenance.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def analyse_model(matched, val=None, provenance=None, threshold=None) -> dict[str, pd.DataFrame]:
    """Tables on one model: by culture, by kind of error, by surroundings, by image, composition.

    Parameters
    ----------
    matched : Matched
        The model's detections of the test set.
    val : Matched, optional
        Those of the validation set, from which the threshold and the correction of the
        composition come.
    provenance : pandas.DataFrame, optional
        From `read_provenance`.
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
    truth, source = matched.truth, "given"
    if threshold is None:
        source = "best F1 on val" if val else "default"
        threshold = counting.best_threshold(val)[0] if val else 0.5
    calibrated, error = counting.calibration(matched)
    counts = counting.count(truth, counting.confident(matched.records, threshold))
    by_image = composition.fractions(counts)
    tables = {
        "per_class": per_class_table(evaluate(matched)),
        "cells_by_bin": surroundings.cells_by_bin(truth),
        "precision_recall": surroundings.precision_recall(matched),
        "confusion": counting.confusion_matrix(counts),
        "calibration": calibrated,
        "errors": decompose(matched),
        "images": image_table(matched, threshold),
        "fractions": by_image,
        "agreement": composition.agreement(by_image),
    }
    properties = surroundings.cell_properties(truth, provenance)
    for name, edges in surroundings.EDGES.items():
        if not properties[name].isna().any():
            tables[f"ap_by_{name}"] = surroundings.ap_by(matched, properties[name], edges)
    if val:
        of_val = counting.count(val.truth, counting.confident(val.records, threshold))
        present = np.array(of_val.cultures)[of_val.true.any(axis=0)].tolist()
        tables["composition"] = composition.corrected_composition(
            counts.keep(present), of_val.keep(present)
        )
    settings = {"threshold": threshold, "threshold_from": source, "calibration_error": error}
    return tables | {"settings": pd.DataFrame([settings])}

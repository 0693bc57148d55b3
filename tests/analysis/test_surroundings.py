"""Slices of a set: what is counted where, and an AP that does not depend on a slice's size."""

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.surroundings import (
    ap_by,
    cell_properties,
    cells_by_bin,
    precision_recall,
)
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import Matched, match_files
from deepmucs_utils.evaluation.metrics import evaluate
from tests.coco_scenes import (
    ONE_WRONG_CLASS,
    THREE_CELLS,
    blobs,
    cell,
    detection,
    loaded,
    matched,
    square,
    write,
)

GRID = [square(x, y) for y in range(0, 90, 15) for x in range(0, 90, 15)]  # 36 squares


def test_properties_of_three_cells():
    """Squares of 10 px at (10, 10), (40, 40), (70, 10); (95, 95) with side 5 lies at the border."""
    cells = [*THREE_CELLS, cell("BV2", square(95, 95, 5))]
    table = cell_properties(loaded(cells, [])[0])
    assert table["border"].tolist() == [10, 40, 10, 0]
    assert table["density"].tolist() == [2, 2, 2, 0]  # 42, 60 and 42 px between the centres
    assert table["area_bin"].tolist() == ["small"] * 4
    assert table["visible"].isna().all()


def test_visible_fractions_come_from_the_provenance_by_the_files_own_numbers():
    truth, _ = loaded(THREE_CELLS, [])
    table = pd.DataFrame({"annotation_id": [2, 0, 1], "visible": [0.5, 1.0, 0.9]})
    assert cell_properties(truth, table)["visible"].tolist() == [1.0, 0.9, 0.5]
    with pytest.raises(DeepMuCSError, match="no row for annotation 2"):
        cell_properties(truth, table[1:])


def test_cells_are_counted_by_culture_and_area():
    cells = [cell("A172", square(0, 0, 18)), cell("A172", square(30, 0, 17))]
    cells += [cell("BV2", square(50, 50, 40))]
    table = cells_by_bin(loaded(cells, [])[0])
    assert table.loc["A172"].tolist() == [1, 1, 0]  # 289 and 324 px²
    assert table.loc["BV2"].tolist() == [0, 0, 1] and table.loc["MCF7"].sum() == 0


def test_one_slice_of_everything_is_the_ap50_of_one_culture(tmp_path):
    truth, found = blobs(seed=4, n_images=6, per_image=20, cultures=1)
    paths = write(tmp_path, truth, found)
    found = match_files(*paths)
    table = ap_by(found, np.zeros(120), [0, np.inf])
    assert table["AP50"][0] == pytest.approx(evaluate(found)["segm"]["AP50"])
    assert table["AP50_low"][0] < table["AP50"][0] and table["n"][0] == 120


def test_slices_that_are_found_alike_have_the_same_ap_whatever_their_size():
    """24 cells of one slice, 12 × 8 = 96 of another; of both every second is found, and there are
    as many false detections, all of one score: recall is a half, normalised precision too."""
    cells = [cell("A172", GRID[i], image) for image in range(4) for i in range(30)]
    values = [0.0] * 24 + [1.0] * 96
    found = [detection("A172", GRID[i], 0.5, image) for image in range(4) for i in range(0, 30, 2)]
    false = [detection("A172", square(91, 91, 8), 0.5, image) for image in range(4)]
    found = [f | {"score": 0.9} for f in false for _ in range(15)] + found
    table = ap_by(matched(cells, found, 4), values, [0, 1, 2])
    assert table["found"].tolist() == pytest.approx([50, 50])
    assert table["AP50"].tolist() == pytest.approx([100 * 0.5 * 51 / 101] * 2)


def test_a_slice_of_few_cells_has_no_ap():
    table = ap_by(matched(THREE_CELLS, ONE_WRONG_CLASS), [0, 0, 1], [0, 1, 2])
    assert table["n"].tolist() == [2, 1] and table["AP50"].isna().all()


def test_precision_and_recall_of_three_cells_one_wrong_class():
    table = precision_recall(matched(THREE_CELLS, ONE_WRONG_CLASS))
    assert set(table["culture"]) == {"A172"} and table["n"][0] == 3
    assert table["precision"].tolist() == [1.0] * 67 + [0.0] * 34
    assert table["score"][:34].tolist() == [0.9] * 34 and table["score"][66] == 0.8


def test_the_mean_of_the_curve_is_the_ap50_also_without_detections(tmp_path):
    paths = write(tmp_path, *blobs(seed=1, n_images=6, per_image=12, crowd=0.2))
    found = match_files(*paths)
    curve = precision_recall(found)
    expected = evaluate(found)["segm"]["per_class"]
    for culture, mean in curve.groupby("culture")["precision"].mean().items():
        assert 100 * mean == pytest.approx(expected[culture]["AP50"])
    assert precision_recall(Matched(found.truth, []))["precision"].max() == 0

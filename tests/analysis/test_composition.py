"""Fractions and their bias: cases that can be worked out by eye."""

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.composition import Counts, agreement, count, fractions
from tests.coco_scenes import ONE_WRONG_CLASS, THREE_CELLS, loaded


def test_three_cells_one_wrong_class():
    counts = count(*loaded(THREE_CELLS, ONE_WRONG_CLASS))
    table = fractions(counts).set_index("culture")
    assert table.loc["A172", ["true", "predicted"]].tolist() == pytest.approx([1, 2 / 3])
    assert table.loc["BV2", ["true", "predicted"]].tolist() == pytest.approx([0, 1 / 3])
    assert table.loc["A172", "cells"] == 3


def test_true_and_predicted_cells_are_row_and_column_sums():
    """Of 80 A172 60 are found, 10 called BV2, 10 missed; of 20 BV2 2 called A172; 5 are false."""
    counts = Counts(("A172", "BV2"), np.array([[[60, 10, 10], [2, 18, 0], [0, 5, 0]]]))
    assert counts.true.tolist() == [[80, 20]] and counts.predicted.tolist() == [[62, 33]]


def test_bias_and_limits_of_agreement_of_four_fields():
    """Differences −0.1, 0, 0.1, 0.2: mean 0.05, standard deviation 0.1291."""
    table = pd.DataFrame(
        {
            "culture": "A172",
            "cells": [50, 60, 70, 80],
            "predicted_cells": 50,
            "true": 0.5,
            "predicted": [0.4, 0.5, 0.6, 0.7],
        }
    )
    row = agreement(table).loc["A172"]
    assert row["fields"] == 4 and row["bias"] == pytest.approx(0.05)
    spread = np.sqrt((0.15**2 + 0.05**2) * 2 / 3)
    assert row["low"] == pytest.approx(0.05 - 1.96 * spread)
    assert row["high"] == pytest.approx(0.05 + 1.96 * spread)
    assert row["bias_high"] == pytest.approx(0.05 + 3.182446 * spread / 2)  # Student's t, 3 df
    few = agreement(table.assign(cells=[49, 60, 49, 80])).loc["A172"]
    assert few["fields"] == 2 and np.isnan(few["low"])

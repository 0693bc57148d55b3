"""Figures of the analysis show the numbers that they are given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from deepmucs_utils import plots
from deepmucs_utils.analysis.error_kinds import ERRORS
from deepmucs_utils.data.cultures import COLOURS

matplotlib.use("Agg")


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_the_confusion_matrix_shows_every_number_that_is_not_zero(ax):
    table = pd.DataFrame(
        [[5, 1, 2], [0, 0, 0], [0, 3, 0]], ["A172", "BV2", "false"], ["A172", "BV2", "missed"]
    )
    plots.analysis.confusion(ax, table)
    assert [text.get_text() for text in ax.texts] == ["5", "1", "2", "3"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A172", "false"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["A172", "BV-2", "missed"]


def test_a_culture_with_few_cells_has_no_curve_and_the_others_their_colour(ax):
    recall = np.linspace(0, 1, 101)
    parts = [
        pd.DataFrame({"culture": name, "n": n, "recall": recall, "precision": 1 - recall})
        for name, n in (("A172", 30), ("BV2", 29))
    ]
    plots.analysis.precision_recall(ax, pd.concat(parts))
    (line,) = ax.get_lines()
    assert line.get_color() == COLOURS["A172"] and line.get_label() == "A172 (n = 30)"


def test_slices_are_named_by_their_range_and_say_n():
    table = pd.DataFrame(
        {
            "low": [0, 1, 2],
            "high": [1, 2, np.inf],
            "n": [20, 30, 5],
            "AP50": [50, 60, np.nan],
            "AP50_low": [40, 50, np.nan],
            "AP50_high": [60, 70, np.nan],
        }
    )
    plots.analysis.ap_slices([table, table], ["cells", "px"], whole=["cells"])
    ticks = [[t.get_text() for t in ax.get_xticklabels()] for ax in plt.gcf().axes]
    assert ticks[0] == ["0\nn = 20", "1\nn = 30", "≥ 2\nn = 5"]
    assert ticks[1] == ["0–1\nn = 20", "1–2\nn = 30", "≥ 2\nn = 5"]
    plt.close()


def test_every_kind_of_error_has_a_bar_for_each_model_with_its_number(ax):
    table = pd.DataFrame({"n": range(6), "gain": range(6)}, list(ERRORS))
    plots.analysis.errors(ax, {"one": table, "two": table})
    assert len(ax.patches) == 12
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3", "4", "5"] * 2
    assert set(plots.analysis.ERROR_COLOURS) == set(ERRORS)


def test_attraction_and_repulsion_have_separate_lines(ax):
    strengths = [-2, -1, 1, 2]
    table = pd.DataFrame({"strength": strengths * 2, "cells": [24] * 4 + [48] * 4, "curve": 0.5})
    plots.analysis.power(ax, table)
    lines = [list(line.get_xdata()) for line in ax.get_lines()]
    assert lines[:-1] == [[-2, -1], [1, 2]] * 2
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["24 cells of each", "48 cells of each"]


def test_mixes_are_drawn_as_predicted_corrected_and_composed(ax):
    table = pd.DataFrame(
        {
            "culture": ["A172"] * 2,
            "true": [0.1, 0.9],
            "predicted": [0.2, 0.8],
            "corrected": [0.1, 0.9],
        }
    )
    composed = pd.DataFrame(
        {
            "culture": ["A172"] * 2,
            "true": [0.9, 1.0],
            "corrected": [0.85, np.nan],
            "low": 0.7,
            "high": 1.0,
        }
    )
    plots.analysis.shifted_mixes(ax, table, ["A172"], composed)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert drawn["A172, corrected"] == [[0.1, 0.1], [0.9, 0.9]]
    assert drawn["A172, composed"] == [[0.9, 0.85]]

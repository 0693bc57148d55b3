"""Attraction, repulsion and their absence are distinguished at the given level."""

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.interactions import (
    EDGES,
    find_interactions,
    measure_fields,
    neighbour_graph,
)
from deepmucs_utils.analysis.shapes import read_fields
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies.interactions.null_and_power import (
    Design,
    rejections,
    run_sets,
    simulate_scene,
)
from tests.coco_scenes import cell, loaded, square

#: Outlines 5 px (first and second) and 25 px (second and third) apart; first and third 40.
LINE = [cell("A172", square(10, 10)), cell("BV2", square(25, 10)), cell("BV2", square(60, 10))]


def line():
    return read_fields(loaded(LINE, [])[0])


def test_the_neighbours_of_three_cells_in_a_line():
    graph = neighbour_graph(line()[0])
    assert graph[["first", "second"]].to_numpy().tolist() == [[0, 1]]
    assert graph["distance"][0] == pytest.approx(5, abs=0.5)


def test_what_is_measured_of_three_cells_in_a_line():
    found = measure_fields(line(), replacements=3)
    assert found.cultures == ("A172", "BV2")
    assert found.pairs.shape == (4, 2, 2, len(EDGES) - 1)
    observed = found.pairs[0]
    assert observed[0, 1].tolist() == observed[1, 0].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert observed[1, 1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0] and not observed[0, 0].any()
    assert found.nearest[0, 0, 1] == pytest.approx(5, abs=0.5)
    assert found.nearest[0, 1, 0] == pytest.approx((5 + 40) / 2, abs=1)
    assert found.nearest[0, 1, 1] == pytest.approx(25, abs=0.5)
    assert np.isnan(found.nearest[0, 0, 0])  # one A172 alone has no other
    assert found.neighbours[0].tolist() == [[0, 1], [0.5, 0]]
    assert (found.pairs[1:].sum(axis=-1) <= [[0, 2], [2, 1]]).all()


def test_the_result_does_not_depend_on_the_number_of_workers():
    rng = np.random.default_rng(0)
    scenes = [simulate_scene(Design(cells=6), rng) for _ in range(3)]
    one, two = (measure_fields(scenes, 5, seed=1, jobs=jobs) for jobs in (1, 2))
    assert (one.pairs == two.pairs).all() and (one.nearest == two.nearest).all()
    other = measure_fields(scenes, 5, seed=2)
    assert (one.pairs[0] == other.pairs[0]).all() and (one.pairs != other.pairs).any()


def test_images_without_cells_change_nothing_and_a_set_without_pairs_is_refused():
    empty = read_fields(loaded([], [])[0])
    assert (measure_fields(line() + empty, 2).pairs[0] == measure_fields(line(), 2).pairs[0]).all()
    with pytest.raises(DeepMuCSError, match="at least two cells"):
        measure_fields(empty, 2)


@pytest.mark.parametrize(
    ("strength", "finding"), [(-4, "repulsion"), (4, "attraction"), (0, "none found")]
)
def test_a_strong_interaction_is_found_with_its_sign_and_chance_is_not(strength, finding):
    rng = np.random.default_rng(3)
    scenes = [simulate_scene(Design(strength=strength), rng) for _ in range(6)]
    found = find_interactions(scenes, replacements=99)
    mixed = found.tests.set_index(["first", "second"]).loc[("large", "small")]
    assert mixed["finding"] == finding
    close = found.curves[(found.curves["first"] != found.curves["second"])].iloc[0]
    assert close["pairs"] == mixed["close"] and close["g"] == pytest.approx(mixed["ratio"])
    outside = not close["g_low"] <= close["g"] <= close["g_high"]
    assert outside == (strength != 0)
    near = found.neighbours.set_index(["of", "to"]).loc[("small", "large")]
    assert (near["p"] <= 0.05) == (strength != 0) and near["low"] <= near["high"]


@pytest.mark.slow
def test_type_one_error_is_within_its_binomial_bounds():
    """40 null sets of two images; the study interaction-power does it with 1,000 of four."""
    design = Design(images=2, cells=6, replacements=19)
    table = rejections(run_sets(design, 40, seed=5))
    assert table.loc[["large-large", "large-small", "small-small", "any"], "kept"].all()
    assert table["sets"].iloc[0] == 40 and table["high"].iloc[0] == pytest.approx(5 / 40)


def test_rejections_are_counted_against_the_binomial_range():
    p_values = {"good": [0.05] * 5 + [0.5] * 95, "bad": [0.01] * 20 + [1.0] * 80}
    table = rejections(pd.DataFrame(p_values))
    assert table.loc["good", "rejected"] == 0.05 and table.loc["good", "kept"]
    assert table.loc["bad", "rejected"] == 0.2 and not table.loc["bad", "kept"]

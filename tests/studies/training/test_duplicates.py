"""The comparison of ways to leave out second detections, on a tiny run."""

from dataclasses import asdict

import pytest

from deepmucs_utils.segmentation.run_files import write_config
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.studies.training import duplicates
from deepmucs_utils.studies.training.duplicates import TODAY, WAYS, Way, choose, compare
from tests.tiny import tiny_config, write_set


def rows(scores):
    return [
        asdict(way) | {"by class": by_class, "one class": one_class}
        for way, (by_class, one_class) in scores.items()
    ]


def test_the_best_as_one_class_is_chosen_where_no_class_pays_for_it():
    scores = {TODAY: (30.0, 40.0), Way(0.5, "box"): (29.9, 50.0), Way(0.5, "mask"): (30.0, 45.0)}
    assert choose(rows(scores)).items() >= asdict(Way(0.5, "mask")).items()


def test_the_simplest_of_equals_is_chosen():
    scores = {TODAY: (30.0, 40.0), Way(0.5, "box"): (31.0, 41.0), Way(0.5, "mask"): (31.0, 41.05)}
    assert choose(rows(scores)).items() >= asdict(Way(0.5, "box")).items()
    scores = {TODAY: (30.0, 40.0), Way(0.5, "box"): (31.0, 40.05)}
    assert choose(rows(scores)).items() >= asdict(TODAY).items()


def test_a_run_is_scored_in_every_way_and_predictions_are_kept(tmp_path, monkeypatch):
    sets = {name: write_set(tmp_path / name, 3, seed) for seed, name in enumerate(("val", "test"))}
    cfg, source, run = tiny_config(2), CoCultureSet(sets["val"]), tmp_path / "run"
    run.mkdir()
    write_config(cfg, run)
    Trainer(cfg, source, source, run).run()
    monkeypatch.setattr(duplicates, "WAYS", WAYS[:2] + WAYS[-1:])
    found = compare(run, {"scenes": sets["val"]}, {"scenes": sets["test"]})
    assert [Way(*list(row.values())[:4]) for row in found["choice"]] == WAYS[:2] + WAYS[-1:]
    assert set(found["test"]) == {"chosen", "today"}
    assert found["test"]["today"]["scenes"]["cells"] == 9
    assert set(found["test"]["today"]["scenes"]["cultures"]) == {"A172", "BT474"}
    monkeypatch.setattr("deepmucs_utils.segmentation.predict.load_model", pytest.fail)
    assert compare(run, {"scenes": sets["val"]}, {"scenes": sets["test"]}) == found

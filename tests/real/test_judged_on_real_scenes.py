"""Real scenes on genuine LIVECell images, at a minute's scale: from training to the table."""

import json

import pandas as pd
import pytest

from deepmucs_utils.evaluation.intervals import bootstrap
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.studies.training import alternatives
from deepmucs_utils.studies.training.monocultures import Windows, scene_table, write_monocultures
from deepmucs_utils.workflow import params, runs

PAIR = ("BT474", "MCF7")  # the cultures that all three splits of the sample hold


@pytest.fixture(scope="module")
def p(sample, tmp_path_factory):
    """A run of which only the comparisons are trained, for two iterations each."""
    folder = tmp_path_factory.mktemp("real_scenes")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("DEEPMUCS_CACHE", str(folder / "cache"))
    yield params.check(
        data_root=sample,
        set_name="Demo40",
        cultures=PAIR,
        n_images=6,
        iterations=6,
        out_dir=folder / "runs",
    )
    monkeypatch.undo()


@pytest.fixture(scope="module")
def scenes(p):
    """The sample's test images; no test set is composed, so none of them gives a donor."""
    return write_monocultures(
        p.data_root,
        p.out_dir / "scenes",
        windows=Windows((256, 352), 4),
        cultures=PAIR,
        cache=params.cache(),
    )


def test_models_of_every_kind_are_judged_on_real_scenes(p, scenes):
    models = alternatives.train_alternatives(p, alternatives.ALTERNATIVES)
    found = {
        kind: match_files(scenes, alternatives.predict_set(p, scenes, folder))
        for kind, folder in models.items()
    }
    table = scene_table({kind: evaluate(matched) for kind, matched in found.items()})
    assert list(table.index) == list(alternatives.ALTERNATIVES)
    assert (table["test", "images"] == 4).all() and (table["test", "cells"] > 100).all()
    percent = table[["segmentation", "detection"]]
    assert ((percent >= 0) & (percent <= 100)).all(axis=None)
    result = bootstrap({kind: matched.pooled for kind, matched in found.items()}, replicates=20)
    assert set(result.models["model"]) == set(alternatives.ALTERNATIVES)
    assert set(result.models["n"]) == {table["test", "cells"].iloc[0]}


def test_no_scene_is_of_an_image_that_gave_a_donor_or_taught_a_model(p, scenes):
    sources = {i["source"] for i in json.loads((scenes / "annotations.json").read_text())["images"]}
    for split in ("train", "val"):
        donors = pd.read_parquet(runs.compose(p, split) / "provenance.parquet")["donor_image"]
        assert not sources & set(donors)
        windows = alternatives.monocultures(p, split) / "annotations.json"
        taught = {image["source"] for image in json.loads(windows.read_text())["images"]}
        assert taught and not sources & taught


def test_where_every_test_image_is_a_donor_one_sentence_says_so(p):
    """The sample has one test image of each culture, and the run's test set draws on both."""
    with pytest.raises(params.DeepMuCSError, match="gave no donor.*or compose a smaller set"):
        alternatives.real_scenes(p)

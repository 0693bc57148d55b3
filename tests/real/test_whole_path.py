"""The whole path at a minute's scale on genuine LIVECell images."""

import json
from collections import Counter

import pytest

from deepmucs_utils.cli import main
from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.generation.recipes import get_recipe

SEVEN = [name for name in CULTURE_NAMES if name != "BV2"]  # the sample has no annotated BV-2
FIVE = ["A172", "BT474", "Huh7", "MCF7", "SKOV3"]  # those of its test split


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_fiftieth_of_deepmucs800_has_exactly_its_totals(sample, cache, tmp_path):
    options = ["--set", "DeepMuCS800", "--fraction", "0.02", "--cache", cache]
    assert call("compose", sample, tmp_path / "s", *options, "--cultures", ",".join(SEVEN)) == 0
    content = json.loads((tmp_path / "s" / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = Counter(names[cell["category_id"]] for cell in content["annotations"])
    assert (len(content["images"]), counts.total()) == (16, 188)
    assert counts == get_recipe("DeepMuCS800", 0.02, SEVEN).cells


def test_a_culture_that_the_sample_lacks_is_named(sample, cache, tmp_path, capsys):
    options = ["--set", "DeepMuCS800", "--fraction", "0.02", "--cache", cache]
    assert call("compose", sample, tmp_path / "s", *options) == 2
    assert f"no donor cells of BV2; leave them out with --cultures {','.join(SEVEN)}." in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "s").exists()


def test_from_livecell_to_metrics(sample, cache, tmp_path):
    for name, cultures in (("Demo40", FIVE), ("Demo_val", ["BT474", "MCF7"]), ("Demo_test", FIVE)):
        options = ["--set", name, "--fraction", "0.15", "--cultures", ",".join(cultures)]
        assert call("compose", sample, tmp_path / name, *options, "--cache", cache) == 0
    run, test = tmp_path / "run", tmp_path / "Demo_test"
    options = ["--val", tmp_path / "Demo_val", "--out", run, "--iterations", 4]
    assert call("train", tmp_path / "Demo40", *options) == 0
    assert call("predict", run, test, "--out", tmp_path / "found") == 0
    found = tmp_path / "found" / "predictions.json"
    assert call("evaluate", test / "annotations.json", found, "--out", tmp_path) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["n_cells"] == get_recipe("Demo_test", 0.15, FIVE).total
    assert 0 <= metrics["segm"]["AP"] <= 100

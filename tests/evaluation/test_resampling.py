"""A replicate is the AP of a set that holds images as often as drawn; intervals cover the truth."""

import json

import numpy as np
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.intervals import bootstrap
from deepmucs_utils.evaluation.matching import ClassMatches, Matched, average_precision, match_files
from deepmucs_utils.evaluation.metrics import METRICS, evaluate
from deepmucs_utils.evaluation.resampling import draw_images, interval
from tests.coco_scenes import blobs, cell, dataset, detection, square, write


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Twelve images in four blocks, a fifth of the cells crowd; a second model finds half."""
    truth, found = blobs(seed=0, n_images=12, per_image=25, crowd=0.2)
    for index, image in enumerate(truth["images"]):
        image["block"] = f"wells {index % 4}"
    folder = tmp_path_factory.mktemp("scene")
    truth_path, better = write(folder, truth, found)
    worse = write(folder, truth, [f for i, f in enumerate(found) if i % 4 < 2], name="worse")[1]
    return {"worse": match_files(truth_path, worse), "better": match_files(truth_path, better)}


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_estimate_is_what_evaluate_says(scene, metric, iou_type):
    result = bootstrap(scene, replicates=5, metric=metric, iou_type=iou_type)
    for name, matched in scene.items():
        metrics = evaluate(matched)[iou_type]
        rows = result.models[result.models["model"] == name].set_index("culture")
        assert rows.loc["all", "estimate"] == pytest.approx(metrics[metric], abs=1e-9)
        expected = {name: values[metric] for name, values in metrics["per_class"].items()}
        expected = {name: value for name, value in expected.items() if not np.isnan(value)}
        assert rows["estimate"].drop("all").to_dict() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["AP", "APm"])
def test_a_replicate_is_the_ap_of_a_set_that_holds_each_image_as_often_as_drawn(
    scene, tmp_path, metric
):
    truth, found = scene["better"].truth, scene["better"].records
    drawn = np.array([0, 3, 1, 0, 1, 1, 2, 0, 1, 1, 1, 1])
    copies = [image for image, count in enumerate(drawn) for _ in range(count)]
    again = dataset([], len(copies), [128, 128])
    again["annotations"] = [
        record | {"image_id": new, "id": 1}
        for new, image in enumerate(copies)
        for record in truth["annotations"]
        if record["image_id"] == image
    ]
    found_again = [
        record | {"image_id": new}
        for new, image in enumerate(copies)
        for record in found
        if record["image_id"] == image
    ]
    expected = evaluate(match_files(*write(tmp_path, again, found_again)))["segm"]["per_class"]
    rows, area, _ = METRICS[metric]
    for name, matches in scene["better"].by_culture(area=area).items():
        values = expected[name]
        ap, recall = average_precision(matches, drawn[None])
        assert 100 * ap[rows].mean() == pytest.approx(values[metric], abs=1e-9)
        if area == "all":
            assert 100 * recall.mean() == pytest.approx(values["AR"], abs=1e-9)


def test_three_cells_one_false_detection_first():
    """Precision 1/2, 2/3, 3/4 at the recalls 1/3, 2/3, 1: the best at each recall is 3/4."""
    matches = ClassMatches(
        image=np.array([0, 0, 1, 2]),
        hit=np.array([[False, True, True, True]]),
        counted=np.ones((1, 4), bool),
        cells=np.array([1, 1, 1]),
    )
    ap, recall = average_precision(matches, np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]]))
    assert ap[0] == pytest.approx([3 / 4, 1, 1 / 2])
    assert recall[0] == pytest.approx([1, 1, 1])
    assert average_precision(matches)[0] == pytest.approx(3 / 4)


def test_identical_models_differ_by_exactly_zero(scene):
    result = bootstrap({"a": scene["better"], "b": scene["better"]}, 50)
    assert (result.differences[["estimate", "low", "high"]] == 0).all(axis=None)


def test_the_better_model_is_better_beyond_doubt_and_the_seed_decides_the_draws(scene):
    result = bootstrap(scene, replicates=200, seed=1)
    row = result.differences.set_index("culture").loc["all"]
    assert (row["first"], row["second"]) == ("worse", "better") and row["low"] > 0
    assert result.n_blocks == 4 and "4 donor blocks" in result.note
    assert result.models["n"][0] == evaluate(scene["better"])["n_cells"]
    again = bootstrap(scene, replicates=200, seed=1)
    other = bootstrap(scene, replicates=200, seed=2)
    assert result.models.equals(again.models) and not result.models.equals(other.models)


def test_intervals_cover_the_known_ap():
    """Scores without information: of all cells and as many false detections half are right anywhere
    in the order, so AP tends to 50 %. Nominal coverage is 95 % of sets."""
    generator = np.random.default_rng(0)
    covered = []
    n_images, n_cells = 40, 400
    for seed in range(100):
        hit = generator.permutation(np.repeat([[True, False]], n_cells, axis=0).ravel())
        image = generator.integers(n_images, size=2 * n_cells)
        cells = np.bincount(image[hit], minlength=n_images)
        matches = ClassMatches(image, hit[None], np.ones((1, 2 * n_cells), bool), cells)
        weights, _ = draw_images(np.arange(n_images), cells[None], 200, seed)
        values = average_precision(matches, np.vstack([np.ones(n_images, int), weights]))[0][0]
        limits = interval(values, n_images)
        covered.append(limits["low"] <= 0.5 <= limits["high"])
    assert 0.9 <= np.mean(covered) <= 1


def test_no_replicate_loses_a_culture():
    """Each of three cultures has its cells in one of three blocks: all three must be drawn."""
    weights, drawn = draw_images(np.array([0, 1, 2]), np.eye(3, dtype=int), 50, seed=0)
    assert weights.shape == (50, 3) and (weights == 1).all()
    assert drawn > 50


def test_images_without_blocks_are_resampled_one_by_one_and_the_note_says_so(tmp_path):
    cells = [cell("A172", square(10, 10), image) for image in range(3)]
    found = [detection("A172", square(10, 10), 0.9, image) for image in range(2)]
    matched = match_files(*write(tmp_path, dataset(cells, 3), found))
    result = bootstrap({"model": matched}, replicates=20)
    assert result.n_blocks == 3 and "conditional on these donors" in result.note
    assert result.differences.empty


def test_a_single_block_gives_no_interval(tmp_path):
    cells = [cell("A172", square(10, 10), image) for image in range(2)]
    matched = match_files(*write(tmp_path, dataset(cells, 2, blocks=[5, 5]), []))
    result = bootstrap({"model": matched}, replicates=20)
    assert result.models["low"].isna().all() and "one donor block" in result.note


def test_cultures_that_lie_in_one_block_each_give_no_interval(tmp_path):
    """Three monocultures of one well each: every draw that keeps all three is the set itself."""
    names = ("A172", "BV2", "MCF7")
    cells = [cell(name, square(10, 10), image) for image, name in enumerate(names)]
    found = [detection("A172", square(10, 10), 0.9, 0)]
    matched = match_files(*write(tmp_path, dataset(cells, 3, blocks=["a", "b", "c"]), found))
    result = bootstrap({"one": matched, "other": matched}, replicates=20)
    assert result.models["low"].isna().all() and result.differences["high"].isna().all()
    assert "Each culture lies in one donor block" in result.note


def test_a_culture_in_one_block_alone_has_no_interval_and_the_note_counts_it(scene):
    truth = scene["better"].truth
    kept = [
        one for one in truth["annotations"] if one["category_id"] > 1 or one["image_id"] % 4 == 0
    ]
    matched = Matched(truth | {"annotations": kept}, scene["better"].records)
    result = bootstrap({"better": matched}, replicates=20)
    unknown = result.models["low"].isna()
    assert set(result.models[unknown]["culture"]) == {"A172"}
    assert "nor that of the 1 culture(s) that lie in one block alone" in result.note


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_pooled_it_is_what_evaluate_says_of_one_class(scene, iou_type):
    models = {name: matched.pooled for name, matched in scene.items()}
    result = bootstrap(models, replicates=5, iou_type=iou_type)
    assert set(result.models["culture"]) == {"all", "cell"}
    for name, matched in scene.items():
        row = result.models.set_index(["model", "culture"]).loc[name, "all"]
        pooled = evaluate(matched)["pooled"][iou_type]
        assert row["estimate"] == pytest.approx(pooled["AP"], abs=1e-9) and row["n"] == pooled["n"]


def test_what_cannot_be_resampled_is_refused(tmp_path):
    paths = write(tmp_path, dataset([], 2), [])
    with pytest.raises(DeepMuCSError, match="metric 'mAP' is unknown"):
        bootstrap({"model": match_files(*paths)}, metric="mAP")
    with pytest.raises(DeepMuCSError, match="annotations.json: no cell that AP counts"):
        bootstrap({"model": match_files(*paths)})
    content = dataset([cell("A172", square(10, 10))], 2)
    content["images"][0]["block"] = 1
    paths[0].write_text(json.dumps(content))
    with pytest.raises(DeepMuCSError, match=r"annotations.json: images\[1\] has no block"):
        bootstrap({"model": match_files(*paths)})

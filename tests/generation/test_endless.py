import json
import shutil

import numpy as np
import pytest
from detectron2.utils.events import EventStorage

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.endless import EndlessSet
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.segmentation.samples import CoCultureSet, Samples, batches
from deepmucs_utils.segmentation.trainer import Trainer
from tests.tiny import tiny_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A root of two cultures, a set of four images composed from it, and the cache."""
    folder = tmp_path_factory.mktemp("endless")
    root, cache, out = folder / "root", folder / "cache", folder / "set"
    cultures = ("MCF7", "SkBr3")
    write_phantom(root, images=2, cultures=cultures, jobs=1)
    recipe = get_recipe("Demo40", cultures=cultures, n_images=4)
    compose_set(root, out, recipe, jobs=1, cache=cache)
    return root, out, cache


def test_the_first_epoch_is_the_set_itself(composed):
    root, folder, cache = composed
    endless, fixed = EndlessSet(folder, root, cache), CoCultureSet(folder)
    assert len(endless) == len(fixed) and endless.categories == fixed.categories
    for index in range(len(fixed)):
        for one, other in zip(endless.read(index, 0), fixed.read(index), strict=True):
            assert np.array_equal(one, other)


def test_every_epoch_is_another_set_with_the_same_cells_of_each_culture(composed):
    root, folder, cache = composed
    endless = EndlessSet(folder, root, cache)
    epochs = [[endless.read(index, epoch) for index in range(4)] for epoch in range(3)]
    counts = [
        np.bincount(np.concatenate([c for _, _, c in images]), minlength=8).tolist()
        for images in epochs
    ]
    assert counts[0] == counts[1] == counts[2]
    pixels = {image.tobytes() for images in epochs for image, _, _ in images}
    assert len(pixels) == 12


def test_it_depends_on_seed_epoch_and_index_and_not_on_workers(composed):
    root, folder, cache = composed
    found = []
    for workers in (0, 2):
        cfg = tiny_config(5)  # ten samples: three epochs
        cfg.DATALOADER.NUM_WORKERS = workers
        samples = Samples(EndlessSet(folder, root, cache), cfg, seed=0)
        found.append(
            [(s["name"], s["image"].numpy().tobytes()) for b in batches(samples, cfg, 0) for s in b]
        )
    assert found[0] == found[1]
    assert len({name for name, _ in found[0]}) == 10


def test_it_is_trained_on(composed, tmp_path):
    root, folder, cache = composed
    cfg = tiny_config(1)
    cfg.INPUT.CROP.SIZE = [64, 64]
    training = Trainer(cfg, EndlessSet(folder, root, cache), CoCultureSet(folder), tmp_path)
    with EventStorage(0):
        assert training.step(next(batches(training.samples, cfg, 0)))["total_loss"] > 0


def test_another_root_and_a_set_without_recipe_are_refused(composed, tmp_path):
    root, folder, cache = composed
    other = shutil.copytree(root, tmp_path / "root")
    path = other / "annotations" / "LIVECell" / "livecell_coco_train.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"annotations": content["annotations"][1:]}))
    with pytest.raises(DeepMuCSError, match="composed from other annotations"):
        EndlessSet(folder, other, cache)
    old = shutil.copytree(folder, tmp_path / "old")
    document = json.loads((old / "recipe.json").read_text())
    (old / "recipe.json").write_text(json.dumps(document | {"format": 3}))
    with pytest.raises(DeepMuCSError, match="not of format 4; compose the set again"):
        EndlessSet(old, root, cache)
    with pytest.raises(DeepMuCSError, match="has no recipe.json"):
        EndlessSet(tmp_path, root, cache)

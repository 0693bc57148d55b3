"""Faults, donors and backgrounds of genuine LIVECell images."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.faults import check_root
from deepmucs_utils.data.livecell import LiveCell, read_index
from deepmucs_utils.data.masks import paint, segmentations
from deepmucs_utils.generation.backgrounds import background_level, clear
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.measures import autocorrelation

SEVEN = [name for name in CULTURE_NAMES if name != "BV2"]  # the sample has no annotated BV-2


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_images_with_unannotated_cells_and_shared_wells_are_named(sample, cache):
    faults = check_root(sample, cache)
    found = set(faults.loc[faults["kind"] == "unannotated cells", "file_name"])
    assert found >= {"MCF7_Phase_H4_1_03d08h00m_4.tif", "Huh7_Phase_A10_1_02d12h00m_3.tif"}
    assert "MCF7_Phase_F4_2_00d00h00m_4.tif" not in found  # round cells, all annotated
    shared = faults.loc[faults["kind"] == "well in two splits", "detail"].tolist()
    assert shared == ["A172, well C7", "SKOV3, well E4"]


def test_groups_make_most_cells_donors_where_free_standing_ones_are_rare(sample, cache):
    bank = build_bank(sample, "train", cache)
    index = read_index(sample, "train", cache)
    sizes = index.groupby("culture").size()
    culture = np.repeat(bank.cutouts["culture"].to_numpy(), bank.cutouts["cells"])
    members = bank.members.assign(culture=culture).query("annotation_id >= 0")
    shares = members.groupby("culture")["annotation_id"].nunique() / sizes
    alone = (bank.cutouts["kind"] == "cell").groupby(bank.cutouts["culture"]).sum() / sizes
    assert shares["A172"] > 0.5 > 2 * alone["A172"]
    assert (shares > alone).all() and shares.mean() > 0.5


def test_a_cleared_image_has_the_real_noise_and_level_where_cells_were(sample, cache):
    livecell = LiveCell(sample)
    for name, cells in read_index(sample, "train", cache).groupby("file_name"):
        image = livecell.image(name)
        mask = paint(segmentations(cells), *image.shape).mask
        clearing = clear(image, mask, np.random.default_rng(0))
        level = background_level(image, clearing.clean)
        made, hole = clearing.background - level, ~clearing.clean
        assert made[hole].std() == pytest.approx(clearing.noise, rel=0.08), name
        assert abs(made[hole].mean()) < 0.15, name
        for lag in ((0, 1), (1, 0), (0, 2), (2, 0)):
            real = autocorrelation(clearing.residual, clearing.clean, [lag])
            assert autocorrelation(made, hole, [lag]) == pytest.approx(real, abs=0.06), (name, lag)


def test_real_composites_keep_overlap_small_and_say_what_the_root_lacks(sample, cache, tmp_path):
    recipe = get_recipe("DeepMuCS800", 0.02, SEVEN)
    out = compose_set(sample, tmp_path / "set", recipe, jobs=1, cache=cache)
    provenance = pd.read_parquet(out / "provenance.parquet")
    assert len(provenance) == 188
    assert (provenance["visible"] < 0.79).mean() < 0.1  # those that the canvas cuts
    facts = json.loads((out / "recipe.json").read_text())["bank"]
    assert facts["blocks"] == 1 and "single well of A172" in facts["note"]

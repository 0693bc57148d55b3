"""Is it realistic? Synthetic against real patches, leaks, and what fields of view hold.

Everything is compared within an image, between the area that our way (or the naive one: hard paste
on Telea inpainting) altered and the area that it left alone.
"""

import os
import zlib
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Memory, Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_index
from deepmucs_utils.data.masks import paint, segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.generation.backgrounds import clear
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.measures import by_distance
from deepmucs_utils.studies.realism.critics import (
    CRITICS,
    DISTANCES,
    LAGS,
    distinguish,
    patch_features,
    power_spectrum,
)
from deepmucs_utils.studies.realism.culture_leaks import guess_cultures
from deepmucs_utils.studies.realism.fields import (
    compare_fields,
    measure_field,
    read_scenes,
)
from deepmucs_utils.studies.realism.patches import PER_RING, cell_rings, cleared_patches
from deepmucs_utils.workflow import params

WAYS = ("real", "ours", "naive")
PER = {"cleared area": 1, "ring": PER_RING}  # patches of one thing, by probe
MOST_IMAGES = 48
SETS = {"published recipe": ("DeepMuCS800", 120), "dense": ("Dense_train", 40)}  # images
LAG_NAMES = [f"{down},{right}" for down, right in LAGS]
LEAST_PIXELS = 5  # of a ring at a distance


def measure_realism(
    root, out, images=MOST_IMAGES, critics=tuple(CRITICS), seed=0, jobs=2, cache=CACHE
) -> dict:
    """Measure how well composites of a root can be distinguished from its real images.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom; all its splits.
    out : path-like
        Folder for ``realism.json``, the sets that are composed for it and what is measured on the
        way, from which an interrupted study resumes.
    images : int
        Real images looked at, at most; as many of each culture as there are.
    critics : sequence of str
        Keys of `critics.CRITICS`.
    seed, jobs, cache
        As elsewhere.

    Returns
    -------
    dict
        ``judged`` (list: ``probe, way, critic`` and what `critics.distinguish` gives), ``cleared``
        and ``rings`` (statistics by way), ``fields`` (see `fields.compare_fields`),
        ``leaks`` (see `culture_leaks.guess_cultures`) and ``root_images``.
    """
    out, livecell = Path(out), LiveCell(root)
    memory = Memory(out / "partial", verbose=0)
    chosen = choose_images(livecell, images, seed, cache)
    probe = memory.cache(_probe)
    tasks = (delayed(probe)(livecell, name, segmentations(cells)) for name, cells in chosen)
    probes = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    probes = list(tqdm(probes, "probes", len(chosen), unit="image", disable=None))
    *parts, real = zip(*probes, strict=True)
    patches, statistics = (
        {key: [one[key] for one in found if key in one] for key in product(PER, WAYS)}
        for found in parts
    )
    judge, judged = memory.cache(distinguish), []
    for kind, way, critic in tqdm([*product(PER, WAYS[1:], critics)], "critics", disable=None):
        pair = patches[kind, "real"], patches[kind, way]
        result = judge(*pair, CRITICS[critic], PER[kind], seed)
        judged.append({"probe": kind, "way": way, "critic": critic} | result)
    bank = build_bank(root, "train", cache, jobs)
    cultures = [culture for culture in CULTURE_NAMES if len(bank.donors(culture, groups=False))]
    fields, folders = {"real": real}, {}
    for name, (recipe, number) in SETS.items():
        recipe = get_recipe(recipe, cultures=cultures, n_images=number)
        folders[name] = compose_set(root, out / name, recipe, seed, jobs=jobs, cache=cache)
        scenes = islice(read_scenes(folders[name]), MOST_IMAGES)
        fields[name] = [measure_field(*scene) for scene in scenes]
    means = {kind: {} for kind in PER}
    for (kind, way), of_images in statistics.items():
        means[kind][way] = _mean(of_images) | {"images": len(of_images)}
    for noise in means["cleared area"].values():
        noise["correlation"] = dict(zip(LAG_NAMES, noise["correlation"], strict=True))
    result = {
        "root_images": len(chosen),
        "judged": judged,
        "cleared": means["cleared area"],
        "rings": means["ring"],
        "fields": compare_fields(fields),
        "leaks": {"ring": memory.cache(guess_cultures)(folders["published recipe"], seed)},
    }
    write_json(out / "realism.json", result)
    return result


def choose_images(livecell, images, seed, cache):
    """Choose images evenly over the cultures.

    Parameters
    ----------
    livecell : LiveCell
    images : int
        About this many: each culture's share is rounded up.
    seed, cache
        As elsewhere.

    Returns
    -------
    list of (str, DataFrame)
        File names, and their rows of the index.
    """
    splits = [split for split in SPLITS if livecell.has_split(split)]
    if not splits:
        raise DeepMuCSError(f"{livecell.root}: no annotations; expected those of a split.")
    index = pd.concat([read_index(livecell, split, cache) for split in splits])
    cultures = index.groupby("file_name")["culture"].first()
    each = -(-images // cultures.nunique())
    shuffled = cultures.sample(frac=1, random_state=seed)
    kept = shuffled.groupby(shuffled).head(each).index
    return list(index[index["file_name"].isin(kept)].groupby("file_name"))


def _probe(livecell, name, cells):
    """Patches of one image and their statistics, each by probe and way, and what its field holds.

    The first two are empty for an image that cannot be cleared.
    """
    image = livecell.image(name)
    scene = paint(cells, *image.shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    clearing, patches, statistics = clear(image, scene.mask, rng), {}, {}
    field = measure_field(image, scene)
    if clearing.background is None:
        return patches, statistics, field
    for way, found in cleared_patches(image, scene.mask, clearing, rng).items():
        patches["cleared area", way] = found
        if len(found):
            statistics["cleared area", way] = _noise_statistics(found)
    for way, rings in cell_rings(image, scene, clearing, rng).items():
        if rings:
            patches["ring", way] = np.concatenate([ring.patches(rng) for ring in rings])
            statistics["ring", way] = _mean([edge_statistics(ring) for ring in rings])
    return patches, statistics, field


def _mean(statistics):
    """Mean of each statistic over images or rings."""
    return {
        name: np.nanmean([one[name] for one in statistics], axis=0).tolist()
        for name in statistics[0]
    }


def _noise_statistics(patches):
    """SD, correlations at `LAGS`, power spectrum of an image's patches."""
    features = patch_features(patches).mean(0)
    return {
        "sd": features[1],
        "correlation": features[6 : 6 + len(LAGS)],
        "log_power": power_spectrum(patches[:, 0]).mean(0),
    }


def edge_statistics(ring, at=5):
    """Profile of a ring, and the normal derivative at the matte's edge.

    Parameters
    ----------
    ring : Ring
    at : float
        Where the derivative is taken, px from the mask.

    Returns
    -------
    dict
        ``mean`` and ``sd`` at `DISTANCES` (grey levels), and ``derivative``, the mean absolute one
        along the normal (grey levels per px); NaN with fewer than `LEAST_PIXELS` pixels.
    """
    step = np.rint(ring.distance).astype(int) * ring.valid
    n, mean, square = by_distance(ring.deviation, step, DISTANCES)
    profile = np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))])
    profile[:, n < LEAST_PIXELS] = np.nan
    along, normal = np.gradient(ring.deviation), np.gradient(ring.distance)
    edge = ring.valid & (np.abs(ring.distance - at) <= 0.5)
    slope = np.abs(along[0] * normal[0] + along[1] * normal[1])[edge]
    derivative = slope.mean() if len(slope) >= LEAST_PIXELS else np.nan
    return {"mean": profile[0], "sd": profile[1], "derivative": derivative}


def study(root, folder):
    """The realism of composites of a root; sets and partial results lie in a folder."""
    return measure_realism(root, folder, jobs=os.cpu_count(), cache=params.cache())

"""Is it realistic? Synthetic against real patches, leaks, and what fields of view hold.

Everything is compared within an image, between the area that our way (or the naive one: hard paste
on Telea inpainting) altered and the area that it left alone.
"""

import os
import zlib
from itertools import islice
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
from deepmucs_utils.studies.realism.field_statistics import (
    compare_fields,
    fields_table,
    measure_field,
    read_scenes,
)
from deepmucs_utils.studies.realism.patches import PER_RING, cleared_patches, ring_patches
from deepmucs_utils.workflow import params

WAYS = ("ours", "naive", "blurred")
MOST_IMAGES = 48
LEAK_IMAGES = 120  # of the published recipe
DENSE_IMAGES = 40
MOST_FIELDS = 48
LEAST_PIXELS = 5  # of a ring at a distance


def measure_realism(
    root, out, images=MOST_IMAGES, critics=tuple(CRITICS), seed=0, jobs=2, cache=CACHE
):
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
        and ``rings`` (statistics by way), ``fields`` (see `field_statistics.compare_fields`),
        ``leaks`` (see `culture_leaks.guess_cultures`) and ``root_images``.
    """
    out, livecell = Path(out), LiveCell(root)
    memory = Memory(out / "partial", verbose=0)
    chosen = choose_images(livecell, images, seed, cache)
    names = [name for name, _ in chosen]
    probe = memory.cache(_probe)
    tasks = (delayed(probe)(livecell, name, segmentations(cells)) for name, cells in chosen)
    probes = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    probes = list(tqdm(probes, "probes", len(chosen), unit="image", disable=None))
    cleared, rings, ring_patches_ = (_by_way(names, found) for found in zip(*probes, strict=True))
    judged = []
    pairs = [("cleared area", cleared, 1), ("ring", ring_patches_, PER_RING)]
    work = [(*pair, way, critic) for pair in pairs for way in WAYS for critic in critics]
    for kind, found, per, way, critic in tqdm(work, "critics", disable=None):
        measure = memory.cache(distinguish)
        result = measure(found["real"], found[way], CRITICS[critic], per, seed)
        judged.append({"probe": kind, "way": way, "critic": critic} | result)
    sets = {
        name: _compose(root, out / folder, recipe, number, seed, jobs, cache)
        for name, folder, recipe, number in (
            ("published recipe", "published", "DeepMuCS800", LEAK_IMAGES),
            ("dense", "dense", "Dense_train", DENSE_IMAGES),
        )
    }
    real = ((livecell.image(name), segmentations(cells)) for name, cells in chosen)
    scenes = {"real": ((image, paint(cells, *image.shape)) for image, cells in real)}
    scenes |= {name: read_scenes(folder) for name, folder in sets.items()}
    fields = {
        kind: [measure_field(*scene) for scene in islice(found, MOST_FIELDS)]
        for kind, found in scenes.items()
    }
    result = {
        "root_images": len(chosen),
        "judged": judged,
        "cleared": {way: _noise_statistics(found) for way, found in cleared.items()},
        "rings": {way: edge_statistics(found) for way, found in rings.items()},
        "fields": compare_fields(fields),
        "leaks": memory.cache(guess_cultures)(sets["published recipe"], seed),
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
    found = [
        image
        for split in SPLITS
        if livecell.has_split(split)
        for image in read_index(livecell, split, cache).groupby("file_name")
    ]
    if not found:
        raise DeepMuCSError(f"{livecell.root}: no annotations; expected those of a split.")
    cultures = pd.Series([cells["culture"].iloc[0] for _, cells in found])
    each = -(-images // cultures.nunique())
    rng = np.random.default_rng(seed)
    places = cultures.groupby(cultures, sort=False).indices.values()
    return [found[place] for of in places for place in sorted(rng.permutation(of)[:each])]


def _probe(livecell, name, cells):
    """Cleared patches, rings, and patches on the rings of one image."""
    image = livecell.image(name)
    scene = paint(cells, *image.shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    cleared = cleared_patches(image, scene.mask, rng)
    rings = ring_patches(image, scene, rng)
    patches = {
        way: np.concatenate([ring.patches(rng) for ring in found])
        for way, found in rings.items()
        if found
    }
    return cleared, rings, patches


def _by_way(names, found):
    """``{way: {image: …}}`` from one ``{way: …}`` per image."""
    return {
        way: {
            name: own[way] for name, own in zip(names, found, strict=True) if len(own.get(way, ()))
        }
        for way in ("real", *WAYS)
    }


def _noise_statistics(patches):
    """Means over images: SD, correlations at `LAGS`, power spectrum."""
    rows = []
    for own in patches.values():
        features = patch_features(own).mean(0)
        rows.append([features[1], *features[6 : 6 + len(LAGS)], *power_spectrum(own[:, 0]).mean(0)])
    sd, *mean = np.mean(rows, axis=0).tolist()
    return {
        "sd": sd,
        "correlation": {f"{dy},{dx}": r for (dy, dx), r in zip(LAGS, mean, strict=False)},
        "log_power": mean[len(LAGS) :],
        "images": len(rows),
    }


def edge_statistics(rings):
    """Means over images of the rings' profiles, and the normal derivative at the matte's edge.

    Parameters
    ----------
    rings : dict of str to list of Ring
        By image.

    Returns
    -------
    dict
        ``mean`` and ``sd`` at `DISTANCES` and ``derivative`` (grey levels, and grey levels per px),
        ``images``.
    """
    images = [np.nanmean([_edge(ring) for ring in own], axis=0) for own in rings.values()]
    *profile, derivative = np.nanmean(images, axis=0).tolist()
    count = len(DISTANCES)
    return {
        "mean": profile[:count],
        "sd": profile[count:],
        "derivative": derivative,
        "images": len(images),
    }


def _edge(ring, at=5):
    """Mean and SD at each distance, and the mean absolute derivative along the normal at one."""
    step = np.rint(ring.distance).astype(int) * ring.valid
    n, mean, square = by_distance(ring.deviation, step, DISTANCES)
    profile = np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))])
    profile[:, n < LEAST_PIXELS] = np.nan
    along, normal = np.gradient(ring.deviation), np.gradient(ring.distance)
    edge = ring.valid & (np.abs(ring.distance - at) <= 0.5)
    slope = np.abs(along[0] * normal[0] + along[1] * normal[1])[edge]
    return [*profile.ravel(), slope.mean() if len(slope) >= LEAST_PIXELS else np.nan]


def _compose(root, folder, name, images, seed, jobs, cache):
    """Compose a set of the cultures that the root has."""
    bank = build_bank(root, "train", cache, jobs)
    cultures = [culture for culture in CULTURE_NAMES if len(bank.donors(culture, groups=False))]
    recipe = get_recipe(name, cultures=cultures, n_images=images)
    return compose_set(root, folder, recipe, seed, jobs=jobs, cache=cache)


def as_text(result):
    """The measurements as tables, in text.

    Parameters
    ----------
    result : dict
        See `measure_realism`.

    Returns
    -------
    str
    """
    seams = pd.Series({way: found["derivative"] for way, found in result["rings"].items()})
    leaks = pd.DataFrame({name: leak for name, leak in result["leaks"].items() if leak}).T
    tables = {
        "AUC within held-out images, mean and 95 % interval over images (0.5: indistinguishable)": (
            pd.DataFrame(result["judged"]).round(3).to_string(index=False)
        ),
        "Seam index: normal derivative 5 px outside the mask, over that of real cells": (
            (seams / seams["real"]).round(3).to_string()
        ),
        "Cultures guessed from outside the mattes: balanced accuracy against a permutation null": (
            leaks.round(3).to_string()
        ),
        "What an image holds: median, and least to most": (
            fields_table(result["fields"]).to_string()
        ),
    }
    return "\n\n".join(f"{title}\n{table}" for title, table in tables.items())


def study(root, folder):
    """The realism of composites of a root; sets and partial results lie in a folder."""
    return measure_realism(root, folder, jobs=os.cpu_count(), cache=params.cache())

"""Is it realistic? Synthetic against real patches, leaks, and what fields of view hold.

Everything is compared within an image, between the area that our way (or the naive one: hard paste
on Telea inpainting) altered and the area that it left alone.
"""

import json
import zlib
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_index
from deepmucs_utils.data.masks import paint, segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_text
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.realism.critics import (
    CRITICS,
    LAGS,
    judge,
    patch_features,
    power_spectrum,
)
from deepmucs_utils.studies.realism.culture_leaks import guess_cultures
from deepmucs_utils.studies.realism.field_statistics import (
    compare_fields,
    describe_fields,
    measure_field,
    read_scenes,
)
from deepmucs_utils.studies.realism.patches import PER_RING, cleared_patches, ring_patches

WAYS = ("ours", "naive", "blurred")
MOST_IMAGES = 48
LEAK_IMAGES = 120  # of the published recipe
DENSE_IMAGES = 40
MOST_FIELDS = 48
DISTANCES = np.arange(1, 9)  # px


def measure_realism(
    root, out, images=MOST_IMAGES, critics=tuple(CRITICS), seed=0, jobs=2, cache=CACHE
):
    """Measure how well composites of a root can be told from its real images.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom; all its splits.
    out : path-like
        Folder for ``realism.json`` and the sets that are composed for it.
    images : int
        Real images looked at, at most; as many of each culture as there are.
    critics : sequence of str
        Keys of `critics.CRITICS`.
    seed, jobs, cache
        As elsewhere.

    Returns
    -------
    dict
        ``judged`` (list: ``probe, way, critic`` and what `critics.judge` gives), ``cleared`` and
        ``rings`` (statistics by way), ``fields`` (see `fields.compare_fields`), ``leaks`` (see
        `leaks.guess_cultures`) and ``root_images``.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    livecell = LiveCell(root)
    chosen = choose_images(livecell, images, seed, cache)
    tasks = (delayed(_probe)(livecell.image_path(name), cells) for name, cells in chosen)
    probes = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    probes = list(tqdm(probes, "probes", len(chosen), unit="image", disable=None))
    cleared, rings, ring_patches_ = (
        _by_way([name for name, _ in chosen], [probe[place] for probe in probes])
        for place in range(3)
    )
    judged = []
    pairs = [("cleared area", cleared, 1), ("ring", ring_patches_, PER_RING)]
    work = [(*pair, way, critic) for pair in pairs for way in WAYS for critic in critics]
    for probe, found, per, way, critic in tqdm(work, "critics", disable=None):
        result = judge(found["real"], found[way], CRITICS[critic], per, seed)
        judged.append({"probe": probe, "way": way, "critic": critic} | result)
    sparse = _compose(root, out / "published", "DeepMuCS800", LEAK_IMAGES, seed, jobs, cache)
    dense = _compose(root, out / "dense", "Dense_train", DENSE_IMAGES, seed, jobs, cache)
    images = ((livecell.image(name), cells) for name, cells in chosen)
    kinds = {
        "real": ((image, _scene(image, cells)) for image, cells in images),
        "published recipe": read_scenes(sparse),
        "dense": read_scenes(dense),
    }
    fields = {
        kind: [measure_field(*scene) for scene in islice(scenes, MOST_FIELDS)]
        for kind, scenes in kinds.items()
    }
    result = {
        "root_images": len(chosen),
        "judged": judged,
        "cleared": {way: _noise_statistics(found) for way, found in cleared.items()},
        "rings": {way: edge_statistics(found) for way, found in rings.items()},
        "fields": compare_fields(fields),
        "leaks": guess_cultures(sparse, seed),
    }
    write_text(out / "realism.json", json.dumps(result, indent=1))
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
    rng = np.random.default_rng(seed)
    by_culture = {}
    for split in SPLITS:
        if livecell.has_split(split):
            index = read_index(livecell, split, cache)
            for name, cells in index.groupby("file_name"):
                by_culture.setdefault(cells["culture"].iloc[0], []).append((name, cells))
    if not by_culture:
        raise DeepMuCSError(f"{livecell.root}: no annotations; expected those of a split.")
    each = -(-images // len(by_culture))
    chosen = []
    for found in by_culture.values():
        chosen += [found[place] for place in sorted(rng.permutation(len(found))[:each])]
    return chosen


def _scene(image, cells):
    return paint(segmentations(cells), *image.shape)


def _probe(path, cells):
    """Cleared patches, rings, and patches on the rings of one image."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    scene = _scene(image, cells)
    rng = np.random.default_rng(zlib.crc32(Path(path).name.encode()))
    cleared = cleared_patches(image, scene.mask, rng)
    rings = ring_patches(image, scene, rng)
    patches = {
        way: np.concatenate([ring.patches(rng) for ring in found])
        for way, found in rings.items()
        if found
    }
    return cleared, rings, patches


def _by_way(names, found):
    """``{way: {image: …}}`` from one ``{way: …}`` an image."""
    ways = ("real", *WAYS)
    return {
        way: {
            name: own[way] for name, own in zip(names, found, strict=True) if len(own.get(way, ()))
        }
        for way in ways
    }


def _noise_statistics(patches):
    """Means over images: SD, correlations at `LAGS`, power spectrum."""
    rows = []
    for own in patches.values():
        features = patch_features(own).mean(0)
        rows.append([features[1], *features[6 : 6 + len(LAGS)], *power_spectrum(own[:, 0]).mean(0)])
    mean = np.mean(rows, axis=0).tolist()
    return {
        "sd": mean[0],
        "correlation": {f"{dy},{dx}": r for (dy, dx), r in zip(LAGS, mean[1:], strict=False)},
        "log_power": mean[1 + len(LAGS) :],
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
        ``mean`` and ``sd`` at `DISTANCES` and ``derivative`` (grey levels, and grey levels a px),
        ``images``.
    """
    rows = []
    for own in rings.values():
        profile = np.full((len(own), 2 * len(DISTANCES) + 1), np.nan)
        for row, ring in enumerate(own):
            step = np.rint(ring.distance) * ring.valid
            for place, distance in enumerate(DISTANCES):
                values = ring.deviation[step == distance]
                if len(values) >= 5:
                    profile[row, place] = values.mean()
                    profile[row, len(DISTANCES) + place] = values.std()
            profile[row, -1] = _normal_derivative(ring, at=5)
        rows.append(np.nanmean(profile, axis=0))
    mean = np.nanmean(rows, axis=0).tolist()
    count = len(DISTANCES)
    return {"mean": mean[:count], "sd": mean[count:-1], "derivative": mean[-1], "images": len(rows)}


def _normal_derivative(ring, at):
    """Mean absolute derivative along the outward normal at a distance, grey levels a px."""
    along = np.gradient(ring.deviation)
    normal = np.gradient(ring.distance)
    edge = ring.valid & (np.abs(ring.distance - at) <= 0.5)
    if edge.sum() < 5:
        return np.nan
    return float(np.abs(along[0] * normal[0] + along[1] * normal[1])[edge].mean())


def _compose(root, folder, name, images, seed, jobs, cache):
    """Compose a set of the cultures that the root has."""
    bank = build_bank(root, "train", cache, jobs)
    cultures = [culture for culture in CULTURE_NAMES if len(bank.cells(culture))]
    recipe = get_recipe(name, cultures=cultures, n_images=images)
    return compose_set(root, folder, recipe, seed, jobs=jobs, cache=cache)


def report(result):
    """The measurements as tables, in text.

    Parameters
    ----------
    result : dict
        See `measure_realism`.

    Returns
    -------
    str
    """
    judged = pd.DataFrame(result["judged"]).round(3)
    seams = pd.Series({way: found["derivative"] for way, found in result["rings"].items()})
    leaks = {name: leak for name, leak in result["leaks"].items() if leak}
    parts = [
        "AUC within held-out images, mean and 95 % interval over images (0.5: not told apart)",
        judged.to_string(index=False),
        "Seam index: normal derivative 5 px outside the mask, over that of real cells",
        (seams / seams["real"]).round(3).to_string(),
        "Cultures guessed from outside the mattes: balanced accuracy against a permutation null",
        pd.DataFrame(leaks).T.round(3).to_string(),
        "What an image holds: median, and least to most",
        describe_fields(result["fields"]).to_string(),
    ]
    return "\n".join(f"{part}\n" if place % 2 else part for place, part in enumerate(parts))

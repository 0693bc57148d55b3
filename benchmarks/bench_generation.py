"""Writing co-culture sets: beside encoding alone, beside the plain way, and against their size."""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from pycocotools import mask as coco_mask

from deepmucs_utils.data.livecell import LiveCell, read_index
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.compose import compose_image
from deepmucs_utils.generation.plan import make_plan
from deepmucs_utils.generation.recipes import PUBLISHED, get_recipe
from deepmucs_utils.generation.sets import CHUNK, PNG, compose_set
from deepmucs_utils.phantom.write import write_phantom

IMAGES = 26  # phantom images per culture and split: 208 backgrounds
CACHE = Path(".cache") / "benchmarks"
SAME = 400  # images that are written, encoded again, and composed
LEVEL_1 = (cv2.IMWRITE_PNG_COMPRESSION, 1)
PLAIN = 24  # images made the plain way
SETS = (("DeepMuCS800", 0.5), *((name, 1.0) for name in PUBLISHED.index))


def run():
    """Print the tables; the phantom is written when it is not there yet (minutes)."""
    root = CACHE / f"phantom{IMAGES}"
    if not root.is_dir():
        write_phantom(root, images=IMAGES)
    shutil.rmtree(CACHE / "bank", ignore_errors=True)
    start, (begun, _) = time.perf_counter(), _used()
    bank = build_bank(root, "train", CACHE, jobs=2)
    building, building_cpu = time.perf_counter() - start, _used()[0] - begun
    with tempfile.TemporaryDirectory() as folder:
        rows = [_beside_encoding(root, Path(folder), jobs) for jobs in (1, 2)]
        plain, plain_cpu = _plain_way(root, bank)
        print(f"{SAME} images of 520 × 704 px with {len(bank.backgrounds)} backgrounds")
        print(pd.DataFrame(rows).round(2).to_string(index=False), "\n")
        ours = rows[0]["set, ms per image"]
        ours_cpu = rows[0]["CPU, ms per image"]
        table = {
            "plain way, ms per image": plain,
            "plain / set (1 job)": plain / ours,
            "plain / set, CPU time": plain_cpu / ours_cpu,
            "bank, s (2 jobs)": building,
            "bank, CPU s": building_cpu,
            "bank pays from … images, CPU time": 1000 * building_cpu / (plain_cpu - ours_cpu),
        }
        print(pd.Series(table).round(1).to_string(), "\n")
        print("Time and memory against size (2 jobs, a process of its own)")
        sizes = [_grow(root, Path(folder), *one) for one in SETS]
        print(pd.DataFrame(sizes).round(2).to_string(index=False))


def _beside_encoding(root, folder, jobs):
    """Time of writing a set over the time of encoding its pictures, with as many workers."""
    options = {"cache": CACHE, "jobs": jobs}
    few, many = (get_recipe("DeepMuCS800", n_images=n) for n in (4 * CHUNK, SAME))
    compose_set(root, folder / f"warm{jobs}", few, **options)
    out = folder / f"same{jobs}"
    start = _clocks()
    compose_set(root, out, many, **options)
    ours = _clocks() - start
    paths = sorted((out / "images").iterdir())
    parts = [paths[first::jobs] for first in range(jobs)]
    encoding, own = (
        np.max(Parallel(n_jobs=jobs)(delayed(_encode)(part, how) for part in parts), axis=0)
        for how in (LEVEL_1, PNG)
    )
    return {
        "jobs": jobs,
        "set, ms per image": 1000 * ours[0] / SAME,
        "encoding at level 1": 1000 * encoding[0] / SAME,
        "ratio": ours[0] / encoding[0],
        "encoding as sets are": 1000 * own[0] / SAME,
        "CPU, ms per image": 1000 * ours[1] / SAME if jobs == 1 else np.nan,
        "ratio of CPU time": ours[1] / encoding[1] if jobs == 1 else np.nan,
    }


def _clocks():
    """Seconds on the wall and of this process's CPU: the second is fair on a busy machine."""
    return np.array([time.perf_counter(), time.process_time()])


def _used():
    """CPU seconds and peak memory (MB) of this process and of its workers, which end here."""
    get_reusable_executor().shutdown(wait=True)
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    return cpu, [one.ru_maxrss / 1024 for one in used]


def _encode(paths, how):
    """Seconds for encoding pictures."""
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    start = _clocks()
    for image in images:
        cv2.imencode(".png", image, how)
    return _clocks() - start


def _plain_way(root, bank):
    """Milliseconds per image, on the wall and of CPU, from the donors' TIFFs and polygons."""
    livecell, recipe = LiveCell(root), get_recipe("DeepMuCS800", n_images=SAME)
    index = read_index(livecell, "train", CACHE)
    by_name = dict(tuple(index.groupby("file_name")))
    by_id = index.set_index("annotation_id")
    plans, _ = make_plan(recipe, bank, 0)
    scenes = [compose_image(plan, recipe, bank, 0)[2] for plan in plans[:PLAIN]]
    start = _clocks()
    for cells in scenes:
        name = cells[0]["background"]
        image = livecell.image(name)
        height, width = image.shape
        polygons = [part for polygon in by_name[name]["polygon"] for part in polygon]
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
        image = cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)
        for cell in cells:
            donor = livecell.image(cell["donor_image"])
            polygon = by_id.loc[cell["donor_annotation"], "polygon"]
            own = coco_mask.decode(coco_mask.frPyObjects(polygon, *donor.shape))[..., 0] > 0
            rows, columns = np.nonzero(own)
            y = (rows - rows.min() + cell["top"]).clip(0, height - 1)
            x = (columns - columns.min() + cell["left"]).clip(0, width - 1)
            image[y, x] = donor[own]
            pasted = np.zeros(image.shape, np.uint8, order="F")
            pasted[y, x] = 1
            coco_mask.encode(pasted)
        cv2.imencode(".png", image, LEVEL_1)
    return 1000 * (_clocks() - start) / PLAIN


def _grow(root, folder, name, fraction):
    """Write one set in a process of its own; seconds and peak memory."""
    command = [sys.executable, "-m", "benchmarks.bench_generation", str(root), str(folder), name]
    out = subprocess.run(
        [*command, str(fraction)], check=True, capture_output=True, text=True
    ).stdout
    seconds, cpu, own, worker, as_published = map(float, out.split()[-5:])
    recipe = get_recipe(name, fraction)
    return {
        "set": name,
        "images": recipe.images,
        "cells": recipe.total,
        "seconds": seconds,
        "CPU s": cpu,
        "CPU, ms per image": 1000 * cpu / recipe.images,
        "peak MB": own,
        "peak MB of a worker": worker,
        "as published": {0.0: "no", 1.0: "yes"}[as_published] if fraction == 1 else "a share",
    }


def _as_published(folder, name):
    """Whether a set's images and cells of each culture are the published ones."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    made = Counter(names[cell["category_id"]] for cell in coco["annotations"])
    made |= {"images": len(coco["images"]), "cells": made.total()}
    published = PUBLISHED.loc[name].drop("split").astype(int).to_dict()
    pictures = len(list((folder / "images").iterdir()))
    return made == published and pictures == published["images"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for argument in ("root", "folder", "name"):
        parser.add_argument(argument)
    parser.add_argument("fraction", type=float)
    options = parser.parse_args()
    out = Path(options.folder) / f"{options.name}-{options.fraction}"
    recipe = get_recipe(options.name, options.fraction)
    build_bank(options.root, recipe.split, CACHE, jobs=2)
    start, (begun, _) = time.perf_counter(), _used()
    compose_set(options.root, out, recipe, cache=CACHE, jobs=2)
    seconds = time.perf_counter() - start
    cpu, memory = _used()
    print(seconds, cpu - begun, *memory, int(_as_published(out, options.name)))
    shutil.rmtree(out)

"""Indexing a million annotations, beside ``pycocotools.COCO``, each in a process of its own."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

CELLS_PER_IMAGE = 320  # LIVECell has 1.69 million cells in 5,239 images
POINTS = (12, 40)  # LIVECell's polygons have 23 to 28 points on average


def write_coco(path, cells, spaces=True):
    """Write a COCO file with random polygons of LIVECell's lengths, block by block."""
    rng = np.random.default_rng(0)
    separators = (", ", ": ") if spaces else (",", ":")
    number = -(-cells // CELLS_PER_IMAGE)
    images = [
        {
            "id": i,
            "file_name": f"A172_Phase_{'ABCDEFGH'[i % 8]}{i // 8 % 12 + 1}_1_"
            f"{i // 96 // 24 % 100:02d}d{i // 96 % 24:02d}h00m_1.tif",
            "height": 520,
            "width": 704,
        }
        for i in range(number)
    ]
    with open(path, "w") as file:
        file.write('{"images": ' + json.dumps(images, separators=separators))
        file.write(', "annotations": [')
        for first in range(0, cells, 10_000):
            count = min(10_000, cells - first)
            rows = [_annotation(i, rng) for i in range(first, first + count)]
            text = json.dumps(rows, separators=separators)[1:-1]
            file.write((separators[0] if first else "") + text)
        file.write('], "categories": [{"id": 1, "name": "cell"}]}')


def _annotation(number, rng):
    points = int(rng.integers(*POINTS))
    corner = np.array([[rng.integers(660), rng.integers(480)]])
    polygon = np.round(corner + 40 * rng.random((points, 2)), 2).ravel().tolist()
    box = [*corner[0].tolist(), 40, 40]
    return {
        "id": number,
        "image_id": number // CELLS_PER_IMAGE,
        "category_id": 1,
        "iscrowd": 0,
        "segmentation": [polygon],
        "area": 800.5,
        "bbox": box,
    }


def _measure(what, path):
    """Run one way in this process; prints seconds, CPU seconds and peak memory in MB."""
    start = time.perf_counter()
    if what == "pycocotools":
        from pycocotools.coco import COCO

        COCO(path)
    else:
        from deepmucs_utils.data.livecell import read_index

        root = Path(path).parents[2]
        start = time.perf_counter()
        read_index(root, "train", root / "cache")
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"\n{seconds} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}")


def run(cells=1_000_000):
    """Print time and peak memory of both, for json with and without spaces."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for spaces in (True, False):
            path = Path(folder) / "annotations" / "LIVECell" / "livecell_coco_train.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / "images").mkdir(exist_ok=True)
            write_coco(path, cells, spaces)
            ways = ("pycocotools", "read_index", "read_index, from the cache")
            found = {what: _child(what, path) for what in ways}
            for what, (seconds, cpu, memory) in found.items():
                base = found["pycocotools"]
                rows.append(
                    {
                        "json": "with spaces" if spaces else "without spaces",
                        "way": what,
                        "seconds": round(seconds, 2),
                        "CPU s": round(cpu, 2),
                        "peak MB": round(memory),
                        "time / pycocotools": round(seconds / base[0], 3),
                        "memory / pycocotools": round(memory / base[2], 3),
                    }
                )
    print(f"Index of {cells:,} annotations")
    print(pd.DataFrame(rows).to_string(index=False))


def _child(what, path):
    command = [sys.executable, "-m", "benchmarks.bench_index", what, str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(map(float, out.strip().splitlines()[-1].split()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("path")
    options = parser.parse_args()
    _measure(options.what, options.path)

"""How much CPU time `small` needs to what another checkout's `small` reaches at its end.

    python -m benchmarks.learning OTHER SETS [--seeds 3]

OTHER is another checkout of the project, e.g. ``git worktree add OTHER f740a20``; SETS holds
Demo200 and Demo_val of a root (`deepmucs compose`). Both are trained with their own defaults, from
random weights, in processes with one thread, in turn. They are validated every 50 iterations; that
time does not count.

The target is the median over the seeds of the other's validation AP of masks at its end. It is
reached at the first of two validations in a row that are not below it. What is done is kept in
``SETS/learning``, so an interrupted run resumes; the result is ``book/measured/learning.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

EVERY = 50
TASKS = ("val_segm_AP", "val_segm_AP50", "val_bbox_AP")


def drive(sets, out, seed):
    """Train by the package that is first on the path; one line of ``out`` per validation."""
    from deepmucs_utils import segmentation  # noqa: F401  (first: it quiets detectron2)

    # isort: split
    import torch
    from detectron2.utils.events import EventStorage

    from deepmucs_utils.segmentation.samples import CoCultureSet, batches
    from deepmucs_utils.segmentation.trainer import Trainer
    from deepmucs_utils.segmentation.training import training_config

    torch.set_num_threads(1)
    source, validation = (CoCultureSet(sets / name) for name in ("Demo200", "Demo_val"))
    cfg = training_config("small", source.categories, seed=seed)
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(cfg, source, validation, folder)
    rows, used, begun = [], 0.0, time.process_time()
    with EventStorage(0):
        for batch in batches(trainer.samples, cfg, 0):
            trainer.step(batch)
            last = trainer.iteration == cfg.SOLVER.MAX_ITER
            if trainer.iteration % EVERY == 0 and trainer.iteration >= 100 or last:
                used += time.process_time() - begun
                found = trainer._validate()
                rows.append({"iteration": trainer.iteration, "cpu seconds": round(used, 1)})
                rows[-1] |= {task: round(found[task], 2) for task in TASKS}
                print(out.stem, rows[-1], flush=True)
                begun = time.process_time()
    out.write_text(json.dumps(rows))


def reached(rows, target):
    """CPU seconds to the first of two validations in a row at or above the target, or None."""
    for one, following in zip(rows, rows[1:], strict=False):
        if min(one["val_segm_AP"], following["val_segm_AP"]) >= target:
            return one["cpu seconds"]
    return None


def compare(trees, sets, seeds):
    """Train what is missing, and compare."""
    runs = {name: {} for name in trees}
    for seed in range(seeds):
        for name, tree in trees.items():
            out = sets / "learning" / f"{name}-{commit(tree)}-{seed}.json"
            if not out.is_file():
                run_in(tree, __file__, "--drive", seed, out, sets)
            runs[name][seed] = json.loads(out.read_text())
    target = statistics.median(rows[-1]["val_segm_AP"] for rows in runs["other"].values())
    whole = statistics.median(rows[-1]["cpu seconds"] for rows in runs["other"].values())
    times = [reached(rows, target) for rows in runs["own"].values()]
    median = statistics.median(float("inf") if each is None else each for each in times)
    return {
        "target": target,
        "other": whole,
        "own": times,
        "ratio": round(median / whole, 3) if median < float("inf") else None,
        "runs": runs,
    }


def run_in(tree, script, *arguments):
    """Run a script in a process with one thread that imports the package of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, *map(str, arguments)]
    subprocess.run(command, env=environment, cwd=tree, check=True)


def store(name, trees, seeds, begun, result):
    """Write ``book/measured/NAME.json``; ``begun`` is what `time.monotonic` said at the start."""
    from deepmucs_utils.files import write_json
    from deepmucs_utils.studies.registry import document, result_file

    command = f"python -m benchmarks.{name} OTHER SETS --seeds {seeds}"
    result["commits"] = {which: commit(tree) for which, tree in trees.items()}
    seconds = time.monotonic() - begun
    write_json(result_file(name), document(name, command, range(seeds), seconds, result))


def commit(tree):
    """Seven digits of a checkout's commit."""
    command = ["git", "-C", str(tree), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drive", nargs=2, metavar=("SEED", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OTHER SETS")
    given = parser.parse_args()
    if given.drive:
        drive(given.folders[0], Path(given.drive[1]), int(given.drive[0]))
        return
    other, sets = (folder.resolve() for folder in given.folders)
    begun, trees = time.monotonic(), {"other": other, "own": Path(__file__).parents[1]}
    result = compare(trees, sets, given.seeds)
    store("learning", trees, given.seeds, begun, result)
    print(json.dumps({key: result[key] for key in ("target", "other", "own", "ratio")}, indent=1))


if __name__ == "__main__":
    main()

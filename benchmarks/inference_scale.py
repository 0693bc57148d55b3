"""`python -m benchmarks.inference_scale RUN SET`: AP of a model on enlarged and reduced images.

The published configuration trains on short sides of 440 to 620 px and tests at 800, an enlargement
of 1.54 for LIVECell's 520 px. What does a test scale outside the training range cost or gain?

`small` is trained at the images' own scale. With ``--train TRAINSET VALSET`` the run is first
trained (or gone on with) at the published range of scales, 0.85 to 1.19, so that its test at 1.54
is outside the training range as the published one is.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.predict import load_model, predict_files
from deepmucs_utils.segmentation.run_files import CONFIG, write_config
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config
from deepmucs_utils.workflow.environment import environment

SIDE = 520  # px, short side of LIVECell's images
TRAINED = (440, 480, 520, 560, 580, 620)  # px, published
TESTED = (440, 520, 620, 800)  # px; the last one is the published


def train(set_dir, val_dir, out):
    """Train ``small`` on crops at the published scales; an interrupted training goes on."""
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    cfg = training_config("small", source.categories)
    crop = min(cfg.INPUT.CROP.SIZE)
    cfg.INPUT.MIN_SIZE_TRAIN = tuple(round(crop * side / SIDE) for side in TRAINED)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / CONFIG).is_file():
        write_config(cfg, out)
    Trainer(cfg, source, validation, out).run()


def scales(run, folder, factors=tuple(side / SIDE for side in TESTED)):
    """Segmentation AP and time of a run's model at several scales of a set's images.

    Parameters
    ----------
    run, folder : path-like
        Folders of the run and of the co-culture set.
    factors : sequence of float
        1 is the size of the images.

    Returns
    -------
    DataFrame
        One row a factor: AP, AP50, AP75, APs, APm, APl in percent, and seconds an image.
    """
    cfg, model = load_model(run)
    source = CoCultureSet(folder)
    side = min(source.images[0]["height"], source.images[0]["width"])
    rows = {}
    with tempfile.TemporaryDirectory() as out:
        path = Path(out) / "predictions.json"
        for factor in factors:
            cfg.INPUT.MIN_SIZE_TEST = round(factor * side)
            begun = time.process_time()
            predict_files(model, cfg, source.paths(), path)
            seconds = (time.process_time() - begun) / len(source.images)
            metrics = evaluate(match_files(source.folder, path))["segm"]
            rows[round(factor, 2)] = {
                key: metrics[key] for key in ("AP", "AP50", "AP75", "APs", "APm", "APl")
            }
            rows[round(factor, 2)]["CPU seconds an image"] = seconds
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("test scale")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("set", type=Path)
    parser.add_argument("--train", type=Path, nargs=2, metavar=("TRAINSET", "VALSET"))
    options = parser.parse_args()
    if options.train:
        train(*options.train, options.run)
    cfg, _ = load_model(options.run)
    crop = min(cfg.INPUT.CROP.SIZE)
    trained = sorted({round((side or crop) / crop, 2) for side in cfg.INPUT.MIN_SIZE_TRAIN})
    source = CoCultureSet(options.set)
    cells = sum(len(source.boxes(index)) for index in range(len(source)))
    machine = environment()
    print(
        f"{cfg.MODEL.RESNEST.VARIANT}, {cfg.SOLVER.MAX_ITER} iterations, trained at scales "
        f"{', '.join(map(str, trained))}; {options.set.name}: {len(source)} images, {cells} cells; "
        f"{machine['cpus']} CPUs, GPU: {machine['gpu']}"
    )
    print(scales(options.run, options.set).round(2).to_string())


if __name__ == "__main__":
    main()

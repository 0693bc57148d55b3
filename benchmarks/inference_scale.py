"""AP of a model on enlarged and reduced images: `make studies STUDY=inference-scale`.

The published configuration trains on short sides of 440 to 620 px and tests at 800, an enlargement
of 1.54 for LIVECell's 520 px. What does a test scale outside the training range cost or gain?

`small` is trained at the images' own scale. A second model is trained at the published range of
scales, 0.85 to 1.19, so that its test at 1.54 is outside the training range as the published one
is.
"""

import tempfile
import time
from pathlib import Path

import pandas as pd

from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.predict import load_model, predict_files
from deepmucs_utils.segmentation.run_files import CONFIG, write_config
from deepmucs_utils.segmentation.samples import SHORT_SIDE, CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config
from deepmucs_utils.workflow import params, runs

TRAINED = (440, 480, 520, 560, 580, 620)  # px, published
TESTED = (440, 520, 620, 800)  # px; the last one is the published


def train(set_dir, val_dir, out):
    """Train ``small`` on crops at the published scales; an interrupted training resumes."""
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    cfg = training_config("small", source.categories)
    cfg.INPUT.MIN_SIZE_TRAIN = TRAINED
    out.mkdir(parents=True, exist_ok=True)
    if not (out / CONFIG).is_file():
        write_config(cfg, out)
    Trainer(cfg, source, validation, out).run()


def scales(run, folder, factors=tuple(side / SHORT_SIDE for side in TESTED)):
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
        One row per factor: AP, AP50, AP75, APs, APm, APl in percent, and seconds per image.
    """
    cfg, model = load_model(run)
    source = CoCultureSet(folder)
    rows = {}
    with tempfile.TemporaryDirectory() as out:
        path = Path(out) / "predictions.json"
        for factor in factors:
            cfg.INPUT.MIN_SIZE_TEST = round(factor * SHORT_SIDE)
            begun = time.process_time()
            predict_files(model, cfg, source.paths(), path)
            seconds = (time.process_time() - begun) / len(source.images)
            metrics = evaluate(match_files(source.folder, path))["segm"]
            rows[round(factor, 2)] = {
                key: metrics[key] for key in ("AP", "AP50", "AP75", "APs", "APm", "APl")
            }
            rows[round(factor, 2)]["CPU seconds per image"] = seconds
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("test scale")


def study(root, folder):
    """AP by test scale of `small` on Demo200, as trained and trained at the published scales.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    folder : Path
        Of the sets and runs; an interrupted training resumes.

    Returns
    -------
    dict of str to list of dict
        Rows of `scales` by the training's scales, ``own`` and ``published``.
    """
    p = params.check(set_name="Demo200", data_root=root, out_dir=folder)
    train(runs.compose(p, "train"), runs.compose(p, "val"), folder / "scales")
    models = {"own": runs.train(p), "published": folder / "scales"}
    test = runs.compose(p, "test")
    return {
        name: scales(run, test).reset_index().to_dict("records") for name, run in models.items()
    }

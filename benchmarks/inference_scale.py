"""`python -m benchmarks.inference_scale RUN SET`: AP of a model on enlarged and reduced images.

The published configuration trains on short sides of 440 to 620 px and tests at 800, an enlargement
of 1.54 for LIVECell's 520 px. What does a test scale outside the training range cost or gain?
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.predict import load_model, predict_set
from deepmucs_utils.segmentation.samples import CoCultureSet

FACTORS = (0.85, 1.0, 1.19, 1.54)  # 440, 520, 620 and 800 of 520 px


def scales(run, folder, factors=FACTORS):
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
            predict_set(model, cfg, source, path)
            seconds = (time.process_time() - begun) / len(source.images)
            metrics = evaluate(source.folder / "annotations.json", path)["segm"]
            rows[factor] = {
                key: metrics[key] for key in ("AP", "AP50", "AP75", "APs", "APm", "APl")
            }
            rows[factor]["CPU seconds an image"] = seconds
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scale")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("set", type=Path)
    options = parser.parse_args()
    print(scales(options.run, options.set).round(2).to_string())


if __name__ == "__main__":
    main()

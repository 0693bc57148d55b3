"""Table I of the paper, as printed, to stand beside one's own numbers."""

from importlib.resources import files

import pandas as pd

IMAGES = {"DeepMuCS800": 800, "DeepMuCS1600": 1600, "DeepMuCS4000": 4000}  # paper, section IV


def published_table_one():
    """Table I of the paper: overall APs of the three training sets on LIVECell co-cultures.

    Returns
    -------
    pandas.DataFrame
        Percent, in the layout of `metrics.table_one`: a row a training set, columns (mAP, Det.),
        (mAP, Seg.), (mAP50, Det.), …
    """
    table = pd.read_csv(files(__package__) / "published_table1.csv")
    table["side"] = table["task"].map({"detection": "Det.", "segmentation": "Seg."})
    table = table.drop(columns="task").pivot(index="train_dataset", columns="side")
    metrics = ["mAP", "mAP50", "mAP75", "mAPs", "mAPm", "mAPl"]
    columns = [(metric, side) for metric in metrics for side in ("Det.", "Seg.")]
    table.columns = list(table.columns)
    table = table.loc[list(IMAGES), columns].rename_axis("Train dataset")
    table.columns = pd.MultiIndex.from_tuples(columns)
    return table

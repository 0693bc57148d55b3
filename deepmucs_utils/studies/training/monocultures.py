"""Real scenes: monoculture images of a LIVECell root as a set with culture labels.

Everything else is measured on scenes that were composed here. In a monoculture image the culture
of each cell is known from the file's name, so a co-culture model can be judged on scenes that
nobody composed: does it find the cells, and does it name them right without a second culture to
compare with?
"""

import os
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
from hotcoco import mask as rle
from tqdm import tqdm

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID, CULTURE_NAMES, LABELS
from deepmucs_utils.data.livecell import CACHE, LiveCell, read_images, read_index
from deepmucs_utils.data.masks import decode, segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.files import write_json

LEAST_VISIBLE = 0.25  # share of a cell inside a window; with less it is neither cell nor background


@dataclass(frozen=True)
class Windows:
    """Which windows of the images become the images of a set.

    Parameters
    ----------
    size : tuple of int, optional
        Height and width, px; the windows of an image lie side by side around its middle. Default
        whole images.
    number : int, optional
        So many are taken at random, the cultures in turn. Default all.
    seed : int
        Of the choice.
    """

    size: tuple[int, int] | None = None
    number: int | None = None
    seed: int = 0

    def cut(self, images):
        """The windows; the rows of ``images``, each once per window, with ``top, left, h, w``."""
        windows = pd.concat([self._of(image) for _, image in images.iterrows()], ignore_index=True)
        if self.number is None:
            return windows
        shuffled = windows.sample(frac=1, random_state=np.random.default_rng(self.seed))
        turn = shuffled.groupby("culture").cumcount()
        return windows.loc[turn.sort_values(kind="stable").index[: self.number].sort_values()]

    def _of(self, image):
        height, width = image["height"], image["width"]
        h, w = self.size or (height, width)
        if h > height or w > width:
            raise DeepMuCSError(
                f"{image['file_name']}: {height} × {width} px hold no window of {h} × {w} px; take "
                "a smaller window."
            )
        tops = range(height % h // 2, height - h + 1, h)
        lefts = range(width % w // 2, width - w + 1, w)
        corners = pd.DataFrame(product(tops, lefts), columns=["top", "left"])
        return corners.assign(**image, h=h, w=w)


def write_monocultures(
    root, out, split="test", windows=None, cultures=None, without=None, cache=CACHE
):
    """Write the monoculture images of a root as a set.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    out : path-like
        Folder of the set; must not exist.
    split : {"train", "val", "test"}, or a sequence of them
    windows : Windows, optional
        Default all images, whole.
    cultures : sequence of str, optional
        Default all.
    without : path-like, optional
        Folder of a co-culture set: images that gave it a cell are left out.
    cache : path-like
        Where the index is kept.

    Returns
    -------
    Path
        ``out`` with ``images/*.png`` (the pixels as they are), ``annotations.json`` (eight
        categories, RLE; an image's ``block`` is its culture and well) and ``recipe.json``.

    Raises
    ------
    DeepMuCSError
        If no image is left, or ``out`` exists.
    """
    livecell, out, windows = LiveCell(root), Path(out), windows or Windows()
    if out.exists():
        raise DeepMuCSError(f"{out}: exists already; take another folder or remove this one.")
    splits = (split,) if isinstance(split, str) else split
    images = pd.concat([read_images(livecell, each, cache) for each in splits], ignore_index=True)
    donors = images["file_name"].isin([] if without is None else _donors(without))
    wanted = images["culture"].isin(CULTURE_NAMES if cultures is None else cultures)
    kept = images[~donors & (images["cells"] > 0) & wanted]
    if kept.empty:
        raise DeepMuCSError(
            f"{livecell.root}: none of the {len(images)} images of {' and '.join(splits)} "
            f"is left{' that gave no donor' if donors.any() else ''}; take a root with more "
            f"images{', or compose a smaller set' if donors.any() else ''}."
        )
    cells = pd.concat([read_index(livecell, each, cache) for each in splits])
    cells = dict(iter(cells.groupby("file_name")))
    recipe = {"set": "monocultures", "split": split, "window": windows.size, "seed": windows.seed}
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{out.name}.", suffix=".partial", dir=out.parent) as partial:
        partial = Path(partial) / out.name
        (partial / "images").mkdir(parents=True)
        content = _write_images(partial / "images", livecell, windows.cut(kept), cells)
        counts = Counter(CULTURE_NAMES[cell["category_id"] - 1] for cell in content["annotations"])
        recipe |= {"images": len(content["images"]), "cells": counts}
        write_json(partial / "annotations.json", content, indent=None)
        write_json(partial / "recipe.json", recipe | {"left_out_as_donors": int(donors.sum())})
        os.replace(partial, out)
    return out


def _donors(folder):
    """File names of the images that gave a set its cells."""
    path = Path(folder) / "provenance.parquet"
    if not path.is_file():
        raise DeepMuCSError(f"{path}: no such file; expected the folder of a co-culture set.")
    return set(pd.read_parquet(path, columns=["donor_image"])["donor_image"])


def _write_images(folder, livecell, windows, cells):
    """Write the windows' pixels; returns the COCO content."""
    images, annotations = [], []
    progress = tqdm(windows.to_dict("records"), "monocultures", unit="image", disable=None)
    for number, one in enumerate(progress):
        inside = np.s_[one["top"] : one["top"] + one["h"], one["left"] : one["left"] + one["w"]]
        name = f"{number:06d}.png"
        if not cv2.imwrite(str(folder / name), livecell.image(one["file_name"])[inside]):
            raise DeepMuCSError(f"{folder / name}: cannot be written; free some space.")
        entry = {"id": number, "file_name": name, "height": one["h"], "width": one["w"]}
        block = f"{one['culture']} {one['well']}"
        images.append(entry | {"block": block, "source": one["file_name"]})
        own = cells[one["file_name"]]
        for segmentation, crowd in zip(segmentations(own), own["iscrowd"], strict=True):
            whole = decode(segmentation, (one["height"], one["width"]))
            code, area = rle.encode(np.asfortranarray(whole[inside], np.uint8)), whole[inside].sum()
            cell = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": CATEGORY_ID[one["culture"]],
                "bbox": rle.to_bbox(code),
                "area": area,
                "iscrowd": int(crowd or area < LEAST_VISIBLE * whole.sum()),
                "segmentation": code | {"counts": code["counts"].decode()},
            }
            annotations += [cell] if area else []
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def scene_table(results) -> pd.DataFrame:
    """Class-aware and pooled metrics of several models or sets, one below the other.

    Parameters
    ----------
    results : dict of str to dict
        From `metrics.evaluate`, by the row's name.

    Returns
    -------
    pandas.DataFrame
        One row per entry. Columns (task, AP), in percent: ``segmentation`` and ``detection``, each
        ``AP``, ``AP50`` (mean over the cultures), ``AP pooled``, ``AP50 pooled`` (all cultures one
        class); and ``images`` and ``cells`` under ``test``.
    """
    tasks = {"segmentation": "segm", "detection": "bbox"}
    rows = {
        name: {("test", key): metrics[f"n_{key}"] for key in ("images", "cells")}
        | {
            (task, key + end): values[iou_type][key]
            for task, iou_type in tasks.items()
            for end, values in (("", metrics), (" pooled", metrics["pooled"]))
            for key in ("AP", "AP50")
        }
        for name, metrics in results.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def count_windows(folder) -> pd.DataFrame:
    """How many windows, wells and cells of each culture a set of `write_monocultures` holds.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    pandas.DataFrame
        One row per culture (its name in print): ``windows``, ``images`` that they were cut from,
        ``wells``, ``cells`` that count, ``cells a window`` (mean) and ``most`` in a window.
    """
    truth = read_ground_truth(folder)
    images = pd.DataFrame(truth["images"]).set_index("id")
    cells = pd.DataFrame(truth["annotations"]).query("iscrowd == 0")
    images["cells"] = cells["image_id"].value_counts().reindex(images.index, fill_value=0)
    table = images.groupby(images["block"].str.split().str[0]).agg(
        windows=("file_name", "size"),
        images=("source", "nunique"),
        wells=("block", "nunique"),
        cells=("cells", "sum"),
        mean=("cells", "mean"),
        most=("cells", "max"),
    )
    order = [name for name in LABELS if name in table.index]
    table = table.loc[order].rename(index=LABELS, columns={"mean": "cells a window"})
    return table.rename_axis("culture")

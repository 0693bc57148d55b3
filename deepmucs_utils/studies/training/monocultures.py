"""Real scenes: monoculture images of a LIVECell root as a set with culture labels.

Everything else is measured on scenes that were composed here. In a monoculture image the culture
of each cell is known from the file's name, so a co-culture model can be judged on scenes that
nobody composed: does it find the cells, and does it name them right without a second culture to
compare with?
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from hotcoco import mask as rle
from tqdm import tqdm

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID, LABELS
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
        windows = pd.DataFrame(
            [row for image in images.to_dict("records") for row in self._of(image)]
        )
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
        for top in range(height % h // 2, height - h + 1, h):
            for left in range(width % w // 2, width - w + 1, w):
                yield image | {"top": top, "left": left, "h": h, "w": w}


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
    split : {"train", "val", "test"}
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
    images = read_images(livecell, split, cache)
    donors = images["file_name"].isin([] if without is None else _donors(without))
    kept = images[~donors & (images["cells"] > 0)]
    if cultures is not None:
        kept = kept[kept["culture"].isin(cultures)]
    if kept.empty:
        raise DeepMuCSError(
            f"{livecell.annotation_file(split)}: none of the {len(images)} images of the {split} "
            f"split is left{' that gave no donor' if donors.any() else ''}; take a root with more "
            f"images{', or compose a smaller set' if donors.any() else ''}."
        )
    cells = read_index(livecell, split, cache)
    cells = dict(iter(cells[cells["image_id"].isin(kept["image_id"])].groupby("image_id")))
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        (partial / "images").mkdir(parents=True)
        content = _write_images(partial, livecell, windows.cut(kept), cells)
        counts = pd.Series(
            [CATEGORIES[cell["category_id"] - 1]["name"] for cell in content["annotations"]]
        )
        recipe = {
            "set": "monocultures",
            "split": split,
            "images": len(content["images"]),
            "cells": counts.value_counts(sort=False).to_dict(),
            "left_out_as_donors": int(donors.sum()),
            "window": windows.size,
            "seed": windows.seed,
        }
        write_json(partial / "annotations.json", content, indent=None)
        write_json(partial / "recipe.json", recipe)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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
        pixels = livecell.image(one["file_name"])[inside]
        if not cv2.imwrite(str(folder / "images" / name), pixels):
            raise DeepMuCSError(f"{folder / 'images' / name}: cannot be written; free some space.")
        block = f"{one['culture']} {one['well']}"
        size = {"height": one["h"], "width": one["w"]}
        origin = {"block": block, "source": one["file_name"]}
        images.append({"id": number, "file_name": name} | size | origin)
        own = cells[one["image_id"]]
        for segmentation, crowd in zip(segmentations(own), own["iscrowd"], strict=True):
            whole = decode(segmentation, (one["height"], one["width"]))
            if whole[inside].any():
                ids = {"id": len(annotations) + 1, "image_id": number}
                ids["category_id"] = CATEGORY_ID[one["culture"]]
                annotations.append(ids | _annotation(whole[inside], whole.sum(), crowd))
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def _annotation(visible, whole_area, crowd):
    code = rle.encode(np.asfortranarray(visible, np.uint8))
    area = int(visible.sum())
    return {
        "bbox": np.asarray(rle.toBbox(code)).ravel().tolist(),
        "area": area,
        "iscrowd": int(crowd or area < LEAST_VISIBLE * whole_area),
        "segmentation": {"size": list(visible.shape), "counts": code["counts"].decode()},
    }


def scene_table(results):
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
    rows = {}
    for name, metrics in results.items():
        row = {("test", key): metrics[f"n_{key}"] for key in ("images", "cells")}
        for task, iou_type in (("segmentation", "segm"), ("detection", "bbox")):
            for end, values in (("", metrics[iou_type]), (" pooled", metrics["pooled"][iou_type])):
                row |= {(task, key + end): values[key] for key in ("AP", "AP50")}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def count_windows(folder):
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
    truth = read_ground_truth(Path(folder) / "annotations.json")
    images = pd.DataFrame(truth["images"]).set_index("id")
    counts = pd.Series([a["image_id"] for a in truth["annotations"] if not a.get("iscrowd")])
    images["cells"] = counts.value_counts().reindex(images.index, fill_value=0)
    by_culture = images.groupby(images["block"].str.split().str[0])
    table = by_culture.agg(
        windows=("file_name", "size"),
        images=("source", "nunique"),
        wells=("block", "nunique"),
        cells=("cells", "sum"),
        mean=("cells", "mean"),
        most=("cells", "max"),
    ).rename(columns={"mean": "cells a window"})
    order = [name for name in LABELS if name in table.index]
    return table.loc[order].rename(index=LABELS).rename_axis("culture")

"""Real scenes: monoculture images of a LIVECell root as a set with culture labels.

Everything else is measured on scenes that were composed here. In a monoculture image the culture
of each cell is known from the file's name, so a co-culture model can be judged on scenes that
nobody composed: does it find the cells, and does it name them right without a second culture to
compare with?
"""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from hotcoco import mask as rle
from tqdm import tqdm

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID, LABELS
from deepmucs_utils.data.livecell import CACHE, LiveCell, read_images, read_index
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import read_ground_truth

LEAST_VISIBLE = 0.25  # share of a cell inside a window; with less it is neither cell nor background


def write_monocultures(
    root,
    out,
    split="test",
    without=None,
    window=None,
    n_images=None,
    cultures=None,
    seed=0,
    cache=CACHE,
):
    """Write the monoculture images of a root as a set.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    out : path-like
        Folder of the set; must not exist.
    split : {"train", "val", "test"}
    without : path-like, optional
        Folder of a co-culture set: images that gave it a cell are left out.
    window : tuple of int, optional
        Height and width (px) of windows that the images are cut into, side by side from the
        middle; default whole images.
    n_images : int, optional
        Number of images (or windows) to take at random, culture by culture in turn; default all.
    cultures : sequence of str, optional
        Default all.
    seed : int
        Of the choice.
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
    livecell, out = LiveCell(root), Path(out)
    if out.exists():
        raise DeepMuCSError(f"{out}: exists already; take another folder or remove this one.")
    images = read_images(livecell, split, cache)
    given = set() if without is None else _donors(without)
    kept = images[~images["file_name"].isin(given) & (images["cells"] > 0)]
    if cultures is not None:
        kept = kept[kept["culture"].isin(cultures)]
    if kept.empty:
        raise DeepMuCSError(
            f"{livecell.annotation_file(split)}: none of the {len(images)} images of the {split} "
            f"split is left{' that gave no donor' if given else ''}; take a root with more images"
            f"{', or compose a smaller set' if given else ''}."
        )
    chosen = _choose(_windows(kept, window), n_images, seed)
    cells = read_index(livecell, split, cache)
    by_image = dict(iter(cells[cells["image_id"].isin(kept["image_id"])].groupby("image_id")))
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    try:
        content = _write_images(partial, livecell, chosen, by_image)
        recipe = {
            "set": "monocultures",
            "split": split,
            "images": len(content["images"]),
            "cells": pd.Series([a["category_id"] for a in content["annotations"]])
            .map({number: name for name, number in CATEGORY_ID.items()})
            .value_counts(sort=False)
            .to_dict(),
            "left_out_as_donors": int(images["file_name"].isin(given).sum()),
            "window": window,
            "seed": seed,
        }
        for name, document in (("annotations", content), ("recipe", recipe)):
            text = json.dumps(document, indent=1 if name == "recipe" else None)
            (partial / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def scene_table(results):
    """Class-aware and pooled metrics of several models or sets, one below the other.

    Parameters
    ----------
    results : dict of str to dict
        From `metrics.evaluate`, by the row's name.

    Returns
    -------
    pandas.DataFrame
        One row an entry. Columns (task, AP), in percent: ``segmentation`` and ``detection``, each
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


def describe_scenes(folder):
    """How many windows, wells and cells a set of `write_monocultures` has of each culture.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    pandas.DataFrame
        One row a culture (its name in print): ``windows``, ``images`` that they were cut from,
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


def _donors(folder):
    """File names of the images that gave a set its cells."""
    path = Path(folder) / "provenance.parquet"
    if not path.is_file():
        raise DeepMuCSError(f"{path}: no such file; expected the folder of a co-culture set.")
    return set(pd.read_parquet(path, columns=["donor_image"])["donor_image"])


def _windows(images, window):
    """One row a window: the image's row and ``top, left, h, w``."""
    rows = []
    for image in images.to_dict("records"):
        height, width = image["height"], image["width"]
        h, w = window or (height, width)
        if h > height or w > width:
            raise DeepMuCSError(
                f"{image['file_name']}: {height} × {width} px hold no window of {h} × {w} px; take "
                "a smaller window."
            )
        down, across = height // h, width // w
        top, left = (height - down * h) // 2, (width - across * w) // 2
        for row in range(down):
            for column in range(across):
                rows.append(
                    image | {"top": top + row * h, "left": left + column * w, "h": h, "w": w}
                )
    return pd.DataFrame(rows)


def _choose(windows, n, seed):
    """``n`` windows at random, of the cultures in turn; in the order of the table."""
    if n is None:
        return windows
    shuffled = windows.sample(frac=1, random_state=np.random.default_rng(seed))
    turn = shuffled.groupby("culture").cumcount()
    return windows.loc[turn.sort_values(kind="stable").index[:n].sort_values()]


def _write_images(folder, livecell, windows, by_image):
    """Write the windows' pixels; returns the COCO content."""
    images, annotations = [], []
    progress = tqdm(windows.to_dict("records"), "monocultures", unit="image", disable=None)
    for number, one in enumerate(progress):
        inside = np.s_[one["top"] : one["top"] + one["h"], one["left"] : one["left"] + one["w"]]
        name = f"{number:06d}.png"
        pixels = livecell.image(one["file_name"])[inside]
        if not cv2.imwrite(str(folder / "images" / name), pixels):
            raise DeepMuCSError(f"{folder / 'images' / name}: cannot be written; free some space.")
        images.append(
            {
                "id": number,
                "file_name": name,
                "height": one["h"],
                "width": one["w"],
                "block": f"{one['culture']} {one['well']}",
                "source": one["file_name"],
            }
        )
        for polygon in by_image[one["image_id"]]["polygon"]:
            polygon = [np.asarray(part, float).tolist() for part in polygon]
            whole = rle.merge(rle.frPyObjects(polygon, one["height"], one["width"]))
            visible = np.asarray(rle.decode(whole))[inside]
            if visible.any():
                annotation = _annotation(visible, rle.area(whole))
                ids = {"id": len(annotations) + 1, "image_id": number}
                annotations.append(ids | {"category_id": CATEGORY_ID[one["culture"]]} | annotation)
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def _annotation(visible, whole_area):
    code = rle.encode(np.asfortranarray(visible))
    area = int(visible.sum())
    return {
        "bbox": np.asarray(rle.toBbox(code)).ravel().tolist(),
        "area": area,
        "iscrowd": int(area < LEAST_VISIBLE * whole_area),
        "segmentation": {"size": list(visible.shape), "counts": code["counts"].decode()},
    }

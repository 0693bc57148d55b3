"""Writing a whole co-culture set (paper, section IV): images, truth, provenance, recipe.

Images are independent once planned, so joblib maps them over worker processes (on a cluster too,
with joblib's own switch of backends). They are written in small chunks; each leaves its PNGs and a
record behind, from which an interrupted set resumes. A set appears under its name only when it is
complete.
"""

import json
import os
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.data.livecell import CACHE, LiveCell, digest
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json, write_json, write_text
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.compose import Style, compose_image
from deepmucs_utils.generation.plan import make_plan
from deepmucs_utils.generation.recipes import Recipe

FORMAT = 4
# Camera noise has no pattern to find: coding its values by their frequency alone takes a third of
# the time of level 1 with its filters, and makes the files a fifth smaller.
PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),  # first: it sets the other two
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
CHUNK = 8  # images with a common record
TASKS = 8  # per worker: each opens the bank once


def compose_set(
    root, out, recipe: Recipe, seed=0, style: Style | None = None, jobs=2, cache=CACHE, only=None
) -> Path:
    """Compose a co-culture set from a LIVECell root.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    out : path-like
        Folder of the set. A complete set with the same recipe is kept as it is; an interrupted one
        is resumed.
    recipe : Recipe
        What the set is made of; see `recipes.get_recipe`.
    seed : int
    style : compose.Style, optional
        How cells are placed and pasted.
    jobs : int
        Worker processes; the set does not depend on their number.
    cache : path-like
        Where index and bank are kept.
    only : int, optional
        Compose this image alone, with its annotations and provenance.

    Returns
    -------
    Path
        ``out``, with ``images/*.png``, ``annotations.json``, ``provenance.parquet``,
        ``recipe.json``.

    Raises
    ------
    DeepMuCSError
        If the root lacks a culture of the recipe or ``out`` holds something else.
    """
    out, style = Path(out), style or Style()
    if only is not None and not 0 <= only < recipe.images:
        raise DeepMuCSError(
            f"image {only}: not in {recipe.name}; expected a number from 0 to {recipe.images - 1}."
        )
    source = LiveCell(root).annotation_file(recipe.split)
    document = _document(recipe, style, seed, only, source)
    if _is_complete(out, document):
        return out
    bank = build_bank(root, recipe.split, cache, jobs)
    if bank.backgrounds.empty:
        raise DeepMuCSError(
            f"{source}: no image of the {recipe.split} split could be cleared into a background; "
            "add images with fewer cells."
        )
    plans, facts = make_plan(recipe, bank, seed)
    chosen = plans if only is None else [plans[only]]
    chunks = [chosen[first : first + CHUNK] for first in range(0, len(chosen), CHUNK)]

    partial = _start(out, document)
    todo = [chunk for chunk in chunks if not _record(partial, chunk).is_file()]
    number = min(len(todo), TASKS * jobs)
    tasks = (
        delayed(_compose_chunks)(partial, todo[first::number], recipe, bank, seed, style)
        for first in range(number)
    )
    with tqdm(desc=recipe.name, total=sum(map(len, todo)), unit="image", disable=None) as progress:
        for images in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
            progress.update(images)
    excluded = bank.exclusions.to_dict("records")
    facts |= {"excluded": excluded, "no_background": bank.facts["no_background"]}
    _finish(partial, chunks, recipe, document | {"bank": facts})
    if out.is_dir():  # an empty folder, which not every system renames over
        out.rmdir()
    os.replace(partial, out)
    return out


def _document(recipe, style, seed, only, source):
    """What makes a set this very set, as ``recipe.json`` has it."""
    document = {
        "format": FORMAT,
        "set": asdict(recipe) | {"total": recipe.total},
        "style": asdict(style),
        "seed": seed,
        "only": only,
        "annotations_sha256": digest(source),
        "versions": {name: version(name) for name in ("numpy", "opencv-python-headless", "scipy")},
    }
    return json.loads(json.dumps(document))  # as it will be read back


def _is_complete(out, document):
    """Whether ``out`` is this very set; an error if it is something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / "recipe.json").is_file():
        raise DeepMuCSError(f"{out}: exists and is no co-culture set; take another folder.")
    found = read_json(out / "recipe.json")
    different = [key for key in document if found.get(key) != document[key]]
    if different:
        raise DeepMuCSError(
            f"{out}: holds a set with another recipe (different: {', '.join(different)}); take "
            "another folder or remove this one."
        )
    return True


def _start(out, document):
    """Folder of an unfinished set: what is there of this very set, or an empty one."""
    partial = out.with_name(out.name + ".partial")
    started, record = document | {"chunk": CHUNK}, partial / "started.json"
    if not record.is_file() or read_json(record) != started:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in ("images", "records"):
            (partial / folder).mkdir(parents=True)
        write_json(record, started)
    return partial


def _compose_chunks(folder, chunks, recipe, bank, seed, style):
    """Compose some images into ``folder``; the number of them. The record of a chunk is written
    last and says that all of its images are there."""
    for chunk in chunks:
        record = {"images": [], "annotations": [], "provenance": []}
        for plan in chunk:
            image, annotations, provenance = compose_image(plan, recipe, bank, seed, style)
            name = f"{plan.index:06d}.png"
            _, png = cv2.imencode(".png", image, PNG)
            (folder / "images" / name).write_bytes(png)
            height, width = image.shape
            entry = {"id": plan.index, "file_name": name, "height": height, "width": width}
            record["images"].append(entry | {"block": plan.block})
            record["annotations"] += annotations
            record["provenance"] += provenance
        write_text(_record(folder, chunk), json.dumps(record))
    return sum(map(len, chunks))


def _record(folder, chunk):
    return folder / "records" / f"{chunk[0].index:06d}.json"


def _finish(folder, chunks, recipe, document):
    """Gather the records into the set's files, chunk by chunk, so that memory stays flat."""
    info = {
        "description": f"{recipe.name}: synthetic co-cultures",
        "note": recipe.note,
        "licence": "as the donor images; CC BY-NC 4.0 for LIVECell",
    }
    images, tables = [], []
    with open(folder / "annotations.json", "w") as file:
        file.write(f'{{"info": {json.dumps(info)}, "annotations": [')
        for chunk in chunks:
            record = read_json(_record(folder, chunk))
            file.write(", " * bool(images) + json.dumps(record["annotations"])[1:-1])
            images += record["images"]
            tables.append(pd.DataFrame(record["provenance"]))
        file.write(f'], "images": {json.dumps(images)}, "categories": {json.dumps(CATEGORIES)}}}')
    table = pd.concat(tables, ignore_index=True)
    table.to_parquet(folder / "provenance.parquet", index=False)
    cover = table.groupby("image_id")["visible_area"].sum() / np.prod(recipe.canvas)
    least, median, most = cover.quantile([0, 0.5, 1]).tolist()
    cover = {"least": round(least, 4), "median": round(median, 4), "most": round(most, 4)}
    shutil.rmtree(folder / "records")
    (folder / "started.json").unlink()
    write_json(folder / "recipe.json", document | {"cover": cover})

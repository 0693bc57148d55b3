"""Writing a whole co-culture set (paper, section IV): images, truth, provenance, recipe.

Images are independent once planned, so they are mapped over worker processes by joblib; each leaves
its PNG and a small record behind, from which an interrupted set goes on. A set appears under its
name only when it is complete.
"""

import json
import os
import shutil
from dataclasses import asdict
from functools import lru_cache
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
from deepmucs_utils.generation.bank import build_bank, open_bank
from deepmucs_utils.generation.compose import compose_image
from deepmucs_utils.generation.plan import make_plan
from deepmucs_utils.generation.recipes import get_recipe

FORMAT = 1
PNG_LEVEL = 1  # a fifth of the default level's time; the files are a tenth larger


def compose_set(
    root,
    out,
    set_name,
    fraction=1.0,
    cultures=None,
    n_images=None,
    seed=0,
    jobs=2,
    cache=CACHE,
    only=None,
):
    """Compose a co-culture set from a LIVECell root.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    out : path-like
        Folder of the set. A complete set with the same recipe is kept as it is; an interrupted one
        goes on.
    set_name : str
        One of `recipes.SET_NAMES`.
    fraction, cultures, n_images
        See `recipes.get_recipe`.
    seed : int
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
    out = Path(out)
    recipe = get_recipe(set_name, fraction, cultures, n_images)
    if only is not None and not 0 <= only < recipe.images:
        raise DeepMuCSError(
            f"image {only}: not in {set_name}; expected a number from 0 to {recipe.images - 1}."
        )
    source = LiveCell(root).annotation_file(recipe.split)
    document = {
        "format": FORMAT,
        "set": asdict(recipe) | {"total": recipe.total},
        "seed": seed,
        "only": only,
        "annotations_sha256": digest(source),
        "versions": {name: version(name) for name in ("numpy", "opencv-python-headless", "scipy")},
    }
    document["set"]["canvas"] = list(recipe.canvas)
    if _is_complete(out, document):
        return out
    bank = build_bank(root, recipe.split, cache, jobs)
    if not len(bank.backgrounds):
        raise DeepMuCSError(
            f"{source}: no image of the {recipe.split} split could be cleared into a background; "
            "add images with fewer cells."
        )
    plans, facts = make_plan(recipe, bank, seed)
    chosen = plans if only is None else [plans[only]]

    partial = out.with_name(out.name + ".partial")
    if _read_json(partial / "started.json") != document:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "images").mkdir(parents=True)
        (partial / "records").mkdir()
        _write_json(partial / "started.json", document)
    todo = [plan for plan in chosen if not _record(partial, plan.index).is_file()]
    tasks = (delayed(_compose_to)(partial, plan, recipe, bank.folder, seed) for plan in todo)
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    for _ in tqdm(done, f"{set_name}", len(todo), unit="image", disable=None):
        pass
    _finish(partial, chosen, recipe, document | {"bank": facts})
    os.replace(partial, out)
    return out


def _is_complete(out, document):
    """Whether ``out`` is this very set; an error if it is something else."""
    if not out.exists():
        return False
    found = _read_json(out / "recipe.json")
    if found is None:
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
            return False
        raise DeepMuCSError(f"{out}: exists and is no co-culture set; take another folder.")
    different = [key for key in document if found.get(key) != document[key]]
    if different:
        raise DeepMuCSError(
            f"{out}: holds a set with another recipe (different: {', '.join(different)}); take "
            "another folder or remove this one."
        )
    return True


def _compose_to(folder, plan, recipe, bank_folder, seed):
    """Compose one image into ``folder``; its record is written last and says that it is done."""
    image, annotations, provenance = compose_image(plan, recipe, _bank(bank_folder), seed)
    name = f"{plan.index:06d}.png"
    _, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    (folder / "images" / name).write_bytes(png.tobytes())
    height, width = image.shape
    entry = {"id": plan.index, "file_name": name, "height": height, "width": width}
    record = {"image": entry | {"block": plan.block}, "annotations": annotations}
    _write_json(_record(folder, plan.index), record | {"provenance": provenance})


@lru_cache(maxsize=2)
def _bank(folder):
    return open_bank(folder)


def _record(folder, index):
    return folder / "records" / f"{index:06d}.json"


def _finish(folder, plans, recipe, document):
    """Gather the records into the set's files."""
    records = [_read_json(_record(folder, plan.index)) for plan in plans]
    annotations = [cell for record in records for cell in record["annotations"]]
    coco = {
        "info": {
            "description": f"{recipe.name}: synthetic co-cultures",
            "note": recipe.note,
            "licence": "as the donor images; CC BY-NC 4.0 for LIVECell",
        },
        "images": [record["image"] for record in records],
        "annotations": annotations,
        "categories": CATEGORIES,
    }
    _write_json(folder / "annotations.json", coco)
    provenance = pd.DataFrame([cell for record in records for cell in record["provenance"]])
    provenance.to_parquet(folder / "provenance.parquet", index=False)
    shutil.rmtree(folder / "records")
    (folder / "started.json").unlink()
    _write_json(folder / "recipe.json", document, indent=1)


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_json(path, content, indent=None):
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=indent, default=_plain))
    os.replace(partial, path)


def _plain(value):
    """numpy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

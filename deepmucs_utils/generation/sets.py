"""Writing a whole co-culture set (paper, section IV): images, truth, provenance, recipe.

Images are independent once planned, so they are mapped in small chunks over worker processes by
joblib (on a cluster too, with joblib's own switch of backends); each chunk leaves its PNGs and a
record behind, from which an interrupted set goes on. A set appears under its name only when it is
complete.
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
from deepmucs_utils.files import write_text
from deepmucs_utils.generation.bank import build_bank, open_bank
from deepmucs_utils.generation.compose import Style, compose_image
from deepmucs_utils.generation.plan import make_plan

FORMAT = 4
# Camera noise has no pattern to find: coding its values by their frequency alone takes a third of
# the time of level 1 with its filters, and makes the files a fifth smaller.
PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),  # first: it sets the other two
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
CHUNK = 8  # images a task
ROWS = 5000  # cells whose provenance is gathered before it becomes a table


def compose_set(root, out, recipe, seed=0, style=None, jobs=2, cache=CACHE, only=None):
    """Compose a co-culture set from a LIVECell root.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    out : path-like
        Folder of the set. A complete set with the same recipe is kept as it is; an interrupted one
        goes on.
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
    out = Path(out)
    style = style or Style()
    if only is not None and not 0 <= only < recipe.images:
        raise DeepMuCSError(
            f"image {only}: not in {recipe.name}; expected a number from 0 to {recipe.images - 1}."
        )
    source = LiveCell(root).annotation_file(recipe.split)
    document = {
        "format": FORMAT,
        "set": _plain_recipe(recipe),
        "style": asdict(style),
        "seed": seed,
        "only": only,
        "annotations_sha256": digest(source),
        "versions": {name: version(name) for name in ("numpy", "opencv-python-headless", "scipy")},
    }
    document = json.loads(json.dumps(document))  # as it will be read back
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
    started = document | {"chunk": CHUNK}
    if _read_json(partial / "started.json") != started:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "images").mkdir(parents=True)
        (partial / "records").mkdir()
        _write_json(partial / "started.json", started)
    chunks = [chosen[first : first + CHUNK] for first in range(0, len(chosen), CHUNK)]
    todo = [chunk for chunk in chunks if not _record(partial, chunk).is_file()]
    tasks = (
        delayed(_compose_chunk)(partial, chunk, recipe, bank.folder, seed, style) for chunk in todo
    )
    done = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="4*n_jobs")(tasks)
    with tqdm(desc=recipe.name, total=sum(map(len, todo)), unit="image", disable=None) as progress:
        for number in done:
            progress.update(number)
    _finish(partial, chunks, recipe, document | {"bank": facts | _bank_facts(bank)})
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


def _compose_chunk(folder, plans, recipe, bank_folder, seed, style):
    """Compose some images into ``folder``; their record is written last and says that all are
    done."""
    records = []
    for plan in plans:
        image, annotations, provenance = compose_image(
            plan, recipe, _bank(bank_folder), seed, style
        )
        name = f"{plan.index:06d}.png"
        _, png = cv2.imencode(".png", image, PNG)
        with open(folder / "images" / name, "wb") as file:
            file.write(png)
        height, width = image.shape
        entry = {"id": plan.index, "file_name": name, "height": height, "width": width}
        record = {"image": entry | {"block": plan.block}, "annotations": annotations}
        records.append(record | {"provenance": provenance})
    _write_json(_record(folder, plans), records)
    return len(plans)


@lru_cache(maxsize=2)
def _bank(folder):
    return open_bank(folder)


def _record(folder, chunk):
    return folder / "records" / f"{chunk[0].index:06d}.json"


def _plain_recipe(recipe):
    return asdict(recipe) | {"inner": recipe.inner and recipe.inner.name, "total": recipe.total}


def _bank_facts(bank):
    """What the bank left out, for the record."""
    return {
        "excluded": bank.exclusions.to_dict("records"),
        "no_background": bank.facts["no_background"],
    }


def _finish(folder, chunks, recipe, document):
    """Gather the records into the set's files, chunk by chunk."""
    images, provenance, rows = [], [], []
    with open(folder / "annotations.json", "w") as file:
        info = {
            "description": f"{recipe.name}: synthetic co-cultures",
            "note": recipe.note,
            "licence": "as the donor images; CC BY-NC 4.0 for LIVECell",
        }
        file.write(f'{{"info": {json.dumps(info)}, "annotations": [')
        between = ""
        for chunk in chunks:
            if len(rows) > ROWS:
                provenance.append(pd.DataFrame(rows))
                rows = []
            for record in _read_json(_record(folder, chunk)):
                images.append(record["image"])
                rows += record["provenance"]
                if record["annotations"]:
                    file.write(between + json.dumps(record["annotations"])[1:-1])
                    between = ", "
        file.write(f'], "images": {json.dumps(images)}, "categories": {json.dumps(CATEGORIES)}}}')
    table = pd.concat([*provenance, pd.DataFrame(rows)], ignore_index=True)
    table.to_parquet(folder / "provenance.parquet", index=False)
    cover = table.groupby("image_id")["visible_area"].sum() / np.prod(recipe.canvas)
    document["cover"] = {
        name: round(float(cover.quantile(share)), 4)
        for name, share in (("least", 0), ("median", 0.5), ("most", 1))
    }
    shutil.rmtree(folder / "records")
    (folder / "started.json").unlink()
    _write_json(folder / "recipe.json", document, indent=1)


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_json(path, content, indent=None):
    write_text(path, json.dumps(content, indent=indent, default=_plain))


def _plain(value):
    """numpy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

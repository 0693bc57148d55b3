"""The bank: cutouts, backgrounds and artefacts of one split, in flat memory-mapped files.

Building it reads every image once (see `harvest`); opening it is instant, and workers share its
pages. It lives in the cache, keyed by the annotations, the images and the bank's version.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, digest, read_images, read_index
from deepmucs_utils.generation.cells import Cutout
from deepmucs_utils.generation.harvest import harvest

VERSION = 4
QUANTILES = np.linspace(0, 1, 41)  # of nearest-neighbour distances, kept for each culture
WEIGHT = (np.arange(256) / np.float32(255)).astype(np.float32)  # a stored matte's weight


@dataclass(frozen=True)
class Bank:
    """Everything that a composite is made of.

    Parameters
    ----------
    folder : Path
    cutouts : DataFrame
        One row a cutout: ``kind`` ("cell", "group" or "artefact"), ``culture, file_name, well,
        hours, annotation_id`` (of its first cell, -1 for artefacts), ``cells`` (how many),
        ``first_member`` (row of its first cell in ``members``), ``area`` (px²), ``free`` (share of
        the boundary), ``level, rim`` (grey levels), ``roundness``, ``weight`` (how much more
        often the border spoils a cell of that size), ``top, left, height, width`` (px in the donor
        image), ``offset``.
    members : DataFrame
        One row for each cell of each cutout: ``annotation_id, area`` (px²), ``y, x`` (centre in
        the cutout, px).
    backgrounds : DataFrame
        One row a background: ``file_name, culture, well, clean`` (share of pixels as
        photographed), ``structured`` (share that still is no plain noise), ``noise, level`` (grey
        levels), ``height, width, offset``.
    exclusions : DataFrame
        ``culture, reason, cells``: how many cells of each culture are in no donor, and why.
    facts : dict
        Key, version, number of images, ``no_background`` (images that gave none, with the reason),
        ``artefact_rates`` (artefacts a px², one an image) and ``spacing`` (by culture, quantiles
        of the distance to the nearest neighbour's centre, px).
    """

    folder: Path
    cutouts: pd.DataFrame
    members: pd.DataFrame
    backgrounds: pd.DataFrame
    exclusions: pd.DataFrame
    facts: dict

    def __post_init__(self):
        for name in ("pixels", "labels", "mattes", "scenes"):
            path = self.folder / f"{name}.u8"
            data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
            object.__setattr__(self, f"_{name}", np.asarray(data))
        columns = ("offset", "height", "width", "level")
        table = {name: self.cutouts[name].tolist() for name in columns}
        object.__setattr__(self, "_places", list(zip(*table.values(), strict=True)))
        grounds = self.backgrounds.reindex(columns=columns[:-1])  # none at all have no columns
        object.__setattr__(self, "_grounds", grounds.values.tolist())

    def arrays(self, row):
        """Pixels, labels and matte (weight × 255) of a cutout, each uint8, and its grey level."""
        offset, height, width, level = self._places[row]
        part = slice(offset, offset + height * width)
        shape = (height, width)
        return (
            self._pixels[part].reshape(shape),
            self._labels[part].reshape(shape),
            self._mattes[part].reshape(shape),
            level,
        )

    def cutout(self, row):
        """The `Cutout` in row ``row`` of the table ``cutouts``."""
        pixels, labels, matte, level = self.arrays(row)
        return Cutout(pixels, labels, cv2.LUT(matte, WEIGHT), level)

    def background(self, row):
        """The cleared image in row ``row`` of the table ``backgrounds``; uint8, (height, width)."""
        offset, height, width = self._grounds[row]
        return self._scenes[offset : offset + height * width].reshape(height, width)

    def cells(self, culture):
        """Rows of ``cutouts`` that hold single donors of ``culture``; an index array."""
        table = self.cutouts
        return np.flatnonzero((table["kind"] == "cell") & (table["culture"] == culture))

    def groups(self, culture):
        """Rows of ``cutouts`` that hold group donors of ``culture``; an index array."""
        table = self.cutouts
        return np.flatnonzero((table["kind"] == "group") & (table["culture"] == culture))

    def artefacts(self):
        """Rows of ``cutouts`` that hold artefacts; an index array."""
        return np.flatnonzero(self.cutouts["kind"] == "artefact")


def build_bank(root, split, cache=CACHE, jobs=2):
    """Open the bank of one split of a LIVECell root, building it when it is missing.

    An image that several splits list gives to the last of train, val, test only, and of images
    with the same content the first one gives; so no cell is on both sides of an evaluation.

    Parameters
    ----------
    root : path-like
    split : {"train", "val", "test"}
    cache : path-like
    jobs : int
        Worker processes; the bank does not depend on their number.

    Returns
    -------
    Bank
    """
    livecell = LiveCell(root)
    index = read_index(livecell, split, cache)
    names = sorted(index["file_name"].unique())
    foreign = _later_splits(livecell, split, cache)
    key = _key(livecell, split, names, foreign)
    folder = Path(cache) / "bank" / f"{split}-v{VERSION}-{key}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        by_image = index.groupby("file_name", observed=True)
        tasks = (
            delayed(harvest)(livecell.image_path(name), by_image.get_group(name), name in foreign)
            for name in names
        )
        harvests = Parallel(n_jobs=jobs, return_as="generator")(tasks)
        _store(
            tqdm(harvests, f"bank {split}", len(names), unit="image", disable=None),
            partial,
            {"key": key, "version": VERSION, "split": split, "images": len(names)},
        )
        try:
            os.replace(partial, folder)
        except OSError:  # another process was faster; its bank is the same
            shutil.rmtree(partial)
    return open_bank(folder)


def open_bank(folder):
    """Open a finished bank; instant."""
    folder = Path(folder)
    tables = ("cutouts", "members", "backgrounds", "exclusions")
    facts = json.loads((folder / "bank.json").read_text())
    return Bank(folder, *(pd.read_parquet(folder / f"{t}.parquet") for t in tables), facts)


def _later_splits(livecell, split, cache):
    """File names that a later split lists."""
    later = [s for s in SPLITS[SPLITS.index(split) + 1 :] if livecell.has_split(s)]
    return {name for s in later for name in read_images(livecell, s, cache)["file_name"]}


def _key(livecell, split, names, foreign):
    """Sixteen digits that change with the annotations or with any image's name, size or time."""
    state = hashlib.sha256(digest(livecell.annotation_file(split)).encode())
    for name in names:
        stat = livecell.image_path(name).stat()
        state.update(f"{name} {stat.st_size} {stat.st_mtime_ns} {name in foreign}".encode())
    return state.hexdigest()[:16]


def _store(harvests, folder, facts):
    """Write what the images give, one after the other, so that memory stays flat."""
    cutouts, members, backgrounds, reasons, no_background, rates = [], [], [], [], [], []
    spacing, seen = {}, set()
    offset = scene_offset = 0
    files = {name: open(folder / f"{name}.u8", "wb") for name in _FILES}
    for found in harvests:
        if found.content in seen:
            reasons += [(found.culture, "image is a duplicate")] * found.annotated
            continue
        seen.add(found.content)
        for entry, cutout, inside in found.cutouts:
            height, width = cutout.labels.shape
            files["pixels"].write(cutout.pixels.tobytes())
            files["labels"].write(cutout.labels.tobytes())
            files["mattes"].write(np.rint(cutout.matte * 255).astype(np.uint8).tobytes())
            place = {"height": height, "width": width, "offset": offset}
            cutouts.append(entry | {"first_member": len(members)} | place)
            members += inside
            offset += height * width
        if found.background is not None:
            entry, image = found.background
            files["scenes"].write(image.tobytes())
            height, width = image.shape
            place = {"height": height, "width": width, "offset": scene_offset}
            backgrounds.append(entry | place)
            scene_offset += height * width
        no_background += found.no_background
        reasons += found.reasons
        rates += found.artefact_rate
        spacing.setdefault(found.culture, []).append(found.nearest)
    for file in files.values():
        file.close()
    pd.DataFrame(cutouts).to_parquet(folder / "cutouts.parquet")
    pd.DataFrame(members, columns=["annotation_id", "area", "y", "x"]).to_parquet(
        folder / "members.parquet"
    )
    pd.DataFrame(backgrounds).to_parquet(folder / "backgrounds.parquet")
    table = pd.DataFrame(reasons, columns=["culture", "reason"])
    table = table.value_counts(sort=False).rename("cells").reset_index()
    table.to_parquet(folder / "exclusions.parquet")
    facts = facts | {
        "no_background": no_background,
        "artefact_rates": rates,
        "spacing": {
            name: np.quantile(np.concatenate(parts), QUANTILES).round(2).tolist()
            for name, parts in sorted(spacing.items())
            if sum(map(len, parts))
        },
    }
    (folder / "bank.json").write_text(json.dumps(facts, indent=1))


_FILES = ("pixels", "labels", "mattes", "scenes")

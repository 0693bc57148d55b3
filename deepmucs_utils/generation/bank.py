"""The bank: cutouts, backgrounds and artefacts of one split, in flat memory-mapped files.

Building it reads every image once; opening it is instant, and workers share its pages. It lives in
the cache, keyed by the annotations, the images and the bank's version.
"""

import hashlib
import json
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, LiveCell, digest, read_index
from deepmucs_utils.generation.artefacts import find_artefacts
from deepmucs_utils.generation.backgrounds import clear
from deepmucs_utils.generation.cells import MARGIN, Cutout, extract, paint

VERSION = 1
_MASK = 0x80  # top bit of a packed matte; the low seven bits hold the weight


@dataclass(frozen=True)
class Bank:
    """Everything that a composite is made of.

    Parameters
    ----------
    folder : Path
    cutouts : DataFrame
        One row a cutout: ``kind`` ("cell" or "artefact"), ``culture, file_name, well, hours,
        annotation_id`` (-1 for artefacts), ``area`` (px²), ``free`` (share of the boundary),
        ``level`` (grey level), ``top, left, height, width`` (px in the donor image), ``offset``.
    backgrounds : DataFrame
        One row a background: ``file_name, culture, well, clean`` (share of pixels as
        photographed), ``noise, level`` (grey levels), ``height, width, offset``.
    exclusions : DataFrame
        ``culture, reason, cells``: how many cells of each culture are no donors, and why.
    facts : dict
        Key, version, number of images, ``artefact_rate`` (artefacts a px²).
    """

    folder: Path
    cutouts: pd.DataFrame
    backgrounds: pd.DataFrame
    exclusions: pd.DataFrame
    facts: dict

    def __post_init__(self):
        for name in ("pixels", "mattes", "scenes"):
            path = self.folder / f"{name}.u8"
            data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
            object.__setattr__(self, f"_{name}", data)

    def cutout(self, row):
        """The `Cutout` in row ``row`` of the table ``cutouts``."""
        entry = self.cutouts.iloc[row]
        shape = (int(entry["height"]), int(entry["width"]))
        part = slice(int(entry["offset"]), int(entry["offset"]) + shape[0] * shape[1])
        packed = np.asarray(self._mattes[part]).reshape(shape)
        weight = ((packed & ~np.uint8(_MASK)) / np.float32(127)).astype(np.float32)
        pixels = np.asarray(self._pixels[part]).reshape(shape)
        return Cutout(pixels, packed & _MASK > 0, weight, float(entry["level"]))

    def background(self, row):
        """The cleared image in row ``row`` of the table ``backgrounds``; uint8, (height, width)."""
        entry = self.backgrounds.iloc[row]
        shape = (int(entry["height"]), int(entry["width"]))
        part = slice(int(entry["offset"]), int(entry["offset"]) + shape[0] * shape[1])
        return np.asarray(self._scenes[part]).reshape(shape)

    def cells(self, culture):
        """Rows of ``cutouts`` that hold donor cells of ``culture``; an index array."""
        table = self.cutouts
        return np.flatnonzero((table["kind"] == "cell") & (table["culture"] == culture))

    def artefacts(self):
        """Rows of ``cutouts`` that hold artefacts; an index array."""
        return np.flatnonzero(self.cutouts["kind"] == "artefact")


def build_bank(root, split, cache=CACHE, jobs=2):
    """Open the bank of one split of a LIVECell root, building it when it is missing.

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
    key = _key(livecell, split, names)
    folder = Path(cache) / "bank" / f"{split}-v{VERSION}-{key}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        by_image = dict(tuple(index.groupby("file_name")))
        tasks = (delayed(_harvest)(livecell.image(name), by_image[name]) for name in names)
        harvests = Parallel(n_jobs=jobs, return_as="generator")(tasks)
        _store(tqdm(harvests, f"bank {split}", len(names), unit="image", disable=None), partial,
               {"key": key, "version": VERSION, "split": split, "images": len(names)})  # fmt: skip
        try:
            os.replace(partial, folder)
        except OSError:  # another process was faster; its bank is the same
            shutil.rmtree(partial)
    return open_bank(folder)


def open_bank(folder):
    """Open a finished bank; instant."""
    folder = Path(folder)
    return Bank(
        folder,
        pd.read_parquet(folder / "cutouts.parquet"),
        pd.read_parquet(folder / "backgrounds.parquet"),
        pd.read_parquet(folder / "exclusions.parquet"),
        json.loads((folder / "bank.json").read_text()),
    )


def _key(livecell, split, names):
    """Sixteen digits that change with the annotations or with any image's name, size or time."""
    state = hashlib.sha256(digest(livecell.annotation_file(split)).encode())
    for name in names:
        stat = livecell.image_path(name).stat()
        state.update(f"{name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return state.hexdigest()[:16]


def _harvest(image, cells):
    """All that one image gives: donors, artefacts, a background, and what was excluded."""
    first = cells.iloc[0]
    origin = {key: first[key] for key in ("file_name", "culture", "well", "hours")}
    scene = paint(cells["polygon"], *image.shape)
    mask = scene.owner >= 0
    cutouts, reasons = [], []
    for row, annotation in enumerate(cells["annotation_id"]):
        cutout, reason, free = extract(image, scene, row)
        if cutout is None:
            reasons.append((first["culture"], reason))
            continue
        box = scene.masks[row][0]
        facts = {"kind": "cell", "annotation_id": annotation, "free": free}
        facts |= {"top": max(box[0] - MARGIN, 0), "left": max(box[1] - MARGIN, 0)}
        cutouts.append((origin | facts, cutout))
    artefacts, searched = find_artefacts(image, mask)
    for top, left, cutout in artefacts:
        facts = {"kind": "artefact", "annotation_id": -1, "free": 1.0, "top": top, "left": left}
        cutouts.append((origin | facts, cutout))
    rng = np.random.default_rng(zlib.crc32(first["file_name"].encode()))
    clearing = clear(image, mask, rng)
    background = None
    if clearing.background is not None:
        facts = {"clean": float(clearing.clean.mean()), "noise": clearing.noise}
        facts["level"] = float(clearing.background.mean())
        background = (origin | facts, clearing.background)
    return cutouts, background, reasons, searched


def _store(harvests, folder, facts):
    """Write what the images give, one after the other, so that memory stays flat."""
    cutouts, backgrounds, reasons, searched = [], [], [], 0
    offset = scene_offset = 0
    with (
        open(folder / "pixels.u8", "wb") as pixels,
        open(folder / "mattes.u8", "wb") as mattes,
        open(folder / "scenes.u8", "wb") as scenes,
    ):
        for found, background, excluded, area in harvests:
            for entry, cutout in found:
                height, width = cutout.mask.shape
                packed = np.rint(cutout.matte * 127).astype(np.uint8) | (cutout.mask * _MASK)
                pixels.write(cutout.pixels.tobytes())
                mattes.write(packed.astype(np.uint8).tobytes())
                shape = {"height": height, "width": width, "offset": offset}
                facts_of_cutout = {"area": int(cutout.mask.sum()), "level": cutout.level}
                cutouts.append(entry | facts_of_cutout | shape)
                offset += height * width
            if background is not None:
                entry, image = background
                scenes.write(image.tobytes())
                height, width = image.shape
                shape = {"height": height, "width": width, "offset": scene_offset}
                backgrounds.append(entry | shape)
                scene_offset += height * width
            reasons += excluded
            searched += area
    pd.DataFrame(cutouts).to_parquet(folder / "cutouts.parquet")
    pd.DataFrame(backgrounds).to_parquet(folder / "backgrounds.parquet")
    table = pd.DataFrame(reasons, columns=["culture", "reason"])
    table = table.value_counts(sort=False).rename("cells").reset_index()
    table.to_parquet(folder / "exclusions.parquet")
    artefacts = sum(entry["kind"] == "artefact" for entry in cutouts)
    facts = facts | {"artefact_rate": artefacts / max(searched, 1)}
    (folder / "bank.json").write_text(json.dumps(facts, indent=1))

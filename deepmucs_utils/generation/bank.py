"""The bank: cutouts and backgrounds of one split, in flat memory-mapped files.

Building it reads every image once (see `harvest`); opening it is instant, and processes share its
pages. It is kept in the cache, under a key of the annotations, the images and the bank's version.
"""

import hashlib
import json
import os
import shutil
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, digest, read_images, read_index
from deepmucs_utils.files import write_json
from deepmucs_utils.generation.canvas import Sprite
from deepmucs_utils.generation.cells import WEIGHT, Cutout
from deepmucs_utils.generation.harvest import Harvest, harvest

VERSION = 4
QUANTILES = np.linspace(0, 1, 41)  # of nearest-neighbour distances, kept for each culture
_TABLES = ("cutouts", "members", "backgrounds", "exclusions")
MOST_KEPT = 4096  # artefacts kept ready to be pasted: some 20 MB
_PLANES = ("pixels", "labels", "mattes")  # of the cutouts, a file each; "scenes" are backgrounds


@dataclass(frozen=True)
class Bank:
    """Everything that a composite is made of.

    Parameters
    ----------
    folder : Path
    cutouts : DataFrame
        One row per cutout: ``kind`` ("cell", "group" or "artefact"), ``culture, file_name, well,
        hours, annotation_id`` (of its first cell, -1 for artefacts), ``cells`` (how many),
        ``first_member`` (row of its first cell in ``members``), ``area`` (px²), ``free`` (share of
        the boundary), ``level, rim`` (grey levels), ``roundness``, ``weight`` (how many cells of
        that size there are for each one that the border leaves whole), ``top, left, height, width``
        (px in the donor image), ``offset``.
    members : DataFrame
        One row per cell of each cutout: ``annotation_id, area`` (px²), ``y, x`` (centre in the
        cutout, px).
    backgrounds : DataFrame
        One row per background: ``file_name, culture, well, clean`` (share of unchanged pixels),
        ``structured`` (share that is more than plain noise), ``noise, level`` (grey levels),
        ``height, width, offset``.
    exclusions : DataFrame
        ``culture, reason, cells``: how many cells of each culture are in no donor, and why.
    facts : dict
        Key, version, number of images, ``no_background`` (images that gave none, with the reason),
        ``artefact_rates`` (artefacts per px², one per image) and ``spacing`` (by culture, quantiles
        of the distance to the nearest neighbour's centre, px).
    """

    folder: Path
    cutouts: pd.DataFrame
    members: pd.DataFrame
    backgrounds: pd.DataFrame
    exclusions: pd.DataFrame
    facts: dict

    def __reduce__(self):
        """Another process opens the files itself instead of receiving their content."""
        return open_bank, (self.folder,)

    @cached_property
    def columns(self) -> dict:
        """The columns of ``cutouts`` by name, as arrays: quick to read one value from."""
        return {name: self.cutouts[name].to_numpy() for name in self.cutouts}

    @cached_property
    def _members(self):
        """Annotation ids, centres and areas of all cells, as arrays."""
        return tuple(
            self.members[names].to_numpy() for names in ("annotation_id", ["y", "x"], "area")
        )

    @cached_property
    def _files(self):
        """The bytes of each file, read from the disk when they are needed."""
        paths = {name: self.folder / f"{name}.u8" for name in (*_PLANES, "scenes")}
        return {
            name: np.asarray(np.memmap(path, np.uint8, "r"))
            for name, path in paths.items()
            if path.stat().st_size
        }

    def donors(self, culture: str, groups: bool = True) -> np.ndarray:
        """Rows of ``cutouts`` that hold donors of a culture: single cells and, unless ``groups`` is
        False, groups; an index array."""
        kind = self.cutouts["kind"]
        wanted = kind != "artefact" if groups else kind == "cell"
        return np.flatnonzero(wanted & (self.cutouts["culture"] == culture))

    @cached_property
    def artefacts(self) -> np.ndarray:
        """Rows of ``cutouts`` that hold artefacts; an index array."""
        return np.flatnonzero(self.cutouts["kind"] == "artefact")

    def annotations(self, row: int) -> np.ndarray:
        """Annotation ids of the cells of a cutout."""
        return self._members[0][self._cells(row)]

    def _cells(self, row):
        first = self.columns["first_member"][row]
        return slice(first, first + self.columns["cells"][row])

    def sprite(self, row: int, symmetry: int = 0) -> Sprite:
        """A cutout ready to be pasted, after one of the eight symmetries; see `Sprite.turned`."""
        names = ("offset", "height", "width", "level")
        offset, height, width, level = (self.columns[name][row].item() for name in names)
        planes = (self._plane(name, offset, height, width) for name in _PLANES)
        _, centres, areas = (column[self._cells(row)] for column in self._members)
        return Sprite(*planes, level, centres, areas).turned(symmetry)

    def _plane(self, name, offset, height, width):
        return self._files[name][offset : offset + height * width].reshape(height, width)

    @cached_property
    def kept_sprite(self):
        """`sprite`, its last results kept: artefacts are pasted again and again."""
        return lru_cache(MOST_KEPT)(self.sprite)

    def cutout(self, row: int) -> Cutout:
        """The `Cutout` in row ``row`` of the table ``cutouts``."""
        sprite = self.sprite(row)
        place = (self.columns[name][row].item() for name in ("top", "left", "free"))
        matte = cv2.LUT(sprite.weights, WEIGHT)
        return Cutout(sprite.pixels, sprite.labels, matte, sprite.level, *place)

    def background(self, row: int) -> np.ndarray:
        """The cleared image in row ``row`` of the table ``backgrounds``; uint8, (height, width)."""
        place = (self.backgrounds[name].iat[row] for name in ("offset", "height", "width"))
        return self._plane("scenes", *place)


def build_bank(root, split: str, cache=CACHE, jobs: int = 2) -> Bank:
    """Open the bank of one split of a LIVECell root, building it when it is missing.

    An image that several splits list gives donors to the last of train, val, test only, and of
    images with the same content only the first one does; so no cell is on both sides of an
    evaluation.

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
    later = [s for s in SPLITS[SPLITS.index(split) + 1 :] if livecell.has_split(s)]
    foreign = {name for s in later for name in read_images(livecell, s, cache)["file_name"]}
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
        harvests = tqdm(harvests, f"bank {split}", len(names), unit="image", disable=None)
        facts = {"key": key, "version": VERSION, "split": split, "images": len(names)}
        _store(harvests, partial, facts)
        try:
            os.replace(partial, folder)
        except OSError:  # another process was faster; its bank is the same
            shutil.rmtree(partial)
    return open_bank(folder)


def open_bank(folder) -> Bank:
    """Open a finished bank; instant."""
    folder = Path(folder)
    facts = json.loads((folder / "bank.json").read_text(encoding="utf-8"))
    return Bank(folder, *(pd.read_parquet(folder / f"{name}.parquet") for name in _TABLES), facts)


def _key(livecell, split, names, foreign):
    """Sixteen digits that change with the annotations or with any image's name, size or time."""
    state = hashlib.sha256(digest(livecell.annotation_file(split)).encode())
    for name in names:
        stat = livecell.image_path(name).stat()
        state.update(f"{name} {stat.st_size} {stat.st_mtime_ns} {name in foreign}".encode())
    return state.hexdigest()[:16]


def _store(harvests, folder, facts):
    """Write what the images give one after the other, so that memory stays flat."""
    rows, nearest, seen = defaultdict(list), defaultdict(list), set()
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open(folder / f"{name}.u8", "wb"))
            for name in (*_PLANES, "scenes")
        }
        for found in harvests:
            if found.content in seen:
                reasons = ["image is a duplicate"] * found.annotated
                found = Harvest(found.origin, found.annotated, found.content, reasons)
            seen.add(found.content)
            culture = found.origin["culture"]
            rows["exclusions"] += [(culture, reason) for reason in found.excluded]
            for entry, cutout, inside in found.cutouts:
                matte = np.rint(cutout.matte * 255).astype(np.uint8)
                place = _append(files, pixels=cutout.pixels, labels=cutout.labels, mattes=matte)
                rows["cutouts"].append(entry | {"first_member": len(rows["members"])} | place)
                rows["members"] += inside
            for entry, image in found.backgrounds:
                rows["backgrounds"].append(entry | _append(files, scenes=image))
            rows["no_background"] += found.no_background
            rows["artefact_rates"] += found.artefact_rates
            nearest[culture] += found.nearest
    reasons = pd.DataFrame(rows["exclusions"], columns=["culture", "reason"])
    tables = {
        "cutouts": pd.DataFrame(rows["cutouts"]),
        "members": pd.DataFrame(rows["members"], columns=["annotation_id", "area", "y", "x"]),
        "backgrounds": pd.DataFrame(rows["backgrounds"]),
        "exclusions": reasons.value_counts(sort=False).rename("cells").reset_index(),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    facts |= {name: rows[name] for name in ("no_background", "artefact_rates")}
    facts["spacing"] = {
        culture: np.quantile(distances, QUANTILES).round(2).tolist()
        for culture, distances in sorted(nearest.items())
        if distances
    }
    write_json(folder / "bank.json", facts)


def _append(files, **planes):
    """Append planes of one shape to their files; their height, width and offset there."""
    for name, plane in planes.items():
        offset = files[name].tell()
        files[name].write(plane.tobytes())
    height, width = plane.shape
    return {"height": height, "width": width, "offset": offset}

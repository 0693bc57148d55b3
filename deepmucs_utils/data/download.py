"""Downloading the official LIVECell: annotations and images, checked, resumable.

A file grows under ``<name>.part`` and is renamed only when it is complete, so after an interruption
the same command resumes. Size and SHA-256 of every file are recorded the first time
(``download.json`` in the root) and checked from then on.

LIVECell's images and annotations: Edlund et al., Nature Methods 2021, licence CC BY-NC 4.0.
"""

import json
import os
import re
import shutil
import stat
import time
import zipfile
import zlib
from pathlib import Path

import requests
from tqdm import tqdm

from deepmucs_utils.data.livecell import SPLITS, digest
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json

URL = "http://livecell-dataset.s3.eu-central-1.amazonaws.com/LIVECell_dataset_2021/"
BLOCK = 1 << 20  # bytes written at a time; what a broken connection may lose
TRIES = 5  # connections in a row without a byte before a download gives up
PAUSE = 1.0  # s between them, doubling


def download(root, splits=SPLITS, url=URL):
    """Download LIVECell into a root.

    Parameters
    ----------
    root : path-like
        Folder of the root; what is there already is checked and kept.
    splits : sequence of {"train", "val", "test"}
        Annotations to fetch; the images come in one archive for all of them.
    url : str
        Address that has the official layout below it.

    Returns
    -------
    Path
        ``root``.

    Raises
    ------
    DeepMuCSError
        If the server can't be reached or sends something incomplete, if a file differs from the
        record, or if the archive is damaged or would write outside the root.
    """
    root = Path(root)
    for split in splits:
        fetch(root, f"annotations/LIVECell/livecell_coco_{split}.json", url)
    if not (root / "images").is_dir():
        archive = fetch(root, "images.zip", url)
        unpack(archive, root, "images")
        archive.unlink()
    return root


def fetch(root, name, url=URL):
    """Fetch one file, or check the one that is there.

    Parameters
    ----------
    root : Path
    name : str
        Path below both the root and the address, with ``/``.
    url : str

    Returns
    -------
    Path
    """
    target, record = root / name, root / "download.json"
    path = target if target.is_file() else _download(f"{url.rstrip('/')}/{name}", target)
    known = json.loads(record.read_text()) if record.is_file() else {}
    state = {"size": path.stat().st_size, "sha256": digest(path)}
    if state != known.setdefault(name, state):
        raise DeepMuCSError(
            f"{path}: {state['size']} bytes that are not the {known[name]['size']} recorded in "
            f"{record.name}; remove this file, or its record to accept it, and start again."
        )
    os.replace(path, target)
    write_json(record, known)
    return target


def _download(url, target):
    """Download to ``<target>.part``, resuming where it ends; returns its path."""
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    failures = 0
    while failures < TRIES:
        time.sleep(PAUSE * (2**failures - 1))
        before = part.stat().st_size
        try:
            _append(url, part, before)
            return part
        except requests.RequestException as error:
            cause, answer = error, error.response
        refused = answer is not None and answer.status_code < 500
        failures = TRIES if refused else (failures + 1) * (part.stat().st_size <= before)
    raise DeepMuCSError(
        f"{url}: no more than {before} bytes came ({cause!r:.60}); check the address and the "
        "connection, and run the same command again to resume."
    )


def _append(url, part, have):
    """Request what a file lacks and append it."""
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code == 416:  # nothing is left
            return
        answer.raise_for_status()
        count = int(answer.headers.get("Content-Length", 0)) // BLOCK
        blocks = tqdm(answer.iter_content(BLOCK), part.stem, count, unit="MiB", disable=None)
        with open(part, "ab" if answer.status_code == 206 else "wb") as file:
            file.writelines(blocks)


def unpack(archive, root, folder):
    """Unpack one folder of a zip archive into a root.

    Parameters
    ----------
    archive : path-like
    root : Path
    folder : str
        The folder that the archive holds; it appears in the root when all of it is unpacked.

    Raises
    ------
    DeepMuCSError
        If a member lies outside the folder or the archive is damaged; then nothing appears.
    """
    partial = root / f"{folder}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                link = stat.S_ISLNK(entry.external_attr >> 16)
                if link or not re.fullmatch(rf"{folder}/(?!.*\.\.)[^\\]*", entry.filename):
                    raise DeepMuCSError(
                        f"{archive}: its member {entry.filename!r} lies outside {folder}/ or is a "
                        "link; nothing was unpacked: don't trust this archive."
                    )
            for entry in tqdm(zipped.infolist(), "unpack", unit="file", disable=None):
                zipped.extract(entry, partial)  # checks the CRC
        os.replace(partial / folder, root / folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, FileNotFoundError) as error:
        raise DeepMuCSError(
            f"{archive}: damaged or without {folder}/ ({error}); remove it, download it again."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)

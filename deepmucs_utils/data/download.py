"""Fetching the official LIVECell: annotations and images, checked, resumable, in place at the end.

A file grows under ``<name>.part`` and takes its name only when it is whole, so whatever interrupts
a download, the same command goes on from there. Size and SHA-256 of every file are written down
the first time (``download.json`` in the root) and checked from then on.

LIVECell's images and annotations: Edlund et al., Nature Methods 2021, licence CC BY-NC 4.0.
"""

import json
import os
import shutil
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from deepmucs_utils.data.livecell import SPLITS, digest
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_text

URL = "http://livecell-dataset.s3.eu-central-1.amazonaws.com/LIVECell_dataset_2021/"
ANNOTATIONS = "annotations/LIVECell/livecell_coco_{split}.json"
IMAGES = "images.zip"
RECORD = "download.json"
BLOCK = 1 << 16  # bytes; what a broken connection may lose
TRIES = 5  # connections without a byte before a download gives up
PAUSE = 1.0  # s between them, doubling
TIMEOUT = 30  # s without an answer

pooch.get_logger().setLevel("WARNING")  # it announces every file; the progress bar does as well


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
        If the server can't be reached or gives something else than it says, if a file differs
        from the record, or if the archive is damaged or wants to write outside the root.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for split in splits:
        fetch(root, ANNOTATIONS.format(split=split), url)
    if not (root / "images").is_dir():
        archive = fetch(root, IMAGES, url)
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
    target = root / name
    known = _read_record(root).get(name)
    if target.is_file():
        _check(target, known)
        if known is None:
            _write_record(root, name, target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    pooch.retrieve(
        url.rstrip("/") + "/" + name,
        known_hash=known and f"sha256:{known['sha256']}",
        fname=target.name,
        path=target.parent,
        downloader=_Resuming(target.with_name(target.name + ".part"), known),
    )
    _write_record(root, name, target)
    return target


class _Resuming:
    """A pooch downloader that goes on where the last connection broke.

    Parameters
    ----------
    part : Path
        Where the bytes gather.
    known : dict, optional
        ``size`` and ``sha256`` from the record.
    """

    def __init__(self, part, known=None):
        self._part, self._known = part, known

    def __call__(self, url, output_file, _):
        size, silent = None, 0
        progress = tqdm(
            desc=urlsplit(url).path.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None
        )
        with progress:
            while size is None or self._have() < size:
                before = self._have()
                try:
                    size = self._continue(url, progress)
                except requests.RequestException as error:
                    if self._have() <= before:
                        silent += 1
                    else:
                        silent = 0
                    if silent >= TRIES:
                        raise DeepMuCSError(
                            f"{url}: no more than {self._have()} bytes came, and {TRIES} further "
                            f"tries brought none ({type(error).__name__}); check the connection "
                            "and run the same command again: it goes on from here."
                        ) from None
                    time.sleep(min(PAUSE * 2**silent, 30))
        if self._have() != size:
            found = self._have()
            self._part.unlink()
            raise DeepMuCSError(
                f"{url}: {found} bytes came where the server said {size}; try again, or check the "
                "address."
            )
        self._check_content(url)
        shutil.move(self._part, output_file)

    def _have(self):
        return self._part.stat().st_size if self._part.exists() else 0

    def _continue(self, url, progress):
        """Fetch from where the file ends; returns the size of the whole."""
        have = self._have()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing is left, or the file is another one now
                size = int(answer.headers.get("Content-Range", "*/-1").rsplit("/", 1)[1])
                if size != have:
                    self._part.unlink()
                return size
            if answer.status_code >= 500:
                answer.raise_for_status()
            if answer.status_code not in (200, 206):
                raise DeepMuCSError(
                    f"{url}: the server answered {answer.status_code} {answer.reason}; check the "
                    "address."
                )
            if answer.status_code == 200 and have:  # it can't resume: from the start
                self._part.unlink()
                have = 0
            size = _size(answer, url)
            if self._known and size != self._known["size"]:
                raise DeepMuCSError(
                    f"{url}: the server offers {size} bytes, the record says "
                    f"{self._known['size']}; the file has changed: remove its entry from {RECORD} "
                    "to accept it."
                )
            progress.total, progress.n = size, have
            with open(self._part, "ab") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    progress.update(len(block))
        if self._have() < size:
            raise requests.ConnectionError("the connection ended early")
        return size

    def _check_content(self, url):
        if not _whole(self._part, url):
            self._part.unlink()
            raise DeepMuCSError(
                f"{url}: what came is cut short or something else than its name says, although the "
                "server called it whole; it is removed: try again, or check the address."
            )
        if self._known and digest(self._part) != self._known["sha256"]:
            self._part.unlink()
            raise DeepMuCSError(
                f"{url}: its SHA-256 is not the one on record; the download was damaged on its way "
                "and is removed: try again."
            )


def _size(answer, url):
    """Size of the whole file by the server's headers."""
    span = answer.headers.get("Content-Range") if answer.status_code == 206 else None
    text = span.rsplit("/", 1)[1] if span else answer.headers.get("Content-Length")
    if text is None or not text.isdigit():
        raise DeepMuCSError(f"{url}: the server gives no size; expected the official address.")
    return int(text)


def _whole(path, url):
    """Whether a file ends as its kind has to."""
    if url.endswith(".zip"):
        return zipfile.is_zipfile(path)
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - 64, 0))
        return file.read().rstrip().endswith(b"}")


def _check(path, known):
    """Compare a file with the record."""
    if known is None:
        return
    size = path.stat().st_size
    if size != known["size"] or digest(path) != known["sha256"]:
        raise DeepMuCSError(
            f"{path}: {size} bytes that are not the {known['size']} bytes on record; it was "
            "changed or damaged: remove it and run the same command again."
        )


def _read_record(root):
    path = root / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def _write_record(root, name, path):
    record = _read_record(root) | {name: {"size": path.stat().st_size, "sha256": digest(path)}}
    write_text(root / RECORD, json.dumps(record, indent=1))


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
            members = [entry for entry in zipped.infolist() if not entry.is_dir()]
            for entry in members:
                _check_member(archive, entry, folder)
            for entry in tqdm(members, f"unpack {Path(archive).name}", unit="file", disable=None):
                target = partial / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(entry) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, BLOCK)  # zipfile checks the CRC at the end
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DeepMuCSError(
            f"{archive}: damaged ({error}); remove it and run the same command again."
        ) from None
    if not (partial / folder).is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        raise DeepMuCSError(f"{archive}: holds no files under {folder}/; expected LIVECell's.")
    os.replace(partial / folder, root / folder)
    shutil.rmtree(partial)


def _check_member(archive, entry, folder):
    """Refuse members that would be written anywhere but under the folder."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    link = (entry.external_attr >> 16) & 0o170000 == 0o120000
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (folder,) or link:
        raise DeepMuCSError(
            f"{archive}: its member {entry.filename!r} lies outside {folder}/ or is a link; "
            "nothing was unpacked: don't trust this archive."
        )

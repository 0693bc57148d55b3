"""Contact sheets: one root beside another, culture by culture.

Each sheet shows two images of the first root on the left and two of the second on the right, the
sparsest and the densest of each, at 1:1 and below at 3:1. What gives the phantom away is seen here
before it is measured. Blind sheets show numbered pairs of crops, one of each root, and keep apart
which is which. Sheets of LIVECell hold its pixels (CC BY-NC 4.0), so they are refused inside the
package's own checkout.
"""

import zlib
from collections import defaultdict
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from deepmucs_utils.data.cultures import parse_name
from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_image, read_index
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json

WHOLE = (258, 348)  # height and width shown at 1:1, px
DETAIL = (86, 116)  # height and width shown at 3:1, px
ZOOM = 3
GAP = 6  # white px between pictures
COLUMNS = 4  # crops in a row of a blind sheet: two pairs
LABEL = 24  # px above a crop, for its number
STRUCTURED = 3.0  # grey levels, least local standard deviation of what is not background
COVER_LEAST = 0.2  # structured share that a crop must have
_CHECKOUT = Path(__file__).resolve().parents[3]


def write_sheets(root, against, out, cache=CACHE, splits=()):
    """Write a contact sheet of each culture that both roots have.

    Parameters
    ----------
    root, against : path-like
        What is shown on the right and, for comparison, on the left.
    out : path-like
        Folder for ``<culture>.png``, outside the package's checkout.
    cache : path-like
    splits : sequence of str
        Splits to show; all that there are if none is given.

    Returns
    -------
    list of Path

    Raises
    ------
    DeepMuCSError
        If the roots have no culture in common or ``out`` lies inside the checkout.
    """
    _refuse_checkout(out)
    left, right = (_pictures(one, splits, cache) for one in (against, root))
    sheets = {name: np.hstack(left[name] + right[name])[:, :-GAP] for name in left if name in right}
    return _write(sheets, out, root, against)


def write_blind_sheets(root, against, out, pairs=6, images=None, splits=(), seed=0, cache=CACHE):
    """Write numbered crops at 3:1, in pairs of one from each root in random order.

    The crops of a pair have about the same share of structure, those of a culture come from as many
    images as there are.

    Parameters
    ----------
    root, against : path-like
        The phantom, and the real images.
    out : path-like
        Folder for ``<culture>.png`` and ``key/key.json``, which says of each number whether the
        crop is phantom or real and of which image; outside the package's checkout.
    pairs : int
        Of each culture, at most.
    images : path-like, optional
        Folder of further real images, without annotations, their culture in their name.
    splits : sequence of str
        Splits to show; all that there are if none is given.
    seed : int
    cache : path-like

    Returns
    -------
    list of Path

    Raises
    ------
    DeepMuCSError
        As `write_sheets`.
    """
    _refuse_checkout(out)
    further = [] if images is None else sorted(Path(images).glob("*.tif"))
    phantom, real = _paths(root, splits, cache), _paths(against, splits, cache, further)
    sheets, key = {}, {}
    for culture in sorted(phantom.keys() & real.keys()):
        rng = np.random.default_rng([seed, zlib.crc32(culture.encode())])
        found = (_windows(one[culture], 2 * pairs, rng) for one in (phantom, real))
        tiles, key[culture] = [], {}
        for pair in _matched(*found, pairs):
            for which in rng.permutation(2):
                _, name, crop = pair[which]
                tiles.append(_numbered(crop, len(tiles) + 1))
                key[culture][len(tiles)] = f"{('phantom', 'real')[which]}, {name}"
        tiles += [np.full_like(tile, 255) for tile in tiles[: len(tiles) % COLUMNS]]
        if tiles:
            rows = (tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS))
            sheets[culture] = np.vstack([np.hstack(row) for row in rows])
    paths = _write(sheets, out, root, against)
    (Path(out) / "key").mkdir(exist_ok=True)
    write_json(Path(out) / "key" / "key.json", key)
    return paths


def _refuse_checkout(out):
    if (_CHECKOUT / ".git").exists() and Path(out).resolve().is_relative_to(_CHECKOUT):
        raise DeepMuCSError(
            f"{out}: lies inside the repository, where no pixels of LIVECell may go; expected a "
            "folder elsewhere; name one."
        )


def _write(sheets, out, root, against):
    """Write the sheet of each culture; their paths."""
    if not sheets:
        raise DeepMuCSError(
            f"{root}: no culture in common with {against}; expected at least one; take other roots."
        )
    Path(out).mkdir(parents=True, exist_ok=True)
    paths = [Path(out) / f"{culture}.png" for culture in sheets]
    for path, sheet in zip(paths, sheets.values(), strict=True):
        cv2.imwrite(str(path), sheet)
    return paths


def _read(livecell, splits, cache):
    """The index of several splits; of all that there are if none is given."""
    splits = splits or [split for split in SPLITS if livecell.has_split(split)] or SPLITS
    return pd.concat([read_index(livecell, split, cache, cultures=None) for split in splits])


def _paths(root, splits, cache, further=()):
    """The annotated images of a root, and further ones, by culture."""
    livecell, found = LiveCell(root), defaultdict(list)
    names = _read(livecell, splits, cache)["file_name"].unique()
    for path in [*map(livecell.image_path, names), *further]:
        found[parse_name(path.name).culture].append(path)
    return found


def _windows(paths, most, rng):
    """Windows with cells, in random order: their share of structure, their image's name, their
    pixels. Those of one image don't overlap; at most so many images are looked at."""
    found, (height, width) = [], DETAIL
    for path in rng.permutation(paths)[:most]:
        image = read_image(path)
        grey = image.astype(np.float32)
        mean, square = (cv2.GaussianBlur(values, (0, 0), 2.0) for values in (grey, grey**2))
        structured = square - mean**2 > STRUCTURED**2
        top, left = rng.integers(np.mod(image.shape, DETAIL) + 1)
        for y in range(top, image.shape[0] - height + 1, height):
            for x in range(left, image.shape[1] - width + 1, width):
                window = np.s_[y : y + height, x : x + width]
                found.append((structured[window].mean(), path.name, image[window].copy()))
    return [found[i] for i in rng.permutation(len(found)) if found[i][0] >= COVER_LEAST]


def _matched(phantom, real, pairs):
    """Pairs of a phantom's and a real window with about the same share; real images in turn."""
    turn = defaultdict(count)
    real = sorted(real, key=lambda window: next(turn[window[1]]))[:pairs]
    gaps = np.abs(np.subtract.outer([one[0] for one in real], [one[0] for one in phantom]))
    return [(phantom[j], real[i]) for i, j in zip(*linear_sum_assignment(gaps), strict=True)]


def _numbered(crop, number):
    """A crop at 3:1 with its number above, white around."""
    tile = cv2.resize(crop, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    tile = np.pad(tile, ((LABEL, GAP), (0, GAP)), constant_values=255)
    return cv2.putText(tile, str(number), (2, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0)


def _pictures(root, splits, cache):
    """For each culture pictures of its sparsest and its densest image."""
    livecell, found = LiveCell(root), {}
    index = _read(livecell, splits, cache)
    for culture, cells in index.groupby("culture"):
        area = cells.groupby("file_name")["area"].sum().sort_values()
        found[culture] = [
            _picture(livecell.image(name), cells[cells["file_name"] == name])
            for name in (area.index[0], area.index[-1])
        ]
    return found


def _picture(image, cells):
    """An image at 1:1 above and 3:1 below, with a white margin on its right."""
    middles = (cells[["y", "x"]] + cells[["h", "w"]].to_numpy() / 2).to_numpy()
    whole, detail = (_crop(image, middles, size) for size in (WHOLE, DETAIL))
    detail = cv2.resize(detail, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    whole = np.pad(whole, ((0, GAP), (0, 0)), constant_values=255)
    return np.pad(np.vstack([whole, detail]), ((0, 0), (0, GAP)), constant_values=255)


def _crop(image, middles, size):
    """The window with the most cells among those that have a cell in their middle."""
    missing = [(0, max(side - whole, 0)) for side, whole in zip(size, image.shape, strict=True)]
    image = np.pad(image, missing, constant_values=255)
    corners = (middles - np.array(size) / 2).clip(0, np.subtract(image.shape, size))
    inside = (middles >= corners[:, None]) & (middles < corners[:, None] + size)
    top, left = corners[inside.all(2).sum(1).argmax()].astype(int)
    return image[top : top + size[0], left : left + size[1]]

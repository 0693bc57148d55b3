"""Contact sheets: one root beside another, culture by culture, to be looked at.

Each sheet shows two images of the first root on the left and two of the second on the right, the
sparsest and the densest of each, at 1:1 and below at 3:1. What gives the phantom away is seen here
before it is measured. Sheets of LIVECell hold its pixels (CC BY-NC 4.0), so they are refused
inside the package's own checkout.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_index
from deepmucs_utils.errors import DeepMuCSError

WHOLE = (258, 348)  # height and width shown at 1:1, px
DETAIL = (86, 116)  # height and width shown at 3:1, px
ZOOM = 3
GAP = 6  # white px between pictures
_CHECKOUT = Path(__file__).resolve().parents[3]


def write_sheets(root, against, out, cache=CACHE):
    """Write a contact sheet of each culture that both roots have.

    Parameters
    ----------
    root, against : path-like
        What is shown on the right and, for comparison, on the left.
    out : path-like
        Folder for ``<culture>.png``, outside the package's checkout.
    cache : path-like

    Returns
    -------
    list of Path

    Raises
    ------
    DeepMuCSError
        If the roots have no culture in common or ``out`` lies inside the checkout.
    """
    out = Path(out)
    if (_CHECKOUT / ".git").exists() and out.resolve().is_relative_to(_CHECKOUT):
        raise DeepMuCSError(
            f"{out}: lies inside the repository, where no pixels of LIVECell may go; expected a "
            "folder elsewhere; name one."
        )
    left, right = (_covers(root_, cache) for root_ in (against, root))
    cultures = [name for name in left if name in right]
    if not cultures:
        raise DeepMuCSError(
            f"{root}: no culture in common with {against}; expected at least one; take other roots."
        )
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for culture in cultures:
        halves = [
            _half(LiveCell(root_), names[culture])
            for root_, names in ((against, left), (root, right))
        ]
        paths.append(out / f"{culture}.png")
        cv2.imwrite(str(paths[-1]), np.hstack([halves[0], _space(halves[0]), halves[1]]))
    return paths


def _covers(root, cache):
    """For each culture its sparsest and its densest image with the cells' middles."""
    livecell = LiveCell(root)
    splits = [split for split in SPLITS if livecell.has_split(split)]
    index = pd.concat([read_index(livecell, split, cache, cultures=None) for split in splits])
    found = {}
    for culture, cells in index.groupby("culture"):
        area = cells.groupby("file_name")["area"].sum().sort_values()
        found[culture] = [
            (name, cells.loc[cells["file_name"] == name, ["y", "h", "x", "w"]].to_numpy(float))
            for name in (area.index[0], area.index[-1])
        ]
    return found


def _half(livecell, named):
    """Both images of one root, side by side, at 1:1 above and 3:1 below."""
    columns = []
    for name, boxes in named:
        image = livecell.image(name)
        middles = boxes[:, [0, 2]] + boxes[:, [1, 3]] / 2
        whole = _crop(image, middles, WHOLE)
        detail = cv2.resize(
            _crop(image, middles, DETAIL), None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC
        )
        columns.append(np.vstack([whole, np.full((GAP, whole.shape[1]), 255, np.uint8), detail]))
    return np.hstack([columns[0], _space(columns[0]), columns[1]])


def _crop(image, middles, size):
    """The window with the most cells among those that have a cell in their middle."""
    height, width = (min(side, whole) for side, whole in zip(size, image.shape, strict=True))
    room = (image.shape[0] - height, image.shape[1] - width)
    corners = (middles - (height / 2, width / 2)).clip(0, room)
    inside = (middles[None] >= corners[:, None]) & (
        middles[None] < corners[:, None] + (height, width)
    )
    top, left = corners[inside.all(2).sum(1).argmax()].astype(int)
    crop = image[top : top + height, left : left + width]
    return cv2.copyMakeBorder(
        crop, 0, size[0] - height, 0, size[1] - width, cv2.BORDER_CONSTANT, value=255
    )


def _space(picture):
    return np.full((picture.shape[0], GAP), 255, np.uint8)

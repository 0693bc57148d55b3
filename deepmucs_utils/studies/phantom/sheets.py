"""Contact sheets: one root beside another, culture by culture.

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
    left, right = (_pictures(one, cache) for one in (against, root))
    cultures = [name for name in left if name in right]
    if not cultures:
        raise DeepMuCSError(
            f"{root}: no culture in common with {against}; expected at least one; take other roots."
        )
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{culture}.png" for culture in cultures]
    for path, culture in zip(paths, cultures, strict=True):
        sheet = np.hstack(left[culture] + right[culture])
        cv2.imwrite(str(path), sheet[:, :-GAP])
    return paths


def _pictures(root, cache):
    """For each culture pictures of its sparsest and its densest image."""
    livecell = LiveCell(root)
    splits = [split for split in SPLITS if livecell.has_split(split)]
    index = pd.concat([read_index(livecell, split, cache, cultures=None) for split in splits])
    found = {}
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

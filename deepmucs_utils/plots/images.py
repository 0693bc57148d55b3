"""Style, palette, images and outlines; ground truth is solid, predictions are dashed."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from deepmucs_utils.data.cultures import COLOURS, CULTURE_NAMES, LABELS
from deepmucs_utils.data.masks import decode

WIDTH = 9.0  # inches, of every figure
GREY = (78, 178)  # grey levels shown as black and white; LIVECell's images are flat around 128
TRAINING_SET_COLOURS = ("#D55E00", "#0072B2", "#009E73")  # red, blue, green: the paper's Fig. 3
DASHES = (0, (3, 1.5))  # line style of predictions
BARE = {"xticks": [], "yticks": [], "frame_on": False}  # axes of images


def use_style() -> None:
    """Set the style of all figures of a notebook."""
    style = {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
        "legend.frameon": False,
    }
    sns.set_theme("notebook", "ticks", font_scale=0.8, rc=style)


def show(ax: Axes, image: np.ndarray, title: str | None = None, limits=GREY) -> None:
    """Show a grey image without axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray, shape (height, width)
    title : str, optional
    limits : tuple of float
        Values shown as black and white.
    """
    ax.imshow(image, vmin=limits[0], vmax=limits[1])
    ax.set(**BARE)
    if title is not None:
        ax.set_title(title)


def grid(lines, columns, shape, heading=0.0):
    """A figure of empty panels for images of one shape.

    Parameters
    ----------
    lines, columns : int
    shape : tuple of int
        Height and width of the images.
    heading : float
        Space above each line of panels, inches.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (lines, columns)
    """
    size = (WIDTH, lines * (WIDTH / columns * shape[0] / shape[1] + heading))
    return plt.subplots(lines, columns, figsize=size, squeeze=False, subplot_kw=BARE)[1]


def row(images, titles, limits=GREY, columns: int | None = None) -> np.ndarray:
    """Show images side by side.

    Parameters
    ----------
    images : sequence of ndarray, shape (height, width)
    titles : sequence of str or None
    limits : tuple of float, or sequence of such tuples
        Values shown as black and white, for all images or for each.
    columns : int, optional
        Images per line; default all.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (number of images,)
    """
    n = len(images)
    columns = columns or n
    axes = grid(-(-n // columns), columns, images[0].shape, 0.25 if any(titles) else 0.0)
    limits = np.broadcast_to(limits, (n, 2))
    for ax, image, title, limit in zip(axes.flat, images, titles, limits, strict=False):
        show(ax, image, title, limit)
    return axes.flat[:n]


def contours(mask):
    """Outlines of the parts of a mask, through the centres of its border pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    list of ndarray of int, shape (n, 2)
        ``(x, y)``, px.
    """
    mask = np.asarray(mask, np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0] for contour in found]


def outline(ax: Axes, mask, culture=None, dashed=False, colour=None, linewidth=1.2) -> None:
    """Draw the outline of a mask in its culture's colour.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    mask : ndarray of bool, shape (height, width)
    culture : str, optional
    dashed : bool
        True for predictions.
    colour : str, optional
        Instead of the culture's.
    linewidth : float
        Points.
    """
    _draw(ax, contours(mask), colour or COLOURS[culture], linewidth, dashed)


def outline_polygons(ax: Axes, polygons, culture: str) -> None:
    """Draw annotation polygons, each a list of parts ``[x0, y0, x1, y1, …]`` (px)."""
    parts = [np.reshape(part, (-1, 2)) for polygon in polygons for part in polygon]
    _draw(ax, parts, COLOURS[culture], 0.8)


def outline_records(ax: Axes, records, categories: dict[int, str], dashed: bool = False) -> None:
    """Draw COCO annotations or results with RLE masks.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    records : sequence of dict
        With ``category_id`` and ``segmentation`` (RLE).
    categories : dict of int to str
        Culture of each category id.
    dashed : bool
        True for predictions.
    """
    for record in records:
        mask = decode(record["segmentation"], record["segmentation"]["size"])
        outline(ax, mask, categories[record["category_id"]], dashed)


def _draw(ax, polygons, colour, linewidth, dashed=False):
    """Draw closed lines; the axes keep their limits."""
    style = DASHES if dashed else "solid"
    lines = PolyCollection(polygons, edgecolors=colour, linewidths=linewidth, linestyles=style)
    lines.set_facecolor("none")
    ax.add_collection(lines, autolim=False)


def culture_legend(ax: Axes, cultures=CULTURE_NAMES, **options) -> None:
    """Legend of the cultures' colours and names in print; ``options`` go to ``ax.legend``."""
    lines = [Line2D([], [], color=COLOURS[name], label=LABELS[name]) for name in cultures]
    ax.legend(handles=lines, **options)


def cutout_sheet(sheets: dict, side: int = 64) -> None:
    """Cutouts of several cultures, one line per culture.

    Parameters
    ----------
    sheets : dict of str to sequence of Cutout
        By culture.
    side : int
        Side of the square in which each cutout is centred, px.
    """
    axes = grid(len(sheets), max(map(len, sheets.values())), (side, side))
    for line, (culture, cutouts) in zip(axes, sheets.items(), strict=True):
        for ax, cutout in zip(line, cutouts, strict=False):
            tile, mask = centre(cutout, side)
            show(ax, tile)
            outline(ax, mask, culture, linewidth=0.7)
        line[0].set_title(LABELS.get(culture, culture), loc="left", pad=2)


def centre(cutout, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A cutout in the middle of a square of its own grey level; what is larger is cropped.

    Returns
    -------
    tile : ndarray of float, shape (side, side)
    mask : ndarray of bool, shape (side, side)
    """
    mixed = cutout.level + cutout.matte * (cutout.pixels - cutout.level)
    top, left = (side - (side - n) // 2 for n in mixed.shape)
    window = np.s_[top : top + side, left : left + side]
    tile = np.pad(mixed, side, constant_values=cutout.level)
    return tile[window], np.pad(cutout.mask, side)[window]


def by_culture(ax: Axes, values, ylabel: str, log: bool = False) -> None:
    """Boxes of a quantity by culture.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : DataFrame
        Columns ``culture`` and the quantity, in this order.
    ylabel : str
        With unit.
    log : bool
        Logarithmic axis.
    """
    culture, quantity = values.columns
    present = [name for name in CULTURE_NAMES if (values[culture] == name).any()]
    names = {"x": culture, "hue": culture, "y": quantity, "order": present}
    look = {"palette": COLOURS, "legend": False, "fliersize": 1, "linewidth": 0.8}
    sns.boxplot(values, **names, **look, ax=ax)
    if log:
        ax.set_yscale("log")
    ax.set_xticks(range(len(present)), [LABELS[name] for name in present])
    ax.set(xlabel="", ylabel=ylabel)


def profiles(ax: Axes, curves: dict) -> None:
    """Grey level against distance from the mask's edge.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    curves : dict of str to (ndarray, ndarray)
        Distances (px, negative inside) and grey levels relative to the surroundings, by culture.
    """
    for culture, (distance, level) in curves.items():
        ax.plot(distance, level, color=COLOURS[culture], label=LABELS[culture])
    ax.axvline(0, color="0.6", linewidth=0.8)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel="distance from the mask's edge (px)", ylabel="grey level − surroundings")
    ax.legend(ncols=2)


def training_curves(curves) -> None:
    """Losses and validation AP of a training.

    Parameters
    ----------
    curves : DataFrame
        From `segmentation.run_files.read_curves`.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    left.plot(curves.index, curves["total_loss"], color="0.2", linewidth=1)
    left.set(xlabel="iteration", ylabel="total loss", ylim=(0, None))
    known = curves["val_segm_AP"].dropna()
    right.plot(known.index, known, "o-", color=TRAINING_SET_COLOURS[1])
    right.set(xlabel="iteration", ylabel="validation mAP, masks (%)", ylim=(0, None))


def intervals(ax: Axes, table, labels, colours) -> None:
    """Estimates with intervals, one below the other.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        Columns ``estimate, low, high``.
    labels, colours : sequence of str
    """
    place = range(len(table))
    ax.hlines(place, table["low"], table["high"], colors=colours)
    ax.scatter(table["estimate"], place, c=colours)
    ax.set_yticks(place, labels)
    ax.set_ylim(len(table) - 0.5, -0.5)


def learning_curve(ax: Axes, images, table, reference=None) -> None:
    """AP against the number of training images, on a logarithmic axis.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    images : sequence of int
        Number of training images of each model.
    table : DataFrame
        Columns ``estimate, low, high`` (percent), one row per model.
    reference : tuple of (sequence of int, sequence of float), optional
        Published images and AP, drawn dashed.
    """
    error = np.abs(table[["low", "high"]].T - table["estimate"]).to_numpy()
    ax.errorbar(images, table["estimate"], error, fmt="o-", color="0.2", capsize=3, label="here")
    if reference is not None:
        ax.plot(*reference, "s--", color="0.6", label="paper, on LIVECell (quoted)")
    ax.set(xscale="log", xlabel="training images", ylabel="segmentation mAP (%)", ylim=(0, 100))
    ticks = sorted({*images, *(reference[0] if reference else ())})
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.legend()


def frame(ax: Axes, colour: str) -> None:
    """Draw a coloured frame around an image, as the paper's Fig. 3 marks the training set."""
    ax.set(**BARE | {"frame_on": True})
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=3)

"""Every figure of the book: one style, one palette, ground truth solid and predictions dashed."""

import cv2
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D
from pycocotools import mask as coco_mask

from deepmucs_utils.data.cultures import COLOURS, CULTURE_NAMES, LABELS

WIDTH = 9.0  # inches, of every figure
GREY = (78, 178)  # grey levels shown as black and white; LIVECell's images are flat around 128
TRAINING_SET_COLOURS = ("#D55E00", "#0072B2", "#009E73")  # red, blue, green: the paper's Fig. 3


def use_style():
    """Set the style of all figures of a notebook."""
    sns.set_theme("notebook", "ticks", font_scale=0.8)
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


def show(ax, image, title=None, limits=GREY):
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
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)


def row(images, titles, limits=GREY, columns=None):
    """Show images side by side.

    Parameters
    ----------
    images : sequence of ndarray, shape (height, width)
    titles : sequence of str or None
    limits : tuple of float, or sequence of such tuples
        Values shown as black and white, for all images or one by one.
    columns : int, optional
        Images in a line; default all.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (number of images,)
    """
    columns = columns or len(images)
    lines = -(-len(images) // columns)
    height, width = images[0].shape
    heading = 0.25 if any(titles) else 0.0  # inches
    size = (WIDTH, lines * (WIDTH / columns * height / width + heading))
    _, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    if np.ndim(limits) == 1:
        limits = [limits] * len(images)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, image, title, limit in zip(axes.flat, images, titles, limits, strict=False):
        show(ax, image, title, limit)
    return axes.flat[: len(images)]


def outline(ax, mask, culture=None, dashed=False, colour=None, linewidth=1.2):
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
        In points.
    """
    contours, _ = cv2.findContours(
        np.pad(mask.astype(np.uint8), 1), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    for contour in contours:
        points = contour[:, 0] - 1
        points = np.vstack([points, points[:1]])
        ax.plot(
            *points.T,
            color=colour or COLOURS[culture],
            linewidth=linewidth,
            linestyle=(0, (3, 1.5)) if dashed else "solid",
        )


def outline_polygons(ax, polygons, culture):
    """Draw annotation polygons, each a list of parts ``[x0, y0, x1, y1, …]`` (px)."""
    for polygon in polygons:
        for part in polygon:
            points = np.reshape(part, (-1, 2))
            ax.plot(*np.vstack([points, points[:1]]).T, color=COLOURS[culture], linewidth=0.8)


def outline_records(ax, records, categories, dashed=False):
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
        mask = coco_mask.decode(record["segmentation"]) > 0
        outline(ax, mask, categories[record["category_id"]], dashed)


def culture_legend(ax, cultures=CULTURE_NAMES, dashed=False, **options):
    """Legend with the cultures' colours and names in print; ``options`` go to ``ax.legend``."""
    style = (0, (3, 1.5)) if dashed else "solid"
    lines = [Line2D([], [], color=COLOURS[name], linestyle=style) for name in cultures]
    ax.legend(lines, [LABELS[name] for name in cultures], **options)


def cutout_sheet(sheets, side=64):
    """Cutouts of several cultures, a line each.

    Parameters
    ----------
    sheets : dict of str to sequence of Cutout
        By culture; at most as many as fit are shown.
    side : int
        Side of the square each cutout is centred in, px.
    """
    columns = max(len(cutouts) for cutouts in sheets.values())
    step = WIDTH / columns
    _, axes = plt.subplots(
        len(sheets),
        columns,
        figsize=(WIDTH, step * len(sheets)),
        squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for line, (culture, cutouts) in zip(axes, sheets.items(), strict=True):
        for ax, cutout in zip(line, cutouts, strict=False):
            tile, mask = centre(cutout, side)
            ax.imshow(tile, vmin=GREY[0], vmax=GREY[1])
            outline(ax, mask, culture, linewidth=0.7)
        line[0].set_title(LABELS.get(culture, culture), loc="left", pad=2)


def centre(cutout, side):
    """A cutout in the middle of a square of its own level.

    Returns
    -------
    tile : ndarray of float, shape (side, side)
    mask : ndarray of bool, shape (side, side)
    """
    tile, mask = np.full((side, side), cutout.level), np.zeros((side, side), bool)
    height, width = cutout.mask.shape
    top, left = (side - height) // 2, (side - width) // 2
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, side), min(left + width, side)
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    mixed = cutout.level + cutout.matte * (cutout.pixels - cutout.level)
    tile[y0:y1, x0:x1], mask[y0:y1, x0:x1] = mixed[part], cutout.mask[part]
    return tile, mask


def by_culture(ax, values, ylabel, log=False):
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
    present = [name for name in CULTURE_NAMES if (values.iloc[:, 0] == name).any()]
    sns.boxplot(
        x=values.iloc[:, 0],
        y=values.iloc[:, 1],
        order=present,
        hue=values.iloc[:, 0],
        hue_order=present,
        palette=COLOURS,
        legend=False,
        fliersize=1,
        linewidth=0.8,
        ax=ax,
    )
    if log:
        ax.set_yscale("log")
    ax.set_xticks(range(len(present)), [LABELS[name] for name in present])
    ax.set(xlabel="", ylabel=ylabel)


def profiles(ax, curves):
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


def training_curves(curves):
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


def intervals(ax, table, labels, colours):
    """Estimates with intervals, one below the other.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        Columns ``estimate, low, high``.
    labels, colours : sequence of str
    """
    for place, (_, values) in enumerate(table.iterrows()):
        ax.plot([values["low"], values["high"]], [place, place], color=colours[place])
        ax.plot(values["estimate"], place, "o", color=colours[place])
    ax.set_yticks(range(len(table)), labels)
    ax.set_ylim(len(table) - 0.5, -0.5)


def learning_curve(ax, images, table, reference=None):
    """AP against the number of training images, on a logarithmic axis.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    images : sequence of int
        Number of training images of each model.
    table : DataFrame
        Columns ``estimate, low, high`` (percent), a row a model.
    reference : tuple of (sequence of int, sequence of float), optional
        Published images and AP, drawn dashed.
    """
    error = np.abs(table[["low", "high"]].to_numpy().T - table["estimate"].to_numpy())
    ax.errorbar(images, table["estimate"], error, fmt="o-", color="0.2", capsize=3, label="here")
    if reference is not None:
        ax.plot(*reference, "s--", color="0.6", label="paper, on LIVECell (quoted)")
    ax.set(xscale="log", xlabel="training images", ylabel="segmentation mAP (%)", ylim=(0, 100))
    ticks = sorted({*images, *(reference[0] if reference else ())})
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.legend()


def frame(ax, colour):
    """Draw a coloured frame around an image, as the paper's Fig. 3 marks the training set."""
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=3)

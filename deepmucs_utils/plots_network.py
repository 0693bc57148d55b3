"""Figures of the notebooks on the network, in the style and palette of `plots`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from deepmucs_utils.data.cultures import COLOURS, LABELS
from deepmucs_utils.plots import WIDTH, show

GROUP_COLOURS = ("#0072B2", "#E69F00")  # of the two groups of channels
STEP_COLOURS = ("#999999", "#56B4E9", "#0072B2", "#000000")  # proposal and three stages


def maps(levels, columns=5):
    """Maps of features side by side, each from its smallest to its largest value.

    Parameters
    ----------
    levels : dict of str to ndarray, shape (h, w)
    columns : int
    """
    lines = -(-len(levels) // columns)
    height, width = next(iter(levels.values())).shape
    size = (WIDTH, lines * (WIDTH / columns * height / width + 0.35))
    _, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, values) in zip(axes.flat, levels.items(), strict=False):
        ax.imshow(values, cmap="viridis")
        ax.set_title(f"{name}, {values.shape[0]} × {values.shape[1]}")


def shares(ax, by_stage):
    """How many features take which share from the first split.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    by_stage : dict of str to ndarray
        From `anatomy.split_shares`.
    """
    for place, values in enumerate(by_stage.values()):
        order = np.sort(values)
        spread = 0.35 * np.cos(np.arange(len(order)) * 2.4)  # golden angle: no two in a column
        ax.plot(place + spread, order, ".", color="0.3", markersize=3)
    ax.axhline(0.5, color="0.6", linewidth=0.8)
    labels = [f"{stage}\nn = {len(values)}" for stage, values in by_stage.items()]
    ax.set_xticks(range(len(by_stage)), labels)
    ax.set(ylabel="share of the first split", ylim=(0, 1))


def sampling(ax, image, found, reach=40):
    """Where a deformable convolution samples around one place.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    found : anatomy.Sampling
    reach : int
        How much of the image is shown on each side, px.
    """
    show(ax, image)
    ax.plot(found.grid[:, 1], found.grid[:, 0], "+", color="white", markersize=6)
    for group, (places, weights) in enumerate(zip(found.places, found.modulation, strict=True)):
        colour = GROUP_COLOURS[group]
        ax.scatter(places[:, 1], places[:, 0], 120 * weights, color=colour, alpha=0.8,
                   marker="os"[group], label=f"group {group + 1}", linewidths=0)  # fmt: skip
        for grid, place in zip(found.grid, places, strict=True):
            ax.plot(*zip(grid[::-1], place[::-1], strict=True), color=colour, linewidth=0.8)
    y, x = found.centre
    ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach))


def best_anchors(ax, overlap, cultures, least):
    """IoU of each cell with its best anchor, a column a culture.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    overlap : ndarray, shape (n,)
    cultures : sequence of str, length n
    least : float
        IoU that makes a positive anchor, drawn as a line.
    """
    names = [name for name in COLOURS if name in set(cultures)]
    cultures = np.asarray(cultures)
    for place, name in enumerate(names):
        values = np.sort(overlap[cultures == name])
        spread = 0.3 * np.cos(np.arange(len(values)) * 2.4)
        ax.plot(place + spread, values, ".", color=COLOURS[name], markersize=4)
        ax.plot([place - 0.35, place + 0.35], [np.median(values)] * 2, color="0.2")
    ax.axhline(least, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(names)), [LABELS[name] for name in names], rotation=45)
    ax.set(ylabel="IoU with the best anchor", ylim=(0, 1))


def steps(ax, image, boxes, truth, reach=12):
    """A box before the cascade and after each stage, with the cell's own.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    boxes : ndarray, shape (stages + 1, 4)
        x and y of two corners, px.
    truth : array_like, shape (4,)
    reach : int
        Margin shown around all of them, px.
    """
    show(ax, image)
    names = ["proposal", *(f"stage {stage}" for stage in range(1, len(boxes)))]
    for box, name, colour in zip(boxes, names, STEP_COLOURS, strict=True):
        _frame(ax, box, edgecolor=colour, linestyle="--", label=name)
    _frame(ax, truth, edgecolor="#E69F00", label="cell")
    around = np.vstack([boxes, [truth]])
    low, high = around[:, :2].min(0) - reach, around[:, 2:].max(0) + reach
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))


def _frame(ax, box, **options):
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1.4, **options))


def overlap_by_step(ax, overlap, thresholds):
    """How well the boxes on cells fit, before the cascade and after each stage.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    overlap : ndarray, shape (stages + 1, n)
        IoU with the cell.
    thresholds : sequence of float
        IoU that each stage is trained from.
    """
    edges = np.linspace(0, 1, 201)
    for values, colour, name in zip(
        overlap, STEP_COLOURS, ("proposals", "stage 1", "stage 2", "stage 3"), strict=True
    ):
        better = [(values >= edge).mean() for edge in edges]
        ax.plot(edges, better, color=colour, label=name)
    for threshold in thresholds:
        ax.axvline(threshold, color="0.7", linewidth=0.8, linestyle=":")
    ax.set(xlabel="IoU with the cell", ylabel="share of boxes with at least that", ylim=(0, 1.02))
    ax.legend()

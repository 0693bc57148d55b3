"""Figures of the notebooks on the network, in the style and palette of `plots`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.plots.images import WIDTH, outline, show

GROUP_COLOURS = ("#D55E00", "#0072B2")  # of the two groups of channels
STEP_COLOURS = ("#999999", "#56B4E9", "#0072B2", "#000000")  # proposal and three stages


def diagram():
    """The parts of the network, in the order in which an image passes through them."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.1))
    ax.set(xlim=(0, 18), ylim=(-0.6, 5.4))
    ax.set_axis_off()
    _part(ax, 0.1, 2.0, 1.7, 1, "image", "0.9")
    for level in range(2, 7):
        y = 1.05 * (level - 2)
        _part(ax, 6.2, y, 2.4, 0.62, f"p{level}  (1/{2**level})", "#CFE3F2")
        if level < 6:
            _part(ax, 2.9, y, 2.4, 0.62, f"res{level}", "#E9D3E0")
            _arrow(ax, (5.35, y + 0.31), (6.15, y + 0.31))
        if level < 5:
            _arrow(ax, (4.1, y + 0.62), (4.1, y + 1.07))
            _arrow(ax, (7.4, y + 1.05), (7.4, y + 0.6))
    _arrow(ax, (7.4, 3.77), (7.4, 4.22))
    _arrow(ax, (1.85, 2.2), (2.85, 0.4))
    _part(ax, 9.8, 1.9, 2.2, 1.2, "RPN\nproposals", "#CDE8DF")
    _arrow(ax, (8.7, 2.5), (9.75, 2.5))
    for stage, least in enumerate((0.5, 0.6, 0.7), start=1):
        y = 4.6 - 1.45 * stage
        _part(ax, 13.2, y, 2.0, 1.0, f"box head {stage}\nIoU ≥ {least}", "#FBE5C0")
        if stage < 3:
            _arrow(ax, (14.2, y - 0.03), (14.2, y - 0.42))
    _arrow(ax, (12.05, 2.7), (13.15, 3.6))
    _part(ax, 16.2, 0.25, 1.7, 1.0, "mask\nhead", "#F6D5C2")
    _arrow(ax, (15.25, 0.75), (16.15, 0.75))
    for x, text in (
        (4.1, "backbone"),
        (7.4, "pyramid"),
        (10.9, "where?"),
        (14.2, "what? where exactly?"),
        (17.05, "outline"),
    ):
        ax.text(x, -0.5, text, ha="center", style="italic", color="0.3")


def _part(ax, x, y, width, height, text, colour):
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="0.4"))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def _arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.3"})


def maps(levels, masks, columns=5, limits=None):
    """Maps of one image side by side, with the outlines of its cells.

    Parameters
    ----------
    levels : dict of str to ndarray, shape (h, w)
        By name; a name's first letter begins a line of its own.
    masks : ndarray of bool, shape (n, height, width)
        The cells, in pixels of the image.
    columns : int
    limits : tuple of float, optional
        Values shown dark and bright; default each map's own smallest and largest.
    """
    lines = [
        [name for name in levels if name[0] == first]
        for first in dict.fromkeys(name[0] for name in levels)
    ]
    height, width = masks.shape[1:]
    size = (WIDTH, len(lines) * (WIDTH / columns * height / width + 0.35))
    _, axes = plt.subplots(len(lines), columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    low, high = limits or (None, None)
    for line, names in zip(axes, lines, strict=True):
        for ax, name in zip(line, names, strict=False):
            values = levels[name]
            stride = 2 ** int(name[-1])
            shown = (0, values.shape[1] * stride, values.shape[0] * stride, 0)
            ax.imshow(values, cmap="viridis", extent=shown, vmin=low, vmax=high)
            for mask in masks:
                outline(ax, mask, colour="white", linewidth=0.6)
            ax.set(xlim=(0, width), ylim=(height, 0))
            ax.set_title(f"{name}, {values.shape[0]} × {values.shape[1]}")


def attention(masks, found):
    """Two versions of three features, their weights, and what becomes of them.

    Parameters
    ----------
    masks : ndarray of bool, shape (n, height, width)
        The image's cells.
    found : anatomy.Attention
    """
    channels = found.clearest()
    height, width = masks.shape[1:]
    size = (WIDTH, len(channels) * (WIDTH / 3 * height / width + 0.25))
    _, axes = plt.subplots(len(channels), 3, figsize=size)
    mixed = found.mix()
    for line, channel in zip(axes, channels, strict=True):
        share = found.share[channel]
        three = np.stack([*found.splits[:, channel], mixed[channel]])
        titles = (f"split 1, weight {share:.2f}", f"split 2, weight {1 - share:.2f}", "sum")
        for ax, values, title in zip(line, three, titles, strict=True):
            ax.imshow(
                values,
                cmap="viridis",
                vmin=0,
                vmax=np.quantile(three, 0.995),
                extent=(0, width, height, 0),
            )
            for mask in masks:
                outline(ax, mask, colour="white", linewidth=0.5)
            ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], title=title)
        line[0].set_ylabel(f"feature {channel}")


def shares(ax, by_stage):
    """How many features take which share from the first split.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    by_stage : dict of str to ndarray
        ``share`` of `anatomy.split_attention` by stage.
    """
    for place, values in enumerate(by_stage.values()):
        order = np.sort(values)
        spread = 0.35 * np.cos(np.arange(len(order)) * 2.4)  # golden angle: no two in a column
        ax.plot(place + spread, order, ".", color="0.3", markersize=4)
    ax.axhline(0.5, color="0.6", linewidth=0.8)
    labels = [f"{stage}\nn = {len(values)}" for stage, values in by_stage.items()]
    ax.set_xticks(range(len(by_stage)), labels)
    ax.set(ylabel="weight of split 1", ylim=(0, 1))


def sampling(ax, image, found, reach):
    """Where a deformable convolution samples around one place.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    found : anatomy.Sampling
    reach : float
        How much of the image is shown on each side, px.
    """
    show(ax, image)
    for group, (places, weights) in enumerate(zip(found.places, found.modulation, strict=True)):
        colour = GROUP_COLOURS[group]
        for grid, place, weight in zip(found.grid, places, weights, strict=True):
            ax.plot(
                *zip(grid[::-1], place[::-1], strict=True),
                color=colour,
                linewidth=1.0,
                alpha=min(1.0, 2 * float(weight)),
            )
        ax.scatter(
            places[:, 1],
            places[:, 0],
            90 * weights,
            color=colour,
            marker="os"[group],
            linewidths=0.5,
            edgecolors="white",
            zorder=3,
            label=f"channel group {group + 1}",
        )
    ax.scatter(
        found.grid[:, 1],
        found.grid[:, 0],
        45,
        color="white",
        marker="P",
        linewidths=0.7,
        edgecolors="black",
        zorder=4,
        label="the 3 × 3 grid",
    )
    y, x = found.centre
    ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach))


def anchors_at(image, mask, sizes, ratios, strides):
    """The anchors of each level at the place nearest to a cell, a panel a level.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    mask : ndarray of bool, shape (h, w)
        The cell.
    sizes, ratios, strides : sequence of float
        px; height / width; px.
    """
    _, axes = plt.subplots(1, len(sizes), figsize=(WIDTH, WIDTH / len(sizes) + 0.4))
    y, x = (axis.mean() for axis in np.nonzero(mask))
    for ax, size, stride, level in zip(axes, sizes, strides, range(2, 9), strict=False):
        show(ax, image, f"p{level}: {size} px, every {stride} px")
        outline(ax, mask, colour="#E69F00", linewidth=1.6)
        x0, y0 = (stride * round(place / stride) for place in (x, y))
        for ratio in ratios:
            width, height = size / ratio**0.5, size * ratio**0.5
            _frame(
                ax,
                (x0 - width / 2, y0 - height / 2, x0 + width / 2, y0 + height / 2),
                edgecolor="#56B4E9",
            )
        reach = 1.15 * size
        ax.set(xlim=(x0 - reach, x0 + reach), ylim=(y0 + reach, y0 - reach))


def cell_sizes(ax, width, height, cultures, sizes, ratios):
    """Boxes of cells and the anchors' shapes, both by width and height.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    width, height : ndarray, shape (n,)
        px.
    cultures : ndarray of str, shape (n,)
    sizes, ratios : sequence of float
        The anchors' sizes (px) and ratios (height / width); every ratio at every size.
    """
    colours = [COLOURS[name] for name in cultures]
    ax.scatter(width, height, 5, c=colours, alpha=0.5, linewidths=0, rasterized=True)
    size, ratio = (grid.ravel() for grid in np.meshgrid(sizes, np.sqrt(ratios)))
    ax.plot(size / ratio, size * ratio, "s", color="black", markersize=5, markerfacecolor="none")
    ticks = [4, 8, 16, 32, 64, 128, 256]
    for axis, scale in (("x", ax.set_xscale), ("y", ax.set_yscale)):
        scale("log", base=2)
        getattr(ax, f"set_{axis}ticks")(ticks, map(str, ticks))
    ax.set(xlabel="width (px)", ylabel="height (px)", aspect="equal", xlim=(3, 400), ylim=(3, 400))


def boxes(ax, image, found, colour="#56B4E9", dashed=True):
    """Boxes on an image: dashed for predictions, solid for the truth.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    found : array_like, shape (n, 4)
        x and y of two corners, px.
    colour : str
    dashed : bool
    """
    show(ax, image)
    for box in found:
        _frame(ax, box, edgecolor=colour, linestyle=(0, (3, 1.5)) if dashed else "solid")


def recall(ax, overlap, counts, thresholds):
    """Share of the cells that some of the first boxes meet, against the number of boxes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    overlap : list of ndarray, shape (boxes, cells)
        IoU by image, boxes by falling score.
    counts : sequence of int
        Numbers of boxes.
    thresholds : sequence of float
        IoU from which a box meets a cell.
    """
    for least, colour in zip(thresholds, STEP_COLOURS[1:], strict=False):
        met = [np.concatenate([one[:n].max(0) >= least for one in overlap]).mean() for n in counts]
        ax.plot(counts, 100 * np.array(met), "o-", color=colour, label=f"IoU ≥ {least}")
    ax.set_xscale("log")
    ax.set_xticks(counts, map(str, counts))
    ax.minorticks_off()
    ax.set(xlabel="proposals an image, best first", ylabel="cells met (%)", ylim=(0, 100))
    ax.legend()


def steps(axes, image, stages, truth, titles, reach=10):
    """A box before the cascade and after each stage, a panel each, with the cell's own.

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    stages : ndarray, shape (stages + 1, 4)
        x and y of two corners, px.
    truth : array_like, shape (4,)
    titles : sequence of str
    reach : int
        Margin shown around all of them, px.
    """
    around = np.vstack([stages, [truth]])
    middle = (around[:, :2].min(0) + around[:, 2:].max(0)) / 2
    half = (around[:, 2:].max(0) - around[:, :2].min(0)).max() / 2 + reach
    for ax, box, title in zip(axes, stages, titles, strict=True):
        show(ax, image, title)
        _frame(ax, truth, edgecolor="#E69F00")
        _frame(ax, box, edgecolor="#0072B2", linestyle=(0, (3, 1.5)))
        ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))


def _frame(ax, box, **options):
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1.3, **options))


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
        better = [100 * (values >= edge).mean() for edge in edges]
        ax.plot(edges, better, color=colour, label=name)
    for threshold in thresholds:
        ax.axvline(threshold, color="0.7", linewidth=0.8, linestyle=":")
    ax.set(xlabel="IoU with the cell", ylabel="boxes with at least that (%)", ylim=(0, 102))
    ax.legend()

"""Figures of the notebooks on the network, in the style and palette of `plots`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.plots.images import DASHES, WIDTH, grid, outline, show

GROUP_COLOURS = ("#D55E00", "#0072B2")  # of the two groups of channels
STEP_COLOURS = ("#999999", "#56B4E9", "#0072B2", "#000000")  # proposal and three stages
TRUTH, BOX = "#E69F00", "#56B4E9"  # a cell, and an anchor or a box that the network proposes

# The diagram: x, y, width, height, text, colour of each part; from x, y to x, y of each arrow.
PARTS = (
    (0.1, 2.0, 1.7, 1.0, "image", "0.9"),
    *((2.9, 1.05 * k, 2.4, 0.62, f"res{k + 2}", "#E9D3E0") for k in range(4)),
    *((6.2, 1.05 * k, 2.4, 0.62, f"p{k + 2}  (1/{4 * 2**k})", "#CFE3F2") for k in range(5)),
    (9.8, 1.9, 2.2, 1.2, "RPN\nproposals", "#CDE8DF"),
    (13.2, 3.15, 2.0, 1.0, "box head 1\nIoU ≥ 0.5", "#FBE5C0"),
    (13.2, 1.70, 2.0, 1.0, "box head 2\nIoU ≥ 0.6", "#FBE5C0"),
    (13.2, 0.25, 2.0, 1.0, "box head 3\nIoU ≥ 0.7", "#FBE5C0"),
    (16.2, 0.25, 1.7, 1.0, "mask\nhead", "#F6D5C2"),
)
ARROWS = (
    (1.85, 2.2, 2.85, 0.4),
    *((4.1, 1.05 * k + 0.62, 4.1, 1.05 * k + 1.07) for k in range(3)),
    *((5.35, 1.05 * k + 0.31, 6.15, 1.05 * k + 0.31) for k in range(4)),
    *((7.4, 1.05 * k + 1.05, 7.4, 1.05 * k + 0.6) for k in range(3)),
    (7.4, 3.77, 7.4, 4.22),
    (8.7, 2.5, 9.75, 2.5),
    (12.05, 2.7, 13.15, 3.6),
    *((14.2, 4.57 - 1.45 * k, 14.2, 4.18 - 1.45 * k) for k in (1, 2)),
    (15.25, 0.75, 16.15, 0.75),
)
COLUMNS = {  # x of what stands below them
    "backbone": 4.1,
    "pyramid": 7.4,
    "where?": 10.9,
    "what? where exactly?": 14.2,
    "outline": 17,
}


def diagram() -> None:
    """The parts of the network, in the order in which an image passes through them."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.1))
    ax.set(xlim=(0, 18), ylim=(-0.6, 5.4))
    ax.set_axis_off()
    for x, y, width, height, text, colour in PARTS:
        ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="0.4"))
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")
    for x0, y0, x1, y1 in ARROWS:
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
    for text, x in COLUMNS.items():
        ax.text(x, -0.5, text, ha="center", style="italic", color="0.3")


def maps(levels: dict, masks: np.ndarray, limits=(None, None)) -> None:
    """Maps of one image side by side, with the outlines of its cells.

    Parameters
    ----------
    levels : dict of str to ndarray, shape (h, w)
        By name: a letter or word, and k for maps at 1/2^k of the image's scale. Each first letter
        begins a new line.
    masks : ndarray of bool, shape (n, height, width)
        The cells, in pixels of the image.
    limits : tuple of float, optional
        Values shown dark and bright; default each map's own minimum and maximum.
    """
    kinds = {name[0]: [other for other in levels if other[0] == name[0]] for name in levels}
    axes = grid(len(kinds), max(map(len, kinds.values())), masks.shape[1:], 0.35)
    for line, names in zip(axes, kinds.values(), strict=True):
        for ax, name in zip(line, names, strict=False):
            height, width = np.array(levels[name].shape) * 2 ** int(name[-1])
            _map(ax, levels[name], masks, (0, width, height, 0), limits)
            ax.set_title(f"{name}, {levels[name].shape[0]} × {levels[name].shape[1]}")


def attention(masks: np.ndarray, found) -> None:
    """Both splits of three features, their weights and their sum.

    Parameters
    ----------
    masks : ndarray of bool, shape (n, height, width)
        The image's cells.
    found : anatomy.Attention
    """
    channels, mixed = found.clearest(), found.mix()
    height, width = masks.shape[1:]
    axes = grid(len(channels), 3, (height, width), 0.25)
    for line, channel in zip(axes, channels, strict=True):
        share = found.share[channel]
        three = np.stack([*found.splits[:, channel], mixed[channel]])
        titles = (f"split 1, weight {share:.2f}", f"split 2, weight {1 - share:.2f}", "sum")
        for ax, values, title in zip(line, three, titles, strict=True):
            _map(ax, values, masks, (0, width, height, 0), (0, np.quantile(three, 0.995)))
            ax.set_title(title)
        line[0].set_ylabel(f"feature {channel}")


def _map(ax, values, masks, extent, limits):
    """A map in the coordinates of its image, under the outlines of the cells."""
    height, width = masks.shape[1:]
    ax.imshow(values, cmap="viridis", extent=extent, vmin=limits[0], vmax=limits[1])
    for mask in masks:
        outline(ax, mask, colour="white", linewidth=0.6)
    ax.set(xlim=(0, width), ylim=(height, 0))


def shares(ax: Axes, by_stage: dict) -> None:
    """Weight of the first split, one dot per feature.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    by_stage : dict of str to ndarray
        ``share`` of `anatomy.split_attention` by stage.
    """
    for place, values in enumerate(by_stage.values()):
        spread = 0.35 * np.cos(np.arange(len(values)) * 2.4)  # golden angle: dots stay apart
        ax.plot(place + spread, np.sort(values), ".", color="0.3", markersize=4)
    ax.axhline(0.5, color="0.6", linewidth=0.8)
    labels = [f"{stage}\nn = {len(values)}" for stage, values in by_stage.items()]
    ax.set_xticks(range(len(by_stage)), labels)
    ax.set(ylabel="weight of split 1", ylim=(0, 1))


def sampling(ax: Axes, image: np.ndarray, found, reach: float) -> None:
    """Where a deformable convolution samples around one place.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    found : anatomy.Sampling
    reach : float
        Half the side of the part of the image that is shown, px.
    """
    show(ax, image)
    mark = {"linewidths": 0.6, "zorder": 3}
    for group, (places, weights) in enumerate(zip(found.places, found.modulation, strict=True)):
        colour, label = GROUP_COLOURS[group], f"channel group {group + 1}"
        for start, end, weight in zip(found.grid, places, weights, strict=True):
            path = np.stack([start, end], 1)[::-1]
            ax.plot(*path, color=colour, linewidth=1, alpha=min(1, 2 * weight))
        look = {"color": colour, "marker": "os"[group], "edgecolors": "white", "label": label}
        ax.scatter(*places.T[::-1], 90 * weights, **look, **mark)
    look = {"color": "white", "marker": "P", "edgecolors": "black", "label": "the 3 × 3 grid"}
    ax.scatter(*found.grid.T[::-1], 45, **look, **mark)
    _zoom(ax, found.centre[::-1], reach)


def _zoom(ax, centre, reach):
    """Show an image within ``reach`` px of a centre ``(x, y)``."""
    x, y = centre
    ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach))


def _boxes(ax, found, colour, dashed):
    style = {"edgecolor": colour, "linestyle": DASHES if dashed else "solid", "linewidth": 1.3}
    if len(found) > 200:  # the image stays visible
        style |= {"linewidth": 0.4, "alpha": 0.4}
    for x0, y0, x1, y1 in found:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **style))


def anchors_at(image: np.ndarray, mask: np.ndarray, sizes, ratios, strides) -> None:
    """The anchors of each level at the place nearest to a cell, one panel per level.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    mask : ndarray of bool, shape (h, w)
        The cell.
    sizes, ratios, strides : sequence of float
        px; height / width; px.
    """
    _, axes = plt.subplots(1, len(sizes), figsize=(WIDTH, WIDTH / len(sizes) + 0.4))
    middle = np.array([axis.mean() for axis in np.nonzero(mask)[::-1]])
    root = np.sqrt(ratios)
    for level, (ax, size, stride) in enumerate(zip(axes, sizes, strides, strict=True), 2):
        show(ax, image, f"p{level}: {size} px, every {stride} px")
        outline(ax, mask, colour=TRUTH, linewidth=1.6)
        place = stride * np.round(middle / stride)
        half = size / 2 * np.stack([1 / root, root], 1)
        _boxes(ax, np.hstack([place - half, place + half]), BOX, dashed=False)
        _zoom(ax, place, 1.15 * size)


def cell_sizes(ax: Axes, width, height, cultures, sizes, ratios) -> None:
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
    size, root = np.meshgrid(sizes, np.sqrt(ratios))
    ax.plot((size / root).ravel(), (size * root).ravel(), "ks", markersize=5, fillstyle="none")
    ax.loglog(base=2)
    for axis, label in ((ax.xaxis, "width (px)"), (ax.yaxis, "height (px)")):
        axis.set_major_formatter("{x:g}")
        axis.set_label_text(label)
    ax.set(xlim=(3, 400), ylim=(3, 400), aspect="equal")


def boxes(ax: Axes, image: np.ndarray, found, colour: str = BOX, dashed: bool = True) -> None:
    """Boxes on an image: dashed for predictions, solid for ground truth.

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
    _boxes(ax, found, colour, dashed)


def recall(ax: Axes, overlap, counts, thresholds) -> None:
    """Share of the cells that the first proposals meet, against the number of proposals.

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
    ax.set(xlabel="proposals per image, best first", ylabel="cells met (%)", ylim=(0, 100))
    ax.legend()


def steps(axes, image: np.ndarray, stages: np.ndarray, truth, titles) -> None:
    """A box before the cascade and after each stage, one panel each, with the box of its cell.

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes
    image : ndarray of uint8, shape (h, w)
    stages : ndarray, shape (stages + 1, 4)
        x and y of two corners, px.
    truth : array_like, shape (4,)
    titles : sequence of str
    """
    around = np.vstack([stages, [truth]])
    low, high = around[:, :2].min(0), around[:, 2:].max(0)
    for ax, box, title in zip(axes, stages, titles, strict=True):
        show(ax, image, title)
        _boxes(ax, [truth], TRUTH, dashed=False)
        _boxes(ax, [box], STEP_COLOURS[2], dashed=True)
        _zoom(ax, (low + high) / 2, (high - low).max() / 2 + 10)


def overlap_by_step(ax: Axes, overlap: np.ndarray, thresholds) -> None:
    """How well the boxes on cells fit, before the cascade and after each stage.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    overlap : ndarray, shape (stages + 1, n)
        IoU with the cell.
    thresholds : sequence of float
        IoU from which each stage is trained.
    """
    edges = np.linspace(0, 1, 201)
    names = ("proposals", "stage 1", "stage 2", "stage 3")
    for values, colour, name in zip(overlap, STEP_COLOURS, names, strict=True):
        better = [100 * (values >= edge).mean() for edge in edges]
        ax.plot(edges, better, color=colour, label=name)
    ax.vlines(thresholds, 0, 102, color="0.7", linewidth=0.8, linestyle=":")
    ax.set(xlabel="IoU with the cell", ylabel="boxes with at least that (%)", ylim=(0, 102))
    ax.legend()

"""Figures of the analysis notebooks, in the style and palette of `plots`."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from deepmucs_utils.data.cultures import COLOURS, LABELS
from deepmucs_utils.evaluation.metrics import MIN_CELLS
from deepmucs_utils.plots.images import DASHES, WIDTH, frame, grid, outline_records, show

ERROR_COLOURS = {
    "class": "#D55E00",
    "localisation": "#56B4E9",
    "both": "#CC79A7",
    "duplicate": "#F0E442",
    "background": "#999999",
    "missed": "#0072B2",
}


def precision_recall(ax: Axes, table) -> None:
    """Precision against recall, one line per culture with at least `MIN_CELLS` cells.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `surroundings.precision_recall`.
    """
    for culture, part in table[table["n"] >= MIN_CELLS].groupby("culture", sort=False):
        label = f"{LABELS.get(culture, culture)} (n = {part['n'].iloc[0]})"
        ax.plot(part["recall"], part["precision"], color=COLOURS.get(culture), label=label)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def confusion(ax: Axes, table) -> None:
    """Cells by true and predicted culture, coloured by their share of the true culture.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame of int
        From `counting.confusion_matrix`. Rows without an entry are left out.
    """
    table = table[table.any(axis=1)].rename(index=LABELS, columns=LABELS)
    share = table.div(table.sum(axis=1), axis=0)
    numbers = {"mask": table == 0, "annot": table, "fmt": "d", "annot_kws": {"fontsize": 8}}
    sns.heatmap(share, **numbers, cmap="Blues", vmin=0, vmax=1, cbar=False, ax=ax)
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(length=0, rotation=0)
    ax.tick_params(axis="x", rotation=45)


def calibration(ax: Axes, table) -> None:
    """Share of right detections against score; the diagonal is perfect calibration.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `counting.calibration`.
    """
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    ax.plot(table["score"], table["right"], "o-", color="0.2")
    for score, right, n in table[["score", "right", "n"]].dropna().to_numpy():
        at = {"xytext": (0, 5), "textcoords": "offset points", "rotation": 45}
        ax.annotate(f"{n:.0f}", (score, right), fontsize=7, **at)
    ax.set(xlabel="score", ylabel="share of right detections", xlim=(0, 1), ylim=(0, 1.02))


def ap_slices(tables, labels, whole=()) -> None:
    """AP50 against properties of the cells' surroundings, side by side.

    Parameters
    ----------
    tables : sequence of DataFrame
        From `surroundings.ap_by`.
    labels : sequence of str
        Name and unit of each property.
    whole : sequence of str
        Labels of properties that are integers.
    """
    _, axes = plt.subplots(1, len(tables), figsize=(WIDTH, 2.8), sharey=True, squeeze=False)
    for ax, table, label in zip(axes[0], tables, labels, strict=True):
        place = range(len(table))
        ax.vlines(place, table["AP50_low"], table["AP50_high"], color="0.2")
        ax.plot(place, table["AP50"], "o", color="0.2")
        ticks = [
            f"{_range(low, high - (label in whole))}\nn = {n:.0f}"
            for low, high, n in table[["low", "high", "n"]].to_numpy()
        ]
        ax.set_xticks(place, ticks, fontsize=7)
        ax.set(xlabel=label, xlim=(-0.5, len(table) - 0.5), ylim=(0, 102))
    axes[0, 0].set_ylabel("AP50, normalised (%)")


def _range(low, high):
    if low == high:
        return f"{low:g}"
    return f"{low:g}–{high:g}" if np.isfinite(high) else f"≥ {low:g}"


def errors(ax: Axes, tables: dict) -> None:
    """Gain in AP50 from correcting each kind of error, one group of bars per kind.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    tables : dict of str to DataFrame
        Rows ``"all"`` of `error_kinds.decompose`, by the model's name.
    """
    kinds, colours = list(ERROR_COLOURS), list(ERROR_COLOURS.values())
    width = 0.8 / len(tables)
    for number, (name, table) in enumerate(tables.items(), 1):
        place = np.arange(len(kinds)) + width * (number - (len(tables) + 1) / 2)
        look = {"color": colours, "alpha": 0.35 + 0.65 * number / len(tables), "label": name}
        bars = ax.bar(place, table.loc[kinds, "gain"], 0.92 * width, **look)
        ax.bar_label(bars, table.loc[kinds, "n"].map(str), fontsize=7, color="0.3")
    ax.set_xticks(range(len(kinds)), kinds)
    ax.set(ylabel="gain in AP50 (points)", xlabel="kind of error (number of errors on the bars)")


def failures(rows, colours) -> None:
    """Images with ground truth and prediction side by side, as the paper's Fig. 3.

    Parameters
    ----------
    rows : sequence of dict
        One per line: ``image`` (ndarray), ``truth`` and ``found`` (COCO records), ``categories``
        (culture by id), ``title`` and ``words``.
    colours : sequence of str
        Frame of each row: that of the training set.
    """
    axes = grid(len(rows), 2, rows[0]["image"].shape, 0.45)
    for (left, right), row, colour in zip(axes, rows, colours, strict=True):
        show(left, row["image"], f"{row['title']}: ground truth")
        show(right, row["image"])
        right.set_title(row["words"], fontsize=8, wrap=True)
        outline_records(left, row["truth"], row["categories"])
        outline_records(right, row["found"], row["categories"], dashed=True)
        frame(left, colour)
        frame(right, colour)


def agreement(ax: Axes, table, limits) -> None:
    """Predicted minus true fraction against the true one, with bias and limits of agreement.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `composition.fractions`.
    limits : DataFrame
        From `composition.agreement`.
    """
    for culture, ends in limits.iterrows():
        part = table[table["culture"] == culture]
        look = {"color": COLOURS.get(culture), "label": LABELS.get(culture, culture)}
        ax.plot(part["true"], part["predicted"] - part["true"], "o", alpha=0.6, **look)
        ax.axhline(ends["bias"], color=look["color"], linewidth=1.2)
        for end in ends[["low", "high"]]:
            ax.axhline(end, color=look["color"], linewidth=0.8, linestyle=DASHES)
    ax.axhline(0, color="0.7", linewidth=0.8)
    ax.set(xlabel="true fraction", ylabel="predicted − true")
    ax.legend(fontsize="small")


def shifted_mixes(ax: Axes, table, cultures, composed=None) -> None:
    """Predicted and corrected fraction against the true one, over mixes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `composition.shift_mixes`.
    cultures : sequence of str
    composed : DataFrame, optional
        Sets that were composed in a mix: rows of `composition.corrected_composition` with the
        ``culture``.
    """
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for culture in cultures:
        name, look = LABELS.get(culture, culture), {"color": COLOURS.get(culture)}
        part = table[table["culture"] == culture].sort_values("true")
        for column, marker in (("predicted", "x"), ("corrected", "o")):
            label = f"{name}, {column}"
            ax.plot(part["true"], part[column], marker, fillstyle="none", label=label, **look)
        if composed is not None:
            part = composed[composed["culture"] == culture].dropna()
            ax.vlines(part["true"], part["low"], part["high"], linewidth=1, **look)
            label = f"{name}, composed"
            ax.plot(part["true"], part["corrected"], "s", markersize=4, label=label, **look)
    limits = (-0.02, 1.02)
    ax.set(xlabel="true fraction", ylabel="estimated fraction", xlim=limits, ylim=limits)
    ax.legend(fontsize="small")


def pair_correlations(curves, other=None) -> None:
    """Pair correlation of each two cultures with its global envelope.

    Parameters
    ----------
    curves : DataFrame
        ``Interactions.curves``, from ground truth.
    other : DataFrame, optional
        The same from predictions, drawn dashed.
    """
    pairs = list(curves.groupby(["first", "second"], sort=False))
    _, axes = plt.subplots(1, len(pairs), figsize=(WIDTH, 2.8), sharey=True, squeeze=False)
    for ax, ((first, second), part) in zip(axes[0], pairs, strict=True):
        distance = (part["low"] + part["high"]) / 2
        look = {"color": COLOURS.get(first) if first == second else "0.2", "markersize": 3}
        ax.fill_between(distance, part["g_low"], part["g_high"], color="0.88", linewidth=0)
        ax.axhline(1, color="0.6", linewidth=0.8)
        ax.plot(distance, part["g"], "o-", **look)
        if other is not None:
            same = other.query("first == @first and second == @second")
            middle = (same["low"] + same["high"]) / 2
            ax.plot(middle, same["g"], "s", linestyle=DASHES, fillstyle="none", **look)
        ax.set_title(f"{LABELS.get(first, first)} – {LABELS.get(second, second)}")
        ax.set_xlabel("distance of outlines (px)")
    axes[0, 0].set(ylabel="pairs / expected by chance", ylim=(0, None))


def power(ax: Axes, table, test: str = "curve") -> None:
    """Share of sets in which an interaction was detected, against its strength.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        ``power`` of `studies.interactions.null_and_power.validate`.
    test : {"curve", "nearest", "neighbours"}
    """
    styles = ["o-", "s--", "^:", "v-."]
    for (cells, part), style in zip(table.groupby("cells"), styles, strict=False):
        label = f"{cells} cells of each"
        for _, side in part.groupby(part["strength"] > 0):  # no line across chance
            ax.plot(side["strength"], side[test], style, color="0.2", label=label)
            label = None
    ax.axhline(0.05, color="0.6", linewidth=0.8)
    ax.set(xlabel="strength of the interaction (log)", ylabel="share of sets", ylim=(0, 1.02))
    ax.legend(fontsize="small", loc="upper center")

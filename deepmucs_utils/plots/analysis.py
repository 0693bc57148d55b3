"""Figures of the analysis notebooks, in the style and palette of `plots`."""

import matplotlib.pyplot as plt
import numpy as np

from deepmucs_utils.data.cultures import COLOURS, LABELS
from deepmucs_utils.plots.images import WIDTH, frame, outline_records, show

ERROR_COLOURS = {
    "class": "#D55E00",
    "localisation": "#56B4E9",
    "both": "#CC79A7",
    "duplicate": "#F0E442",
    "background": "#999999",
    "missed": "#0072B2",
}


def precision_recall(ax, table, least=30):
    """Precision against recall, a line a culture with enough cells.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `slices.precision_recall`.
    least : int
        Cultures with fewer cells are left out.
    """
    for culture, part in table[table["n"] >= least].groupby("culture", sort=False):
        label = f"{LABELS.get(culture, culture)} (n = {part['n'].iloc[0]})"
        ax.plot(part["recall"], part["precision"], color=COLOURS.get(culture), label=label)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def confusion(ax, table):
    """Shares of each true culture's cells by predicted culture, with the numbers.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame of int
        From `confusion.confusion_matrix`. Rows without an entry are left out.
    """
    table = table[table.sum(axis=1) > 0]
    numbers = table.to_numpy()
    share = numbers / numbers.sum(axis=1, keepdims=True)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), n in np.ndenumerate(numbers):
        if n:
            colour = "white" if share[row, column] > 0.5 else "0.2"
            ax.text(column, row, f"{n}", ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(range(len(table.columns)), [LABELS.get(n, n) for n in table.columns], rotation=45)
    ax.set_yticks(range(len(table)), [LABELS.get(n, n) for n in table.index])
    ax.set(xlabel="predicted", ylabel="true")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)


def calibration(ax, table):
    """Share of right detections against score; the diagonal is an honest score.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `confusion.calibration`.
    """
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    ax.plot(table["score"], table["right"], "o-", color="0.2")
    for _, row in table.dropna().iterrows():
        place = (row["score"], row["right"])
        ax.annotate(f"{row['n']:.0f}", place, (4, -10), textcoords="offset points", fontsize=7)
    ax.set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))


def ap_slices(tables, labels, whole=()):
    """AP50 against properties of the cells' surroundings, side by side.

    Parameters
    ----------
    tables : sequence of DataFrame
        From `slices.ap_by`.
    labels : sequence of str
        Name and unit of each property.
    whole : sequence of str
        Labels of properties that are whole numbers.
    """
    size = (WIDTH, 2.8)
    _, axes = plt.subplots(1, len(tables), figsize=size, sharey=True, squeeze=False)
    for ax, table, label in zip(axes[0], tables, labels, strict=True):
        place = np.arange(len(table))
        error = np.abs(table[["AP50_low", "AP50_high"]].to_numpy().T - table["AP50"].to_numpy())
        ax.errorbar(place, table["AP50"], error, fmt="o", color="0.2", capsize=3)
        step = 1 if label in whole else 0
        names = [
            _range(low, high - step) for low, high in zip(table["low"], table["high"], strict=True)
        ]
        ticks = [f"{name}\nn = {n}" for name, n in zip(names, table["n"], strict=True)]
        ax.set_xticks(place, ticks, fontsize=7)
        ax.set(xlabel=label, xlim=(-0.5, len(table) - 0.5), ylim=(0, 102))
    axes[0, 0].set_ylabel("AP50, normalised (%)")


def _range(low, high):
    if low == high:
        return f"{low:g}"
    return f"{low:g}–{high:g}" if np.isfinite(high) else f"≥ {low:g}"


def errors(ax, tables):
    """What mending each kind of error would bring, a group of bars a kind.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    tables : dict of str to DataFrame
        Rows ``"all"`` of `errors.decompose`, by the model's name.
    """
    kinds = list(ERROR_COLOURS)
    width = 0.8 / len(tables)
    for number, (name, table) in enumerate(tables.items()):
        place = np.arange(len(kinds)) + (number - (len(tables) - 1) / 2) * width
        shade = 0.35 + 0.65 * (number + 1) / len(tables)
        bars = ax.bar(
            place,
            table.loc[kinds, "gain"],
            width * 0.92,
            alpha=shade,
            color=[ERROR_COLOURS[kind] for kind in kinds],
            label=name,
        )
        ax.bar_label(bars, [f"{n}" for n in table.loc[kinds, "n"]], fontsize=7, color="0.3")
    ax.set_xticks(range(len(kinds)), kinds)
    ax.set(ylabel="gain in AP50 (points)", xlabel="kind of error (number of errors on the bars)")


def failures(rows, colours):
    """Images with ground truth and prediction side by side, as the paper's Fig. 3.

    Parameters
    ----------
    rows : sequence of dict
        ``image`` (ndarray), ``truth`` and ``found`` (COCO records), ``categories`` (culture by
        id), ``title`` and ``words``; one line a row.
    colours : sequence of str
        Frame of each row: that of the training set.
    """
    height, width = rows[0]["image"].shape
    line = WIDTH / 2 * height / width + 0.45
    _, axes = plt.subplots(len(rows), 2, figsize=(WIDTH, line * len(rows)), squeeze=False)
    for (left, right), row, colour in zip(axes, rows, colours, strict=True):
        show(left, row["image"], f"{row['title']}: ground truth")
        show(right, row["image"], row["words"])
        right.title.set_fontsize(8)
        right.title.set_wrap(True)
        outline_records(left, row["truth"], row["categories"])
        outline_records(right, row["found"], row["categories"], dashed=True)
        for ax in (left, right):
            frame(ax, colour)


def agreement(ax, table, limits):
    """Predicted minus true fraction against the true one, with bias and limits of agreement.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `composition.fractions`.
    limits : DataFrame
        From `composition.agreement`.
    """
    for culture in limits.index:
        part = table[table["culture"] == culture]
        colour = COLOURS.get(culture)
        label = LABELS.get(culture, culture)
        ax.plot(
            part["true"],
            part["predicted"] - part["true"],
            "o",
            color=colour,
            alpha=0.6,
            label=label,
        )
        row = limits.loc[culture]
        ax.axhline(row["bias"], color=colour, linewidth=1.2)
        for end in ("low", "high"):
            ax.axhline(row[end], color=colour, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.axhline(0, color="0.7", linewidth=0.8)
    ax.set(xlabel="true fraction", ylabel="predicted − true")
    ax.legend(fontsize="small")


def shifted_mixes(ax, table, cultures, composed=None):
    """Predicted and corrected fraction against the true one, over mixes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `correction.shift_mixes`.
    cultures : sequence of str
    composed : DataFrame, optional
        Sets that were composed in a mix: rows of `correction.composition` with the ``culture``.
    """
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for culture in cultures:
        part = table[table["culture"] == culture].sort_values("true")
        colour = COLOURS.get(culture)
        name = LABELS.get(culture, culture)
        ax.plot(part["true"], part["predicted"], "x", color=colour, label=f"{name}, predicted")
        ax.plot(
            part["true"],
            part["corrected"],
            "o",
            color=colour,
            fillstyle="none",
            label=f"{name}, corrected",
        )
        if composed is not None:
            part = composed[composed["culture"] == culture].dropna()
            ax.vlines(part["true"], part["low"], part["high"], color=colour, linewidth=1)
            ax.plot(
                part["true"],
                part["corrected"],
                "s",
                color=colour,
                markersize=4,
                label=f"{name}, composed",
            )
    ax.set(xlabel="true fraction", ylabel="estimated fraction", xlim=(-0.02, 1.02))
    ax.set_ylim(-0.02, 1.02)
    ax.legend(fontsize="small")


def pair_correlations(curves, other=None):
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
        colour = COLOURS.get(first) if first == second else "0.2"
        ax.fill_between(distance, part["g_low"], part["g_high"], color="0.88", linewidth=0)
        ax.axhline(1, color="0.6", linewidth=0.8)
        ax.plot(distance, part["g"], "o-", color=colour, markersize=3)
        if other is not None:
            same = other[(other["first"] == first) & (other["second"] == second)]
            ax.plot(
                distance[: len(same)],
                same["g"],
                "s",
                linestyle=(0, (3, 1.5)),
                color=colour,
                markersize=3,
                fillstyle="none",
            )
        ax.set_title(f"{LABELS.get(first, first)} – {LABELS.get(second, second)}")
        ax.set_xlabel("distance of outlines (px)")
    axes[0, 0].set(ylabel="pairs / expected by chance", ylim=(0, None))


def power(ax, table, test="curve"):
    """Share of sets in which an interaction was found, against its strength.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : DataFrame
        From `simulation.power`.
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

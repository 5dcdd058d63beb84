"""Draws a confusion matrix as a picture that stays readable from 2 to several hundred classes."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from utils.plots.fonts import font_families, readable

LONGEST_NAME = 30


def most_confused(confusion: np.ndarray, limit: int) -> np.ndarray:
    """Returns the (at most) `limit` classes that are most often confused with others, as rising indices."""
    right = np.diagonal(confusion)
    errors = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * right
    return np.sort(np.argsort(-errors, kind="stable")[:limit])


def confusion_png(
    confusion: np.ndarray, class_names: list[str], *, title: str, shown: np.ndarray | None = None
) -> bytes:
    """Draws a confusion matrix and returns it as a PNG: one row per true class, one column per predicted class.

    The colour of a cell is its share of the row; a row without videos is grey. The colour scale is stretched at its low
    end, so that a confusion of one percent can be seen. Up to 20 classes have their counts written into the cells. A
    name that no installed font can draw is replaced by its index.

    confusion: counts (K, K).
    shown: indices of the classes to draw, None for all; the shares are always those of the whole row.
    """
    videos = confusion.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        share = np.where(videos > 0, 100.0 * confusion / videos, np.nan)
    labels, unreadable = axis_names(class_names)
    if shown is not None:
        labels, cells = [labels[index] for index in shown], np.ix_(shown, shown)
        confusion, share = confusion[cells], share[cells]
    num_class = len(confusion)
    inches, font, dpi = _scale(num_class)
    with matplotlib.rc_context({"font.family": font_families(), "font.size": font}):
        figure = Figure(figsize=(inches + 1, inches), dpi=dpi)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["Blues"].with_extremes(bad="#e4e4e4")
        image = axes.imshow(share, norm=PowerNorm(0.45, vmin=0, vmax=100), cmap=colours, interpolation="nearest")
        ticks = np.arange(num_class)
        axes.set_yticks(ticks)
        axes.set_yticklabels(labels, parse_math=False)  # a name may hold a $
        axes.set_xticks(ticks)
        axes.set_xticklabels(labels, parse_math=False, rotation=90 if _crowded(labels, inches) else 0)
        if num_class > 60:  # the left edge is too far away to find the name of a row
            axes.tick_params(labelright=True, labeltop=True, top=True, right=True)
            axes.tick_params(axis="x", which="both", rotation=90)
        heading = max(font, 9 if num_class <= 60 else 14)
        axes.set_ylabel("truth", fontsize=heading)
        note = "\nsome names are shown as index: no installed font can draw them" if unreadable else ""
        axes.set_xlabel(f"predicted{note}", fontsize=heading)
        axes.set_title(readable(title), fontsize=heading, parse_math=False, pad=12)
        edges, line = np.arange(num_class + 1) - 0.5, 0.4 if num_class <= 60 else 0.2
        axes.hlines(edges, edges[0], edges[-1], colors="#d8dee6", linewidths=line)
        axes.vlines(edges, edges[0], edges[-1], colors="#d8dee6", linewidths=line)
        if num_class <= 20:
            _write_counts(axes, confusion, share)
        bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02 if num_class <= 60 else 0.12)
        bar.set_ticks([0, 1, 5, 10, 20, 40, 60, 80, 100])
        bar.set_label("% of the class's videos", fontsize=heading)
        bar.ax.tick_params(labelsize=heading)
        file = io.BytesIO()
        figure.savefig(file, format="png", bbox_inches="tight", facecolor="white")
    return file.getvalue()


def _scale(num_class: int) -> tuple[float, float, int]:
    """Returns the side in inches, the font size in points and the dots per inch that keep names apart."""
    if num_class <= 20:
        return max(4.0, 0.55 * num_class + 1), 9, 150
    if num_class <= 60:
        return 0.24 * num_class + 2, 8, 130
    return 0.115 * num_class + 3, 5.4, 120


def _crowded(labels: list[str], inches: float) -> bool:
    """Returns True if names side by side below the columns would touch each other."""
    return max(len(label) for label in labels) * 0.1 > 0.6 * inches / len(labels)


def _write_counts(axes: matplotlib.axes.Axes, confusion: np.ndarray, share: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if share[row, column] > 28 else "#1b2733"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)


def axis_names(class_names: list[str]) -> tuple[list[str], int]:
    """Returns names short enough for an axis, and how many of them had to be replaced by their index."""
    labels, unreadable = [], 0
    for index, name in enumerate(class_names):
        name = " ".join(name.split())
        if readable(name) != name or not name:
            labels.append(f"class {index}")
            unreadable += 1
        elif len(name) > LONGEST_NAME:  # long names often differ only at their ends
            labels.append(f"{name[: LONGEST_NAME - 11]}…{name[-10:]}")
        else:
            labels.append(name)
    return labels, unreadable

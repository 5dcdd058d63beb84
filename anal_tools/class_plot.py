"""Draws the average precision of every class as a bar chart."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.files import atomic_write
from utils.plots.confusion_plot import axis_names
from utils.plots.fonts import font_families, readable


def draw_classes(path: Path, precision: np.ndarray, chance: np.ndarray, class_names: list[str], *, title: str) -> None:
    """Writes a PNG with one bar per class, the highest AP on top, and a mark for the AP of random scores.

    precision, chance: float (K,), percent; a class with nan, which no video shows, is at the bottom and has no bar.
    """
    names, unreadable = axis_names(class_names)
    order = np.lexsort((np.arange(len(names)), -np.nan_to_num(precision, nan=-1)))
    with matplotlib.rc_context({"font.family": font_families(), "font.size": 8}):
        figure = Figure(figsize=(8, 0.17 * len(names) + 1.4), dpi=120)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        axes.barh(rows, np.nan_to_num(precision[order]), height=0.72, color="#3d7ab5")
        axes.scatter(chance[order], rows, marker="|", s=60, color="#d9660a", label="chance", zorder=3)
        axes.set_yticks(rows)
        axes.set_yticklabels(
            [f"{names[one]} (no video)" if np.isnan(precision[one]) else names[one] for one in order], parse_math=False
        )
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.grid(axis="x", color="#d8dee6", linewidth=0.5)
        axes.set_axisbelow(True)
        note = "\nsome names are shown as index: no installed font can draw them" if unreadable else ""
        axes.set_xlabel(f"average precision, %{note}")
        axes.set_title(readable(title), parse_math=False, pad=8)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, frameon=False)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", bbox_inches="tight", facecolor="white")

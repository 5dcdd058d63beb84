"""The text files that an analysis writes: CSV, lines, and how a percentage stands in them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utils.files import atomic_write


def percent(value: float) -> str:
    """Four decimals, nothing for nan."""
    return "" if math.isnan(value) else f"{value:.4f}"


def write_csv(path: Path, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """A table with a header, whole or not at all."""
    with atomic_write(path, "w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Lines of text, whole or not at all."""
    with atomic_write(path, "w", errors="surrogateescape") as file:
        file.writelines(line + "\n" for line in lines)

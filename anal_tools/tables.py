"""Writes the text files of an analysis: CSV tables and lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utils.files import atomic_write
from utils.plain_text import printable, write_rows


def percent(value: float) -> str:
    """Returns a percentage with four decimals, "" for nan."""
    return "" if math.isnan(value) else f"{value:.4f}"


def write_csv(path: Path, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table with a header; the file is complete or absent."""
    with atomic_write(path, "w", newline="", errors="surrogateescape") as file:
        write_rows(file, [header, *rows])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes lines of text; the file is complete or absent."""
    with atomic_write(path, "w", errors="surrogateescape") as file:
        file.writelines(printable(line) + "\n" for line in lines)

"""Keeps text of other people text: on terminals, in logs and in spreadsheets it cannot be a command.

Class names, paths and messages come out of files of strangers. `run_cli` puts `TextOnly` in front of the standard
output and error of every command, rich's tables go through utils/console.py, `write_rows` writes every CSV table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

# control characters but tab and newline, other ends of lines, and what turns the direction of the text behind it
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile("[\t\n]")
# a cell that begins so is computed; some countries' spreadsheets also part the cells of a CSV at semicolons
_FORMULA = re.compile("(^|;)(?=[=+@\uff1d\uff0b\uff0d\uff20-])")


def printable(text: str) -> str:
    """Returns the text with control characters as `\\u001b`, which JSON reads too; tabs and newlines stay."""
    return _CONTROLS.sub(_escaped, text)


def one_line(text: str) -> str:
    """Returns `printable` text with tabs and newlines escaped as well: a name cannot end its line."""
    return _BREAKS.sub(_escaped, printable(text))


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def write_rows(file: Any, rows: Iterable[Iterable[Any]]) -> None:
    """Writes rows as CSV. Text that a spreadsheet would compute gets an apostrophe in front; numbers do not."""
    csv.writer(file, lineterminator="\n").writerows(map(_cell, row) for row in rows)


def stays(text: str) -> bool:
    """Tells whether `write_rows` writes a text as it is: no program would compute it, and it ends no line."""
    return bool(_cell(text) == text)


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or _is_number(value):
        return value
    return _FORMULA.sub(r"\1'", one_line(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()


class TextOnly:
    """A text stream in front of another one; what is written arrives as `printable` makes it."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # the name by which rich finds the stream that understands its colours

    def write(self, text: str) -> int:
        """Writes the text; returns the number of characters, as it was given."""
        self.rich_proxied_file.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def plain_stream(stream: TextIO) -> TextIO:
    """Returns the stream behind a `TextOnly`, for a program's own control characters."""
    return getattr(stream, "rich_proxied_file", stream)

"""Writes docs/benchmarks.md: one section per benchmark, by the run that it reports."""

from __future__ import annotations

import platform
import re
import subprocess
from datetime import date
from pathlib import Path

from utils.files import ROOT, atomic_write
from utils.system import cores

PAGE = ROOT / "docs" / "benchmarks.md"
_HEAD = "# Benchmarks\n\nEach section is the output of the command it names, on the machine it names.\n"


def write_section(title: str, command: str, body: str, page: Path = PAGE) -> None:
    """Replaces the section `title` of the page, or adds it at the end."""
    text = page.read_text() if page.exists() else _HEAD
    section = f"## {title}\n\n`{command}`, {date.today().isoformat()}, {machine()}.\n\n{body.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text, replaced = pattern.subn(lambda _: section + "\n", text)
    if not replaced:
        text = text.rstrip() + "\n\n" + section
    page.parent.mkdir(exist_ok=True)
    with atomic_write(page, "w") as file:
        file.write(text.rstrip() + "\n")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table, padded to be readable as text: first column left, the others right aligned."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (width + 1) + ":" for width in widths[1:]]) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def machine() -> str:
    """Returns the name of the processor and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        found = re.search(r"^Model name:\s*(.+)$", subprocess.check_output(["lscpu"], text=True), re.MULTILINE)
    except (OSError, subprocess.CalledProcessError):
        found = None
    return f"{cores()} cores of {found[1].strip() if found else name}"

"""Builds the page of anal_tools/report.py from the data of report_data.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from anal_tools.experiment import Experiment, experiment_folder, open_experiment
from anal_tools.page import COMMON, build_page
from anal_tools.report_data import report_data
from utils.errors import UserError
from utils.files import atomic_write

_RESULTS = ("cards", "config", "comparison", "matrix", "single", "litmus", "multi")
SCRIPTS = (*COMMON, *_RESULTS, "lanes", "timelines", "spans", "segments", "sections", "start")
MEGABYTE = 1 << 20
STRIP_BUDGET = 8 * MEGABYTE


def run(args: argparse.Namespace) -> int:
    """Writes the report of the experiments that the arguments name; returns the exit code."""
    experiments = [open_experiment(experiment_folder(text)) for text in args.experiment]
    page = render(experiments, notes=_notes(args.notes), segments=args.segments)
    name = "report.html" if len(experiments) == 1 else "comparison.html"
    output = Path(args.output) if args.output else experiments[0].folder / "analysis" / name
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output, "w") as file:
            file.write(page)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from None
    print(f"written: {output} ({output.stat().st_size / MEGABYTE:.1f} MiB); open it in a browser")
    return 0


def _notes(path: str | None) -> list[str]:
    """Returns the lines of a text file that are not empty."""
    if path is None:
        return []
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--notes {path}: cannot be read as text ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def render(
    experiments: Sequence[Experiment],
    *,
    strip_budget: int = STRIP_BUDGET,
    notes: Sequence[str] = (),
    segments: Path | None = None,
) -> str:
    """Returns the page as text. Raises: UserError if the experiments cannot be shown or compared.

    notes: lines that the page begins with; those that begin with # are headings.
    segments: answers with times, for the spans of the list.
    """
    data = report_data(experiments, strip_budget=strip_budget, segments=segments) | {"notes": list(notes)}
    title = "Report: " + " and ".join(one["name"] for one in data["experiments"])
    return build_page(title, data, SCRIPTS)

"""Reports the scores of answers that say when something happens, for tools/score_segments.py: table, JSON and page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from anal_tools.page_values import rounded
from anal_tools.segment_input import Case, read_case
from anal_tools.segment_page import render
from anal_tools.segment_scores import SegmentScores, median_border_errors, numbers, score_case
from utils.console import TextConsole
from utils.errors import UserError
from utils.files import atomic_write, check_place
from utils.scoring.segments.error_kinds import KINDS, RIGHT
from utils.scoring.segments.matching import ACTIVITYNET, THUMOS

EXACT = 17  # digits that keep every float: a rounded threshold may be above the answer that it was chosen for
NAMED = {"activitynet": ACTIVITYNET, "thumos": THUMOS}


def run(args: argparse.Namespace) -> int:
    """Prints the table, and writes JSON and the page if asked to; returns the exit code."""
    for path in filter(None, (args.json, args.page)):
        check_place(path)
    bounds = _thresholds(args.tiou)
    case = read_case(args.truth, args.answer, subset=args.subset, fps=args.fps, background=args.background)
    scores = score_case(
        case,
        bounds,
        least_score=args.least_score,
        precision=args.precision,
    )
    show(case, scores)
    if args.json:
        text = json.dumps(as_json(case, scores), indent=1, allow_nan=False)
        _write(args.json, text + "\n")
    if args.page:
        _write(args.page, render(case, scores, title=f"Segments: {args.answer.name}"))
    return 0


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)
    print(f"written: {path}")


def _thresholds(given: Sequence[str]) -> tuple[float, ...]:
    """Reads overlaps, or the name of a published set of them."""
    if len(given) == 1 and given[0] in NAMED:
        return NAMED[given[0]]
    try:
        values = tuple(sorted({float(text) for text in given}))
    except ValueError:
        values = (-1.0,)
    if not all(0 < value <= 1 for value in values):
        raise UserError(f"--tiou {' '.join(given)}: give numbers above 0 and up to 1, or one of {', '.join(NAMED)}")
    return values


def show(case: Case, scores: SegmentScores) -> None:
    """Prints what was left out, and a table of all single numbers."""
    for note in scores.notes:
        print(note)
    print(
        f"{len(case.names)} videos, {len(case.classes)} classes, {len(case.truths)} true segments, "
        f"{len(case.answers)} answers"
    )
    table = Table("score", "%", "95 % interval over videos")
    for name, (value, low, high) in numbers(scores).items():
        table.add_row(name, _number(value), "" if np.isnan(low) else f"{_number(low)} to {_number(high)}")
    TextConsole().print(table)
    kinds = np.bincount(scores.kinds[scores.main], minlength=len(KINDS))
    told = ", ".join(f"{number} {kind}" for kind, number in zip(KINDS, kinds.tolist(), strict=True))
    print(f"answers at tIoU {scores.overlaps[scores.main]}: {told}")
    if kinds[RIGHT]:
        borders = median_border_errors(case, scores)
        print(
            f"borders of right answers, median absolute error: start {borders['start']:.2f} s, end "
            f"{borders['end']:.2f} s, both {borders['both']:.2f} s"
        )


def as_json(case: Case, scores: SegmentScores) -> dict[str, Any]:
    """Returns all numbers as plain values, nan as None."""
    detection, chosen = scores.detection, scores.chosen
    classes = {
        name: {
            "truths": int(chosen.truths[row]),
            "ap": detection.precision[:, row],
            "ap_interval": [detection.precision_low[row], detection.precision_high[row]],
            "threshold": chosen.value[row],
            "precision": chosen.precision[row],
            "recall": chosen.recall[row],
            "f1": chosen.f1[row],
        }
        for row, name in enumerate(case.classes)
    }
    kinds = {
        "of_best": {f"{group + 1}G": dict(zip(KINDS, row, strict=True)) for group, row in enumerate(scores.profile)},
        "map_gain": dict(zip(KINDS[1:], scores.gains[1:], strict=True)),
    }
    found = {name: {"value": value, "low": low, "high": high} for name, (value, low, high) in numbers(scores).items()}
    whole: dict[str, Any] = rounded(
        {
            "videos": len(case.names),
            "true_segments": len(case.truths),
            "answers": len(case.answers),
            "notes": [*scores.notes, *chosen.notes(case.classes)],
            "thresholds": scores.thresholds,
            "scores": found,
            "classes": classes,
            "errors": kinds,
            "borders": median_border_errors(case, scores),
        },
        digits=EXACT,
    )
    return whole


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"

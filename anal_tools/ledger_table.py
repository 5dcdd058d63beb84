"""Reads experiment folders and makes a table of them, for anal_tools/ledger.py."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from anal_tools.compare import ABSENT, config_differences
from anal_tools.experiment import CONFIG, Config, experiment_folder, read_config, read_history
from utils.config.schema import Common
from utils.console import TextConsole
from utils.errors import UserError
from utils.files import atomic_write
from utils.plain_text import write_rows
from utils.run.checkpoint import NEWEST
from utils.run.folder import METRICS, RUNS
from utils.scoring.evaluation import Evaluation
from utils.scoring.result_files import LINES, SCORES, TEXT, read_results
from utils.scoring.task import MULTI_LABEL, SINGLE_LABEL, task_of

TRACES = (METRICS, RUNS, NEWEST, TEXT, LINES, SCORES)  # files of which a run leaves some
SHOWN_DIFFERENCES = 8  # on the terminal; the CSV has them all
WIDTH = 160  # characters per line of the table if the output is not a terminal


@dataclass(frozen=True)
class Entry:
    """Holds the row of one experiment; unknown values are None. The field names are the columns of the CSV.

    experiment: folder, relative to the folder that is listed.
    metric: name of the next numbers, "top-1" or, with multi_label, "mAP".
    best, best_step: best validation during training, percent, and its step; of equal ones that with the lowest loss.
    evaluated, evaluated_videos: number in the result files of the folder, percent, and its number of videos.
    steps: steps done.
    planned: planned length, "15010" (steps) or "45 epochs".
    hours, seconds_per_step: time of the training steps.
    differences: how the config differs from the base, "key=value; ...".
    problem: what could not be read.
    """

    experiment: str
    method: str | None
    backbone: str | None
    metric: str | None
    best: float | None
    best_step: int | None
    evaluated: float | None
    evaluated_videos: int | None
    steps: int | None
    planned: str | None
    hours: float | None
    seconds_per_step: float | None
    differences: str
    problem: str | None


def run(args: argparse.Namespace) -> int:
    """Prints the table, and writes the CSV if one is asked for; returns the exit code."""
    root = Path(args.folder)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    found = find_experiments(root)
    if not found:
        raise UserError(f"{root}: contains no {CONFIG} at any depth, so there is no experiment to list")
    ran = {folder: last_run(folder) for folder in found}
    folders = sorted((folder for folder in found if ran[folder] or args.all), key=lambda folder: -ran[folder])
    if not folders:
        raise UserError(f"{root}: none of its {len(found)} experiments has run yet; --all lists them all the same")
    configs = {folder: read_config(folder) for folder in folders}
    base_folder = experiment_folder(args.base) if args.base else next((f for f in folders if configs[f].common), None)
    base = read_config(base_folder) if base_folder else None
    if args.base and base and base.problem:
        raise UserError(f"--base: {base.problem}")
    entries = [make_entry(folder, root, configs[folder], base) for folder in folders]
    if args.csv == "-":
        write_csv(entries, sys.stdout)
        return 0
    show(entries, base_folder)
    if len(folders) < len(found):
        print(f"{len(found) - len(folders)} more have not run yet: --all lists them")
    if args.csv:
        try:
            with atomic_write(args.csv, "w", newline="") as file:
                write_csv(entries, file)
        except OSError as error:
            raise UserError(f"{args.csv}: cannot be written: {error.strerror or error}") from None
        print(f"written: {args.csv}")
    return 0


def find_experiments(root: Path) -> list[Path]:
    """Returns all folders with a config.yaml, sorted; links are not followed, so no folder is listed twice."""
    found = [Path(folder) for folder, _, files in os.walk(root) if CONFIG in files]
    return sorted(found)


def last_run(folder: Path) -> float:
    """Returns when training or an evaluation last wrote into a folder, in seconds since 1970; 0 if none has."""
    files = [folder / name for name in TRACES if (folder / name).is_file()]
    return max((file.stat().st_mtime for file in files), default=0.0)


def make_entry(folder: Path, root: Path, config: Config, base: Config | None) -> Entry:
    """Reads one experiment folder; whatever is wrong with it becomes its `problem`, not an error."""
    problems = [config.problem] if config.problem else []
    records, broken = read_history(folder)
    if broken:
        problems.append(f"{broken} unreadable line(s) in metrics.jsonl")
    common = config.common
    seconds, steps = training_time(records)
    evaluated = videos = None
    task = task_of(common) if common else SINGLE_LABEL
    if any((folder / name).exists() for name in (TEXT, LINES, SCORES)):
        try:
            results = read_results(folder)
            task = results.task
            videos = int(task.known(results.labels).sum())
            evaluated = evaluated_score(results) if videos else None
        except UserError as error:
            problems.append(str(error))
    name = next(iter(task.val_numbers))
    validations = [r for r in records if r["kind"] == "val" and isinstance(r.get(name), (int, float))]
    best = max(validations, key=lambda record: (record[name], -_loss(record), -record["step"]), default=None)
    return Entry(
        experiment=str(folder.relative_to(root)),
        method=common.model.type if common else None,
        backbone=common.model.backbone if common else None,
        metric=(name if task is MULTI_LABEL else "top-1") if common or videos else None,
        best=float(best[name]) if best else None,
        best_step=int(best["step"]) if best else None,
        evaluated=evaluated,
        evaluated_videos=videos,
        steps=steps,
        planned=_planned(common),
        hours=seconds / 3600 if seconds is not None else None,
        seconds_per_step=seconds / steps if seconds is not None and steps else None,
        differences="; ".join(differences(base, config)),
        problem="; ".join(problems) or None,
    )


def _loss(record: Mapping[str, Any]) -> float:
    """Returns the loss of a validation, which decides between equal numbers as in a training; inf if it has none."""
    loss = record.get("loss")
    return float(loss) if isinstance(loss, (int, float)) and not math.isnan(loss) else math.inf


def evaluated_score(results: Evaluation) -> float | None:
    """Returns top-1 or mAP in percent, or None if the results do not have the scores that mAP needs."""
    if results.task is MULTI_LABEL:
        return None if results.scores is None else results.task.best(results.scores, results.labels)
    known = results.labels >= 0
    return 100 * int((results.predicted == results.labels)[known].sum()) / int(known.sum())


def training_time(records: Sequence[dict[str, Any]]) -> tuple[float | None, int | None]:
    """Returns (seconds, steps) of all training steps; a record has the mean time of the steps since the last one."""
    training = {record["step"]: record for record in records if record["kind"] == "train"}
    if not training:
        return None, max((record["step"] + 1 for record in records), default=None)
    seconds, before, known = 0.0, -1, False
    for step in sorted(training):
        time = training[step].get("time")
        if isinstance(time, (int, float)) and time == time:
            seconds += time * (step - before)
            known = True
        before = step
    return (seconds if known else None), before + 1


def differences(base: Config | None, config: Config) -> list[str]:
    """Returns `key=value` for every value that differs from the base."""
    if base is None or base.problem or config.problem:
        return []
    rows = config_differences(base, config)
    return [f"{key.removeprefix('common.')}={'-' if value == ABSENT else value}" for key, _, value in rows]


def write_csv(entries: Sequence[Entry], file: Any) -> None:
    """Writes one row per experiment; unknown values are empty."""
    write_rows(file, [[field.name for field in fields(Entry)], *map(astuple, entries)])


def show(entries: Sequence[Entry], base: Path | None) -> None:
    """Prints the table."""
    console = TextConsole(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(title=f"{len(entries)} experiments" + (f", compared to {base}" if base else ""), show_lines=True)
    for name in ("experiment", "metric", "best %", "at step", "evaluated %", "steps", "hours", "s/step"):
        table.add_column(name, justify="left" if name in ("experiment", "metric") else "right", overflow="fold")
    table.add_column("differences from the base", overflow="fold")
    for entry in entries:
        planned = f"{_shown(entry.steps)} of {entry.planned}" if entry.planned else _shown(entry.steps)
        scores = entry.best, entry.best_step, entry.evaluated
        cells = [entry.experiment, entry.metric or "-", *map(_shown, scores), planned]
        cells += [_shown(entry.hours), _shown(entry.seconds_per_step, digits=3), _few(entry.differences)]
        if entry.problem:
            cells[-1] = f"{cells[-1]}\nproblem: {entry.problem}".strip()
        table.add_row(*cells)
    console.print(table)


def _few(text: str) -> str:
    parts = text.split("; ") if text else []
    more = (
        f"\nand {len(parts) - SHOWN_DIFFERENCES} more (--csv writes all of them)"
        if len(parts) > SHOWN_DIFFERENCES
        else ""
    )
    return ", ".join(parts[:SHOWN_DIFFERENCES]) + more


def _shown(value: float | int | None, *, digits: int = 2) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _planned(common: Common | None) -> str | None:
    if common is None:
        return None
    schedule = common.lr_scheduler
    return str(schedule.max_iter) if schedule.max_iter else f"{schedule.epochs:g} epochs"

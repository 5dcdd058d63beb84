"""Computes accuracies, confusions and top errors of one experiment, for anal_tools/analyze.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anal_tools import multi_label
from anal_tools.confusions import confused_pairs, forgiven_count, read_forgiven
from anal_tools.experiment import Experiment, experiment_folder, open_experiment
from anal_tools.tables import percent, write_csv, write_lines
from utils.errors import UserError
from utils.files import atomic_write
from utils.plots.confusion_plot import confusion_png
from utils.scoring.metrics import accuracy, class_accuracy, mean_over_classes, topk_accuracy
from utils.scoring.task import MULTI_LABEL

FOLDER = "analysis"
NUM_ERRORS = 100
NUM_SAMPLES = 10  # videos named per confusion


def run(args: argparse.Namespace) -> int:
    """Analyses the experiment that the arguments name; returns the exit code."""
    experiment = open_experiment(experiment_folder(args.experiment))
    results = experiment.results
    if not results.task.known(results.labels).any():
        raise UserError(f"{experiment.folder}: no video has a label, so there is nothing to analyse")
    if experiment.config.problem and results.class_names is None:
        print(f"warning: {experiment.config.problem}: classes are shown by their indices", file=sys.stderr)
    if results.task is MULTI_LABEL:
        if args.forgive:
            raise UserError(
                "--forgive: works only with one class per video, because a class does not replace another one here"
            )
        print("\n".join(multi_label.summary(experiment)))
        print(f"written: {', '.join(map(str, _written(experiment, multi_label.write)))}")
        return 0
    pairs = read_forgiven(Path(args.forgive), experiment.class_names) if args.forgive else None
    print("\n".join(summary(experiment, pairs)))
    print(f"written: {', '.join(map(str, _written(experiment, write_analysis)))}")
    return 0


def _written(experiment: Experiment, write: Callable[[Experiment, Path], list[Path]]) -> list[Path]:
    """Calls `write` for EXP/analysis and returns the paths of the files that it wrote."""
    folder = experiment.folder / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        return write(experiment, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None


def summary(experiment: Experiment, forgiven: Sequence[tuple[int, int]] | None = None) -> list[str]:
    """Returns the accuracies as lines of text; the forgiving accuracy is included only if pairs are forgiven."""
    confusion, results = experiment.confusion, experiment.results
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    seen = int((confusion.sum(axis=1) > 0).sum())
    unlabelled = len(results) - total
    lines = [
        f"{experiment.folder}: {total} videos of {seen} of {len(confusion)} classes"
        + (f", {unlabelled} more without a label" if unlabelled else "")
        + (f" ({results.protocol})" if results.protocol else ""),
        f"accuracy             {accuracy(confusion):6.2f} %  {correct} of {total}",
    ]
    if forgiven is not None:
        extra = forgiven_count(confusion, forgiven)
        lines.append(
            f"accuracy, forgiving  {100 * (correct + extra) / total:6.2f} %  {correct + extra} of {total}: "
            f"{extra} errors are among the {len(set(forgiven))} forgiven child -> parent pairs"
        )
    if results.scores is not None:
        k = min(5, results.scores.shape[1])
        lines.append(f"top-{k} accuracy       {topk_accuracy(results.scores, results.labels, k=k):6.2f} %")
    lines.append(f"mean class accuracy  {mean_over_classes(confusion):6.2f} %  over {seen} classes with a video")
    return lines


def write_analysis(experiment: Experiment, folder: Path) -> list[Path]:
    """Writes the four files into `folder` and returns their paths."""
    names = experiment.class_names
    paths = [folder / name for name in ("confusion.png", "confusion.csv", "per_class.csv", "top100_errors.txt")]
    title = f"{experiment.name}: {accuracy(experiment.confusion):.2f} % of {int(experiment.confusion.sum())} videos"
    with atomic_write(paths[0]) as file:
        file.write(confusion_png(experiment.confusion, names, title=title))
    matrix = ([name, *counts] for name, counts in zip(names, experiment.confusion.tolist(), strict=True))
    write_csv(paths[1], ["truth \\ predicted", *names], matrix)
    write_csv(paths[2], *per_class_table(experiment))
    write_lines(paths[3], top_errors(experiment))
    return paths


def per_class_table(experiment: Experiment) -> tuple[list[str], list[list[Any]]]:
    """Returns the header and one row per class: counts, accuracy, its 95 % Wilson interval, precision, main confusion.

    Percentages have four decimals. The accuracy of a class without videos, and the precision of a class that is never
    predicted, are empty.
    """
    table = class_accuracy(experiment.confusion)
    header = ["index", "class", "videos", "correct", "accuracy", "low", "high", "predicted", "precision"]
    header += ["confused_with", "confused_count"]
    others = experiment.confusion.copy()
    np.fill_diagonal(others, 0)
    worst = others.argmax(axis=1)
    rows: list[list[Any]] = []
    for index, name in enumerate(experiment.class_names):
        count = int(others[index, worst[index]])
        rows.append(
            [index, name, int(table.videos[index]), int(table.correct[index])]
            + [percent(column[index]) for column in (table.accuracy, table.low, table.high)]
            + [int(table.predicted[index]), percent(table.precision[index])]
            + [experiment.class_names[worst[index]] if count else "", count]
        )
    return header, rows


def top_errors(experiment: Experiment) -> list[str]:
    """Returns the tab-separated lines of top100_errors.txt: the most frequent confusions and examples of each.

    class_accuracy: percentage of the videos of class `gt` that are right; the original project calls it precision.
    error_share: percentage of all errors.
    samples: paths of such videos, the highest score first.
    """
    results, names = experiment.results, [" ".join(name.split()) for name in experiment.class_names]
    right = class_accuracy(experiment.confusion).accuracy
    lines = ["\t".join(["gt", "pred", "count", "class_accuracy", "error_share", "samples"])]
    for pair in confused_pairs(results.predicted, results.labels, results.top_scores, limit=NUM_ERRORS):
        samples = " | ".join(results.paths[video] for video in pair.videos[:NUM_SAMPLES])
        more = f" | ... {pair.count - NUM_SAMPLES} more" if pair.count > NUM_SAMPLES else ""
        lines.append(
            f"{names[pair.truth]}\t{names[pair.predicted]}\t{pair.count}\t{right[pair.truth]:.2f}\t{pair.share:.2f}\t"
            f"{samples}{more}"
        )
    return lines

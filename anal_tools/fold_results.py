"""Puts the results of the folds of a cross-validation together, for anal_tools/folds.py and tools/start.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anal_tools.experiment import Experiment, experiment_folder, open_experiment
from anal_tools.report_data import KINDS
from utils.errors import UserError
from utils.scoring.evaluation import Evaluation
from utils.scoring.result_files import write_results
from utils.scoring.task import MULTI_LABEL


@dataclass(frozen=True)
class Sum:
    """Holds what several folds say together. Numbers are percentages: top-1 or, with several classes per video, mAP.

    metric: "top-1" or "mAP".
    each: the number of each fold.
    mean, spread: of these, the spread as standard deviation.
    whole: the number over the videos of all folds.
    low, high: its 95 % interval (Wilson's for top-1, a bootstrap's for mAP).
    """

    metric: str
    each: list[float]
    mean: float
    spread: float
    whole: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The number over all videos with its interval: `85.4 % (95 % interval 72.8 to 92.8)`."""
        return f"{self.whole:.1f} % (95 % interval {self.low:.1f} to {self.high:.1f})"


def run(args: argparse.Namespace) -> int:
    """Prints the sums, and writes the results of all folds if -o names a folder; returns the exit code."""
    from rich.table import Table

    from utils.console import TextConsole

    folds = [open_experiment(experiment_folder(text)) for text in args.experiment]
    whole = together(folds)
    found = sum_up(folds, whole)
    console = TextConsole()
    table = Table("fold", "videos", f"{found.metric} %")
    for fold, number in zip(folds, found.each, strict=True):
        table.add_row(str(fold.folder), str(len(fold.results)), f"{number:.2f}")
    console.print(table)
    console.print(
        f"mean of {len(folds)} folds: {found.mean:.2f} %, standard deviation {found.spread:.2f}", soft_wrap=True
    )
    seen = f"{len(whole.results)} videos, each scored by a network that had not seen it"
    console.print(f"{found.metric} {found.text} over {seen}", soft_wrap=True)
    if args.output:
        write_together(whole, Path(args.output))
        console.print(f"written: {args.output}; next: python -m anal_tools.report -e {args.output}", soft_wrap=True)
    return 0


def together(folds: Sequence[Experiment]) -> Experiment:
    """Returns the results of all folds as those of one experiment.

    Raises: UserError for fewer than two folds, for folds that share a video or differ in their classes or in how they
        were scored, and for one without scores or labels.
    """
    first = folds[0]
    if len(folds) < 2:
        raise UserError(f"-e {first.folder}: one fold sums up to itself; name the experiments of all folds")
    owner: dict[str, int] = {}
    for number, fold in enumerate(folds):
        results = fold.results
        if results.scores is None or not results.labelled.all():
            raise UserError(f"{fold.folder}: has no scores, or videos without a label; evaluate this fold again")
        if fold.class_names != first.class_names or results.task is not first.results.task:
            raise UserError(
                f"{fold.folder}: has other classes than {first.folder}, so these are no folds of one data set"
            )
        if _how(results) != _how(first.results):
            raise UserError(
                f"{fold.folder}: was scored by {_how(results)}, but {first.folder} by {_how(first.results)}"
            )
        for path in results.paths:
            if (other := owner.setdefault(path, number)) != number:
                raise UserError(
                    f"{fold.folder}: {path} is in the fold {folds[other].folder} too; a video belongs to one fold"
                )
    protocol = f"{_how(first.results)}, {len(folds)} folds, {len(owner)} videos"
    scores = [fold.results.scores for fold in folds if fold.results.scores is not None]
    paths = [path for fold in folds for path in fold.results.paths]
    labels = np.concatenate([fold.results.labels for fold in folds])
    results = Evaluation("all folds", paths, labels, np.concatenate(scores), first.class_names, protocol)
    return Experiment(first.folder, first.config, results, first.class_names)


def _how(results: Evaluation) -> str:
    """Returns a protocol without its last part, the number of videos."""
    return results.protocol.rpartition(", ")[0]


def sum_up(folds: Sequence[Experiment], whole: Experiment) -> Sum:
    """Computes the numbers of the folds and of all their videos together."""
    multi = whole.results.task is MULTI_LABEL
    each = [fold.results.best_by for fold in folds]
    summary = KINDS[whole.results.task].summary_data(whole)
    return Sum(
        metric="mAP" if multi else "top-1",
        each=each,
        mean=float(np.mean(each)),
        spread=float(np.std(each, ddof=1)),
        whole=whole.results.best_by,
        low=float(summary["low"]),
        high=float(summary["high"]),
    )


def write_together(whole: Experiment, folder: Path) -> None:
    """Writes the results of all folds into a folder. Raises: UserError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror}); name another folder") from None
    results = whole.results
    write_results(
        folder,
        paths=results.paths,
        labels=results.labels,
        scores=results.scores,
        class_names=results.class_names,
        protocol=results.protocol,
    )

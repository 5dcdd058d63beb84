"""What the report's page shows, as plain values for JSON. Numbers are made here, once; the page counts and draws."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from anal_tools.calibration import calibrate
from anal_tools.compare import Comparison, compare, config_differences
from anal_tools.confusions import confused_pairs
from anal_tools.experiment import Experiment, read_history
from anal_tools.strips import Strips, make_strips
from utils.errors import UserError
from utils.metrics import accuracy, class_accuracy, mean_over_classes, top_classes, topk_accuracy, wilson_interval

NUM_ERRORS = 100
MAX_POINTS = 1500  # per learning curve; longer runs are averaged in groups of steps
SCORE_UNIT = 10000  # scores travel as whole numbers of 1/10000
CURVES = {
    "train": ("loss", "acc1", "acc5", "lr", "time", "data"),
    "val": ("loss", "acc1", "acc5", "mean_class"),
}


def report_data(experiments: Sequence[Experiment], *, strip_budget: int) -> dict[str, Any]:
    """The whole page. strip_budget: bytes for all frame strips together.

    Raises: UserError when there is no labelled video, or when several experiments have nothing to compare.
    """
    for experiment in experiments:
        if not experiment.confusion.sum():
            raise UserError(f"{experiment.folder}: no video has a label, so nothing can be right or wrong")
    comparisons = [compare(experiments[0], other) for other in experiments[1:]]
    names = _distinct_names(experiments)
    return {
        "classes": experiments[0].class_names,
        "unit": SCORE_UNIT,
        "experiments": [
            experiment_data(one, name, strip_budget=strip_budget // len(experiments))
            for one, name in zip(experiments, names, strict=True)
        ],
        "comparisons": [
            _comparison_data(experiments[0], other, result, position)
            for position, (other, result) in enumerate(zip(experiments[1:], comparisons, strict=True), 1)
        ],
    }


def experiment_data(experiment: Experiment, name: str, *, strip_budget: int) -> dict[str, Any]:
    """One experiment: its numbers, its videos, its pictures."""
    results = experiment.results
    errors = worst_errors(experiment)
    pairs = confused_pairs(results.predicted, results.labels, results.top_scores)
    shown = [results.paths[row] for row in errors]
    shown += [results.paths[row] for pair in pairs[:NUM_ERRORS] for row in pair.videos[:1]]
    strips = make_strips(experiment.config.common, shown, budget=strip_budget)
    classes, units = _top_scores(experiment)
    return {
        "name": name,
        "folder": str(experiment.folder),
        "protocol": results.protocol,
        "config": [
            [key, _value(value), key in experiment.config.written] for key, value in experiment.config.values.items()
        ],
        "config_problem": experiment.config.problem,
        "summary": summary_data(experiment),
        "curves": curve_data(experiment),
        "paths": results.paths,
        "truth": results.labels.tolist(),
        "top": classes.ravel().tolist(),  # (N, k) flattened, best first
        "score": units.ravel().tolist(),
        "k": classes.shape[1],
        "per_class": _per_class(experiment),
        "pairs": [[pair.truth, pair.predicted, pair.count, round(pair.share, 4)] for pair in pairs],
        "errors": errors,
        "strips": {str(row): strips.pictures[path] for row, path in _rows_with(strips, results.paths)},
        "strip_note": _strip_note(strips),
        "calibration": _calibration(experiment),
    }


def summary_data(experiment: Experiment) -> dict[str, Any]:
    """The headline numbers of one experiment; percentages, None where there is none."""
    confusion, results = experiment.confusion, experiment.results
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    low, high = wilson_interval(correct, total)
    top5 = None if results.scores is None else topk_accuracy(results.scores, results.labels, k=5)
    return {
        "videos": total,
        "unlabelled": len(results) - total,
        "correct": correct,
        "top1": accuracy(confusion),
        "low": float(low),
        "high": float(high),
        "top5": top5,
        "mean_class": mean_over_classes(confusion),
        "seen": int((confusion.sum(axis=1) > 0).sum()),
    }


def worst_errors(experiment: Experiment) -> list[int]:
    """Rows of the wrong videos with the highest score for the wrong answer, at most NUM_ERRORS."""
    results = experiment.results
    wrong = np.flatnonzero((results.labels >= 0) & (results.labels != results.predicted))
    order = np.lexsort((wrong, -results.top_scores[wrong]))
    rows: list[int] = wrong[order][:NUM_ERRORS].tolist()
    return rows


def curve_data(experiment: Experiment) -> dict[str, Any]:
    """Learning curves from metrics.jsonl, each thinned to MAX_POINTS; of a step that was logged twice, the last."""
    records, broken = read_history(experiment.folder)
    curves: dict[str, Any] = {"broken": broken}
    for kind, names in CURVES.items():
        by_step = {record["step"]: record for record in records if record["kind"] == kind}
        steps = sorted(by_step)
        series: dict[str, list[float | None]] = {"step": _thin([float(step) for step in steps])}
        for name in names:
            series[name] = _thin([_number(by_step[step].get(name)) for step in steps])
        curves[kind] = series
    return curves


def _thin(values: Sequence[float | None]) -> list[float | None]:
    """Means of groups of equal size, so that at most MAX_POINTS remain; groups without a number give None."""
    size = -(-len(values) // MAX_POINTS) or 1
    groups = [[value for value in values[i : i + size] if value is not None] for i in range(0, len(values), size)]
    return [float(f"{math.fsum(group) / len(group):.6g}") if group else None for group in groups]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _top_scores(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Classes and scores (in units) of the five best of each video, int64 (N, k); k is 1 without the score file."""
    results = experiment.results
    if results.scores is None:
        classes, scores = results.predicted[:, None], results.top_scores[:, None]
    else:
        classes = top_classes(results.scores, k=5)
        scores = np.take_along_axis(results.scores, classes, axis=1)
    return classes, np.rint(scores * SCORE_UNIT).astype(np.int64)


def _per_class(experiment: Experiment) -> list[list[Any]]:
    table = class_accuracy(experiment.confusion)
    columns = (table.videos, table.correct, table.predicted, table.accuracy, table.low, table.high, table.precision)
    return [[_rounded(value) for value in row] for row in zip(*(column.tolist() for column in columns), strict=True)]


def _calibration(experiment: Experiment) -> dict[str, Any]:
    results = experiment.results
    found = calibrate(results.labels, results.predicted, results.top_scores, results.scores)
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(found).items()}
    return {key: _rounded(value) for key, value in plain.items()}


def _comparison_data(first: Experiment, second: Experiment, result: Comparison, position: int) -> dict[str, Any]:
    config = None
    if not first.config.problem and not second.config.problem:
        rows = config_differences(first.config.values, second.config.values)
        config = [[key, _value(one), _value(two)] for key, one, two in rows]
    return {
        "first": 0,
        "second": position,
        "videos": result.videos,
        "config": config,
        **{name: _rounded(value, digits=10) for name, value in vars(result).items()},
    }


def _rows_with(strips: Strips, paths: Sequence[str]) -> list[tuple[int, str]]:
    return [(row, path) for row, path in enumerate(paths) if path in strips.pictures]


def _strip_note(strips: Strips) -> str:
    notes = []
    if strips.problem:
        notes.append(f"Some frames cannot be shown: {strips.problem}" if strips.pictures else strips.problem)
    if strips.left_out:
        notes.append(f"{strips.left_out} strips are left out to keep this file small.")
    return " ".join(notes)


def _distinct_names(experiments: Sequence[Experiment]) -> list[str]:
    """Last folders, or whole paths where last folders are the same."""
    names = [experiment.name for experiment in experiments]
    return names if len(set(names)) == len(names) else [str(experiment.folder) for experiment in experiments]


def _value(value: Any) -> str:
    """A config value on one line, as YAML has it."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _rounded(value: Any, *, digits: int = 6) -> Any:
    """The same with floats cut to `digits` significant digits, and None for nan."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_rounded(item, digits=digits) for item in value]
    return value


def to_json(data: dict[str, Any]) -> str:
    """JSON that can stand inside a <script> element whatever text it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: any byte of a path survives
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

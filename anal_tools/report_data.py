"""Collects everything that a report shows, as plain values for JSON; the page only counts and draws.

Numbers that depend on the kind of label come from report_single.py or report_multi.py. Each of these has `numbers`,
`pictured` and `comparison`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anal_tools import report_multi, report_single
from anal_tools.compare import config_differences
from anal_tools.experiment import Experiment, read_history
from anal_tools.experiment_segments import case_of_list
from anal_tools.page_values import SCORE_UNIT, config_text
from anal_tools.segment_page import segment_data
from anal_tools.segment_scores import score_case
from anal_tools.span_report import span_data
from anal_tools.strips import GAP, Strips, make_strips
from utils.errors import UserError
from utils.run.checkpoint import BEST, read, saved_as
from utils.run.folder import LITMUS
from utils.run.progress import duration
from utils.scoring.segments.matching import ACTIVITYNET
from utils.scoring.task import MULTI_LABEL, SINGLE_LABEL

KINDS = {SINGLE_LABEL: report_single, MULTI_LABEL: report_multi}
MAX_POINTS = 1500  # per learning curve; longer curves are averaged over groups of steps


def report_data(
    experiments: Sequence[Experiment], *, strip_budget: int, segments: Path | None = None
) -> dict[str, Any]:
    """Returns the data of the whole page.

    strip_budget: bytes for all frame strips together.
    segments: answers with times, of one experiment whose list has spans.
    Raises: UserError if no video has a label, or if several experiments cannot be compared.
    """
    first = experiments[0]
    if segments is not None and len(experiments) > 1:
        raise UserError("--segments is for the report of one experiment; python -m tools.score_segments scores others")
    for one in experiments:
        if not one.results.task.known(one.results.labels).any():
            raise UserError(f"{one.folder}: no video has a label, so there is nothing to report")
    comparisons = [_comparison_data(first, other, place) for place, other in enumerate(experiments[1:], 1)]
    names = _distinct_names(experiments)
    return {
        "classes": first.class_names,
        "multi_label": first.results.task is MULTI_LABEL,
        "unit": SCORE_UNIT,
        "strip_gap": GAP,
        "threshold": report_multi.THRESHOLD,
        "experiments": [
            experiment_data(one, name, strip_budget=strip_budget // len(experiments))
            for one, name in zip(experiments, names, strict=True)
        ],
        "comparisons": comparisons,
        **({} if segments is None else {"segments": _segments(first, segments)}),
    }


def _segments(experiment: Experiment, path: Path) -> dict[str, Any]:
    case = case_of_list(experiment, path)
    return segment_data(case, score_case(case, ACTIVITYNET))


def experiment_data(experiment: Experiment, name: str, *, strip_budget: int) -> dict[str, Any]:
    """Returns the numbers, videos and pictures of one experiment."""
    kind, paths = KINDS[experiment.results.task], experiment.results.paths
    shown = [paths[row] for row in kind.pictured(experiment)]
    strips = make_strips(experiment.config.common, shown, budget=strip_budget)
    values, origins = experiment.config.in_force or experiment.config.values, experiment.config.origins
    return {
        "name": name,
        "folder": str(experiment.folder),
        "protocol": experiment.results.protocol,
        "config": [[key, config_text(value), origins.get(key, "")] for key, value in values.items()],
        "run": run_rows(experiment),
        "config_problem": experiment.config.problem,
        "curves": curve_data(experiment),
        "paths": paths,
        "spans": span_data(experiment),
        "strips": {str(row): strips.pictures[path] for row, path in enumerate(paths) if path in strips.pictures},
        "strip_frames": {str(row): strips.frames[path] for row, path in enumerate(paths) if path in strips.frames},
        "strip_note": _strip_note(strips),
        "litmus": read_litmus(experiment.folder),
        **kind.numbers(experiment),
    }


def read_litmus(folder: Path) -> dict[str, Any] | None:
    """Returns what tools.litmus has found out about an experiment; None before it has.

    `note` says so where that is not known to be of the folder's best checkpoint.
    Raises: UserError for a file that it has not written.
    """
    path = folder / LITMUS
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if {"videos", "protocol", "right", "classes"} <= found.keys():
            return found | ({"note": note} if (note := _other_checkpoint(found, folder)) else {})
    except (ValueError, AttributeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as what tools.litmus writes ({error})") from None
    raise UserError(f"{path}: is not what tools.litmus writes; make it again, or move it away")


def _other_checkpoint(found: Mapping[str, Any], folder: Path) -> str:
    """Says that a litmus.json is not of the folder's best checkpoint; "" if it is, or without a best one."""
    if not (folder / BEST).is_file():
        return ""
    best = saved_as(read(folder / BEST))
    if best and all(found.get(key) == value for key, value in best.items()):
        return ""
    steps = " and ".join(f"step {one.get('step', 'unknown')}" for one in (found, best))
    return f"{LITMUS} is not known to be of {BEST} ({steps}); run tools.litmus again"


def run_rows(experiment: Experiment) -> list[tuple[str, str]]:
    """Returns what is known about the training, as titles and texts; nothing if only config.yaml is left."""
    run = experiment.config.run
    if not run:
        return []
    seconds = [record.get("seconds") for record in read_history(experiment.folder)[0]]
    took = max((one for one in seconds if isinstance(one, (int, float)) and math.isfinite(one)), default=None)
    versions = run.get("versions")
    rows = {
        "Command": run.get("command"),
        "Began": run.get("began"),
        "Training took": None if took is None else duration(took),
        "Commit": run.get("commit") or f"none, code digest {run.get('code')}",
        "Machine": f"{run.get('machine')}, {run.get('device')}, {run.get('processes')} process(es)",
        "Versions": ", ".join(f"{key} {value}" for key, value in versions.items())
        if isinstance(versions, dict)
        else None,
        "Parameters": f"{run['parameters']:,}" if isinstance(run.get("parameters"), int) else None,
        "GMACs per view": _cost_text(run),
    }
    return [(title, str(text)) for title, text in rows.items() if text is not None]


def _cost_text(run: dict[str, Any]) -> str | None:
    cost, clip = run.get("gmacs"), run.get("gmacs_clip")
    if not isinstance(cost, (int, float)) or not isinstance(clip, list):
        return None
    return f"{cost:.3f} at {' x '.join(map(str, clip))} (frames x height x width)"


def curve_data(experiment: Experiment) -> dict[str, Any]:
    """Returns the learning curves of metrics.jsonl, each with at most MAX_POINTS.

    If a step was logged twice, the later record counts.
    """
    records, broken = read_history(experiment.folder)
    task = experiment.results.task
    curves: dict[str, Any] = {"broken": broken}
    for kind, names in (
        ("train", ("loss", *task.train_numbers, "lr", "time", "data")),
        ("val", ("loss", *task.val_numbers)),
    ):
        by_step = {record["step"]: record for record in records if record["kind"] == kind}
        steps = sorted(by_step)
        series: dict[str, list[float | None]] = {"step": _thin([float(step) for step in steps])}
        for name in names:
            series[name] = _thin([_number(by_step[step].get(name)) for step in steps])
        curves[kind] = series
    return curves


def _thin(values: Sequence[float | None]) -> list[float | None]:
    """Averages groups of equal size so that at most MAX_POINTS remain; a group without a number becomes None."""
    size = -(-len(values) // MAX_POINTS) or 1
    groups = [[value for value in values[i : i + size] if value is not None] for i in range(0, len(values), size)]
    return [float(f"{math.fsum(group) / len(group):.6g}") if group else None for group in groups]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _comparison_data(first: Experiment, second: Experiment, position: int) -> dict[str, Any]:
    if first.results.task is not second.results.task:
        raise UserError(
            f"{first.folder} and {second.folder}: one has one label per video and the other several; make a report of "
            "each"
        )
    config = None
    if not first.config.problem and not second.config.problem:
        rows = config_differences(first.config, second.config)
        config = [[key, config_text(one), config_text(two)] for key, one, two in rows]
    numbers = KINDS[first.results.task].comparison(first, second)
    return {"first": 0, "second": position, "config": config, **numbers}


def _strip_note(strips: Strips) -> str:
    notes = []
    if strips.problem:
        notes.append(f"Some frames cannot be shown: {strips.problem}" if strips.pictures else strips.problem)
    if strips.left_out:
        notes.append(f"The frames of {strips.left_out} videos are left out to keep this file small.")
    return " ".join(notes)


def _distinct_names(experiments: Sequence[Experiment]) -> list[str]:
    """Returns the names of the folders, or their whole paths if two names are equal."""
    names = [experiment.name for experiment in experiments]
    return names if len(set(names)) == len(names) else [str(experiment.folder) for experiment in experiments]

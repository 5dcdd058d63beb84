"""Fuses several evaluations of the same videos into one: two streams, several networks, several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from utils.errors import UserError
from utils.scoring.evaluation import Evaluation
from utils.scoring.result_files import SCORES, read_results, read_scores
from utils.scoring.task import Moments, task_for


@dataclass(frozen=True)
class Aligned:
    """Holds M evaluations of the same N videos, in the same order.

    names, protocols: M of each.
    scores: float64 (M, N, K).
    """

    names: list[str]
    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    class_names: list[str] | None
    protocols: list[str]


def kept_evaluation(path: Path) -> Evaluation | None:
    """Reads the results that a path of --fusion-list names; returns None for a path of a checkpoint.

    Raises: UserError like `read_evaluation`.
    """
    return read_evaluation(path) if path.is_dir() or path.suffix == ".npz" else None


def read_evaluation(path: Path) -> Evaluation:
    """Reads the results in an experiment folder, or a reference_scores.npz alone.

    Raises: UserError if nothing is there, if they are damaged, or if only the text file is left.
    """
    results = read_scores(path) if path.is_file() else read_results(path)
    if results.scores is None:
        raise UserError(f"{path}: no {SCORES}; only whole scores can be fused: evaluate it again")
    return replace(results, name=str(path))


def align(members: Sequence[Evaluation], videos: Evaluation | None = None) -> Aligned:
    """Brings evaluations into the order of the list `videos`, by default of the first evaluation.

    Raises: UserError if videos, labels or classes differ; the message names the first difference.
    """
    first = videos if videos is not None else members[0]
    every = [_whole(one) for one in members]
    width = every[0].shape[1]
    places = {path: index for index, path in enumerate(first.paths)}
    if len(places) != len(first.paths):
        raise UserError(f"{first.name}: some video is listed twice, so results cannot be matched by path")
    stacked = []
    for one, scores in zip(members, every, strict=True):
        if one.labels.ndim != first.labels.ndim:
            raise UserError(f"{one.name}: either it or {first.name} is of a multi_label list, but not both")
        if scores.shape[1] != width:
            raise UserError(f"{one.name}: {scores.shape[1]} classes, but {members[0].name} has {width}")
        if one.class_names and first.class_names and one.class_names != first.class_names:
            raise UserError(f"{one.name}: its classes have other names or another order than those of {first.name}")
        order = {path: index for index, path in enumerate(one.paths)}
        if different := sorted(places.keys() ^ order.keys()):
            raise UserError(f"{one.name}: not the same videos as {first.name}: {different[0]!r} is in one of them only")
        chosen = np.array([order[path] for path in first.paths])
        differs = (one.labels[chosen] != first.labels).reshape(len(chosen), -1).any(axis=1)
        if differs.any():
            wrong = first.paths[int(np.argmax(differs))]
            raise UserError(f"{one.name}: another true class of {wrong!r} than {first.name} has")
        stacked.append(scores[chosen].astype(np.float64))
    names = next((one.class_names for one in (first, *members) if one.class_names), None)
    return Aligned(
        [one.name for one in members],
        first.paths,
        first.labels,
        np.stack(stacked),
        names,
        [one.protocol for one in members],
    )


def _whole(one: Evaluation) -> np.ndarray:
    if one.scores is None:
        raise UserError(f"{one.name}: it has no scores, so it cannot be fused")
    return one.scores


def fuse(results: Aligned, weights: Sequence[float], *, logits: bool) -> np.ndarray:
    """Returns the weighted mean of the scores, float64 (N, K), or the scores of the weighted mean of the logits.

    A softmax drops only a constant per video, so logits can be recovered from scores. For softmax scores the mean of
    logits is the geometric mean of the scores.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if not logits:
        return np.asarray(np.tensordot(shares, results.scores, 1))
    task = task_for(results.labels)
    mean = np.tensordot(shares, task.to_logits(results.scores), 1)
    return task.probabilities(torch.from_numpy(mean)).numpy()


def fused(members: Sequence[Evaluation], videos: Evaluation, weights: Sequence[float], *, logits: bool) -> Evaluation:
    """Fuses evaluations of the list `videos` into one. Raises: UserError as `align` does, and for scores over time."""
    for member in members:
        if isinstance(member.task, Moments):
            raise UserError(f"{member.name}: has scores over time, which are not fused")
    aligned = align(members, videos)
    kind = "mean of logits" if logits else "mean of scores"
    scores = fuse(aligned, weights, logits=logits).astype(np.float32)
    how = protocol(aligned, weights, kind=kind)
    return Evaluation("fused", aligned.paths, aligned.labels, scores, aligned.class_names, how)


def protocol(results: Aligned, weights: Sequence[float], *, kind: str, found: str = "") -> str:
    """Describes how fused numbers came about. kind: what is averaged; found: how the weights were found."""
    parts = [
        f"{weight:g} x {name} ({how})"
        for weight, name, how in zip(weights, results.names, results.protocols, strict=True)
    ]
    return f"{kind}: {' + '.join(parts)}" + (f", weights {found}" if found else "")

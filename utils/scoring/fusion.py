"""Several evaluations of the same videos become one: two streams, several networks, several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from utils.config.file import stored_config
from utils.config.schema import Common
from utils.errors import CheckpointError, UserError
from utils.run import checkpoint
from utils.scoring.result_files import SCORES, Evaluation, Videos, read_results, read_scores
from utils.scoring.task import task_for

# keys of a config that say where and how a checkpoint is evaluated, not what it is
HERE = (
    *("val_root", "val_source", "bad_frame_budget"),
    *("workers", "batch_size", "device", "amp", "channels_last", "compile", "seed"),
)


@dataclass(frozen=True)
class Aligned:
    """Evaluations of the same N videos. scores: float64 (M, N, K), one row of scores per evaluation and video."""

    names: list[str]
    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    class_names: list[str] | None
    protocols: list[str]


def read_evaluation(path: Path) -> Evaluation:
    """The results in an experiment folder, or a reference_scores.npz alone.

    Raises: UserError where there are none, where they are damaged, or where only the text file is left.
    """
    results = read_scores(path) if path.is_file() else read_results(path)
    if results.scores is None:
        raise UserError(f"{path}: no {SCORES}; only whole scores can be fused: evaluate it again")
    return Evaluation(str(path), results.paths, results.labels, results.class_names, results.scores, results.protocol)


def config_here(path: Path, common: Common) -> Common:
    """The config in a checkpoint with what `common` says of where videos lie and of how it is computed.

    What the network sees of a video is the checkpoint's own: augmentation, test protocol, sampling and frame names.
    Raises: CheckpointError for weights without a config, or for other classes.
    """
    stored = stored_config(checkpoint.load(path).get("config"), path)
    if stored.model.num_class != common.model.num_class or stored.multi_label != common.multi_label:
        raise CheckpointError(
            f"{path}: its config has num_class {stored.model.num_class} and multi_label {stored.multi_label}, this one "
            f"{common.model.num_class} and {common.multi_label}; only scores for the same classes can be fused"
        )
    data = {"store": common.data.store, "class_names": common.data.class_names}
    return stored.model_copy(
        update={
            "data": stored.data.model_copy(update=data),
            "test": stored.test.model_copy(update={"batch_size": common.test.batch_size}),
            **{name: getattr(common, name) for name in HERE},
        }
    )


def align(members: Sequence[Evaluation], videos: Videos | None = None) -> Aligned:
    """Brings evaluations into the order of `videos`, by default of the first.

    Raises: UserError where videos, labels or classes differ, naming the first that does.
    """
    first = videos or members[0]
    width = members[0].scores.shape[1]
    places = {path: index for index, path in enumerate(first.paths)}
    if len(places) != len(first.paths):
        raise UserError(f"{first.name}: some video is listed twice, so results cannot be matched by path")
    stacked = []
    for one in members:
        if one.labels.ndim != first.labels.ndim:
            raise UserError(f"{one.name}: one of it and {first.name} is of a multi_label list, the other is not")
        if one.scores.shape[1] != width:
            raise UserError(f"{one.name}: {one.scores.shape[1]} classes, but {members[0].name} has {width}")
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
        stacked.append(one.scores[chosen].astype(np.float64))
    names = next((one.class_names for one in (first, *members) if one.class_names), None)
    return Aligned(
        [one.name for one in members],
        first.paths,
        first.labels,
        np.stack(stacked),
        names,
        [one.protocol for one in members],
    )


def fuse(results: Aligned, weights: Sequence[float], *, logits: bool) -> np.ndarray:
    """Weighted mean of the scores -> float64 (N, K); logits: the scores of the weighted mean of their logits.

    A softmax forgets a constant per video and nothing else, so logits come back from scores; of softmax scores this is
    the geometric mean.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if not logits:
        return np.asarray(np.tensordot(shares, results.scores, 1))
    task = task_for(results.labels)
    mean = np.tensordot(shares, task.to_logits(results.scores), 1)
    return task.probabilities(torch.from_numpy(mean)).numpy()


def fused(members: Sequence[Evaluation], videos: Videos, weights: Sequence[float], *, logits: bool) -> Evaluation:
    """Evaluations of `videos` as one. Raises: UserError as `align`."""
    aligned = align(members, videos)
    kind = "mean of logits" if logits else "mean of scores"
    scores = fuse(aligned, weights, logits=logits).astype(np.float32)
    how = protocol(aligned, weights, kind=kind)
    return Evaluation("fused", aligned.paths, aligned.labels, aligned.class_names, scores, how)


def protocol(results: Aligned, weights: Sequence[float], *, kind: str, found: str = "") -> str:
    """How the fused numbers came about. kind: of mean; found: where weights were found."""
    parts = [
        f"{weight:g} x {name} ({how})"
        for weight, name, how in zip(weights, results.names, results.protocols, strict=True)
    ]
    return f"{kind}: {' + '.join(parts)}" + (f", weights {found}" if found else "")

"""Writes and reads the files that an evaluation leaves in its experiment folder.

reference_result.txt is the original project's: path, top score, predicted class, true class or classes.
reference_result.jsonl adds class names and the five best classes, reference_scores.npz holds all scores. Each file is
whole or absent, and files of different evaluations are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import atomic_write
from utils.npz import read_npz
from utils.scoring.evaluation import Evaluation
from utils.scoring.label_sets import labels_from_text
from utils.scoring.metrics import top_classes
from utils.scoring.task import MULTI_LABEL, SINGLE_LABEL, task_for

TEXT, LINES, SCORES = "reference_result.txt", "reference_result.jsonl", "reference_scores.npz"
_ROW = re.compile(r"(.*)[ \t](\S+)[ \t]+(\S+)[ \t]+(\S+)\r?")  # greedy: a path may hold spaces, even at its end
AGAIN = "run the evaluation again (python anal_tools/get_reference_results.py -e EXP)"


def write_results(
    folder: str | os.PathLike[str],
    *,
    paths: Sequence[str],
    labels: Any,
    scores: Any,
    class_names: Sequence[str] | None,
    protocol: str,
) -> list[Path]:
    """Writes the three files into `folder`, the text file last, and returns their paths.

    paths: N, one line is written for each, in this order.
    labels: integers (N,) or multi-hot (N, K), -1 where unknown.
    scores: (N, K), in 0..1.

    Raises: UserError if a score is NaN or a file cannot be written; the files of an earlier evaluation then stay.
    """
    folder = Path(folder)
    values, truth = np.asarray(scores, dtype=np.float32), np.asarray(labels)
    truth = truth.astype(np.int8 if truth.ndim == 2 else np.int64)
    _check_shapes(paths, truth, values, class_names)
    best = top_classes(values)
    names = [] if class_names is None else [str(name) for name in class_names]
    text, lines, target_text = [], [], task_for(truth).text
    for path, label, row, classes in zip(paths, truth, values, best.tolist(), strict=True):
        text.append(f"{path} {row[classes[0]]:.2f} {classes[0]} {target_text(label)}\n")
        lines.append(_to_json(path, label, [(c, float(row[c])) for c in classes], names) + "\n")
    try:
        with atomic_write(folder / SCORES) as file:
            np.savez_compressed(
                file,
                scores=values,
                labels=truth,
                paths=np.array([os.fsencode(path) for path in paths], dtype=np.bytes_),
                class_names=np.array(names, dtype=np.str_),
                protocol=np.array(protocol),
            )
        for name, content in ((LINES, lines), (TEXT, text)):
            with atomic_write(folder / name, "w", errors="surrogateescape", newline="\n") as file:
                file.writelines(content)
    except OSError as error:
        raise UserError(f"{folder}: the results cannot be written here: {error.strerror or error}") from None
    return [folder / TEXT, folder / LINES, folder / SCORES]


def read_results(folder: str | os.PathLike[str]) -> Evaluation:
    """Reads what `write_results` wrote; if only the text file is left, the evaluation has no scores.

    Raises: UserError if there are no results, or a file is cut off, damaged or of another evaluation than the others.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such experiment folder")
    if not (folder / TEXT).is_file():
        if (folder / SCORES).is_file() or (folder / LINES).is_file():
            raise UserError(
                f"{folder / TEXT}: missing, although other results are there, so the set is not whole: {AGAIN}"
            )
        raise UserError(
            f"{folder}: no results yet; make them with python anal_tools/get_reference_results.py -e {folder}"
        )
    full = read_scores(folder / SCORES) if (folder / SCORES).is_file() else None
    text = _read_text(folder / TEXT, full)
    if full is not None:
        _compare(full, text)
    if (folder / LINES).is_file():
        _check_lines(folder / LINES, full or text)
    return full or text


def _check_shapes(paths: Sequence[str], truth: np.ndarray, values: np.ndarray, names: Sequence[str] | None) -> None:
    if values.ndim != 2 or truth.shape not in ((len(paths),), values.shape) or len(values) != len(paths):
        raise ValueError(
            f"{len(paths)} paths, labels {truth.shape}, scores {values.shape}: one row per video is needed"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(
            f"{paths[bad[0]]}: its scores are NaN or infinite ({len(bad)} of {len(paths)} videos): the network "
            "diverged; evaluate an earlier checkpoint or train with a lower learning rate"
        )
    if values.size and (values.min() < 0 or values.max() > 1.001):
        raise ValueError(f"scores are {values.min()}..{values.max()}; they need to be a softmax or a sigmoid, 0..1")
    if truth.size and (truth.min() < -1 or truth.max() >= (values.shape[1] if truth.ndim == 1 else 2)):
        raise ValueError(f"labels are {truth.min()}..{truth.max()} for {values.shape[1]} classes")
    if names is not None and len(names) != values.shape[1]:
        raise ValueError(f"{len(names)} class names for {values.shape[1]} classes")
    if wrong := next((path for path in paths if "\n" in path or "\r" in path), None):
        raise UserError(f"{wrong!r}: a path in a list or a result cannot contain a line break; rename it")


def _to_json(path: str, label: Any, top: list[tuple[int, float]], names: list[str]) -> str:
    """Returns one video as a JSON object; text stays readable unless the path holds bytes that are not UTF-8."""

    def name(index: int) -> str | None:
        return names[index] if names and index >= 0 else None

    truth: Any = None
    truth_name: Any = None
    if label.ndim and label.min() >= 0:
        truth = np.flatnonzero(label).tolist()
        truth_name = [name(index) for index in truth] if names else None
    elif not label.ndim and label >= 0:
        truth, truth_name = int(label), name(int(label))
    record = {
        "path": path,
        "truth": truth,
        "truth_name": truth_name,
        "top5": [{"class": index, "name": name(index), "probability": round(score, 6)} for index, score in top],
    }
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(record)
    return text


def _read_text(path: Path, full: Evaluation | None) -> Evaluation:
    """Reads the text file. `full`: the scores in the same folder, if there are any; they say if labels are sets."""
    content = path.read_text(encoding="utf-8", errors="surrogateescape")
    rows = content.split("\n")
    if rows[-1]:
        raise UserError(f"{path}:{len(rows)}: the last line is cut off: {AGAIN}")
    paths: list[str] = []
    numbers, truths = np.empty((len(rows) - 1, 2)), []
    for index, row in enumerate(rows[:-1]):
        try:
            name, score, guess, label = _ROW.fullmatch(row).groups()  # type: ignore[union-attr]
            numbers[index] = float(score), int(guess)
            labels_from_text(label)
        except (AttributeError, ValueError):
            raise UserError(
                f"{path}:{index + 1}: expected `path score predicted truth`, found {row[:80]!r}: {AGAIN}"
            ) from None
        paths.append(name)
        truths.append(label)
    if not paths:
        raise UserError(f"{path}: holds no video: {AGAIN}")
    classes = [labels_from_text(truth) for truth in truths]
    lowest = np.array([min(row, default=0) for row in classes])
    wrong = np.flatnonzero(~np.isfinite(numbers[:, 0]) | (numbers[:, 1] < 0) | (lowest < -1))
    if len(wrong):
        raise UserError(f"{path}:{wrong[0] + 1}: a score that is not a number, or a class below 0: {AGAIN}")
    predicted = numbers[:, 1].astype(np.int64)
    sets = full.labels.ndim == 2 if full else any(len(row) != 1 for row in classes)
    highest = max(int(predicted.max()), *(max(row, default=0) for row in classes))
    width = max(highest + 1, full.labels.shape[1] if full and sets else 0)
    labels = (MULTI_LABEL if sets else SINGLE_LABEL).from_texts(truths, width)
    return Evaluation(str(path.parent), paths, labels, read=(predicted, numbers[:, 0].copy()))


def read_scores(path: Path) -> Evaluation:
    """Reads a reference_scores.npz alone. Raises: UserError if it is cut off, damaged or something else."""
    try:
        file = read_npz(path, ("scores", "labels", "class_names", "paths", "protocol"))
        scores, labels, names = file["scores"], file["labels"], file["class_names"].tolist()
        paths = [os.fsdecode(name) for name in file["paths"].tolist()]
        protocol = str(file["protocol"])
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cut off or damaged ({type(error).__name__}): {AGAIN}") from None
    if scores.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: its scores are {scores.dtype}, its labels {labels.dtype}: {AGAIN}")
    fits = scores.ndim == 2 and labels.shape in (scores.shape, (len(scores),)) and len(scores) == len(paths)
    if not fits or (names and len(names) != scores.shape[1]):
        raise UserError(f"{path}: its arrays do not fit each other: {AGAIN}")
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise UserError(f"{path}: the scores of {paths[bad[0]]!r} are NaN or infinite ({len(bad)} videos): {AGAIN}")
    if len(labels) and not -1 <= labels.min() <= labels.max() < (scores.shape[1] if labels.ndim == 1 else 2):
        raise UserError(f"{path}: labels are {labels.min()}..{labels.max()} for {scores.shape[1]} classes: {AGAIN}")
    return Evaluation(str(path.parent), paths, labels, scores, names or None, protocol)


def _compare(full: Evaluation, text: Evaluation) -> None:
    """Checks that the text file says the same as the scores: same videos, same order, same answers."""
    where = Path(text.name) / TEXT
    if len(full) != len(text):
        raise UserError(f"{where}: {len(text)} videos, but {SCORES} has {len(full)}: the set is not whole: {AGAIN}")
    for index, (a, b) in enumerate(zip(full.paths, text.paths, strict=True)):
        same = full.predicted[index] == text.predicted[index] and np.array_equal(full.labels[index], text.labels[index])
        if a != b or not same or abs(full.top_scores[index] - text.top_scores[index]) > 0.0051:
            raise UserError(f"{where}:{index + 1}: does not say the same as {SCORES}: the set is not whole: {AGAIN}")


def _check_lines(path: Path, results: Evaluation) -> None:
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        number = 0
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                answer = record["path"], record["top5"][0]["class"]
            except (ValueError, KeyError, IndexError, TypeError, RecursionError):
                raise UserError(f"{path}:{number}: cut off or damaged: {AGAIN}") from None
            if number > len(results) or answer != (results.paths[number - 1], results.predicted[number - 1]):
                raise UserError(f"{path}:{number}: does not say the same as {TEXT}: the set is not whole: {AGAIN}")
    if number != len(results):
        raise UserError(f"{path}: {number} videos, but {TEXT} has {len(results)}: the set is not whole: {AGAIN}")

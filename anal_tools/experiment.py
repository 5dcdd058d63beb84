"""Opens an experiment folder for reading: its results, its config as far as there is one, its class names, its curves.

Nothing in here changes the folder. The files themselves are defined where they are written: utils/scoring/result_files.py for the
results, utils/run/folder.py for metrics.jsonl, utils/config/file.py for the config.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datasets.lists.class_names import read_class_names
from utils.config.file import load_config
from utils.config.schema import Common
from utils.errors import ConfigError, UserError
from utils.scoring.evaluation import Evaluation
from utils.scoring.metrics import confusion_matrix
from utils.scoring.result_files import read_results
from utils.scoring.task import MULTI_LABEL

CONFIG, METRICS = "config.yaml", "metrics.jsonl"


@dataclass(frozen=True)
class Config:
    """What a folder's config.yaml says; empty, with `problem` set, where there is none or it does not load."""

    common: Common | None
    values: dict[str, Any]  # dotted path -> value in force, defaults included
    written: frozenset[str]  # dotted paths that the file itself sets
    problem: str | None


@dataclass(frozen=True)
class Experiment:
    """One experiment folder with results."""

    folder: Path
    config: Config
    results: Evaluation
    class_names: list[str]  # K names; the index as text where nobody knows a name

    @property
    def name(self) -> str:
        """Short name for headings: the last folder."""
        return self.folder.resolve().name

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts int64 (K, K), rows are the truth, of videos with one class each."""
        return confusion_matrix(self.results.predicted, self.results.labels, num_class=len(self.class_names))


def experiment_folder(text: str) -> Path:
    """The folder that `-e` names; its config.yaml is accepted too. Raises: UserError when there is none."""
    path = Path(text)
    folder = path.parent if path.name == CONFIG else path
    if not folder.is_dir():
        raise UserError(f"{text}: no such experiment folder")
    return folder


def open_experiment(folder: Path) -> Experiment:
    """Reads results, config and class names. Raises: UserError when there are no results or they are not whole."""
    results = read_results(folder)
    config = read_config(folder)
    return Experiment(folder, config, results, _class_names(results, config))


def read_config(folder: Path) -> Config:
    """The config of a folder; a missing or outdated one is a `problem`, not an error: the results stand without it."""
    path = folder / CONFIG
    if not path.is_file():
        return Config(None, {}, frozenset(), f"{path}: not there")
    try:
        file = load_config(path)
    except ConfigError as error:
        return Config(None, {}, frozenset(), str(error))
    rows = file.explain()
    return Config(
        file.common,
        {key: _plain(value) for key, value, _ in rows},
        frozenset(key for key, _, origin in rows if origin != "default"),
        None,
    )


def read_history(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of metrics.jsonl, oldest first, and how many lines were unreadable (a kill can cut the last one)."""
    path = folder / METRICS
    if not path.is_file():
        return [], 0
    records, broken = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            broken += 1
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int) and record.get("kind") in ("train", "val"):
            records.append(record)
        else:
            broken += 1
    return records, broken


def _class_names(results: Evaluation, config: Config) -> list[str]:
    """Names from the evaluation itself, else from the class file that the config leads to, else the indices."""
    if results.class_names is not None:
        return results.class_names
    truth = results.labels.shape[1] - 1 if results.task is MULTI_LABEL else results.labels.max(initial=0)
    highest = int(max(truth, results.predicted.max(initial=0)))
    num_class = highest + 1
    if results.scores is not None:
        num_class = results.scores.shape[1]
    elif config.common is not None:
        num_class = config.common.model.num_class
    if highest >= num_class:
        raise UserError(
            f"{results.name}: the results speak of class {highest}, but num_class is {num_class}; are they of this "
            "config? Run the evaluation again"
        )
    return _names_from_lists(config, num_class) or [str(index) for index in range(num_class)]


def _names_from_lists(config: Config, num_class: int) -> list[str] | None:
    common = config.common
    if common is None:
        return None
    for source, root in ((common.val_source, common.val_root), (common.train_source, common.train_root)):
        if source is None:
            continue
        names = read_class_names(source, root=root, num_class=num_class, path=common.data.class_names)
        if names is not None:
            return names
    return None


def _plain(value: Any) -> Any:
    """The same value as dicts and lists only."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

"""Reads an experiment folder: its results, its config if there is one, its class names and its learning curves.

Nothing here changes the folder. The formats are defined where the files are written: results in
utils/scoring/result_files.py, metrics.jsonl in utils/run/folder.py, the config in utils/config/file.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datasets.open import classes_of
from utils.config.file import ConfigFile, load_config, stored_config
from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError, UserError
from utils.run.about import as_json
from utils.run.folder import METRICS, RUNS, read_records
from utils.scoring.evaluation import Evaluation
from utils.scoring.metrics import confusion_matrix
from utils.scoring.result_files import TEXT, read_results
from utils.scoring.segment_evaluation import ANSWER, TRUTH
from utils.scoring.task import MULTI_LABEL

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Config:
    """Holds the config of a folder; it is empty, and `problem` says why, if the file is missing or does not load.

    common: the checked values.
    values: value of each key by its dotted path, defaults included; None where a key is left open.
    in_force: the same of the training that ran, with what the method and the preset decided; empty if that is unknown.
    origins: where the values come from that are no defaults: line of the file, or command line.
    problem: why there is no config, or None.
    run: what the training said about itself when it began (utils/run/about.py); empty if only the file is known.
    """

    common: Common | None
    values: dict[str, Any]
    origins: dict[str, str]
    problem: str | None
    run: dict[str, Any] = field(default_factory=dict)
    in_force: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Holds an experiment folder that has results.

    class_names: K names; the index as text for a class without a known name.
    """

    folder: Path
    config: Config
    results: Evaluation
    class_names: list[str]

    @property
    def name(self) -> str:
        """Short name for headings, which is the name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def confusion(self) -> np.ndarray:
        """Confusion matrix of a single-label experiment, int64 (K, K); rows are the true classes."""
        return confusion_matrix(self.results.predicted, self.results.labels, num_class=len(self.class_names))


def experiment_folder(text: str) -> Path:
    """Returns the folder that `-e` names, by itself or by its config.yaml. Raises: UserError if it does not exist."""
    path = Path(text)
    folder = path.parent if path.name == CONFIG else path
    if not folder.is_dir():
        raise UserError(f"{text}: no such experiment folder")
    return folder


def open_experiment(folder: Path) -> Experiment:
    """Reads results, config and class names.

    Raises: UserError if there are no results, if they are incomplete, or if they are of segments.
    """
    if not (folder / TEXT).is_file() and (folder / ANSWER).is_file():
        raise UserError(
            f"{folder}: its results are segments of whole videos, which have a page of their own: "
            f"python -m tools.score_segments {folder / TRUTH} {folder / ANSWER} --page {folder / 'segments.html'}"
        )
    results = read_results(folder)
    config = read_config(folder)
    return Experiment(folder, config, results, _class_names(results, config))


def read_config(folder: Path) -> Config:
    """Reads what the newest training in a folder ran with, else its config.yaml, which may have been edited since.

    A missing or invalid config is a `problem`, not an error: results need no config.
    """
    try:
        ran = read_records(folder / RUNS)[0]
    except UserError:
        ran = []
    if ran and (config := _config_of_run(ran[-1], folder / RUNS)):
        return config
    path = folder / CONFIG
    if not path.is_file():
        return Config(None, {}, {}, f"{path}: not found")
    try:
        file = load_config(path)
    except ConfigError as error:
        return Config(None, {}, {}, str(error))
    rows = file.explain()
    origins = {key: origin for key, _, origin in rows if origin != "default"}
    return Config(file.common, {key: as_json(value) for key, value, _ in rows}, origins, None)


def _config_of_run(run: dict[str, Any], path: Path) -> Config | None:
    """Returns the config in a record of runs.jsonl; None if the record has no config that is valid here."""
    in_force, origins = run.get("values"), run.get("set")
    if not isinstance(in_force, dict) or not isinstance(origins, dict):
        return None
    try:
        file = ConfigFile(path, stored_config(run.get("config"), path), run["config"], {})
    except CheckpointError:
        return None
    values = {key: as_json(value) for key, value, _ in file.explain()}
    return Config(file.common, values, {key: str(text) for key, text in origins.items()}, None, run, in_force)


def read_history(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Returns the records of metrics.jsonl, oldest first, and the number of unreadable lines.

    A run that is killed can leave an incomplete last line.
    """
    records, damaged = read_records(folder / METRICS)
    known = [record for record in records if record.get("kind") in ("train", "val")]
    return known, len(damaged) + len(records) - len(known)


def _class_names(results: Evaluation, config: Config) -> list[str]:
    """Returns the names in the results, else those of the class file that the config names, else the indices."""
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
            f"{results.name}: the results contain class {highest}, but num_class is {num_class}; if they belong to "
            "another config, run the evaluation again"
        )
    return _names_from_lists(config, num_class) or [str(index) for index in range(num_class)]


def _names_from_lists(config: Config, num_class: int) -> list[str] | None:
    common = config.common
    if common is None:
        return None
    classes = classes_of(common)
    if classes is not None:
        classes.check(num_class)
    return None if classes is None else classes.names

"""Sends the numbers of metrics.jsonl to experiment trackers: Weights & Biases, MLflow, Trackio.

A new tracker is one class and one line in TRACKERS. Each is an optional package that keeps its own settings, such as
WANDB_MODE or MLFLOW_TRACKING_URI, in environment variables.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from utils.config.file import flat
from utils.errors import ConfigError, UserError
from utils.files import atomic_write

IDS = "trackers.json"  # in the experiment's folder: what each tracker calls the run, so that it goes on there
PROJECT = "video-analysis"  # unless WANDB_PROJECT, MLFLOW_EXPERIMENT_NAME or TRACKIO_PROJECT says otherwise
MOST_PARAMS = 100  # that MLflow takes at a time
LONGEST_PARAM = 500  # characters


class Tracker(Protocol):
    """Records one run elsewhere. Its constructor takes the experiment's folder, the config, and the id of a known run.

    id: what it calls the run.
    """

    id: str

    def __init__(self, folder: Path, config: Mapping[str, Any], known: str | None) -> None: ...

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Records numbers of a step."""
        ...

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        ...


class Wandb:
    """Weights & Biases, https://wandb.ai; WANDB_MODE=offline needs no account."""

    def __init__(self, folder: Path, config: Mapping[str, Any], known: str | None) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            id=known,
            resume="allow",
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(console="off"),  # log.txt has the console, with its bars drawn once
        )
        # an axis of our own: steps that a continued run repeats may be logged again
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.id = str(self._run.id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Records numbers of a step."""
        self._run.log({"step": step, **numbers})

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._run.finish(exit_code=int(failed))


class MLflow:
    """MLflow, https://mlflow.org; the package mlflow-skinny is enough for a server."""

    def __init__(self, folder: Path, config: Mapping[str, Any], known: str | None) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        if known is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            known = self._client.create_run(experiment, run_name=folder.name).info.run_id
            given = {key: str(value)[:LONGEST_PARAM] for key, value in flat(config).items()}
            params = [mlflow.entities.Param(key, value) for key, value in given.items() if value]
            for start in range(0, len(params), MOST_PARAMS):
                self._client.log_batch(known, params=params[start : start + MOST_PARAMS])
        else:
            self._client.update_run(known, status="RUNNING")
        self.id = known

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Records numbers of a step."""
        for name, value in numbers.items():
            self._client.log_metric(self.id, name, value, step=step)

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


class Trackio:
    """Trackio, https://github.com/gradio-app/trackio, which keeps runs on this machine or in a Space."""

    def __init__(self, folder: Path, config: Mapping[str, Any], known: str | None) -> None:
        import trackio

        name = known or "/".join(folder.absolute().parts[-2:])  # all that it knows a run by; it numbers equal ones
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        resume = "never" if known is None else "allow"
        self._run = trackio.init(project=project, name=name, config=dict(config), resume=resume, embed=False)
        self.id = str(self._run.name)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Records numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._run.finish()


TRACKERS: Mapping[str, type[Tracker]] = {"wandb": Wandb, "mlflow": MLflow, "trackio": Trackio}
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny", "trackio": "trackio"}  # as pip calls them


def check_trackers(names: Sequence[str]) -> None:
    """Raises ConfigError for a tracker that is named twice, or whose package is not installed."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"common.track: {name} is named {names.count(name)} times; name it once")
        if name in TRACKERS and importlib.util.find_spec(name) is None:
            raise ConfigError(f"common.track: {name} is not installed: pip install {PACKAGES[name]}")


class Trackers:
    """Holds the trackers of one run. One that fails is left out from then on, with a warning: training goes on.

    Raises: UserError if one cannot begin.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, config: Mapping[str, Any], warn: Callable[[str], None]
    ) -> None:
        self._warn = warn
        self._open: dict[str, Tracker] = {}
        ids = folder / IDS
        known = _known(ids)
        for name in names:
            if name in TRACKERS:
                self._open[name] = self._begin(name, folder, config, known.get(name))
        if self._open:
            with atomic_write(ids, "w") as file:
                json.dump(known | {name: tracker.id for name, tracker in self._open.items()}, file)

    def _begin(self, name: str, folder: Path, config: Mapping[str, Any], known: str | None) -> Tracker:
        try:
            return TRACKERS[name](folder, config, known)
        except Exception as error:
            self.close(failed=True)
            text = " ".join(str(error).split())[:300]
            raise UserError(f"common.track: {name} cannot begin: {text or type(error).__name__}") from error

    def log(self, record: Mapping[str, Any]) -> None:
        """Sends the finite numbers of a record of metrics.jsonl under names such as train/loss."""
        numbers = {
            f"{record['kind']}/{name}": float(value)
            for name, value in record.items()
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value)
        }
        self._each(lambda tracker: tracker.log(record["step"], numbers))

    def close(self, *, failed: bool) -> None:
        """Ends the run in all of them."""
        self._each(lambda tracker: tracker.close(failed=failed))
        self._open.clear()

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                call(tracker)
            except Exception as error:  # its server is gone, its disk is full: no reason to lose a training
                del self._open[name]
                text = " ".join(str(error).split())[:300] or type(error).__name__
                self._warn(f"{name} gets no more numbers, metrics.jsonl has them all: {text}")


def _known(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise UserError(f"{file}: damaged; remove it to let trackers begin a new run")
    return found

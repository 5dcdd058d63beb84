"""Trains the probes of tools/start.py by main.py, as anybody can train them again, and tests them."""

from __future__ import annotations

import contextlib
import importlib
import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anal_tools.experiment import Experiment, open_experiment
from anal_tools.fold_results import together, write_together
from tools.importing.experiment import CONFIG
from tools.starting.configs import PROBE, Lists, write_config
from utils.files import sha256
from utils.run.checkpoint import BEST, NEWEST

ALL = "all"  # the list of all videos, which tools.make_lists writes with --folds


def make_probe(folder: Path, values: Mapping[str, Any], lists: Lists, *, folds: int) -> Experiment:
    """Trains and tests one kind of head; returns the experiment with its results.

    With folds, the experiment learns from all videos. Its results are those of its folds, experiments inside its
    folder, so each video is tested once by a head that has not seen it.

    values: what the configs say, but for their lists.
    """
    if not folds:
        about = f"{BEST} has learned from the training list, and was tested on the validation list."
        _train(folder, values, lists, "train", "val", about)
        return open_experiment(folder)
    about = f"{NEWEST} has learned from all videos, and was tested by {folds} folds, which learned from the others."
    _train(folder, values, lists, ALL, None, about)
    parts: list[Experiment] = []
    for fold in (f"fold{number}" for number in range(1, folds + 1)):
        _train(folder / fold, values, lists, f"{fold}/train", f"{fold}/val", f"One of {folds} folds.")
        parts.append(open_experiment(folder / fold))
    write_together(together(parts), folder)
    return open_experiment(folder)


def _train(folder: Path, values: Mapping[str, Any], lists: Lists, train: str, val: str | None, about: str) -> None:
    """Trains one experiment and, with a validation list, tests it.

    A fold says nothing by itself: all that the network sees was seen by the experiment of all videos before.
    """
    digest = "-".join(sha256(lists.source(name))[:8] for name in (train, val) if name)
    own = {"about": f"Lists {digest}; {about}", "lists": lists.text(train, val)}
    write_config(folder, PROBE.format_map({**values, **own}))
    config = str(folder / CONFIG)
    if call("main", "--config", config, quiet=val is not None and val != "val"):
        raise KeyboardInterrupt  # main.py has said so, and has left what it had seen in the cache
    if val:
        call("main", "--config", config, "--evaluate", quiet=True)


def call(module: str, *argv: str, quiet: bool = False) -> int:
    """Prints a command that anybody can type, runs its main in this process, and returns its exit code.

    quiet: what it prints is not shown.
    """
    shown = "main.py" if module == "main" else f"-m {module}"
    print(f"\n$ python {shown} {shlex.join(argv)}", flush=True)
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        return int(importlib.import_module(module).main(argv) or 0)

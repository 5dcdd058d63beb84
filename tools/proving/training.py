"""Trains the cells of the matrix through main.py, each in a folder of its own, and reads their accuracies."""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anal_tools.experiment import read_config
from anal_tools.ledger_table import Entry, make_entry
from methods.tsn import TSN
from tools.importing.experiment import CONFIG, config_text, write_experiment
from tools.proving.cells import Cell
from utils.config.file import load_config
from utils.errors import UserError

SIDE = 224  # where the config does not say otherwise
VALIDATION = "val.txt"  # beside the training list
SHARED = ("num_segments", "num_class", "dropout", "init_std", "pretrained")  # of `model`, for all cells
HEADER = """\
# {dataset}, {cell}: a cell of docs/matrix.md.
#   python -m tools.matrix --train {source} --like {like} {cell}
"""


def train(args: argparse.Namespace, cells: Sequence[Cell]) -> int:
    """Trains each cell that can be built and is not done; returns how many failed.

    With a Slurm partition it submits a job for each cell, and does not wait.
    """
    base, failed = _settings(args.train, args.like), 0
    for cell in cells:
        folder = folder_of(cell, args.runs / dataset_of(args.train))
        raw = _config(cell, base)
        try:
            _build(raw["common"]["model"])
        except ValueError as error:
            print(f"{cell.name}: not trained: {error}")
            continue
        header = HEADER.format(dataset=dataset_of(args.train), cell=cell.name, source=args.train, like=args.like)
        _write(folder, config_text(raw, header))
        entry = _entry(folder)
        if is_done(entry):
            print(f"{cell.name}: done, {entry.best:.2f} %")
            continue
        command = [str(folder / "train.sh"), args.partition, str(args.gpus or 0)]
        command = command if args.partition == "local" else ["sbatch", *command]
        print(f"{cell.name}: {' '.join(command)}", flush=True)
        if subprocess.run(command, check=False).returncode:
            print(f"error: {cell.name}: {' '.join(command)} failed", file=sys.stderr)
            failed += 1
    return failed


def accuracies(cells: Sequence[Cell], runs: Path, known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Returns the best validation top-1 of each trained cell in percent, by data set and cell.

    known: what is known already, for experiments that are not on this machine.
    """
    found = {dataset: dict(values) for dataset, values in known.items()}
    for place in sorted(runs.iterdir()) if runs.is_dir() else []:
        for cell in cells:
            folder = folder_of(cell, place)
            if (folder / CONFIG).exists() and is_done(entry := _entry(folder)):
                found.setdefault(place.name, {})[cell.name] = f"{entry.best:.1f}"
    return found


def folder_of(cell: Cell, place: Path) -> Path:
    """Returns the experiment folder of a cell."""
    return place / cell.name.replace("/", "_").replace(" ", "_")


def dataset_of(source: Path) -> str:
    """Returns the name of a data set by its list: data/motion8/lists/train.txt -> motion8."""
    return source.resolve().parents[1].name


def is_done(entry: Entry) -> bool:
    """Tells whether a run has come to its end; one that is planned in epochs is left to main.py, which knows."""
    planned = entry.planned or ""
    return entry.best is not None and planned.isdigit() and (entry.steps or 0) >= int(planned)


def _entry(folder: Path) -> Entry:
    return make_entry(folder, folder, read_config(folder), None)


def _settings(source: Path, like: Path) -> dict[str, Any]:
    """Returns the config that all cells share: that of `like`, with the lists of another data set."""
    for path in (source, source.parent / VALIDATION):
        if not path.is_file():
            raise UserError(f"--train: {path}: no such list; a list to train on has {VALIDATION} beside it")
    config = load_config(like)
    if isinstance(config.common.augmentation.input_size, list):
        raise UserError(f"{like}: augmentation.input_size is [height, width], and networks are built here for a square")
    raw = copy.deepcopy(dict(config.raw))
    root = str(source.parent.parent)
    lists = {"train_source": str(source), "val_source": str(source.parent / VALIDATION)}
    raw["common"] |= lists | {"train_root": root, "val_root": root}
    return raw


def _config(cell: Cell, base: Mapping[str, Any]) -> dict[str, Any]:
    common = dict(base["common"])
    side = (common.get("augmentation") or {}).get("input_size") or SIDE
    shared = {key: common["model"][key] for key in SHARED if key in common["model"]}
    return {"common": common | {"model": {"type": "tsn", **cell.arguments(side), **shared}}}


def _build(model: Mapping[str, Any]) -> None:
    """Raises: ValueError if there is no such network."""
    arguments = {key: value for key, value in model.items() if key not in ("type", "pretrained")}
    with torch.device("meta"):
        TSN(**arguments)


def _write(folder: Path, text: str) -> None:
    """Writes the experiment. Raises: UserError if there is another one."""
    path = folder / CONFIG
    if not path.exists():
        write_experiment(folder, {CONFIG: text})
    elif path.read_text(encoding="utf-8") != text:
        raise UserError(f"{path}: belongs to another training; remove {folder}, or name another folder with --runs")

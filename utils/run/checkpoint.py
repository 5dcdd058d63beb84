"""Our checkpoints: what they hold, how they are written whole, and how the newest good one is found again.

A file is a plain dict that `torch.load(weights_only=True)` reads: step (iterations done), arch, state_dict (keys with
upstream's `module.` prefix), best_prec1, optimizer, and config, class_names, protocol, trainer, notes. Files of other
projects: networks/checkpoints/load.py.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from utils.errors import CheckpointError
from utils.files import DAMAGED, atomic_write, sync_folder

NEWEST = "ckpt.pth.tar"
BEFORE = "ckpt_before.pth.tar"
BEST = "ckpt_best.pth.tar"
PREFIX = "module."


def with_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """State-dict keys as upstream's DistributedModel wrote them."""
    return {PREFIX + key: value for key, value in state.items()}


def without_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse; keys without the prefix stay."""
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def save(folder: Path, checkpoint: Mapping[str, Any], *, best: bool) -> None:
    """Writes `checkpoint` as the folder's newest, keeping the one before, and as its best when `best`.

    Killed at any moment, the folder holds a loadable newest checkpoint or the one before. The best file is replaced
    first: a run that is killed in between goes on from the older newest one and comes to the same best again.

    Raises: CheckpointError when the disk is full or the folder cannot be written; the old files are untouched then.
    """
    newest = folder / NEWEST
    staged = folder / f".{NEWEST}.staged"
    try:
        with atomic_write(staged) as file:
            torch.save(dict(checkpoint), file)
        if best:
            _link(staged, folder / BEST)
        if newest.exists():
            _link(newest, folder / BEFORE)
        staged.replace(newest)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch.save turns a failed write into a RuntimeError
        with contextlib.suppress(OSError):
            staged.unlink()
        raise CheckpointError(
            f"{newest}: cannot be written ({error}); the checkpoint before it is unchanged"
        ) from error


def _link(source: Path, target: Path) -> None:
    """Makes `target` another name of `source`, replacing it in one step; files are never changed in place."""
    temporary = target.with_name(f".{target.name}.link")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:  # a file system without hard links
        with atomic_write(target) as file:
            file.write(source.read_bytes())
        return
    temporary.replace(target)


def load(path: Path) -> dict[str, Any]:
    """Reads one checkpoint of ours onto the CPU.

    Raises: CheckpointError when it is missing, damaged, or not a checkpoint of a run.
    """
    checkpoint = read(path)
    if not isinstance(checkpoint, dict) or not {"step", "state_dict"} <= checkpoint.keys():
        raise CheckpointError(f"{path}: not a checkpoint of a run of ours (no `step` and `state_dict` in it)")
    return checkpoint


def read(path: Path) -> Any:
    """`torch.load` with weights_only=True and errors that name the file and the way out."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, not a checkpoint") from None
    except (*DAMAGED, pickle.UnpicklingError) as error:
        told = isinstance(error, (RuntimeError, OSError))  # of others the text is a key, or advice to trust the file
        reason = str(error).split("\n")[0] if told else "no pickle of weights and plain values"
        raise CheckpointError(f"{path}: damaged or not a checkpoint: {reason}") from None


def load_newest(folder: Path) -> tuple[dict[str, Any], Path, str] | None:
    """The newest loadable checkpoint of an experiment, its path, and a warning ("" if the newest one was fine).

    Returns None when the folder has none. Raises: CheckpointError when there are checkpoints and none of them loads.
    """
    problems: list[str] = []
    for path in (folder / NEWEST, folder / BEFORE):
        if not path.exists():
            continue
        try:
            return load(path), path, "; ".join(problems)
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(f"no checkpoint here loads ({'; '.join(problems)}); use --fresh to start anew")
    return None

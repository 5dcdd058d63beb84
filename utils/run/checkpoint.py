"""Writes our checkpoints whole, and finds the newest one that loads.

A file is a plain dict that `torch.load(weights_only=True)` reads: step (iterations done), arch, state_dict (keys with
the original project's `module.` prefix), best_prec1, optimizer, scaler, trainer, config, class_names, preprocessing,
settings, notes, state_dict_sum and, where it holds only what was trained, base. networks/checkpoints/load.py reads the
files of other projects.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError
from typing_extensions import Required, TypedDict

from utils.config.file import stored_config
from utils.config.schema import Common
from utils.errors import CheckpointError, UserError
from utils.files import DAMAGED, atomic_write, sync_folder
from utils.torch_file import SUM, DamagedError, not_finite, read_torch, sum_of

NEWEST = "ckpt.pth.tar"
BEFORE = "ckpt_before.pth.tar"
BEST = "ckpt_best.pth.tar"
PREFIX = "module."
# keys of a config that say where and how a checkpoint is evaluated, not what it is
HERE = (
    *("val_root", "val_source", "bad_frame_budget"),
    *("workers", "batch_size", "device", "amp", "channels_last", "compile", "seed"),
)

_TYPES = ConfigDict(arbitrary_types_allowed=True, strict=True)
_Pair = Annotated[Sequence[float], Field(min_length=2, max_length=2)]  # a value and its weight


class _Optimizer(TypedDict):
    """Holds the state of a torch optimizer."""

    state: dict[Any, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class _Trainer(TypedDict, total=False):
    """Says how far a training is."""

    step: Required[NonNegativeInt]
    best_prec1: Required[float]
    best_step: int
    best_loss: float
    since_best: int
    seconds: float
    last_validation: int
    bad_videos: int
    bad_losses: int
    meters: dict[str, list[_Pair]]


class _Saved(TypedDict, total=False):
    """Holds the entries of a checkpoint whose types decide whether it can be used."""

    __pydantic_config__ = _TYPES  # type: ignore[misc]
    step: Required[NonNegativeInt]
    state_dict: Required[dict[str, Any]]
    best_prec1: float | torch.Tensor  # the original project stored a tensor
    optimizer: _Optimizer
    scaler: dict[str, Any]
    trainer: _Trainer
    config: dict[str, Any]
    class_names: list[str] | None
    settings: dict[str, Any]
    preprocessing: dict[str, Any]
    notes: list[str]
    base: dict[str, Any]
    train_state_dict: dict[str, torch.Tensor]


class _Resumable(_Saved, total=False):
    """Holds also the entries without which a training cannot go on."""

    best_prec1: Required[float | torch.Tensor]  # type: ignore[misc]
    optimizer: Required[_Optimizer]  # type: ignore[misc]


def with_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a state dict with the prefix that the original project's DistributedModel put in front of its keys."""
    return {PREFIX + key: value for key, value in state.items()}


def save_weights(path: Path, contents: Mapping[str, Any]) -> None:
    """Writes a checkpoint whose weights can be used, but from which no training goes on.

    contents: its entries, with the state dict as the network has it.
    """
    state = with_prefix(contents["state_dict"])
    with atomic_write(path) as file:
        torch.save({**contents, "step": 0, "state_dict": state, SUM: sum_of(state)}, file)


def save(folder: Path, checkpoint: Mapping[str, Any], *, best: bool) -> None:
    """Writes `checkpoint` as the folder's newest, keeps the one before it, and writes it as the best one if `best`.

    The keys of its `state_dict` get the prefix of the original project. If the process is killed at any moment, the
    folder still holds a loadable checkpoint: the newest or the one before. The best file is replaced first, so a run
    that is killed in between continues from the older newest file and arrives at the same best again.

    Raises: CheckpointError for weights that are not numbers, such as a batch norm's statistics after an overflow, and
    when the disk is full or the folder cannot be written; the old files are untouched then.
    """
    newest = folder / NEWEST
    if fault := not_finite(_saved(checkpoint)) or not_finite(checkpoint.get("train_state_dict", {})):
        raise CheckpointError(
            f"{newest}: not written: after {checkpoint['step']} steps, {fault}. The checkpoint before it is unchanged; "
            "lower the learning rate or set amp: off"
        )
    staged = folder / f".{NEWEST}.staged"
    failed: list[OSError] = []
    try:
        with atomic_write(staged) as file:
            noting: Any = _Noting(file, failed)
            state = with_prefix(_saved(checkpoint))
            torch.save({**checkpoint, "state_dict": state, SUM: sum_of(state)}, noting)
        if best:
            _link(staged, folder / BEST)
        if newest.exists():
            _link(newest, folder / BEFORE)
        staged.replace(newest)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            staged.unlink()
        cause = error if isinstance(error, OSError) else failed[0] if failed else None
        if cause is None:  # nothing about writing: torch reports a dead worker wherever this process happens to be
            raise
        raise CheckpointError(
            f"{newest}: cannot be written ({cause.strerror or cause}); the checkpoint before it is unchanged"
        ) from error


def _saved(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights of a checkpoint without those that its `base` has."""
    left_out = {*checkpoint.get("base", {}).get("keys", ())}
    return {key: value for key, value in checkpoint["state_dict"].items() if key not in left_out}


class _Noting:
    """A file that notes why a write failed, which torch replaces by the place in its own code."""

    def __init__(self, file: IO[bytes], failed: list[OSError]) -> None:
        self._file, self._failed = file, failed

    def write(self, data: bytes) -> int:
        """Writes, and notes the error if that fails."""
        try:
            return self._file.write(data)
        except OSError as error:
            self._failed.append(error)
            raise

    def flush(self) -> None:
        """Does nothing: atomic_write flushes."""


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
    """Reads a checkpoint of ours onto the CPU.

    Raises: CheckpointError when it is missing, damaged, not a checkpoint of a run, or has an entry of another type.
    """
    return _checked(read(path), _Saved, path)


def load_to_resume(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that a training can continue from; refuses weights alone, and what `load` refuses."""
    return _checked(read(path), _Resumable, path)


def _checked(contents: Any, kind: Any, path: Path) -> dict[str, Any]:
    if not isinstance(contents, dict) or not {"step", "state_dict"} <= contents.keys():
        raise CheckpointError(f"{path}: not a checkpoint of a run of ours: it has no `step` and `state_dict`")
    try:
        TypeAdapter(kind).validate_python(contents)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        what = "is missing" if first["type"] == "missing" else f"is not what a run writes: {first['msg']}"
        raise CheckpointError(f"{path}: `{key}` {what}") from None
    return contents


def read(path: Path) -> Any:
    """Loads a file with weights_only=True; raises CheckpointError that names the file and what is wrong with it."""
    try:
        return read_torch(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, not a checkpoint") from None
    except MemoryError:
        raise CheckpointError(f"{path}: needs more memory than there is") from None
    except (*DAMAGED, pickle.UnpicklingError) as error:
        # the text of other errors is a key, or advice to trust the file
        says_why = isinstance(error, (RuntimeError, OSError, DamagedError))
        reason = str(error).split("\n")[0] if says_why else "no pickle of weights and plain values"
        raise CheckpointError(f"{path}: damaged or not a checkpoint: {reason}") from None


def saved_as(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what tells a checkpoint of ours from others, `step` and the `sum` of its weights; {} if it has no sum."""
    return {"step": contents.get("step"), "sum": contents[SUM]} if SUM in contents else {}


def find_best(folder: Path) -> Path:
    """Returns the path of an experiment's best checkpoint. Raises: UserError before there is one."""
    path = folder / BEST
    if not path.exists():
        raise UserError(f"{path}: no best checkpoint yet; train first, or name one with --load-path")
    return path


def has_any(folder: Path) -> bool:
    """Says whether an experiment's folder has a checkpoint that a training would continue from."""
    return any((folder / name).exists() for name in (NEWEST, BEFORE))


def load_newest(folder: Path) -> tuple[dict[str, Any], Path, str] | None:
    """Returns the newest checkpoint of an experiment that loads, its path, and a warning ("" if the newest one loads).

    Returns None if the folder has no checkpoint. Raises: CheckpointError if there are some and none of them loads.
    """
    problems: list[str] = []
    for path in (folder / NEWEST, folder / BEFORE):
        if not path.exists():
            continue
        try:
            return load_to_resume(path), path, "; ".join(problems)
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(f"no checkpoint here loads ({'; '.join(problems)}); use --fresh to start again")
    return None


def config_here(path: Path, common: Common) -> Common:
    """Returns the config stored in a checkpoint, with the keys in HERE and store, class names and decoder of `common`.

    What the network sees of a video stays as it is stored: augmentation, test protocol, sampling, frame names.

    Raises: CheckpointError for weights without a config, or for other classes.
    """
    stored = stored_config(load(path).get("config"), path)
    if stored.model.num_class != common.model.num_class or stored.multi_label != common.multi_label:
        raise CheckpointError(
            f"{path}: its config has num_class {stored.model.num_class} and multi_label {stored.multi_label}, this one "
            f"{common.model.num_class} and {common.multi_label}; only scores for the same classes can be fused"
        )
    data = {key: getattr(common.data, key) for key in ("store", "class_names", "decode")}
    return stored.model_copy(
        update={
            "data": stored.data.model_copy(update=data),
            "test": stored.test.model_copy(update={"batch_size": common.test.batch_size}),
            **{name: getattr(common, name) for name in HERE},
        }
    )

"""Loading cannot lie: a file with one thing changed is refused, or it is told, or it gives the same weights.

Each layout, each way to change one tensor or one byte. `make test` takes a few changes of two layouts, `make soak` all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base import Method
from methods.build import build_method
from networks.checkpoints.load import load_checkpoint_file, load_into
from tests.networks.checkpoints.layouts import official_names as clips
from tests.networks.checkpoints.layouts import official_names_2d as frames
from tests.networks.checkpoints.layouts import official_names_x3d as x3ds
from utils.config.sections import Model
from utils.errors import CheckpointError
from utils.torch_file import SUM, sum_of

State = dict[str, Tensor]
SEED = int(os.environ.get("SEED", "0"))
MOST = 80  # entries of a layout that are changed, in each of eight ways


class Layout(NamedTuple):
    """A network, and how a file of a project holds its weights."""

    model: dict[str, Any]
    write: Callable[[State], dict[str, Any]]
    zipped: bool = True


def _network(state: State) -> State:
    return {key.removeprefix("network."): value for key, value in state.items()}


def _ours(model: Mapping[str, Any]) -> Callable[[State], dict[str, Any]]:
    def write(state: State) -> dict[str, Any]:
        prefixed = {f"module.{key}": value for key, value in state.items()}
        config = {"common": {"model": dict(model)}}
        return {
            "step": 1,
            "state_dict": prefixed,
            SUM: sum_of(prefixed),
            "config": config,
            "class_names": list("abcdefg"),
        }

    return write


def _layouts() -> Iterator[tuple[str, Layout]]:
    tsn = {"type": "tsn", "backbone": "resnet18", "num_class": 7}
    tsm = {"type": "tsm", "backbone": "resnet18", "num_class": 7}
    small = {"type": "tsm", "backbone": "mobilenetv2", "num_class": 7, "kwargs": {"scale": 0.25}}
    slow = {"type": "clip3d", "backbone": "slow_r50", "num_class": 7}
    slowfast = {"type": "slowfast", "backbone": "resnet50", "num_class": 7, "alpha": 4, "fusion_kernel": 7}
    slowfast["position_average"] = "scores"  # as that project averages over positions
    yield "ours", Layout(small, _ours(small))
    yield "ours of clips", Layout({**slow, "backbone": "r3d_18"}, _ours({**slow, "backbone": "r3d_18"}))
    yield "MIT TSM", Layout(tsm, lambda state: {"state_dict": frames.mit(state, {}, shifted=True)})
    yield "MIT TSM mobilenet", Layout(small, lambda state: {"state_dict": frames.mit(state, {}, shifted=True)})
    yield "tsn-pytorch", Layout(tsn, lambda state: {"state_dict": frames.mit(state, {}, shifted=False)}, zipped=False)
    yield "mmaction2 TSM", Layout(tsm, lambda state: {"state_dict": frames.mmaction2(state, {}, shifted=True)})
    yield (
        "mmaction2 Slow",
        Layout({**slow, "kwargs": {"crop_size": None}}, lambda state: {"state_dict": clips.mmaction2(_network(state))}),
    )
    yield (
        "PySlowFast",
        Layout(
            {**slow, "kwargs": {"position_average": "scores"}},
            lambda state: {"model_state": clips.pyslowfast(_network(state))},
        ),
    )
    yield "PySlowFast SlowFast", Layout(slowfast, lambda state: {"model_state": clips.pyslowfast(_network(state))})
    yield "PyTorchVideo", Layout(slow, lambda state: {"model_state": clips.pytorchvideo(_network(state))})
    x3d = {**slow, "backbone": "x3d_m", "kwargs": {"first_shortcut_norm": True, "crop_size": None}}
    yield "mmaction2 X3D", Layout(x3d, lambda state: {"state_dict": x3ds.mmaction2(_network(state))})
    yield "torchvision", Layout({**slow, "backbone": "r2plus1d_18"}, _network, zipped=False)
    yield (
        "3D-ResNets-PyTorch",
        Layout({**slow, "backbone": "resnet18_3d"}, lambda state: {"state_dict": _network(state)}),
    )
    yield "VMZ", Layout({**slow, "backbone": "ir_csn_50"}, _network)


LAYOUTS = dict(_layouts())


@cache
def _weights(name: str) -> State:
    """Weights as training leaves them: no entry is zero, no two numbers of an entry are alike."""
    with torch.device("meta"):
        state = build_method(Model.model_validate(LAYOUTS[name].model)).state_dict()
    numbers = torch.Generator().manual_seed(SEED)
    return {
        key: torch.rand(value.shape, generator=numbers) + 0.1 if value.is_floating_point() else torch.tensor(5)
        for key, value in state.items()
    }


# --- what can be changed in the weights


def _remove(state: State, key: str) -> None:
    del state[key]


def _add(state: State, key: str) -> None:
    state[f"{key}_more"] = state[key].clone()


def _zero(state: State, key: str) -> None:
    state[key] = torch.zeros_like(state[key])


def _permute(state: State, key: str) -> None:
    value = state[key]
    state[key] = value.flatten().flip(0).reshape(value.shape) if value.dim() < 2 else value.transpose(0, 1).contiguous()


def _truncate(state: State, key: str) -> None:
    state[key] = state[key].flatten()[:-1].clone() if state[key].dim() < 2 else state[key][:-1].clone()


def _half(state: State, key: str) -> None:
    state[key] = state[key].half()


def _integers(state: State, key: str) -> None:
    state[key] = (100 * state[key]).to(torch.int8)


def _not_a_number(state: State, key: str) -> None:
    state[key] = state[key].double() / 0


WAYS = [_remove, _add, _zero, _permute, _truncate, _half, _integers, _not_a_number]


def _write(name: str, path: Path, state: State) -> None:
    torch.save(LAYOUTS[name].write(state), path, _use_new_zipfile_serialization=LAYOUTS[name].zipped)


def _named_by_hash(path: Path) -> Path:
    """Names a file as projects publish them, with the first digits of its hash."""
    return path.rename(path.with_name(f"model-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


class Loaded(NamedTuple):
    """What a file gives: its weights, and what is told about them."""

    state: State
    warnings: list[str]


def _load(name: str, path: Path) -> Loaded | None:
    """Loads a file into the network that it was made from; None if it is refused by its name."""
    method: Method = build_method(Model.model_validate(LAYOUTS[name].model))
    try:
        report = load_into(method, load_checkpoint_file(path), class_names=[*"abcdefg"])
    except CheckpointError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return None
    return Loaded(method.state_dict(), report.warnings)


def _same(one: State, other: State) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items() if value.is_floating_point())


def _check(name: str, original: Path, whole: Loaded, mutated: Path) -> None:
    found = _load(name, mutated)
    lies = found is not None and not _same(whole.state, found.state) and not set(found.warnings) - set(whole.warnings)
    assert not lies, f"{name}: {mutated.name} gave other weights than {original.name} without a word"


def _mutants(name: str, original: Path, folder: Path, count: int | None) -> Iterator[tuple[str, Path]]:
    """Yields files with one thing changed, under the name of the original, as a damaged download has it."""
    contents = LAYOUTS[name].write(dict(_weights(name)))
    inner = next((key for key in ("state_dict", "model_state") if key in contents), None)
    keys = [*(contents[inner] if inner else contents)]
    rng = np.random.default_rng(SEED)
    if len(keys) > MOST:
        keys = [keys[place] for place in sorted(rng.choice(len(keys), MOST, replace=False))]
    every = [(way, key) for way in WAYS for key in keys]
    chosen = every if count is None else [every[place] for place in rng.choice(len(every), count, replace=False)]
    for way, key in chosen:
        state = dict(contents[inner] if inner else contents)
        if not state[key].is_floating_point() and way not in (_remove, _add):
            continue
        way(state, key)
        target = folder / original.name
        torch.save(
            {**contents, inner: state} if inner else state, target, _use_new_zipfile_serialization=LAYOUTS[name].zipped
        )
        yield f"{way.__name__} {key}", target
    whole = original.read_bytes()
    for place in rng.integers(0, len(whole), count or 300).tolist():
        (folder / original.name).write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        yield f"bit at {place}", folder / original.name
    (folder / original.name).write_bytes(whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :])
    yield "a block of zeros", folder / original.name


def _all_mutants(name: str, folder: Path, count: int | None) -> None:
    _write(name, folder / "x.pth", _weights(name))
    original = _named_by_hash(folder / "x.pth")
    whole = _load(name, original)
    assert whole is not None and not [text for text in whole.warnings if "SHA" in text or "zero" in text]
    (folder / "changed").mkdir()
    for what, mutated in _mutants(name, original, folder / "changed", count):
        try:
            _check(name, original, whole, mutated)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None


@pytest.mark.alike
@pytest.mark.whole
@pytest.mark.parametrize("name", ["ours", pytest.param("MIT TSM mobilenet", marks=pytest.mark.long)])
def test_a_few_changes_of_a_file_are_each_refused_or_told(name: str, tmp_path: Path) -> None:
    _all_mutants(name, tmp_path, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_change_of_a_file_is_refused_or_told(name: str, tmp_path: Path) -> None:
    _all_mutants(name, tmp_path, None)


SETTINGS = [
    {"shift": "uni"}, {"shift_div": 4}, {"shift_place": "block"}, {"kwargs": {"scale": 0.25, "input_size": 64}},
    {"type": "tsn"}, {"backbone": "resnet18"}, {"modality": "flow"}, {"non_local": True},
]  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("change", SETTINGS)
def test_another_config_in_a_file_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    contents = LAYOUTS["ours"].write(dict(_weights("ours")))
    contents["config"]["common"]["model"] |= change
    torch.save(contents, tmp_path / "x.pth")
    assert _load("ours", tmp_path / "x.pth") is None

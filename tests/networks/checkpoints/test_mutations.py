"""Loading cannot lie: a file with one thing changed is refused, or it is told, or it gives the same weights.

Each layout, each way to change one tensor or one byte. `make test` takes a few changes of one layout, `make long` of a
second, `make soak` all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base import Method
from methods.build import build_method
from networks.checkpoints import file as checkpoint_files
from networks.checkpoints.load import LoadReport, RawCheckpoint, load_checkpoint_file, load_into
from tests.networks.checkpoints.layouts import official_names as clips
from tests.networks.checkpoints.layouts import official_names_2d as frames
from tests.networks.checkpoints.layouts import official_names_x3d as x3ds
from utils.config.sections import Model
from utils.errors import CheckpointError
from utils.torch_file import SUM, sum_of

State = dict[str, Tensor]
SEED = int(os.environ.get("SEED", "0"))
MOST = 80  # entries of a layout that are changed, in each of eight ways
EDGE = 1 << 16  # bytes at both ends of a file in which it says what it holds


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


Way = Callable[[State, str], None]
WAYS: list[Way] = [_remove, _add, _zero, _permute, _truncate, _half, _integers, _not_a_number]


class Original:
    """A file with weights, and the network that it was made from, which is built once."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.layout = name, LAYOUTS[name]
        self.contents = self.layout.write(dict(_weights(name)))
        self.inner = next((key for key in ("state_dict", "model_state") if key in self.contents), None)
        self.state: State = self.contents[self.inner] if self.inner else self.contents
        model = Model.model_validate(self.layout.model)
        self.method: Method = build_method(model)
        with torch.device("meta"):
            self.shapes: Method = build_method(model)
        self.path = folder / "x.pth"
        self.save(self.contents, self.path)
        self.warnings: set[str] = set()
        found = self.load(self.path)
        assert found is not None and _same(found.state, _weights(name))
        assert not [text for text in found.warnings if "zero" in text]
        assert (SUM in self.contents) != any("nothing tells whether these" in text for text in found.warnings)
        self.warnings = {*found.warnings}

    def save(self, contents: Mapping[str, Any], path: Path) -> None:
        torch.save(contents, path, _use_new_zipfile_serialization=self.layout.zipped)

    def changed(self, way: Way, key: str) -> dict[str, Any]:
        """The contents with one entry changed; all others are the same tensors."""
        state = dict(self.state)
        way(state, key)
        return {**self.contents, self.inner: state} if self.inner else state

    def load(self, path: Path) -> Loaded | None:
        """Loads a file into a network whose weights are no numbers; None if the file is refused by its name."""
        for value in self.method.state_dict().values():
            value.fill_(torch.nan if value.is_floating_point() else 5)
        if (report := self._report(self.method, path)) is None:
            return None
        return Loaded(self.method.state_dict(), report[1].warnings)

    def take(self, contents: Mapping[str, Any], path: Path) -> Loaded | None:
        """Does the same with what reading the file has given, without copying it into a network."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint_files, "_read", lambda *_, **__: contents)
            found = self._report(self.shapes, path)
        if found is None:
            return None
        file, report = found
        return Loaded({key: file.weights[key] for key in report.matched}, report.warnings)

    def _report(self, method: Method, path: Path) -> tuple[RawCheckpoint, LoadReport] | None:
        try:
            file = load_checkpoint_file(path)
            return file, load_into(method, file, class_names=[*"abcdefg"])
        except CheckpointError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            return None

    def is_silent(self, found: Loaded | None) -> bool:
        """Whether a file has given other weights than this one without a word."""
        return (
            found is not None and not {*found.warnings} - self.warnings and not _same(found.state, _weights(self.name))
        )


class Loaded(NamedTuple):
    """What a file gives: its weights, and what is told about them."""

    state: State
    warnings: list[str]


def _same(found: State, weights: State) -> bool:
    return all(_is_same(found.get(key), value) for key, value in weights.items() if value.is_floating_point())


def _is_same(one: Tensor | None, other: Tensor) -> bool:
    if one is None or one.shape != other.shape:
        return False
    if one.dtype == other.dtype and one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
        return True  # nothing was copied
    return torch.equal(one.to(other.dtype), other)


def _only_a_sum_can_tell(way: Way, before: Tensor, after: Tensor | None) -> bool:
    """Whether the weights are such as training may leave: other numbers, or a bias or a norm of zeros."""
    return (way is _permute and after is not None and after.shape == before.shape) or (
        way is _zero and before.dim() < 2
    )


def _all_changes(original: Original) -> Iterator[tuple[Way, str]]:
    keys = [*original.state]
    rng = np.random.default_rng(SEED)
    if len(keys) > MOST:
        keys = [keys[place] for place in sorted(rng.choice(len(keys), MOST, replace=False))]
    for way in WAYS:
        for key in keys:
            if original.state[key].is_floating_point() or way in (_remove, _add):
                yield way, key


def _some(changes: Iterator[tuple[Way, str]], count: int | None) -> list[tuple[Way, str]]:
    every = [*changes]
    if count is None:
        return every
    return [every[place] for place in np.random.default_rng(SEED).choice(len(every), count, replace=False)]


def _places(length: int, count: int) -> list[int]:
    """Bytes of a file: a third where it begins and a third where it ends, with names and shapes; and any others."""
    rng = np.random.default_rng(SEED)
    ends = min(EDGE, length)
    third = count // 3
    head, tail, anywhere = rng.integers(0, ends, third), rng.integers(length - ends, length, third), count - 2 * third
    return [*head.tolist(), *tail.tolist(), *rng.integers(0, length, anywhere).tolist()]


@contextlib.contextmanager
def _overwritten(path: Path, place: int, make: Callable[[bytes], bytes], length: int = 1) -> Iterator[None]:
    """Changes bytes of a file, and changes them back."""
    with path.open("r+b") as file:
        file.seek(place)
        before = file.read(length)
        file.seek(place)
        file.write(make(before))
    yield
    with path.open("r+b") as file:
        file.seek(place)
        file.write(before)


def _check_contents(original: Original, changes: Sequence[tuple[Way, str]]) -> None:
    """Changes weights: what the weights themselves show is seen in a file of any name."""
    for way, key in changes:
        contents = original.changed(way, key)
        after = (contents[original.inner] if original.inner else contents).get(key)
        if original.is_silent(original.take(contents, original.path)):
            # this is told of the file as it is: nobody has noted its sum
            assert SUM not in contents and _only_a_sum_can_tell(way, original.state[key], after), (
                f"{original.name}: {way.__name__} {key} gives other weights without a word"
            )
    assert _same(_weights.__wrapped__(original.name), _weights(original.name))  # no change has reached the original


def _check_files(original: Original, folder: Path, count: int) -> None:
    """Changes files that are named by their hash, as projects publish them; the name stays, as in a bad download."""
    digits = hashlib.sha256(original.path.read_bytes()).hexdigest()[:8]
    whole, changed = folder / f"model-{digits}.pth", folder / "changed" / f"model-{digits}.pth"
    changed.parent.mkdir()
    original.path.rename(whole)
    for way in WAYS:
        key = next(key for key in original.state if original.state[key].dim() == 1)
        original.save(original.changed(way, key), changed)
        assert not original.is_silent(original.load(changed)), f"{original.name}: {way.__name__} {key} in a file"
    shutil.copy(whole, changed)
    length = whole.stat().st_size
    for place in _places(length, count):
        with _overwritten(changed, place, lambda byte, place=place: bytes([byte[0] ^ 1 << place % 8])):
            assert not original.is_silent(original.load(changed)), f"{original.name}: a bit at {place}"
    with _overwritten(changed, length // 2, lambda block: bytes(len(block)), 4096):
        assert not original.is_silent(original.load(changed)), f"{original.name}: a block of zeros"


@pytest.mark.alike
@pytest.mark.whole
@pytest.mark.parametrize("name", ["ours", pytest.param("MIT TSM mobilenet", marks=pytest.mark.long)])
def test_a_few_changes_of_a_file_are_each_refused_or_told(name: str, tmp_path: Path) -> None:
    original = Original(name, tmp_path)
    _check_contents(original, _some(_all_changes(original), 24))
    _check_files(original, tmp_path, 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_change_of_a_file_is_refused_or_told(name: str, tmp_path: Path) -> None:
    original = Original(name, tmp_path)
    _check_contents(original, _some(_all_changes(original), None))
    _check_files(original, tmp_path, 300)


SETTINGS = [
    {"shift": "uni"}, {"shift_div": 4}, {"shift_place": "block"}, {"kwargs": {"scale": 0.25, "input_size": 64}},
    {"type": "tsn"}, {"backbone": "resnet18"}, {"modality": "flow"}, {"non_local": True},
]  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("change", SETTINGS)
def test_another_config_in_a_file_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    original = Original("ours", tmp_path)
    original.contents["config"]["common"]["model"] |= change
    assert original.take(original.contents, original.path) is None

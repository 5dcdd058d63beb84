"""Doubts about a file whose contents are not those that were published, as far as anything says what was."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18

from networks.checkpoints.file import load_checkpoint_file
from utils.errors import CheckpointError
from utils.published.sums import keep_sum
from utils.torch_file import SUM, sum_of

State = dict[str, Tensor]


def _state() -> State:
    return {name: tensor.clone() for name, tensor in resnet18(num_classes=3).state_dict().items()}


def _safetensors(state: State, path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file(state, path)


def _zip(state: State, path: Path) -> None:
    torch.save(state, path)


def _old_format(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def _pickle_of_arrays(state: State, path: Path) -> None:
    path.write_bytes(pickle.dumps({key: value.numpy() for key, value in state.items()}))


WRITERS = [_safetensors, _zip, _old_format, _pickle_of_arrays]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_of_any_format_whose_sum_nobody_has_noted_is_told_with_that_sum(
    write: Callable[[State, Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "model.weights"
    write(_state(), path)
    (doubt,) = load_checkpoint_file(path).warnings
    assert "nothing tells whether these are the weights that were published" in doubt
    assert f"begins with {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}" in doubt


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_compared_with_the_sum_that_stands_beside_it(
    write: Callable[[State, Path], None], tmp_path: Path
) -> None:
    path, state = tmp_path / "model.weights", _state()
    write(state, path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    keep_sum(path, before)
    assert load_checkpoint_file(path).warnings == ()
    state["layer3.0.bn1.weight"] = state["layer3.0.bn1.weight"] + torch.arange(256)  # as no format can tell
    write(state, path)
    (doubt,) = load_checkpoint_file(path).warnings
    assert f"model.weights.sha256 says {before[:8]}: it may be another file, changed or cut off" in doubt


@pytest.mark.parametrize("line", ["{sum}  model.pth", "{sum} *model.pth", "{SUM}  /mnt/weights/model.pth"])
def test_lines_of_sha256sum_are_read(line: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    _zip(_state(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()
    text = f"{'0' * 64}  other.pth\n{line.format(sum=digits, SUM=digits.upper())}\n"
    (tmp_path / "model.pth.sha256").write_text(text)
    assert load_checkpoint_file(path).warnings == ()


def test_a_sum_of_another_file_is_none_and_one_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    _zip(_state(), path)
    beside = tmp_path / "model.pth.sha256"
    beside.write_text(f"{'0' * 64}  other.pth\n")
    (doubt,) = load_checkpoint_file(path).warnings
    assert "nothing tells whether" in doubt
    beside.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"model\.pth\.sha256: cannot be read"):
        load_checkpoint_file(path)


def test_a_checkpoint_of_ours_has_a_sum_of_its_own(tmp_path: Path) -> None:
    path, state = tmp_path / "ckpt.pth.tar", {f"backbone.{key}": value for key, value in _state().items()}
    torch.save({"step": 1, "state_dict": state, SUM: sum_of(state)}, path)
    assert load_checkpoint_file(path).warnings == ()
    state["backbone.layer3.0.bn1.weight"] += torch.arange(256)
    torch.save({"step": 1, "state_dict": state, SUM: 12345}, path)
    (doubt,) = load_checkpoint_file(path).warnings
    assert doubt == "its weights were changed after the run had saved them"


def test_a_flipped_bit_in_the_cache_of_the_hub_is_told_as_its_files_are_named_by_their_sum(tmp_path: Path) -> None:
    data = bytearray(pytest.importorskip("safetensors.torch").save(_state()))
    blob = tmp_path / "blobs" / hashlib.sha256(data).hexdigest()
    link = tmp_path / "snapshots/main/model.safetensors"
    for folder in (blob.parent, link.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    assert load_checkpoint_file(link).warnings == ()
    data[-5] ^= 1
    blob.write_bytes(data)
    (doubt,) = load_checkpoint_file(link).warnings
    assert f"its name says {blob.name[:8]}: it may be another file, changed or cut off" in doubt

"""Doubts about a file whose contents are not those that its name was made for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from torchvision.models import resnet18

from networks.checkpoints.file import load_checkpoint_file


def test_a_flipped_bit_in_the_cache_of_the_hub_is_told_as_its_files_are_named_by_their_sum(tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in resnet18(num_classes=3).state_dict().items()}
    data = bytearray(pytest.importorskip("safetensors.torch").save(state))
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

"""Keys by rules, and tensors that become one."""

from __future__ import annotations

import pytest
import torch

from networks.checkpoints.layouts.renaming import join, rename
from utils.errors import CheckpointError


def test_two_names_of_one_part_are_an_error() -> None:
    rules = [(r"net\.(.+)", r"\1")]
    assert rename({"net.a": 1, "b": 2}, rules) == {"a": 1, "b": 2}
    with pytest.raises(CheckpointError, match=r"net\.a: another entry of the file is the same part of the network"):
        rename({"a": 1, "net.a": 2}, rules)


def test_a_changed_part_is_named_before_it_is_joined() -> None:
    state = {"q": torch.ones(2, 3), "k": torch.ones(1, 3), "bias": torch.zeros(3)}
    assert join(state, ["q", "k"]).shape == (3, 3)
    assert join(state, ["bias", "bias"]).shape == (6,)  # a bias may be zero
    with pytest.raises(CheckpointError, match=r"^k: is float16, but q, which belongs to it, is float32"):
        join(state | {"k": state["k"].half()}, ["q", "k"])
    with pytest.raises(CheckpointError, match=r"^k: is all zero, as in a file that has lost it"):
        join(state | {"k": torch.zeros(1, 3)}, ["q", "k"])

"""Video transformers whose blocks two processes share out and compute again, against one process that does neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods.clip3d import Clip3D
from networks.recompute import recompute_blocks, recomputed_blocks
from tests.helpers.ranks import run_ranks
from tests.helpers.requirements import needs_shards
from tests.helpers.shards import plain, trainer
from tests.helpers.transformers import VIDEO
from utils.processes import session
from utils.processes.sharded import gathered
from utils.training.batch import Batch
from utils.training.blocks import blocks_of

pytestmark = [pytest.mark.gloo, pytest.mark.long]
VIDEOS, STEPS = 4, 3
FAMILIES = [name for name in VIDEO if name != "uniformer"]  # whose batch norms see the videos of one process


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    arguments = {key: value for key, value in VIDEO[name].items() if key != "type"}
    steady = {"drop_path": 0.0} | ({"local": False, "reader_dropout": 0.0} if name == "uniformerv2" else {})
    arguments["kwargs"] = {**arguments["kwargs"], **steady}  # without chance and batch norms
    model = Clip3D(num_class=3, **arguments)
    nn.init.normal_(model.head.weight, std=0.1)
    return model


def batch(step: int) -> Batch:
    """This process's part of the videos of a step."""
    clips = torch.randint(
        256, (VIDEOS, 1, 3, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(step)
    )
    mine = torch.arange(VIDEOS).chunk(session.world_size())[session.rank()]
    return Batch(clips[mine], mine % 3, mine, {}, [""] * len(mine))


def run(rank: int, fsdp: bool, again: bool) -> dict[str, Any]:
    """By family: the losses, the weights at the end, how many blocks are computed again, and are shards."""
    found = {}
    for name in FAMILIES:
        model = made(name)
        if again:
            recompute_blocks(model)
        one = trainer(model, fsdp=fsdp, optimizer="ADAMW", lr_scheduler={"base_lr": 0.01, "max_iter": STEPS})
        losses = []
        for _ in one.steps([batch(step) for step in range(STEPS)], until=lambda: False):
            losses.append(one.state.meters["loss"].last)
        weights = gathered({key: value.detach() for key, value in one.model.named_parameters()})
        found[name] = [losses, plain(weights), len(recomputed_blocks(model)), _shards(model)]
    return found


def _shards(model: nn.Module) -> int:
    return sum(type(parameter).__name__ == "DTensor" for parameter in model.parameters())


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return run(0, False, False)


@pytest.fixture(scope="module")
def shared() -> list[dict[str, Any]]:
    needs_shards()
    return run_ranks(2, run, True, True)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_processes_that_share_blocks_and_compute_them_again_train_as_one_that_does_neither(
    name: str, alone: dict[str, Any], shared: list[dict[str, Any]]
) -> None:
    losses, weights, again, shards = shared[0][name]
    model = made(name)
    assert again == len(blocks_of(model)) > 1 and shards == len(list(model.parameters()))
    assert alone[name][2:] == [0, 0]
    assert len(losses) == STEPS and np.ptp(losses) > 1e-3
    np.testing.assert_allclose(losses, alone[name][0], atol=1e-5)
    for key, value in alone[name][1].items():
        # a bias of keys without rotation has a gradient of rounding errors, from which AdamW makes whole steps
        if not key.endswith(("qkv.bias", "in_proj.bias")):
            np.testing.assert_allclose(weights[key], value, atol=2e-4, err_msg=key)

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.ranks import run_ranks, run_sessions
from utils.processes import data_parallel
from utils.processes.data_parallel import Replica
from utils.processes.launch import Rank

pytestmark = pytest.mark.gloo


class Network(nn.Module):
    """Uses its layers in another order than it defines them, and one not at all; needs two buckets."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused = nn.Linear(64, 5), nn.Linear(2, 2)
        self.first = nn.Sequential(nn.Linear(3, 4096), nn.BatchNorm1d(4096), nn.ReLU(), nn.Dropout(0.1))
        self.middle = nn.Sequential(nn.Linear(4096, 64), nn.BatchNorm1d(64), nn.ReLU())

    def forward(self, clips: Tensor) -> Tensor:
        return self.last(self.middle(self.first(clips)))


def made() -> Network:
    torch.manual_seed(0)
    return Network()


def batch(rank: int, step: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(100 * step + rank))


def train(net: nn.Module, rank: int, steps: range, *, parts: int = 1) -> None:
    """One start of a run: a new replica, and steps of SGD."""
    replica, optimizer = Replica(net), torch.optim.SGD(net.parameters(), lr=0.1)
    for step in steps:
        torch.manual_seed(100 * step + rank)
        optimizer.zero_grad()
        for part in range(parts):
            logits = replica(batch(rank, parts * step + part), averages=part == parts - 1)
            logits.square().mean().backward()
        optimizer.step()


def weights(net: nn.Module) -> list[Any]:
    return [parameter.detach().numpy().copy() for parameter in net.parameters()]


def _whole_and_interrupted(rank: int, parts: int) -> list[Any]:
    whole, interrupted = made(), made()
    train(whole, rank, range(6), parts=parts)
    for steps in (range(1), range(1, 4), range(4, 6)):
        train(interrupted, rank, steps, parts=parts)
    return [weights(whole), weights(interrupted)]


@pytest.mark.parametrize(("world_size", "parts"), [(2, 1), (4, 1), (4, 3)])
def test_a_run_that_is_started_again_has_the_bits_of_one_that_was_not(world_size: int, parts: int) -> None:
    results = run_ranks(world_size, _whole_and_interrupted, parts)
    for whole, interrupted in results:
        for one, other, first in zip(whole, interrupted, results[0][0], strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, first)  # all ranks have the same weights


def _gradients(rank: int) -> list[Any]:
    """Gradients of this rank alone, and the mean, of two accumulated batches; no dropout."""
    net, alone = made(), made()
    for module in (*net.modules(), *alone.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    replica = Replica(net)
    for part in range(2):
        replica(batch(rank, part), averages=part == 1).square().mean().backward()
        alone(batch(rank, part)).square().mean().backward()
    return [[None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()] for model in (alone, net)]


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_last_backward_pass_of_a_step_averages_all_its_gradients(world_size: int) -> None:
    results = run_ranks(world_size, _gradients)
    for index, first in enumerate(results[0][1]):
        if first is None:  # of the layer that is not used
            continue
        mean = np.mean([alone[index] for alone, _ in results], axis=0)
        for _, averaged in results:
            np.testing.assert_allclose(averaged[index], mean, rtol=1e-4, atol=1e-7)


def _tried(rank: int) -> None:
    net = made()
    parallel = data_parallel._connect(net)
    torch.manual_seed(rank)
    drawn, buffers = torch.get_rng_state(), [buffer.clone() for buffer in net.buffers()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        data_parallel._try(parallel, batch(rank, 0))
        assert torch.equal(torch.get_rng_state(), drawn)
        assert all(torch.equal(now, before) for now, before in zip(net.buffers(), buffers, strict=True))
        assert all(parameter.grad is None for parameter in net.parameters())
        assert not parallel._has_rebuilt_buckets
        parallel(batch(rank, 0)).sum().backward()
        assert parallel._has_rebuilt_buckets  # before the gradients of the first step are sent


def test_the_passes_before_the_first_step_leave_nothing_but_the_buckets() -> None:
    run_ranks(2, _tried)


def _fails_in_its_second_step(process: Rank) -> None:
    def weight(logits: Tensor) -> Tensor:
        if process.number == 1 and step == 1:
            raise ValueError("no such label")
        return logits.square().mean()

    replica = Replica(made())
    for step in range(3):
        weight(replica(batch(process.number, step), averages=True)).backward()


def test_a_process_whose_loss_fails_is_named_by_those_that_wait_for_its_gradients() -> None:
    results = run_sessions(3, _fails_in_its_second_step)
    for rank in (0, 2):
        code, text = results[rank]
        assert code == 1
        assert re.search(r"^error: rank 1 \(.*\): ValueError: no such label$", text, re.MULTILINE)

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.ranks import run_ranks, run_sessions
from tests.helpers.requirements import needs_shards
from tests.helpers.shards import made
from utils.errors import CheckpointError
from utils.processes.launch import Rank
from utils.processes.sharded import SUMS, Sharded, gathered, load_whole, refuse_unsharded, shard_like, whole


@pytest.fixture
def _torch_is_new_enough() -> None:
    needs_shards()


shares = pytest.mark.usefixtures("_torch_is_new_enough")


class Single(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


def test_networks_that_have_no_shards_are_refused_by_the_name_of_the_parameter() -> None:
    refuse_unsharded(net := made(), net.blocks, on_cpu=False)
    with pytest.raises(ValueError, match=r"^scale is a single number, which has no parts: set it to False$"):
        refuse_unsharded(Single(), [], on_cpu=False)
    text = "is used in several blocks, and only one can hold its shards: set it to False"
    net.blocks[2].wide.weight = net.blocks[1].wide.weight
    with pytest.raises(ValueError, match=rf"^blocks\.1\.wide\.weight {text}$"):
        refuse_unsharded(net, net.blocks, on_cpu=False)
    net = made()
    net.head.bias = net.blocks[0].narrow.bias
    with pytest.raises(ValueError, match=rf"^blocks\.0\.narrow\.bias {text}$"):
        refuse_unsharded(net, net.blocks, on_cpu=False)


def test_a_torch_that_is_too_old_for_cpus_is_refused_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.fsdp import FSDPModule

    monkeypatch.delattr(FSDPModule, SUMS, raising=False)
    net = made()
    with pytest.raises(ValueError, match=r"^torch \S+ does this on GPUs only: install a newer one"):
        refuse_unsharded(net, net.blocks, on_cpu=True)
    refuse_unsharded(net, net.blocks, on_cpu=False)


def test_what_is_not_shared_out_stays_as_it_is() -> None:
    net, tree = made(), {"a": [torch.ones(1)], "b": None}
    assert gathered(tree) is tree
    with whole(net) as lent:
        assert lent is net and net.head.weight.requires_grad
    value = torch.ones(3)
    assert shard_like(value, net.head.bias) is value


def test_weights_of_another_network_are_an_error_that_names_one() -> None:
    for state in ({"a": torch.ones(1)}, {"weight": torch.ones(1, 1)}):
        with pytest.raises(CheckpointError, match=r"weights that are trained do not belong to this network: (a|bias)"):
            load_whole(nn.Linear(1, 1), state)


def _lent(rank: int) -> list[Any]:
    """What a network of shards is while it is whole, after an error inside, and after other weights are loaded."""
    plain = made()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(rank)  # processes that begin with other weights get those of rank 0
    plain.register_buffer("counted", torch.full((1,), float(rank)))
    shared = Sharded(plain, plain.blocks)
    own = {name: value.detach() for name, value in made().named_parameters()}
    with pytest.raises(KeyError), whole(shared.plain) as lent:
        same = all(torch.equal(value, own[name]) for name, value in lent.named_parameters())
        raise KeyError
    shards = all(a is b for a, b in zip(shared.plain.parameters(), plain.parameters(), strict=True))
    load_whole(plain, {name: value * 2 for name, value in own.items()} | {"counted": plain.counted})
    twice = gathered(dict(plain.named_parameters()))
    loaded = [torch.equal(twice[name], 2 * own[name]) if rank == 0 else twice[name] for name in own]
    return [same, shards, plain.counted.item(), set(loaded)]


@shares
@pytest.mark.gloo
def test_a_network_is_whole_as_long_as_it_is_lent_and_begins_as_that_of_the_first_process() -> None:
    assert run_ranks(2, _lent) == [[True, True, 0.0, {True}], [True, True, 0.0, {None}]]


class Viewed(nn.Module):
    """A layer whose answer is a view."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, rows: Tensor) -> tuple[Tensor, int]:
        return self.layer(rows)[:, :], 6


class ChangesViews(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Viewed() for _ in range(3))

    def forward(self, rows: Tensor) -> Tensor:
        for block in self.blocks:
            rows, width = block(rows)
            rows += width
        return rows[:, :]


def _changed_views(rank: int) -> list[bool]:
    torch.manual_seed(0)
    net, rows = ChangesViews(), torch.rand(2, 6)
    alone = copy.deepcopy(net)
    Sharded(net, net.blocks)(rows, averages=True).square().sum().backward()
    alone(rows).square().sum().backward()
    gradients = [parameter.grad.full_tensor() for parameter in net.parameters()]
    return [torch.allclose(one, other.grad) for one, other in zip(gradients, alone.parameters(), strict=True)]


@shares
@pytest.mark.gloo
def test_blocks_may_return_views_that_are_changed_in_place() -> None:
    assert run_ranks(2, _changed_views) == [[True] * 6] * 2


class Spy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, rows: Tensor) -> Tensor:
        assert rows.max() < 9, "too large"
        self.caches = torch.is_autocast_cache_enabled()
        return self.layer(rows)


def _caches(rank: int) -> list[bool]:
    net, found = Spy(), []
    shared = Sharded(net, [])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shared(torch.ones(1, 2), averages=True)
        found += [net.caches, torch.is_autocast_cache_enabled()]
        with pytest.raises(AssertionError, match="too large"):
            shared(torch.full((1, 2), 9.0), averages=True)
        found.append(torch.is_autocast_cache_enabled())
    return found


@shares
@pytest.mark.gloo
def test_mixed_precision_keeps_no_copies_of_weights_that_are_whole() -> None:
    assert run_ranks(2, _caches) == [[False, True, True]] * 2


def _fails_in_its_second_step(process: Rank) -> None:
    net = made()
    shared = Sharded(net, net.blocks)
    for step in range(3):
        loss = shared(torch.rand(2, 3, 2, 4, 4), averages=True).square().mean()
        if process.number == 1 and step == 1:
            raise ValueError("no such label")
        loss.backward()


@shares
@pytest.mark.gloo
def test_a_process_whose_loss_fails_is_named_by_those_that_wait_for_its_gradients() -> None:
    results = run_sessions(3, _fails_in_its_second_step)
    for rank in (0, 2):
        code, text = results[rank]
        assert code == 1
        assert re.search(r"^error: rank 1 \(.*\): ValueError: no such label$", text, re.MULTILINE)

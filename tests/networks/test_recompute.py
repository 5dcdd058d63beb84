from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from methods import METHODS
from networks.group_sync_bn import convert_group_sync_bn
from networks.recompute import recompute_blocks, recomputed_blocks
from tests.helpers.ranks import run_ranks
from utils.processes.data_parallel import Replica
from utils.training.blocks import blocks_of

NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int], int]] = {  # arguments, size of a clip, number of blocks
    "tsm": ({"backbone": "resnet18", "num_segments": 4, "dropout": 0.5}, (4, 32), 8),
    "tsn": ({"backbone": "mobilenetv2", "dropout": 0.5}, (3, 32), 17),
    "slowfast": ({"backbone": "resnet50", "clip_len": 8, "alpha": 4}, (8, 32), 32),
    "clip3d": ({"backbone": "r2plus1d_18", "clip_len": 4}, (4, 32), 8),
}


def pair(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """A method, the same one with blocks that are computed again, and clips."""
    arguments, (frames, side), _ = NETWORKS[kind]
    torch.manual_seed(0)
    plain = METHODS[kind](num_class=5, **arguments).train()
    again = copy.deepcopy(plain)
    recompute_blocks(again)
    return plain, again, torch.randn(2, 3, frames, side, side)


def step(net: nn.Module, clips: Tensor) -> tuple[Tensor, int]:
    """The loss of one pass there and back, and the bytes that the first half kept for the second."""
    kept: dict[int, int] = {}

    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(net(clips), torch.tensor([0, 3]))
        size = sum(kept.values())
    loss.backward()
    return loss.detach(), size


def same(one: nn.Module, other: nn.Module) -> bool:
    """Equal to the bit: weights, statistics and gradients."""
    states = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    gradients = zip(one.parameters(), other.parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in states) and all(
        torch.equal(x.grad, y.grad) for x, y in gradients
    )


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind == "slowfast")) for kind in NETWORKS]
)
def test_losses_gradients_and_statistics_are_the_same_to_the_bit(kind: str) -> None:
    plain, again, clips = pair(kind)
    assert len(recomputed_blocks(again)) == NETWORKS[kind][2]
    assert list(blocks_of(again)) == list(blocks_of(plain)) == recomputed_blocks(again)
    for _ in range(2):
        assert torch.equal(step(plain, clips)[0], step(again, clips)[0])
        assert same(plain, again)


def test_less_is_kept_for_the_backward_pass() -> None:
    plain, again, clips = pair("tsm")
    before, after = (step(net, clips)[1] for net in (plain, again))
    assert 0 < after < before / 2


def test_dropout_inside_of_a_block_draws_the_same_again() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(Block(), Block())
    again = copy.deepcopy(plain)
    recompute_blocks(again)
    x = torch.randn(2, 4)
    for net in (plain, again):
        torch.manual_seed(1)
        net(x).square().sum().backward()
    assert same(plain, again)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


@pytest.mark.whole
def test_a_copy_computes_with_its_own_weights() -> None:
    """A copy is what the moving average of the weights is."""
    _, again, clips = pair("tsm")
    copied = copy.deepcopy(again)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    assert step(copied, clips)[0] != step(again, clips)[0]


@pytest.mark.whole
def test_mixed_precision_gives_the_same_losses() -> None:
    plain, again, clips = pair("tsm")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(step(plain, clips)[0], step(again, clips)[0])
    assert same(plain, again)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no repeated blocks"):
        recompute_blocks(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)))


def in_two_processes(rank: int) -> bool:
    plain, again, _ = pair("tsm")
    clips = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(rank))
    results = []
    for net in (plain, again):
        convert_group_sync_bn(net, bn_group_size=2, bn_sync_stats=True)
        replica = Replica(net)
        for seed in range(2):
            torch.manual_seed(seed)
            loss = nn.functional.cross_entropy(replica(clips, averages=True), torch.tensor([0, 3]))
            loss.backward()
        results.append(loss.detach())
    return torch.equal(*results) and same(plain, again)


@pytest.mark.long
@pytest.mark.gloo
def test_two_processes_with_group_batch_norm_train_the_same() -> None:
    assert run_ranks(2, in_two_processes) == [True, True]

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from networks.group_sync_bn import GroupBatchNorm, convert_group_sync_bn, resolve_group_size
from tests.helpers.ranks import run_ranks

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def make_net(dims: int) -> nn.Module:
    torch.manual_seed(0)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
    net = nn.Sequential(
        conv(3, 4, 3, padding=1), norm(4), nn.ReLU(), conv(4, 5, 1), norm(5, momentum=None), norm(5, affine=False)
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.3, 0.5)
    return net


def make_inputs(dims: int, sizes: list[int], steps: int = 2) -> list[list[Tensor]]:
    """[step][rank] -> (size, 3, 4, ...), shifted far from zero, where a careless variance loses its digits."""
    generator = torch.Generator().manual_seed(1)
    shape = [4] * dims
    return [[torch.randn(size, 3, *shape, generator=generator) * 2 + 7 for size in sizes] for _ in range(steps)]


def train_steps(net: nn.Module, inputs: list[Tensor], weights: list[Tensor]) -> dict[str, Any]:
    outputs, input_gradients = [], []
    for values, weight in zip(inputs, weights, strict=True):
        leaf = values.clone().requires_grad_()
        output = net(leaf)
        (output * weight).sum().backward()
        outputs.append(output.detach())
        input_gradients.append(leaf.grad)
    return {
        "outputs": outputs,
        "input_gradients": input_gradients,
        "gradients": [parameter.grad for parameter in net.parameters()],
        "buffers": {name: buffer.clone() for name, buffer in net.named_buffers()},
    }


def as_numpy(tree: Any) -> Any:
    """Tensors cannot go through a pipe of a process that ends; arrays can."""
    if isinstance(tree, Tensor):
        return tree.numpy()
    if isinstance(tree, dict):
        return {key: as_numpy(value) for key, value in tree.items()}
    return [as_numpy(value) for value in tree] if isinstance(tree, list) else tree


def one_rank(rank: int, dims: int, sizes: list[int], group_size: int, sync_stats: bool) -> dict[str, Any]:
    net = make_net(dims)
    keys, parameters = list(net.state_dict()), [id(parameter) for parameter in net.parameters()]
    assert convert_group_sync_bn(net, bn_group_size=group_size, bn_sync_stats=sync_stats) == []
    assert list(net.state_dict()) == keys
    assert [id(parameter) for parameter in net.parameters()] == parameters  # an optimizer made before still holds them
    steps = make_inputs(dims, sizes)
    weights = output_weights(dims, sizes)
    return as_numpy(train_steps(net, [step[rank] for step in steps], [step[rank] for step in weights]))


def output_weights(dims: int, sizes: list[int], steps: int = 2) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [[torch.randn(size, 5, *[4] * dims, generator=generator) for size in sizes] for _ in range(steps)]


def oracle(dims: int, sizes: list[int], ranks: range) -> dict[str, Any]:
    """One process with the whole group's batch and torch's plain batch norm."""
    inputs = [torch.cat([step[rank] for rank in ranks]) for step in make_inputs(dims, sizes)]
    weights = [torch.cat([step[rank] for rank in ranks]) for step in output_weights(dims, sizes)]
    return as_numpy(train_steps(make_net(dims), inputs, weights))


@pytest.mark.gloo
@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("sizes", "group_size"),
    [
        ([2, 2], 1),
        ([2, 2], 2),
        ([3, 1], 2),
        ([2, 2, 2, 2], 2),
        ([3, 1, 2, 4], 2),
        ([1, 2, 3, 2], 4),
        ([2, 0, 1, 2], 4),
        ([2] * 4, 1),
    ],
)
def test_a_group_of_processes_is_one_process_with_all_their_videos(
    dims: int, sizes: list[int], group_size: int
) -> None:
    world_size = len(sizes)
    for sync_stats in (False, True):
        results = run_ranks(world_size, one_rank, dims, sizes, group_size, sync_stats)
        groups = [range(first, first + group_size) for first in range(0, world_size, group_size)]
        expected = [oracle(dims, sizes, group) for group in groups]
        for group, alone in zip(groups, expected, strict=True):
            for part in ("outputs", "input_gradients"):
                for step in range(2):
                    joined = np.concatenate([results[rank][part][step] for rank in group])
                    np.testing.assert_allclose(joined, alone[part][step], **CLOSE, err_msg=f"{part}, step {step}")
            largest = max(np.abs(gradient).max() for gradient in alone["gradients"])
            for index, gradient in enumerate(alone["gradients"]):
                total = sum(results[rank]["gradients"][index] for rank in group)
                # a bias before a batch norm has no gradient but rounding: compared by the scale of the others
                np.testing.assert_allclose(total, gradient, rtol=1e-5, atol=1e-5 * largest)
            if not sync_stats:
                for rank in group:
                    for name, buffer in alone["buffers"].items():
                        np.testing.assert_allclose(results[rank]["buffers"][name], buffer, **CLOSE, err_msg=name)
        if sync_stats:
            check_averaged(results, expected)


def check_averaged(results: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Running statistics are a linear function of each step's, so averaging at every step is averaging at the end.

    That is so for a fixed momentum and for momentum=None alike; groups have equally many ranks.
    """
    for name in expected[0]["buffers"]:
        mean = np.mean([group["buffers"][name] for group in expected], axis=0)
        for result in results:
            np.testing.assert_allclose(result["buffers"][name], mean, **CLOSE, err_msg=name)
            np.testing.assert_array_equal(result["buffers"][name], results[0]["buffers"][name])


@pytest.mark.gloo
def test_running_statistics_are_equal_on_all_ranks_only_with_sync_stats() -> None:
    for sync_stats in (True, False):
        results = run_ranks(4, one_rank, 2, [2, 2, 2, 2], 2, sync_stats)
        means = [result["buffers"]["1.running_mean"] for result in results]
        np.testing.assert_array_equal(means[0], means[1])  # one group
        assert np.array_equal(means[0], means[2]) == sync_stats


def _evaluating_rank(rank: int) -> Any:
    net = make_net(2)
    convert_group_sync_bn(net, bn_group_size=2, bn_sync_stats=True)
    net.eval()
    if rank == 1:
        return []  # evaluation shards differ in length: no rank may wait for another one
    return as_numpy([net(make_inputs(2, [3])[0][0]).detach(), net[1].running_mean])


@pytest.mark.gloo
def test_evaluation_talks_to_nobody() -> None:
    output, running_mean = run_ranks(2, _evaluating_rank)[0]
    net = make_net(2).eval()
    np.testing.assert_allclose(output, net(make_inputs(2, [3])[0][0]).detach().numpy(), **CLOSE)
    assert not running_mean.any()


def _copying_rank(rank: int) -> bool:
    net = make_net(2)
    shared = nn.Sequential(net[1], net[1], net)
    convert_group_sync_bn(shared, bn_group_size=1)
    assert type(shared[0]) is nn.BatchNorm2d
    convert_group_sync_bn(shared, bn_group_size=2)
    assert isinstance(shared[0], GroupBatchNorm) and shared[0] is shared[1] is shared[2][1]
    copied = copy.deepcopy(shared)  # as EMA does
    assert copied[0] is not shared[0] and copied[0].process_group is shared[0].process_group
    return True


@pytest.mark.gloo
def test_a_shared_norm_stays_shared_and_a_model_can_be_copied() -> None:
    assert run_ranks(2, _copying_rank) == [True, True]


def _gradcheck_rank(rank: int) -> bool:
    net = nn.BatchNorm2d(2).double()
    holder = nn.Sequential(net)
    convert_group_sync_bn(holder, bn_group_size=2)
    generator = torch.Generator().manual_seed(rank)
    values = torch.randn(2, 2, 2, 2, dtype=torch.float64, generator=generator)
    output = holder(values)
    assert output.dtype == torch.float64
    assert holder(values.bfloat16()).dtype == torch.bfloat16
    return True


@pytest.mark.gloo
def test_the_dtype_of_the_input_is_the_output_s() -> None:
    assert run_ranks(2, _gradcheck_rank) == [True, True]


def test_one_process_keeps_plain_batch_norm_and_says_that_the_group_is_smaller() -> None:
    net = make_net(2)
    [warning] = convert_group_sync_bn(net, bn_group_size=16, bn_sync_stats=True)
    assert warning == "bn_group_size: 16 is more than the 1 process(es) of this run, so 1 is used"
    assert type(net[1]) is nn.BatchNorm2d


@pytest.mark.parametrize(("group", "world", "used"), [(1, 1, 1), (16, 32, 16), (16, 16, 16), (16, 4, 4), (2, 4, 2)])
def test_a_group_clamps_to_the_world(group: int, world: int, used: int) -> None:
    size, warning = resolve_group_size(group, world)
    assert size == used
    assert bool(warning) == (group > world)


@pytest.mark.parametrize(
    ("group", "world", "message"),
    [
        (3, 4, "bn_group_size: 3 does not divide the 4 processes of this run"),
        (16, 24, "bn_group_size: 16 does not divide the 24 processes of this run"),
        (0, 4, "bn_group_size: should be greater than 0, but is 0"),
        ("16", 4, "bn_group_size: should be a valid integer, but is '16'"),
        (
            True,
            4,
            "bn_group_size: should be a valid integer, but is True .which is also what YAML makes of yes and on.",
        ),
    ],
)
def test_a_wrong_group_is_an_error(group: Any, world: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        convert_group_sync_bn(make_net(2), bn_group_size=group, world_size=world)


def test_the_l1_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^bn_var_mode: should be 'L2', but is 'L1'$"):
        convert_group_sync_bn(make_net(2), bn_group_size=1, bn_var_mode="L1")

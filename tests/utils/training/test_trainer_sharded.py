"""Training with `fsdp`: several processes that share a network out, against one process that has all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from networks.group_sync_bn import convert_group_sync_bn
from networks.recompute import recompute_blocks
from tests.helpers.ranks import run_ranks
from tests.helpers.requirements import needs_shards
from tests.helpers.shards import STEPS, Blocks, made, plain, tensors, train, trainer, videos
from utils.processes import session

pytestmark = pytest.mark.gloo


@pytest.fixture(autouse=True, scope="module")
def _torch_is_new_enough() -> None:
    needs_shards()


# what a step does in another way when weights, gradients and memory are shards
KEYS: dict[str, dict[str, Any]] = {
    "SGD": {"ema": 0.5, "accumulate": 2, "nesterov": True},
    "AdamW": {"optimizer": "ADAMW", "clip_gradient": 0.05, "bad_loss_budget": 1, "freeze": ["stem", "blocks.1"]},
}


def model_of(keys: dict[str, Any], **arguments: Any) -> nn.Module:
    """The network of a run; what `freeze` names learns nothing, as methods/build.py makes it."""
    model = made(**arguments)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(keys.get("freeze", ["none"]))))
    return model


def _run(rank: int, fsdp: bool, saved: Any, until: int) -> list[Any]:
    """The losses of each kind of run up to a step, and its checkpoint."""
    found = []
    for name, keys in KEYS.items():
        one = trainer(model_of(keys), saved=tensors(saved[name]) if saved else None, fsdp=fsdp, **keys)
        found.append([train(one, until=until), plain(one.state_dict())])
    return found


def runs(world_size: int, saved: Any = None, *, fsdp: bool = True, until: int = STEPS) -> dict[str, Any]:
    """By kind of run: the losses of the first process, and the checkpoint that it would write."""
    if world_size == 1:
        return dict(zip(KEYS, _run(0, fsdp, saved, until), strict=True))
    ranks = run_ranks(world_size, _run, fsdp, saved, until)
    for rank in ranks[1:]:
        assert [losses for losses, _ in rank] == [losses for losses, _ in ranks[0]]
        assert all(checkpoint == {} for _, checkpoint in rank)
    return dict(zip(KEYS, ranks[0], strict=True))


def checkpoints(found: dict[str, Any]) -> dict[str, Any]:
    return {name: checkpoint for name, (_, checkpoint) in found.items()}


def assert_alike(one: Any, other: Any, *, atol: float, where: str = "") -> None:
    """Checks that two checkpoints have the same keys in order, types and shapes, and values to `atol`; not times."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            if key not in ("seconds", "time", "data"):
                assert_alike(one[key], other[key], atol=atol, where=f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_alike(*pair, atol=atol, where=f"{where}.{number}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        np.testing.assert_allclose(one, other, atol=atol, rtol=0, err_msg=where)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=atol), where
    else:
        assert one == other, where


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return runs(1)


@pytest.mark.parametrize("world_size", [2, pytest.param(4, marks=pytest.mark.long)])
def test_losses_and_checkpoints_are_those_of_one_process(world_size: int, alone: dict[str, Any]) -> None:
    found = runs(world_size)
    for name in KEYS:
        assert len(alone[name][0]) == STEPS and np.ptp(alone[name][0]) > 1e-3
        assert_alike(alone[name], found[name], atol=1e-5, where=name)


def _whole_and_resumed(rank: int) -> list[Any]:
    whole, begun = _run(rank, True, None, STEPS), _run(rank, True, None, 1)
    # every process reads the file that the first one wrote
    saved = session.gather_objects({name: checkpoint for name, (_, checkpoint) in zip(KEYS, begun, strict=True)})[0]
    return [whole, begun, _run(rank, True, saved, STEPS)]


def test_a_run_that_goes_on_has_the_bits_of_one_that_was_not_interrupted() -> None:
    for whole, begun, resumed in run_ranks(2, _whole_and_resumed):
        for one, first, other in zip(whole, begun, resumed, strict=True):
            assert one[0] == first[0] + other[0]
            assert_alike(one[1], other[1], atol=0)


@pytest.mark.long
def test_a_checkpoint_goes_on_in_any_number_of_processes(alone: dict[str, Any]) -> None:
    saved, losses = None, {name: [] for name in KEYS}
    for world_size, until in ((1, 1), (4, 2), (2, 3)):
        found = runs(world_size, saved, until=until)
        saved = checkpoints(found)
        for name in KEYS:
            losses[name] += found[name][0]
    for name in KEYS:
        assert_alike(alone[name][0], losses[name], atol=1e-5, where=name)
        assert_alike(alone[name][1], saved[name], atol=1e-5, where=name)


def _bytes(rank: int) -> int:
    """What this process keeps of weights, gradients, the optimizer and the average."""
    found = trainer(made(width=63), fsdp=True, optimizer="ADAMW", ema=0.5)
    train(found, until=1)
    kept = list(found.model.parameters())
    kept += [parameter.grad for parameter in kept]
    kept += [part for state in found.optimizer.state.values() for part in state.values() if part.dim()]
    kept += list(found._scored.parameters())
    storages = [part.to_local().untyped_storage() for part in kept]
    return sum(
        {storage.data_ptr(): storage.nbytes() for storage in storages}.values()
    )  # gradients of a block share one


@pytest.mark.parametrize("world_size", [2, pytest.param(4, marks=pytest.mark.long)])
def test_a_process_keeps_its_share_of_weights_gradients_optimizer_and_average(world_size: int) -> None:
    everything = 5 * sum(parameter.nbytes for parameter in made(width=63).parameters())  # AdamW remembers two
    for own in run_ranks(world_size, _bytes):
        assert own == pytest.approx(everything / world_size, rel=0.05)


class Sore(Blocks):
    """Answers nan to a batch with a white clip."""

    def forward(self, clips: Tensor) -> Tensor:
        logits = super().forward(clips)
        return logits * torch.nan if (clips == 1).flatten(1).all(1).any() else logits


def _with_a_bad_loss(rank: int) -> list[Any]:
    """Three steps, in the second of which the loss of rank 1 is nan."""
    found = trainer(Sore(norm=True), fsdp=True, bad_loss_budget=1, ema=0.5)
    batches = [videos(step, rank, 2) for step in range(3)]
    if rank:
        batches[1].clips[0] = 255
    seen = []
    for step in found.steps(batches, until=lambda: False):
        seen.append([step.left_out, plain(found.state_dict())])
    return seen


def test_a_bad_loss_of_one_process_moves_nothing_in_any() -> None:
    first, second, third = run_ranks(2, _with_a_bad_loss)[0]
    assert second[0] == ["step 1: the loss is nan; videos of the batch: 4, 5, 6, 7"]
    for key in ("state_dict", "train_state_dict", "optimizer"):
        assert_alike(first[1][key], second[1][key], atol=0)
    assert not np.array_equal(third[1]["state_dict"]["head.weight"], second[1]["state_dict"]["head.weight"])
    assert np.isfinite(third[1]["state_dict"]["head.weight"]).all()


def _overflows(rank: int) -> list[Any]:
    found = trainer(made(), fsdp=True, amp="fp16", clip_gradient=1.0)
    begun = plain(found.state_dict())
    train(found, until=1)
    before = plain(found.state_dict())
    found.precision.backward(found._replica(videos(1, rank, 2).clips.flatten(0, 1).float(), averages=True).sum())
    if rank == 1:
        found.model.head.bias.grad.to_local().fill_(torch.inf)
    found.precision.update(found.optimizer, found.model, clip_gradient=1.0)
    return [begun, before, plain(found.state_dict())]


def test_an_overflow_in_the_shard_of_one_process_moves_nothing_in_any() -> None:
    begun, before, after = run_ranks(2, _overflows)[0]
    assert not np.array_equal(begun["state_dict"]["head.weight"], before["state_dict"]["head.weight"])
    assert_alike(before["state_dict"], after["state_dict"], atol=0)
    assert after["scaler"]["scale"] == before["scaler"]["scale"] / 2


def _engines(rank: int) -> list[Any]:
    """Checkpoints of DistributedDataParallel and of shards, of networks that differ in what a forward pass is."""
    pairs = []
    for keys, groups in (({"amp": "bf16"}, False), ({"precise_bn": 1}, True)):
        for fsdp in (False, True):
            model = made(norm=groups)
            if groups:
                convert_group_sync_bn(model, bn_group_size=2, bn_sync_stats=True)
            found = trainer(model, fsdp=fsdp, **keys)
            pairs.append([train(found), plain(found.state_dict())])
    return pairs


def test_mixed_precision_and_grouped_batch_norm_compute_as_without_shards() -> None:
    for bf16, bf16_shards, groups, groups_shards in run_ranks(2, _engines):
        assert_alike(bf16, bf16_shards, atol=1e-6)
        assert_alike(groups, groups_shards, atol=1e-6)


def _again(rank: int) -> list[Any]:
    found = []
    for again in (False, True):
        model = made(norm=True)
        if again:
            recompute_blocks(model)
        one = trainer(model, fsdp=True)
        found.append([train(one), plain(one.state_dict())])
    return found


def test_blocks_that_are_computed_again_change_no_bit() -> None:
    for one, other in run_ranks(2, _again):
        assert_alike(one, other, atol=0)


def _validated(rank: int) -> list[Any]:
    """Logits of the network that is validated, its statistics, and what the checkpoint computes and holds."""
    found = trainer(made(norm=True), fsdp=True, ema=0.5, precise_bn=1)
    found.data.clips = lambda place, *, start, count: iter([torch.rand(4, 3, 2, 4, 4)])
    train(found, until=2)
    clips = torch.ones(2, 3, 2, 4, 4)
    with found.validated() as network, session.first_buffers(network):  # as `evaluate` does
        logits = network.eval()(clips).detach()
    saved = session.gather_objects(plain(found.state_dict()))[0]
    fresh = made(norm=True).eval()
    fresh.load_state_dict(tensors(saved["state_dict"]))
    train(found)
    return [*map(plain, (logits, fresh(clips).detach())), saved["state_dict"], saved["train_state_dict"]]


def test_what_is_validated_is_whole_in_each_process_and_what_the_checkpoint_holds() -> None:
    for logits, of_checkpoint, average, weights in run_ranks(2, _validated):
        np.testing.assert_array_equal(logits, of_checkpoint)
        assert average["blocks.0.norm.num_batches_tracked"] == 1  # computed anew
        assert not np.array_equal(average["stem.weight"], weights["stem.weight"])

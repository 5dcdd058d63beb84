"""Averages gradients over processes and always adds them in the order of ranks.

An all-reduce adds in an order that depends on its algorithm and on how tensors are split into buckets.
DistributedDataParallel even changes its buckets after the first step, so a restarted run would differ in the last bits.
Here each process receives one shard of the gradients of all processes, adds it up in the order of ranks, and sends the
sum to all. This transfers as many bytes as a ring all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_ELEMENTS = 8 * 1024 * 1024  # sending one bucket overlaps with adding up the one before

# newer versions of torch warn about the old name
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor

# the parameters that have gradients on any process, agreed on at a model's first step; a missing one counts as 0
_agreed: WeakKeyDictionary[nn.Module, list[str]] = WeakKeyDictionary()


def average_in_rank_order(model: nn.Module, *, agree: Callable[[Any], list[Any]]) -> None:
    """Replaces every gradient of `model` by its mean over all processes.

    agree: gathers a value from all processes; called once per model.
    Raises: RuntimeError when a parameter gets its first gradient after the first step.
    """
    parameters = dict(model.named_parameters())
    with_gradient = [name for name, parameter in parameters.items() if parameter.grad is not None]
    if model not in _agreed:
        everybody = {name for names in agree(with_gradient) for name in names}
        _agreed[model] = [name for name in parameters if name in everybody]
    names = _agreed[model]
    if late := set(with_gradient) - set(names):
        raise RuntimeError(f"{sorted(late)[0]} has a gradient now and had none on any process at the first step")
    gradients = []
    for name in names:
        parameter = parameters[name]
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    with torch.no_grad():
        buckets = [_Bucket(group) for group in _groups(gradients)]
        for bucket in buckets:
            bucket.add()
        for bucket in buckets:
            bucket.finish()


class _Bucket:
    """Gradients of one dtype as one flat tensor, padded to a multiple of the number of processes."""

    def __init__(self, gradients: list[Tensor]) -> None:
        self._gradients = gradients
        self._world = dist.get_world_size()
        count = sum(gradient.numel() for gradient in gradients)
        self._flat = gradients[0].new_zeros(-(-count // self._world) * self._world)
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self._flat[:count])
        self._shards = torch.empty_like(self._flat)  # shard r: what rank r sends to this process
        self._work: Any = dist.all_to_all_single(self._shards, self._flat, async_op=True)

    def add(self) -> None:
        """Adds the shards in the order of ranks and starts to send the mean to all."""
        self._work.wait()
        first, *others = self._shards.chunk(self._world)
        total = first.clone()
        for shard in others:
            total += shard
        total /= self._world
        self._work = _all_gather(self._flat, total, async_op=True)

    def finish(self) -> None:
        """Copies the mean into the gradients."""
        self._work.wait()
        sizes = [gradient.numel() for gradient in self._gradients]
        for gradient, mean in zip(self._gradients, self._flat[: sum(sizes)].split(sizes), strict=True):
            gradient.copy_(mean.view(gradient.shape))


def _groups(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Groups neighbours of one dtype, up to BUCKET_ELEMENTS each: the same groups on all ranks, after every restart."""
    group: list[Tensor] = []
    for gradient in gradients:
        size = sum(member.numel() for member in group)
        if group and (gradient.dtype != group[0].dtype or size + gradient.numel() > BUCKET_ELEMENTS):
            yield group
            group = []
        group.append(gradient)
    if group:
        yield group

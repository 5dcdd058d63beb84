"""Shares batch norm statistics among groups of consecutive ranks, and averages running statistics over all ranks.

Over NCCL, torch's SyncBatchNorm computes it with process groups. On the CPU, where it refuses to run and
DistributedDataParallel refuses networks with one, the same arithmetic runs here over gloo. State dicts keep their keys.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.config.build import checked

Self = TypeVar("Self", bound="_Grouped")

# arguments that say how batch norm is synchronised; they are not arguments of a backbone
SYNC_BN = ("bn_group_size", "bn_sync_stats", "bn_var_mode")


def resolve_group_size(bn_group_size: int, world_size: int) -> tuple[int, str]:
    """Returns the group size that is used, and a warning or "".

    Raises: ValueError for a size that neither divides the number of processes nor is larger than it.
    """
    if bn_group_size > world_size:
        warning = (
            f"bn_group_size: {bn_group_size} is more than the {world_size} process(es) of this run, "
            f"so {world_size} is used"
        )
        return world_size, warning
    if world_size % bn_group_size:
        raise ValueError(f"bn_group_size: {bn_group_size} does not divide the {world_size} processes of this run")
    return bn_group_size, ""


@checked
def convert_group_sync_bn(
    module: nn.Module,
    *,
    bn_group_size: PositiveInt = 1,
    bn_sync_stats: bool = False,
    bn_var_mode: Literal["L2"] = "L2",
    world_size: int | None = None,
) -> list[str]:
    """Replaces the batch norms inside `module`, in place, and returns warnings for the log.

    Every rank must call this, with equal modules. Parameters and buffers stay the same objects.

    bn_group_size: ranks per group; groups are consecutive ranks. 1 keeps plain batch norm.
    bn_sync_stats: average the running mean and variance over ALL ranks after every training forward of `module`;
        otherwise they follow the rank's own group.
    bn_var_mode: how the variance is computed; L2 is the usual variance.
    world_size: number of processes to check the group size for; default: those that are connected now. Only where
        processes are connected does anything change.

    Raises: ValueError for a group size that does not divide the number of processes.
    """
    connected = dist.get_world_size() if dist.is_initialized() else 1
    group_size, warning = resolve_group_size(bn_group_size, connected if world_size is None else world_size)
    if connected > 1:
        if group_size > 1:
            _replace(module, _own_group(group_size, connected))
        if bn_sync_stats:
            module.register_forward_hook(_average_running_stats)
    return [warning] if warning else []


def _own_group(group_size: int, world_size: int) -> Any:
    """Returns the process group of this rank. Every rank takes part in making all groups, as torch demands."""
    if group_size == world_size:
        return dist.group.WORLD
    groups = [dist.new_group(list(range(first, first + group_size))) for first in range(0, world_size, group_size)]
    return groups[dist.get_rank() // group_size]


def _replace(module: nn.Module, group: Any) -> None:
    kind = GroupSyncBatchNorm if dist.get_backend(group) == "nccl" else GroupBatchNorm
    replaced: dict[nn.Module, _Grouped] = {}  # the same batch norm may be used in two places
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):  # named_children skips the second place
            if isinstance(child, _BatchNorm) and not isinstance(child, (nn.SyncBatchNorm, _Grouped)):
                if child not in replaced:
                    replaced[child] = kind.adopt(child, group)
                setattr(parent, name, replaced[child])


class _Grouped(_BatchNorm):
    """A batch norm that belongs to a process group. The input is (B, C, ...) with any number of further dimensions."""

    process_group: Any = None

    @classmethod
    def adopt(cls: type[Self], plain: _BatchNorm, group: Any) -> Self:
        """Makes a module that holds the parameters and buffers of `plain` themselves, not copies."""
        grouped = cls(plain.num_features, plain.eps, plain.momentum, plain.affine, plain.track_running_stats)
        grouped.process_group = group
        for name in ("weight", "bias"):
            grouped.register_parameter(name, getattr(plain, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            grouped.register_buffer(name, getattr(plain, name))
        grouped.train(plain.training)
        return grouped

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        # a copy of the module, as EMA makes it, belongs to the same group
        memo[id(self.process_group)] = self.process_group
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied


class GroupSyncBatchNorm(_Grouped, nn.SyncBatchNorm):
    """Shares statistics on CUDA, by torch's SyncBatchNorm."""


class GroupBatchNorm(_Grouped):
    """Computes on the CPU what SyncBatchNorm does on CUDA."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises with the statistics of the whole group in training, and with the running ones in evaluation."""
        self._check_input_dim(input)
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        output, mean, var, count = _GroupNorm.apply(input, self.weight, self.bias, self.eps, self.process_group)
        if self.track_running_stats:
            self._follow(mean, var, count)
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = self.momentum if self.momentum is not None else 1.0 / int(self.num_batches_tracked)
        unbiased = var * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)


class _GroupNorm(torch.autograd.Function):
    """Computes batch norm (Ioffe & Szegedy 2015, arXiv 1502.03167) with sums over all ranks of a process group.

    Batch sizes may differ between ranks and may be 0. Sums are added in the order of ranks, so runs repeat to the bit.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the output and the group's mean (C,), biased variance (C,) and number of values per channel ()."""
        dims = _all_but_channels(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = input.numel() // input.shape[1]
        mean = values.mean(dims) if count else values.new_zeros(input.shape[1])
        squares = (values - _along_channels(mean, values)).square().sum(dims)
        parts = _gather(torch.cat([mean, squares, mean.new_tensor([count])]), group)  # (ranks, 2C + 1)
        means, all_squares, counts = parts[:, : len(mean)], parts[:, len(mean) : -1], parts[:, -1:]
        total = counts.sum().clamp(min=1)
        group_mean = (means * counts).sum(0) / total
        # Chan et al. 1979: squares around the group's mean from squares around each rank's mean, without cancellation
        var = (all_squares + counts * (means - group_mean).square()).sum(0) / total
        scale = torch.rsqrt(var + eps)
        normalised = (values - _along_channels(group_mean, values)) * _along_channels(scale, values)
        ctx.save_for_backward(normalised, weight, scale, total)
        ctx.group = group
        ctx.mark_non_differentiable(group_mean, var, total)
        output = normalised if weight is None else normalised * _along_channels(weight, values)
        if bias is not None:
            output = output + _along_channels(bias, values)
        return output.to(input.dtype), group_mean, var, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        """Returns gradients; those of weight and bias are this rank's share, which the usual reduction adds up."""
        normalised, weight, scale, total = ctx.saved_tensors
        dims = _all_but_channels(normalised)
        gradient = gradients[0].to(normalised.dtype)
        plain_sum, weighted_sum = gradient.sum(dims), (gradient * normalised).sum(dims)
        sums = _gather(torch.cat([plain_sum, weighted_sum]), ctx.group).sum(0)
        group_plain, group_weighted = (_along_channels(part / total, gradient) for part in sums.chunk(2))
        factor = scale if weight is None else scale * weight
        inward = _along_channels(factor, gradient) * (gradient - group_plain - normalised * group_weighted)
        if weight is None:
            return inward.to(gradients[0].dtype), None, None, None, None
        return inward.to(gradients[0].dtype), weighted_sum.to(weight.dtype), plain_sum.to(weight.dtype), None, None


def _all_but_channels(values: Tensor) -> list[int]:
    return [dim for dim in range(values.dim()) if dim != 1]


def _along_channels(vector: Tensor, values: Tensor) -> Tensor:
    return vector.view(1, -1, *[1] * (values.dim() - 2))


def _gather(values: Tensor, group: Any) -> Tensor:
    """Gathers the (n,) values of every rank of the group into (ranks, n), in the order of ranks."""
    gathered = [torch.empty_like(values) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, values, group=group)
    return torch.stack(gathered)


@torch.no_grad()
def _average_running_stats(module: nn.Module, inputs: Any, output: Any) -> None:
    if not module.training or not dist.is_initialized():
        return
    norms = [child for child in module.modules() if isinstance(child, _BatchNorm) and child.training]
    statistics = [part for norm in norms for part in (norm.running_mean, norm.running_var) if part is not None]
    if not statistics:
        return
    flat = torch.cat(statistics)
    mean = _gather(flat, dist.group.WORLD).mean(0)
    for part, average in zip(statistics, mean.split([len(part) for part in statistics]), strict=True):
        # plain batch norm saves its running statistics for the backward pass, which does not read them in training;
        # writing through `data` keeps autograd from reporting the change as an error
        part.data.copy_(average)

"""Shares a network out over processes with torch's fully_shard (FSDP2), and puts it together where it has to be whole.

Each process holds an equal part of every parameter, a shard, and with it a part of its gradient and of what the
optimizer remembers of it. The parameters of a block are whole only while the block computes (Zhao et al. 2023, arXiv
2304.11277). Every function here leaves tensors that are whole as they are.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_any, tree_map

from utils.errors import CheckpointError
from utils.processes import session

# torch's modules for shards are imported where there are some: they take two seconds
SUMS = "set_force_sum_reduction_for_comms"  # without it, torch computes on GPUs only


def refuse_unsharded(network: nn.Module, blocks: Collection[nn.Module], *, on_cpu: bool) -> None:
    """Raises: ValueError for a network that cannot be shared out, or not by this torch.

    blocks: the parts that are shared out one by one. on_cpu: whether the processes compute on CPUs.
    """
    from torch.distributed.fsdp import FSDPModule

    if on_cpu and not hasattr(FSDPModule, SUMS):
        raise ValueError(f"torch {torch.__version__} does this on GPUs only: install a newer one, or set it to False")
    in_blocks = {id(module) for block in blocks for module in block.modules()}
    rest = (module for module in network.modules() if id(module) not in in_blocks)
    places = Counter(id(parameter) for block in blocks for parameter in block.parameters())
    places.update({id(parameter) for module in rest for parameter in module.parameters(recurse=False)})
    for name, parameter in network.named_parameters():
        if parameter.dim() == 0:
            raise ValueError(f"{name} is a single number, which has no parts: set it to False")
        if places[id(parameter)] > 1:
            raise ValueError(f"{name} is used in several blocks, and only one can hold its shards: set it to False")


class Sharded:
    """Runs one process's part of a network whose parameters, gradients and optimizer are shared out over all processes.

    All processes get the weights and buffers of rank 0. From then on the network's parameters are shards, so it comes
    before the optimizer.

    Attributes:
        plain: a network of the same shards and buffers that torch does not watch: to be copied, saved and, inside of
            `whole`, called.
    """

    def __init__(self, model: nn.Module, blocks: Collection[nn.Module]) -> None:
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.fsdp import fully_shard

        session.broadcast_buffers(model)
        for parameter in model.parameters():
            dist.broadcast(parameter.detach(), src=0)
        # what torch shares out cannot be copied any more
        known: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
        known |= {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
        self.plain = copy.deepcopy(model, known)
        kind = next(model.parameters()).device.type
        group: Any = dist.group.WORLD
        mesh = DeviceMesh.from_group(group, kind)
        self._model: Any = model
        for module in (*blocks, model):
            module.register_forward_hook(_without_views)
            part: Any = fully_shard(module, mesh=mesh)
            if kind == "cpu":  # gloo's own averages were wrong in several versions (pytorch issue 162338)
                getattr(part, SUMS)(True)
        _put(self.plain, dict(model.named_parameters(remove_duplicate=False)))

    def __call__(self, clips: Tensor, *, averages: bool) -> Tensor:
        """Maps clips to logits.

        averages: does not matter here. Each backward pass averages, because gradients that wait for others are whole.
        """
        # autocast would keep a copy of every weight until the forward pass is over
        before = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)
        try:
            logits: Tensor = self._model(clips)
        finally:
            torch.set_autocast_cache_enabled(before)
        return logits


def _without_views(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Copies what a block returns a view of: changed in place, it would be lost to torch, which waits for its gradient.

    The backward pass would then begin without the block's weights.
    """
    return tree_map(lambda part: part.clone() if isinstance(part, Tensor) and part._is_view() else part, output)


@contextlib.contextmanager
def whole(network: nn.Module) -> Iterator[nn.Module]:
    """Lends a network all of its weights in every process; afterwards each has its shards again.

    All processes must call it. network: `Sharded.plain`, a copy of it, or one that is not shared out.
    """
    shards: dict[str, Any] = {name: p for name, p in network.named_parameters(remove_duplicate=False) if _is_shard(p)}
    _put(network, {name: nn.Parameter(shard.detach().full_tensor(), False) for name, shard in shards.items()})
    try:
        yield network
    finally:
        _put(network, shards)


@torch.no_grad()
def gathered(values: Any) -> Any:
    """Puts the shards together that dictionaries and lists hold, on the CPU of rank 0; the others get None for each.

    All processes must call it with shards of the same tensors, in the same order.
    """
    if not tree_any(_is_shard, values):
        return values

    def together(value: Any) -> Any:
        if not _is_shard(value):
            return value
        tensor = value.full_tensor()
        return tensor.cpu() if session.rank() == 0 else None

    return tree_map(together, values)


def shard_like(value: Any, parameter: Any) -> Any:
    """Returns this process's shard of a whole tensor, cut as a parameter is; numbers stay numbers.

    All processes must call it, in the same order.
    """
    if not _is_shard(parameter) or not isinstance(value, Tensor) or value.dim() == 0:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.contiguous(), parameter.device_mesh, parameter.placements)


def load_whole(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Loads a state dict of whole tensors into a network that may be shared out. All processes must call it.

    Raises: CheckpointError for entries of another network.
    """
    own = network.state_dict()
    if different := sorted(own.keys() ^ state.keys()):
        raise CheckpointError(f"the weights that are trained do not belong to this network: {different[0]}")
    network.load_state_dict({name: shard_like(value, own.get(name)) for name, value in state.items()})


def _is_shard(value: Any) -> bool:
    return hasattr(value, "full_tensor")  # torch's DTensor


def _put(network: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, parameter)

"""Checks before a run begins that its network takes its clips, that something learns, and that memory holds both.

Everything is tried on the meta device, which computes shapes and no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from utils.config.build import parameters_of
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.processes.launch import expected_world_size
from utils.run.trackers import check_trackers
from utils.system import total_memory
from utils.training.optimizer import REMEMBERED, optimizer_for

GIB = 1 << 30
FLOAT = 4  # bytes
LENGTH = "clip_len"  # argument of methods whose networks see consecutive frames
REFUSALS = (RuntimeError, ValueError, AssertionError, TypeError, IndexError)  # which networks raise for a shape


def check_fit(common: Common, method: Any, protocols: Mapping[str, Any]) -> None:
    """Checks a method on the meta device with the clips that its protocols make, "train" and "val" or only "val".

    Raises: ConfigError for clips that the network does not take, a batch too small for batch norm, a network without a
    part that learns, sizes that exceed the memory of this machine, and trackers that are not installed.
    """
    check_trackers(common.track)
    tensors = [*method.parameters(), *method.buffers()]
    needed = FLOAT * sum(tensor.numel() for tensor in tensors)
    if "train" in protocols:
        optimizer = optimizer_for(method, common)
        kept = len(REMEMBERED[type(optimizer)] - {"step"}) + 1  # and the gradient
        learned = FLOAT * kept * sum(part.numel() for part in method.parameters() if part.requires_grad)
        needed += learned // expected_world_size() if common.fsdp else learned  # weights are whole at times
    for name, protocol in protocols.items():
        shape = _batch_shape(protocol)
        _refuse_beyond_memory(common, needed, FLOAT * math.prod(shape), name, shape)
        method.train(name == "train")
        _try(method, shape, name, common)
    method.train()


def _batch_shape(protocol: Any) -> tuple[int, ...]:
    """Returns the shape of one batch of one process: clips (B, C, T, H, W)."""
    count = protocol.batch_size * protocol.num_views
    return count, protocol.clip.in_channels, protocol.clip.num_frames, *protocol.transform.size


def _group_size(common: Common) -> int:
    """Returns how many processes share the statistics of a batch."""
    wanted = common.model.kwargs.get("bn_group_size", 1)
    return min(wanted, expected_world_size()) if isinstance(wanted, int) else 1


def _refuse_beyond_memory(common: Common, network: int, clips: int, name: str, shape: tuple[int, ...]) -> None:
    memory, where = total_memory(), "this machine"
    if common.device in ("auto", "cuda") and torch.cuda.is_available():
        memory, where = torch.cuda.get_device_properties(0).total_memory, "the GPU"
    if memory is None or network + clips <= memory:
        return
    key = "common.model" if network > clips else "common.batch_size" if name == "train" else "common.test.batch_size"
    raise ConfigError(
        f"{key}: the weights and what training keeps of them take {network / GIB:.1f} GiB, the pixels of one batch of "
        f"{name} {' x '.join(map(str, shape))} (clips x channels x frames x height x width) {clips / GIB:.1f} GiB, and "
        f"{where} has {memory / GIB:.1f} GiB"
    )


def _try(method: Any, shape: tuple[int, ...], name: str, common: Common) -> None:
    count, *clip = shape
    synced = _group_size(common)
    reason = refusal(method, (count * synced, *clip))
    if reason is None:
        return
    if name == "train" and refusal(method, (2 * count * synced, *clip)) is None:
        raise ConfigError(
            f"common.batch_size: {count} clip(s) are too few to train this network ({reason}); take at least 2, or set "
            "frozen_bn"
        )
    frames, height, width = clip[1:]
    key = "augmentation.input_size" if name == "train" else "test.input_size"
    others = (4 * frames, method.example_size[0]) if LENGTH in parameters_of(type(method)) else ()
    if any(refusal(method, (count * synced, clip[0], length, height, width)) is None for length in others):
        key = "test.num_frames" if name != "train" and common.test.num_frames is not None else f"model.{LENGTH}"
    raise ConfigError(
        f"common.{key}: the network does not take the clips of the {name} list, {frames} x {height} x "
        f"{width} (frames x height x width): {reason}"
    )


@torch.no_grad()
def refusal(method: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Returns why a network does not take clips of this shape, None if it does or if that cannot be tried."""
    try:
        method(torch.empty(*shape, device="meta"))
    except NotImplementedError:  # an operation that cannot be tried without numbers
        return None
    except REFUSALS as error:
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return None

"""Averages gradients over processes with torch's DistributedDataParallel, and fixes its buckets before the first step.

It adds gradients up in buckets, each as soon as the backward pass has filled it. Once, after the first passes, it
rebuilds the buckets in the order in which the gradients came. Other buckets round in another way, so a run that was
started again would differ in the last bits: its first steps would have other buckets than those of a run that goes on.
Here that happens before the first step, in passes over clips that are not learned from.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils.processes import session

# with a static graph the buckets are rebuilt after the second backward pass, else after the first
PASSES_BEFORE_BUCKETS_ARE_FINAL = 2
# each forward pass would send the buffers of rank 0, but batch norms follow their own batches; torch 2.14 renamed it
_NEW, _OLD = "forward_sync_buffers", "broadcast_buffers"
SENDS_BUFFERS = _NEW if _NEW in inspect.signature(DistributedDataParallel).parameters else _OLD


class Replica:
    """Runs one process's copy of a network, whose gradients become the mean over all processes in the backward pass.

    At the first call all processes get the weights and buffers of rank 0, and two more passes run than later.

    model: the network. Which of its parameters take part in a step must not change from step to step.

    Attributes:
        plain: the network itself, to be copied, saved and called by one process alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self.plain = model
        self._parallel: DistributedDataParallel | None = None

    def __call__(self, clips: Tensor, *, averages: bool) -> Tensor:
        """Maps clips to logits.

        averages: whether the backward pass averages the gradients; else it only adds to those of this process.
        """
        if self._parallel is None:
            self._parallel = _connect(self.plain)
            _try(self._parallel, clips)
        with contextlib.nullcontext() if averages else self._parallel.no_sync():
            logits: Tensor = self._parallel(clips)
        return logits


def _connect(model: nn.Module) -> DistributedDataParallel:
    session.broadcast_buffers(model)
    # depthwise convolutions give gradients with another stride in their dimension of size 1, where it means nothing
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    buffers: Any = {SENDS_BUFFERS: False}
    return DistributedDataParallel(model, gradient_as_bucket_view=True, static_graph=True, **buffers)


def _try(parallel: DistributedDataParallel, clips: Tensor) -> None:
    """Runs passes that leave nothing behind but the order of the gradients."""
    model = parallel.module
    before = [buffer.clone() for buffer in model.buffers()]
    devices = [clips.device] if clips.device.type == "cuda" else []
    with torch.random.fork_rng(devices):  # dropout draws the same in the step that follows
        for _ in range(PASSES_BEFORE_BUCKETS_ARE_FINAL):
            parallel(clips).sum().backward()
            torch.clear_autocast_cache()  # else the next pass would go back through the casts of this one
    for parameter in model.parameters():
        parameter.grad = None
    with torch.no_grad():
        for buffer, old in zip(model.buffers(), before, strict=True):
            buffer.copy_(old)

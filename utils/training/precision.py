"""In which arithmetic a step runs: float32, bf16 or fp16 with a loss scaler."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch
from torch import Tensor, nn

from utils.processes import session

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def unsafe_in_bf16(model: nn.Module, device: torch.device) -> bool:
    """Whether bf16 can go wrong there: convolutions over time on a CPU.

    oneDNN's weight gradient of a Conv3d with a temporal kernel of 3 reads memory that nobody wrote when the input has
    two frames (seen with torch 2.15 on AVX-512): sudden infinities, and runs that differ.
    """
    kernels = [module.kernel_size[0] for module in model.modules() if isinstance(module, nn.Conv3d)]
    return device.type == "cpu" and any(kernel > 1 for kernel in kernels)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32 there; a CPU without the instructions only imitates it, slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def only_repeatable() -> None:
    """From here on this process uses only algorithms that repeat to the bit; torch raises where there is none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


class Precision:
    """Autocast for the forward pass and the update that belongs to it.

    amp: off, bf16, fp16, or auto: bf16 where the device computes in it and rightly for `model`, else off. fp16 scales
        the loss (Micikevicius et al. 2018, arXiv 1710.03740): dynamically, or by `static_scale` when it is given.
    """

    def __init__(
        self, amp: str, device: torch.device, static_scale: float | None = None, *, model: nn.Module | None = None
    ) -> None:
        self.unsafe = model is not None and unsafe_in_bf16(model, device)
        if amp == "auto":
            amp = "bf16" if computes_in_bf16(device) and not self.unsafe else "off"
        self.name = amp
        self.dtype = DTYPES.get(amp)
        self._device = device
        self._scaler = torch.amp.GradScaler(
            device.type,
            enabled=amp == "fp16",
            init_scale=static_scale or 2.0**16,
            growth_interval=2**31 - 1 if static_scale else 2000,
        )

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of one batch to those that are there."""
        self._scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer, model: nn.Module, *, clip_gradient: float | None) -> None:
        """Averages the gradients over processes, clips their norm, and moves the weights."""
        session.average_gradients(model)
        if clip_gradient is not None:
            self._scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip_gradient)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The loss scale; empty without one."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the loss scale."""
        if state:
            self._scaler.load_state_dict(state)

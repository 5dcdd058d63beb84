"""Chooses the arithmetic of a training step: float32, bf16, or fp16 with a loss scaler."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def unsafe_in_bf16(model: nn.Module, device: torch.device) -> bool:
    """Returns True if bf16 can give wrong gradients: in convolutions over time on a CPU.

    When the input has two frames, oneDNN's weight gradient of a Conv3d with a temporal kernel of 3 reads uninitialised
    memory (seen with torch 2.15 on AVX-512). Infinities appear suddenly, and runs are not repeatable.
    """
    kernels = [module.kernel_size[0] for module in model.modules() if isinstance(module, nn.Conv3d)]
    return device.type == "cpu" and any(kernel > 1 for kernel in kernels)


def computes_in_bf16(device: torch.device) -> bool:
    """Returns True if the device has bf16 instructions; without them a CPU emulates bf16, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def only_repeatable() -> None:
    """Makes this process use only algorithms whose results repeat to the bit.

    torch raises an error for an operation that has no such algorithm.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


class Precision:
    """Runs the forward pass, the backward pass and the update of a step in one arithmetic.

    amp: off, bf16, fp16 or auto. auto is bf16 if the device has it and it is safe for `model`, else off. fp16 scales
        the loss (Micikevicius et al. 2018, arXiv 1710.03740).
    static_scale: the fixed loss scale of fp16; None adapts it to overflows.
    model: the network for which auto chooses.
    """

    def __init__(
        self, amp: str, device: torch.device, static_scale: float | None = None, *, model: nn.Module | None = None
    ) -> None:
        self.unsafe_in_bf16 = model is not None and unsafe_in_bf16(model, device)
        if amp == "auto":
            amp = "bf16" if computes_in_bf16(device) and not self.unsafe_in_bf16 else "off"
        self.name = amp
        self.dtype = DTYPES.get(amp)
        self._device = device
        self._fixed = static_scale is not None
        self._scaler = torch.amp.GradScaler(
            device.type,
            enabled=amp == "fp16",
            init_scale=static_scale or 2.0**16,
            growth_interval=2**31 - 1 if static_scale else 2000,
        )

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which to run a forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of one batch to the accumulated ones."""
        self._scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer, model: nn.Module, *, clip_gradient: float | None) -> None:
        """Clips the norm of the gradients and moves the weights."""
        if clip_gradient is not None:
            self._scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip_gradient)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the loss scaler; empty without fp16."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the loss scale as far as overflows adapt it; a fixed one stays as it was asked for."""
        if state and self._scaler.is_enabled() and not self._fixed:
            adapted = {key: state[key] for key in ("scale", "_growth_tracker")}
            self._scaler.load_state_dict(self._scaler.state_dict() | adapted)

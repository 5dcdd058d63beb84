"""Runs networks whose temporal modules only look back frame by frame: each frame once, with what they remember."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.tsn import TSN
from networks.temporal.module import Stream, TemporalModule
from networks.temporal.non_local import FrameNonLocal
from networks.temporal.shift import TemporalPool
from utils.config.build import parameters_of
from utils.errors import ConfigError


class FrameByFrame(nn.Module):
    """Runs a trained network with `shift: uni` on one frame per call.

    The modules themselves say what they remember (`TemporalModule.with_past`). The mean of the logits over the frames
    of a clip is the output of the original network for that clip.

    Raises: ConfigError if a part of the network looks at later frames, or none looks at earlier ones.
    """

    def __init__(self, method: TSN) -> None:
        super().__init__()
        if why := obstacle(method):
            raise ConfigError(f"common.model: only `shift: uni` can run frame by frame, but {method.name} has {why}")
        self.method = method
        self._parts = [part for part, _ in method._parts if isinstance(part, TemporalModule)]

    def forward(self, frame: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        """Maps frames (B, C, H, W), and the state after the previous frame, to logits (B, K) and the new state.

        Without a state the clip begins here: modules read zeros for what lies before.
        """
        stream = Stream(list(before))
        try:
            for part in self._parts:
                part.stream = stream
            logits = self.method.frame_logits(frame)
        finally:
            for part in self._parts:
                part.stream = None
        return logits, *stream.now

    @torch.no_grad()
    def first_state(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Returns zeros in the shapes of the state for frames like this one."""
        return tuple(torch.zeros_like(part) for part in self(frame)[1:])


def obstacle(method: TSN) -> str:
    """Returns which part keeps a network from running frame by frame; "" if none does."""
    parts = [part for part, _ in method._parts]
    if any(isinstance(part, TemporalPool) for part in parts):
        return "a temporal pool"
    if any(isinstance(part, FrameNonLocal) for part in parts):
        return "non-local blocks, which look at all frames"
    if method.relations is not None:
        return "relations of all frames"
    if method.neck is not None:
        return "a neck, which looks at all frames"
    modules = [part for part in parts if isinstance(part, TemporalModule)]
    for part in modules:
        if not part.causal and "shift" not in parameters_of(type(part)):
            return f"{type(part).__name__}, {part.looks_ahead}"
    return "" if modules and all(part.causal for part in modules) else "no one-directional shift"

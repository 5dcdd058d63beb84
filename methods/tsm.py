"""Implements TSM: TSN whose image network moves channels along time, for whole clips or frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from methods.tsn import TSN
from networks.temporal.insert import insert_non_local, insert_pool, insert_temporal
from networks.temporal.non_local import Instantiation
from networks.temporal.shift import Direction, Place, Stream, TemporalPool, TemporalShift
from utils.config.build import checked
from utils.errors import ConfigError

NON_LOCAL: dict[str, Instantiation] = {
    "embedded_gaussian": "softmax",
    "dot_product": "dot_product",
    "gaussian": "gaussian",
}


class TSM(TSN):
    """Runs the Temporal Shift Module (Lin et al. 2019, arXiv 1811.08383) in any image network that TSN takes.

    The shift runs over the T frames of the clip at hand; training uses `num_segments`. Further arguments are TSN's.

    shift_div: 1/shift_div of the channels move each way; 0 moves no channel, which is TSN.
    shift_place: what is shifted: `blockres`, the input of the residual branch; `block`, the input of the whole block.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame (`StreamingTSM`).
    temporal_pool: halve the frame rate in front of layer2 (ResNets).
    non_local: non-local blocks in layer2 and layer3 (ResNets): True or `embedded_gaussian`, `dot_product`, `gaussian`.
    """

    traced = True  # the places of the shift are found in its graph

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_segments: PositiveInt = 8,
        shift_div: NonNegativeInt = 8,
        shift_place: Place = "blockres",
        shift: Direction = "bi",
        temporal_pool: bool = False,
        non_local: bool | Literal["embedded_gaussian", "dot_product", "gaussian"] = False,
        **tsn: Any,
    ) -> None:
        if tsn.get("temporal") is not None:
            raise ValueError("temporal: tsm has a module already, the shift; use type: tsn with another one")
        super().__init__(backbone=backbone, num_segments=num_segments, **tsn)
        self.name = f"tsm_{backbone}"
        if shift_div == 1 and shift == "bi":
            raise ValueError("shift_div: should be 0 (no shift) or at least 2, but is 1")
        if shift_div:
            arguments: dict[str, Any] = {"shift_div": shift_div, "shift_place": shift_place, "shift": shift}
            insert_temporal(self.backbone, backbone, TemporalShift, num_frames=num_segments, **arguments)
        if non_local:
            variant = "embedded_gaussian" if non_local is True else non_local
            insert_non_local(self.backbone, backbone, instantiation=NON_LOCAL[variant])
        if temporal_pool:
            insert_pool(self.backbone, backbone)
        self._find_parts()

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; non-local blocks have one name for each kind."""
        found = super().settings_for(given)
        return found | {"non_local": "embedded_gaussian" if found["non_local"] is True else found["non_local"]}


class StreamingTSM(nn.Module):
    """Runs a trained one-directional TSM on one frame per call and keeps the shifted channels of the previous frame.

    The mean of its logits over the frames of a clip is the output of the original network for that clip.

    Raises: ConfigError if the network looks into the future (shift `bi`, non-local, temporal pool) or has no shift.
    """

    def __init__(self, tsm: TSN) -> None:
        super().__init__()
        parts = [part for part, _ in tsm._parts]
        causal = [isinstance(part, TemporalShift) and part.causal for part in parts]
        if not parts or not all(causal) or tsm.relations is not None or tsm.neck is not None:
            pooled = any(isinstance(part, TemporalPool) for part in parts)
            has = "a temporal pool" if pooled else "a neck" if tsm.neck else "no one-directional shift"
            raise ConfigError(f"common.model.shift: only `shift: uni` can run frame by frame, but {tsm.name} has {has}")
        self.tsm = tsm

    def forward(self, frame: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        """Maps frames (B, C, H, W), and the state after the previous frame, to logits (B, K) and the new state.

        Without a state the clip begins here: the shift reads zeros for what lies before.
        """
        stream = Stream(list(before))
        shifts = [part for part, _ in self.tsm._parts if isinstance(part, TemporalShift)]
        try:
            for shift in shifts:
                shift.stream = stream
            logits = self.tsm.frame_logits(frame)
        finally:
            for shift in shifts:
                shift.stream = None
        return logits, *stream.now

    @torch.no_grad()
    def first_state(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Returns zeros in the shapes of the state for frames like this one."""
        return tuple(torch.zeros_like(part) for part in self(frame)[1:])

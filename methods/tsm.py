"""Temporal Shift Module: TSN whose image network moves channels along time, offline and frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import fold_frames, mean_over_frames
from methods.tsn import TSN
from networks.temporal.insert import PLACES, insert_non_local, insert_pool, insert_shift, temporal_parts
from networks.temporal.shift import DIRECTIONS, Stream, TemporalPool, TemporalShift, pooled_length
from utils.errors import ConfigError

NON_LOCAL = {"embedded_gaussian": "softmax", "dot_product": "dot_product", "gaussian": "gaussian"}


class TSM(TSN):
    """Temporal Shift Module (Lin et al. 2019, arXiv 1811.08383) on any image network that TSN takes.

    The shift runs over the T frames it is given; training sees `num_segments`.

    shift_div: 1/shift_div of the channels move each way; 0 moves none, which is TSN.
    shift_place: `blockres` (inside the residual branch) or `block` (the whole block's input); see networks/temporal/insert.py.
    shift: `bi`, or `uni`: only from the past, so that a trained network can run frame by frame (`StreamingTSM`).
    temporal_pool: halve the frame rate in front of layer2 (ResNets).
    non_local: non-local blocks in layer2 and layer3 (ResNets): True or `embedded_gaussian`, `dot_product`, `gaussian`.
    """

    def __init__(
        self,
        *,
        backbone: str,
        num_class: int,
        num_segments: int = 8,
        dropout: float = 0.0,
        consensus: str = "avg",
        shift_div: int = 8,
        shift_place: str = "blockres",
        shift: str = "bi",
        temporal_pool: bool = False,
        non_local: bool | str = False,
        modality: str = "rgb",
        stack: int | None = None,
        init_std: float = 0.01,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            num_class=num_class,
            num_segments=num_segments,
            dropout=dropout,
            consensus=consensus,
            modality=modality,
            stack=stack,
            init_std=init_std,
            kwargs=kwargs,
        )
        self.name = f"tsm_{backbone}"
        _check("shift_place", shift_place, PLACES)
        _check("shift", shift, DIRECTIONS)
        if shift_div < 0 or (shift_div == 1 and shift == "bi"):
            raise ConfigError(f"common.model.shift_div: should be 0 (no shift) or at least 2, but is {shift_div}")
        if shift_div:
            insert_shift(self.backbone, backbone, shift_div=shift_div, place=shift_place, direction=shift)
        if non_local:
            variant = "embedded_gaussian" if non_local is True else non_local
            _check("non_local", variant, NON_LOCAL)
            insert_non_local(self.backbone, backbone, instantiation=NON_LOCAL[variant])
        if temporal_pool:
            insert_pool(self.backbone, backbone)
        self.temporal_pool = temporal_pool
        self.settings = {
            **self.settings,
            "shift_div": shift_div,
            "shift_place": shift_place,
            "shift": shift,
            "temporal_pool": temporal_pool,
            "non_local": non_local and (True if non_local == "embedded_gaussian" else non_local),
        }
        self._parts = temporal_parts(self.backbone)
        self._num_frames = 0
        self._set_num_frames(num_segments)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) -> logits (B, K)."""
        self._set_num_frames(clips.shape[2])
        logits = self.frame_logits(fold_frames(clips))
        return mean_over_frames(logits, self._after_pool(clips.shape[2]))

    def _after_pool(self, num_frames: int) -> int:
        return pooled_length(num_frames) if self.temporal_pool else num_frames

    def _set_num_frames(self, num_frames: int) -> None:
        if num_frames == self._num_frames:
            return
        for part, pooled in self._parts:
            part.num_frames = self._after_pool(num_frames) if pooled else num_frames
        self._num_frames = num_frames


class StreamingTSM(nn.Module):
    """A trained one-directional TSM that sees one frame per call and remembers the shifted channels of the one before.

    The mean of its logits over the frames of a clip is the offline network's output for that clip.

    Raises: ConfigError when the network looks into the future (shift `bi`, non-local, temporal pool) or has no shift.
    """

    def __init__(self, tsm: TSM) -> None:
        super().__init__()
        parts = [part for part, _ in tsm._parts]
        if not parts or any(not isinstance(part, TemporalShift) or part.direction != "uni" for part in parts):
            has = (
                "a temporal pool"
                if any(isinstance(part, TemporalPool) for part in parts)
                else "no one-directional shift"
            )
            raise ConfigError(f"common.model.shift: only `shift: uni` can run frame by frame, but {tsm.name} has {has}")
        self.tsm = tsm

    def forward(self, frame: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) and the state of the frame before -> logits (B, K) and the new state.

        Without a state the clip begins here: what lies before it reads as zero.
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
        """Zeros of the state's shapes for frames like this one."""
        return tuple(torch.zeros_like(part) for part in self(frame)[1:])


def _check(key: str, value: str, accepted: Any) -> None:
    if value not in accepted:
        raise ConfigError(f"common.model.{key}: {value!r} is not one of {', '.join(accepted)}")

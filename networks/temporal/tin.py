"""Implements the Temporal Interlacing Network."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import TemporalModule, is_channels_last, replace_channels

FURTHEST = 4.0  # offsets lie within half of it on either side
START = 0.5108  # bias that makes the first offset half a frame


class TIN(TemporalModule):
    """Moves groups of channels along time by offsets that it learns (Shao et al. 2020, arXiv 2001.06499).

    There are four groups, of which two move against the other two, each by a fraction of frames, and weights for
    every frame. Offsets come from all frames of a clip, so the weights fit one number of frames only.

    div: 1/div of the channels move, the rest passes.
    """

    any_length = False
    looks_ahead: ClassVar[str] = "whose offsets come from all frames of a clip"

    def __init__(self, channels: int, *, num_frames: int, channel_dim: int = 1, div: PositiveInt = 4) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        self.width = channels // div // 4 * 4
        if not self.width:
            raise ValueError(f"div: 1/{div} of the {channels} channels of a branch is less than one for each group")
        self.squeeze = nn.Conv1d(self.width, 1, 3, padding=1)
        self.mix = nn.Linear(num_frames, num_frames)
        self.offset = nn.Linear(num_frames, 2)
        self.weigh = nn.Conv1d(self.width, 2, 3, padding=1)
        nn.init.constant_(self.offset.bias, START)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        part = x[:, : self.width]
        means = part.mean((2, 3)).unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # B, c, T
        hidden = self.mix(self.squeeze(means).squeeze(1)).relu()
        offsets = FURTHEST * (self.offset(hidden).sigmoid() - 0.5)  # B, 2
        weights = 2.0 * self.weigh(means).sigmoid()  # B, 2, T
        frames = torch.arange(self.num_frames, device=x.device, dtype=offsets.dtype)
        late = frames[:, None] - frames  # how many frames t lies behind u: T, T
        # a group moves by a whole number of frames and by the next one, in proportion to how near they are
        mixing = (1 - (late - torch.cat([offsets, -offsets], 1)[..., None, None]).abs()).clamp(min=0)  # B, 4, T, T
        mixing = mixing * torch.cat([weights, weights], 1)[..., None]
        mixing = mixing.to(part.dtype)
        if is_channels_last(x):  # groups of channels stay in a row
            groups = self.clips(part).movedim(2, -1).unflatten(-1, (4, -1))  # B, T, H, W, 4, c/4
            moved = torch.einsum("bgtu,buhwgc->bthwgc", mixing, groups).flatten(-2).movedim(-1, 2)
        else:
            groups = self.clips(part).unflatten(2, (4, -1))  # B, T, 4, c/4, H, W
            moved = torch.einsum("bgtu,bugchw->btgchw", mixing, groups).flatten(2, 3)
        return replace_channels(x, self.rows(moved))

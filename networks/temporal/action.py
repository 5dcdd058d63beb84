"""Implements the module of ACTION-Net."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import TemporalModule, correlate_in_time, shift_taps, taps_of


class Action(TemporalModule):
    """Shifts channels by weights that it learns, and excites what matters (Wang et al. 2021, arXiv 2103.07372).

    Three excitations add up: of places and times, of channels, and of motion, the difference to the next frame.

    squeeze: how many times fewer channels the last two have inside.
    shift_div: it starts as the shift of TSM, which moves 1/shift_div of the channels each way.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        squeeze: PositiveInt = 16,
        shift_div: PositiveInt = 8,
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        narrow = channels // squeeze
        if not narrow:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")
        self.shift = shift_taps(channels, shift_div)
        self.place = nn.Conv3d(1, 1, 3, padding=1, bias=False)
        self.channel_in = nn.Conv2d(channels, narrow, 1, bias=False)
        self.channel_time = nn.Conv1d(narrow, narrow, 3, padding=1, bias=False)
        self.channel_out = nn.Conv2d(narrow, channels, 1, bias=False)
        self.motion_in = nn.Conv2d(channels, narrow, 1, bias=False)
        self.motion_bn = nn.BatchNorm2d(narrow)
        self.motion_next = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        self.motion_out = nn.Conv2d(narrow, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        x = self.rows(correlate_in_time(self.clips(x), *taps_of(self.shift)))
        # two products: a sum of factors of places and of channels would be as large as x
        return x * (3 + self._channels(x) + self._motion(x)) + x * self._places(x)

    def _places(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and position (B*T, 1, H, W)."""
        means = self.clips(x.mean(1, keepdim=True)).transpose(1, 2)  # B, 1, T, H, W
        return self.rows(self.place(means).sigmoid().transpose(1, 2))

    def _channels(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and channel (B*T, C, 1, 1)."""
        squeezed = self.clips(self.channel_in(x.mean((2, 3), keepdim=True)))[..., 0, 0]  # B, T, c
        seen = self.channel_time(squeezed.transpose(1, 2)).relu().transpose(1, 2)
        return self.channel_out(self.rows(seen)[..., None, None]).sigmoid()

    def _motion(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and channel (B*T, C, 1, 1); the last frame of a clip has no motion."""
        squeezed = self.motion_bn(self.motion_in(x))
        there, here = self.clips(self.motion_next(squeezed)), self.clips(squeezed)
        motion = (there[:, 1:] - here[:, :-1]).mean((3, 4))  # B, T - 1, c
        motion = torch.cat([motion, torch.zeros_like(here[:, :1, :, 0, 0])], 1)
        return self.motion_out(self.rows(motion)[..., None, None]).sigmoid()

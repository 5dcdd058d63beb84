"""Implements the module of ACTION-Net."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import Direction, TemporalModule, excite, mean_positions, shift_taps


class Action(TemporalModule):
    """Shifts channels by weights that it learns, and excites what matters (Wang et al. 2021, arXiv 2103.07372).

    Three excitations add up: of places and times, of channels, and of motion, the difference to the next frame.

    With `shift: uni`, a form of this project, all that mixes three frames sees a frame and the two before it, and
    motion is the difference from the frame before.

    squeeze: factor by which the last two parts have fewer channels inside.
    shift_div: it starts as the shift of TSM, which moves 1/shift_div of the channels each way.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        squeeze: PositiveInt = 16,
        shift_div: PositiveInt = 8,
        shift: Direction = "bi",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        narrow = channels // squeeze
        if not narrow:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")
        self.causal = shift == "uni"
        behind = 0 if self.causal else 1  # what `with_past` puts in front of frames takes the place of a padding
        self.shift = shift_taps(channels, shift_div, shift)
        self.place = nn.Conv3d(1, 1, 3, padding=(behind, 1, 1), bias=False)
        self.channel_in = nn.Conv2d(channels, narrow, 1, bias=False)
        self.channel_time = nn.Conv1d(narrow, narrow, 3, padding=behind, bias=False)
        self.channel_out = nn.Conv2d(narrow, channels, 1, bias=False)
        self.motion_in = nn.Conv2d(channels, narrow, 1, bias=False)
        self.motion_bn = nn.BatchNorm2d(narrow)
        self.motion_next = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        self.motion_out = nn.Conv2d(narrow, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        x = self.rows(self.correlate(self.clips(x), self.shift))
        return excite(x, 3 + self._channels(x) + self._motion(x), self._places(x))

    def _places(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and position (B*T, 1, H, W)."""
        means = self._seen(self.clips(x.mean(1, keepdim=True))).transpose(1, 2)  # B, 1, T, H, W
        return self.rows(self.place(means).sigmoid().transpose(1, 2))

    def _channels(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and channel (B*T, C, 1, 1)."""
        squeezed = self.clips(self.channel_in(x.mean((2, 3), keepdim=True)))[..., 0, 0]  # B, T, c
        mixed = self.channel_time(self._seen(squeezed).transpose(1, 2)).relu().transpose(1, 2)
        return self.channel_out(self.rows(mixed)[..., None, None]).sigmoid()

    def _motion(self, x: Tensor) -> Tensor:
        """Returns a factor for each frame and channel (B*T, C, 1, 1)."""
        squeezed = self.motion_bn(self.motion_in(x))
        here, there = (mean_positions(self.clips(part)) for part in (squeezed, self.motion_next(squeezed)))
        return self.motion_out(self.rows(self.motion(here, there))[..., None, None]).sigmoid()

    def _seen(self, values: Tensor) -> Tensor:
        """Returns values (B, T, ...) of frames, and in a causal module those of the two before them."""
        return self.with_past(values, 2) if self.causal else values

"""Implements the excitation and aggregation of TEA, inside the blocks of Res2Net."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import Direction, Spot, TemporalModule, mean_positions, shift_taps

SCALES = 4


class TEA(TemporalModule):
    """Excites what moves and mixes frames at every scale of a Res2Net (Li et al. 2020, arXiv 2004.01398).

    What the first convolution of a block gives is excited by its difference to the next frame, channel by channel. Each
    of the four scales then mixes frames by a convolution over time, in front of its convolution over space.

    With `shift: uni`, a form of this project, the difference is that from the frame before, and the convolution sees
    a frame and the two before it.

    squeeze: factor by which the differences have fewer channels.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame.
    """

    spot: ClassVar[Spot] = "block"

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        squeeze: PositiveInt = 16,
        shift: Direction = "bi",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        narrow, width = channels // squeeze, channels // SCALES
        if not narrow:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")

        def layer(inner: int, outer: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))

        self.squeeze, self.expand = layer(channels, narrow), layer(narrow, channels)
        self.neighbour = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        # the first three scales begin as they are, and the last as a shift of its halves
        self.causal = shift == "uni"
        scales = [*(shift_taps(width, 0, shift) for _ in range(SCALES - 1)), shift_taps(width, 2, shift)]
        self.taps = nn.ModuleList(scales)

    @classmethod
    def attach(cls, module: nn.Module, name: str) -> None:
        """Makes a block of timm's Res2Net call the module. Raises: ValueError for a block of another network."""
        kind: Any = type(module)
        is_res2net = kind.__name__ == "Bottle2neck" and kind.__module__.startswith("timm.")
        if not is_res2net or getattr(module, "scale", None) != SCALES:
            raise ValueError(
                f"name: this module sits between the four scales of timm's Res2Net, which {name} does not have; take "
                "backbone: timm/res2net50_26w_4s"
            )
        module.__class__ = _mixed(kind)

    def forward(self, x: Tensor) -> Tensor:
        """Excites features (B*T, C, H, W), and keeps their shape."""
        squeezed = self.squeeze(x)
        here, there = (mean_positions(self.clips(part)) for part in (squeezed, self.neighbour(squeezed)))
        gate = self.expand(self.rows(self.motion(here, there))[..., None, None]).sigmoid() - 0.5
        return x + x * gate

    def over_time(self, scale: int, x: Tensor) -> Tensor:
        """Mixes the frames of one scale's features (B*T, C/4, H, W), and keeps their shape."""
        taps = self.taps[scale]
        assert isinstance(taps, nn.Conv1d)
        return self.rows(self.correlate(self.clips(x), taps))


def _forward(block: Any, x: Tensor) -> Tensor:
    """Maps features (B*T, C, H, W) to those behind the block."""
    motion: TEA = block.temporal
    *groups, last = motion(block.relu(block.bn1(block.conv1(x)))).split(block.width, 1)
    found: list[Tensor] = []
    for scale, (group, conv, norm) in enumerate(zip(groups, block.convs, block.bns, strict=True)):
        given = group if block.is_first or not found else group + found[-1]
        found.append(block.relu(norm(conv(motion.over_time(scale, given)))))
    last = motion.over_time(SCALES - 1, last)
    found.append(last if block.pool is None else block.pool(last))
    out = block.bn3(block.conv3(block.drop_block(torch.cat(found, 1))))
    out = out if block.se is None else block.se(out)
    out = out if block.drop_path is None else block.drop_path(out)
    shortcut = x if block.downsample is None else block.downsample(x)
    answer: Tensor = block.relu(out + shortcut)
    return answer


@functools.cache
def _mixed(kind: Any) -> Any:
    """Returns the class of blocks that run as `_forward` says."""
    return type(kind.__name__, (kind,), {"forward": _forward})

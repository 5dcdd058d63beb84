"""Implements the Temporal Pyramid Network, a neck between the last two stages of a network and its classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

GROUPS = 32
SPAN = 8  # frames that become one step


class TPN(nn.Module):
    """Joins the last two stages, each at a tempo of its own (Yang et al. 2020, arXiv 2004.03548).

    Both are brought to the same size, and each eight frames to one step. They add up from the later stage to the
    earlier one, and then back; what both ways give is joined.

    width: channels of the last stage; the one before has half of them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.width = width
        self.align = _layer(half, width, (1, 3, 3), stride=(1, 2, 2))
        self.tempo = nn.ModuleList([_in_time(width, half, groups=GROUPS) for _ in range(2)])
        self.back = _in_time(half, half)
        self.fuse = nn.ModuleList([_Fusion(half, width) for _ in range(2)])
        self.join = _layer(2 * width, width, (1, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, early: Tensor, late: Tensor) -> Tensor:
        """Maps features (B, C/2, T, 2H, 2W) and (B, C, T, H, W) to features (B, C, T/8, H, W), rounded up."""
        span = min(SPAN, late.shape[2])
        slow, fast = (
            F.max_pool3d(tempo(level), (span, 1, 1), ceil_mode=True)
            for tempo, level in zip(self.tempo, (self.align(early), late), strict=True)
        )
        slow = slow + fast
        down = self.fuse[0](slow, fast)
        up = self.fuse[1](slow, fast + self.back(slow))
        joined: Tensor = self.join(torch.cat([down, up], 1))
        return joined


class _Fusion(nn.Module):
    """Weighs the channels of both levels and makes one of them."""

    def __init__(self, half: int, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList([_layer(half, half, (1, 1, 1), groups=GROUPS) for _ in range(2)])
        self.both = _layer(2 * half, width, (1, 1, 1))

    def forward(self, early: Tensor, late: Tensor) -> Tensor:
        fused: Tensor = self.both(torch.cat([self.levels[0](early), self.levels[1](late)], 1))
        return fused


def last_stages(net: ResNet, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Runs a ResNet on frames (N, C, H, W) and returns what its last two stages give."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(frames))))
    early = net.layer3(net.layer2(net.layer1(x)))
    return early, net.layer4(early)


class _Conv(nn.Conv3d):
    """Convolves clips; for a training on a CPU as one matrix product, as gradients of a convolution are slow there."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to clips."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if traced or input.device.type != "cpu" or self.groups > 1 or not torch.is_grad_enabled():
            return super().forward(input)
        time, height, width = (int(size) for size in self.padding)
        x = F.pad(input.movedim(1, -1), (0, 0, width, width, height, height, time, time))
        for axis, (size, step) in enumerate(zip(self.kernel_size, self.stride, strict=True), 1):
            x = x.unfold(axis, size, step)
        seen = x.movedim(4, -1).flatten(4)  # all that an output sees, as weights have it
        return F.linear(seen, self.weight.movedim(1, -1).flatten(1), self.bias).movedim(-1, 1)


def _in_time(inner: int, outer: int, *, groups: int = 1) -> nn.Conv3d:
    return _Conv(inner, outer, (3, 1, 1), padding=(1, 0, 0), groups=groups, bias=False)


def _layer(
    inner: int, outer: int, kernel: tuple[int, int, int], *, stride: tuple[int, int, int] = (1, 1, 1), groups: int = 1
) -> nn.Sequential:
    """Makes a convolution that keeps the size at stride 1, with a norm and a ReLU."""
    padding = tuple(size // 2 for size in kernel)
    conv = _Conv(inner, outer, kernel, stride, padding, groups=groups, bias=False)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.BatchNorm3d(outer), nn.ReLU(inplace=True))

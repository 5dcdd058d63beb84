"""Builds networks on torchvision's video ResNet: MCx, rMCx, R(2+1)D of VMZ and mmaction2, channel-separated ones.

Blocks, stages and keys are torchvision's (stem.0, layer1.0.conv1.0, fc). Here are the convolutions and stems that
torchvision does not have, and the table of named networks. `r3d_18`, `mc3_18` and `r2plus1d_18` are torchvision's own
(torchvision_builders.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.video.resnet import (
    BasicBlock,
    BasicStem,
    Bottleneck,
    Conv3DNoTemporal,
    Conv3DSimple,
    R2Plus1dStem,
    VideoResNet,
)

CAFFE2_EPS = 1e-3  # batch norm of VMZ's Caffe2 training; its momentum of 0.9 is the weight of old batches, 0.1 here
PROJECT_EPS = 1e-5


def factorised_width(inputs: int, outputs: int, kernel_s: int) -> int:
    """Returns the width inside a (2+1)D convolution that keeps the number of parameters (1711.11248, sec. 3.5)."""
    area = kernel_s * kernel_s
    return 3 * inputs * outputs * area // (inputs * area + 3 * outputs)


class Factorised(nn.Sequential):
    """Applies a 1x3x3 convolution, norm, ReLU and a 3x1x1 convolution, with a width computed for each convolution.

    torchvision's Conv2Plus1D takes one width per block instead, which differs if a block widens (230 instead of 288).
    """

    def __init__(self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1) -> None:
        middle = factorised_width(in_planes, out_planes, 3)
        super().__init__(
            nn.Conv3d(in_planes, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, out_planes, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        )

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride of the shortcut, which is the same in time and space."""
        return stride, stride, stride


class FactorisedPointwise(nn.Sequential):
    """Factorises a 1x1x1 shortcut as mmaction2 does: a 1x1x1 convolution strided in space, then one strided in time."""

    def __init__(self, conv: nn.Conv3d) -> None:
        inputs, outputs = conv.in_channels, conv.out_channels
        middle = factorised_width(inputs, outputs, 1)
        stride_t, stride_h, stride_w = conv.stride
        super().__init__(
            nn.Conv3d(inputs, middle, 1, (1, stride_h, stride_w), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, outputs, 1, (stride_t, 1, 1), bias=False),
        )


class Depthwise(nn.Conv3d):
    """Convolves each channel by 3x3x3, for interaction-reduced CSN (Tran et al. 2019, arXiv 1904.02811, sec. 3.3)."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1) -> None:
        super().__init__(in_planes, out_planes, 3, stride, 1, groups=in_planes, bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride of the shortcut, which is the same in time and space."""
        return stride, stride, stride


class PreservedDepthwise(nn.Sequential):
    """Applies a 1x1x1 convolution, a norm and the depthwise convolution, for interaction-preserved CSN."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(in_planes, out_planes, 1, bias=False),
            nn.BatchNorm3d(out_planes),
            Depthwise(out_planes, out_planes, stride=stride),
        )

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride of the shortcut, which is the same in time and space."""
        return stride, stride, stride


def _pool() -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


class FlatStem(nn.Sequential):
    """Convolves frames by 1x7x7, as the stem of the reversed networks rMCx."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(64), nn.ReLU(inplace=True)
        )


class WideFactorisedStem(nn.Sequential):
    """Builds mmaction2's stem of R(2+1)D, with 83 channels in the middle; torchvision and VMZ have 45."""

    def __init__(self) -> None:
        middle = factorised_width(3, 64, 7)
        super().__init__(
            nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, 64, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
        )


@dataclass(frozen=True)
class VideoResNetEntry:
    """Describes a named video ResNet as data.

    source: project and paper that it comes from.
    block: class of the residual blocks.
    depths: number of blocks in each stage.
    convs: class of the convolutions in each stage.
    stem: makes the stem.
    pooled: default of `stem_pool`, a 1x3x3 max pool of stride 2 behind the stem.
    eps: epsilon of the norms outside of factorised convolutions.
    inner_eps: epsilon of the norms inside factorised convolutions.
    factorised_shortcut: factorise the convolutions of the shortcuts as well.
    frames, crop: frames and side of the clip for which the cost is published.
    """

    source: str
    block: type[nn.Module]
    depths: tuple[int, ...]
    convs: tuple[type[nn.Module], ...]
    stem: Callable[[], nn.Sequential]
    pooled: bool = False
    eps: float = CAFFE2_EPS
    inner_eps: float = CAFFE2_EPS
    factorised_shortcut: bool = False
    frames: int = 32
    crop: int = 112

    def build(self, num_class: int = 400, *, dropout: float = 0.0, stem_pool: bool | None = None) -> VideoResNet:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class)."""
        pooled = self.pooled if stem_pool is None else stem_pool
        net = VideoResNet(
            self.block,
            self.convs,
            list(self.depths),
            lambda: nn.Sequential(*self.stem(), *([_pool()] if pooled else [])),
            num_classes=num_class,
        )
        if self.factorised_shortcut:
            for name, module in list(net.named_modules()):
                if name.endswith("downsample"):
                    module[0] = FactorisedPointwise(module[0])
        _set_eps(net, eps=self.eps, inner_eps=self.inner_eps)
        return with_dropout(net, dropout)


def _set_eps(net: nn.Module, *, eps: float, inner_eps: float) -> None:
    factorised = [module for module in net.modules() if isinstance(module, (Factorised, FactorisedPointwise))]
    inside = {id(part) for module in factorised for part in module}
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = inner_eps if id(module) in inside or name == "stem.1" else eps


class _DropoutLinear(nn.Linear):
    """Classifies with dropout on the input, under torchvision's keys (fc.weight, fc.bias)."""

    def __init__(self, fc: nn.Linear, dropout: float) -> None:
        super().__init__(fc.in_features, fc.out_features)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.weight, 0.0, 0.01)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C) to logits (B, K)."""
        return super().forward(self.dropout(x))


def with_dropout(net: VideoResNet, dropout: float) -> VideoResNet:
    """Puts dropout in front of the classifier; 0 leaves the network as published."""
    if dropout > 0:
        net.fc = _DropoutLinear(net.fc, dropout)
    return net


def _mixed(level: int, *, reversed_order: bool) -> VideoResNetEntry:
    """Describes MCx, which convolves in 3-D before stage x and in 2-D from it on, or rMCx, which reverses this.

    See arXiv 1711.11248, sec. 3.3.
    """
    before, after = (Conv3DNoTemporal, Conv3DSimple) if reversed_order else (Conv3DSimple, Conv3DNoTemporal)
    convs = tuple(before if stage < level else after for stage in (2, 3, 4, 5))
    name = f"{'r' if reversed_order else ''}MC{level}"
    stem: Callable[[], nn.Sequential] = FlatStem if reversed_order else BasicStem
    return VideoResNetEntry(
        f"{name} with 18 layers, VMZ; Tran et al. 2018, arXiv 1711.11248",
        BasicBlock,
        (2, 2, 2, 2),
        convs,
        stem,
        frames=8,
    )


def _four(conv: type[nn.Module]) -> tuple[type[nn.Module], ...]:
    return (conv,) * 4


_R2PLUS1D, _CSN = "Tran et al. 2018, arXiv 1711.11248", "Tran et al. 2019, arXiv 1904.02811"
_D34, _D152 = (3, 4, 6, 3), (3, 8, 36, 3)

VIDEO_RESNETS: dict[str, VideoResNetEntry] = {
    "r2plus1d_34": VideoResNetEntry(f"R(2+1)D-34, VMZ; {_R2PLUS1D}", BasicBlock, _D34, _four(Factorised), R2Plus1dStem),
    "r2plus1d_152": VideoResNetEntry(
        f"R(2+1)D-152, VMZ; {_R2PLUS1D}", Bottleneck, _D152, _four(Factorised), R2Plus1dStem, pooled=True, crop=224
    ),
    "r2plus1d_34_mm": VideoResNetEntry(
        f"R(2+1)D-34, mmaction2: 83-wide pooled stem, factorised shortcuts; {_R2PLUS1D}",
        BasicBlock,
        _D34,
        _four(Factorised),
        WideFactorisedStem,
        pooled=True,
        inner_eps=PROJECT_EPS,
        factorised_shortcut=True,
        crop=224,
    ),
    "ir_csn_152": VideoResNetEntry(
        f"interaction-reduced CSN-152, VMZ and mmaction2; {_CSN}",
        Bottleneck,
        _D152,
        _four(Depthwise),
        BasicStem,
        pooled=True,
        crop=224,
    ),
    "ip_csn_152": VideoResNetEntry(
        f"interaction-preserved CSN-152, VMZ and mmaction2; {_CSN}",
        Bottleneck,
        _D152,
        _four(PreservedDepthwise),
        BasicStem,
        pooled=True,
        crop=224,
    ),
    "ir_csn_50": VideoResNetEntry(
        f"interaction-reduced CSN-50, mmaction2; {_CSN}",
        Bottleneck,
        _D34,
        _four(Depthwise),
        BasicStem,
        pooled=True,
        crop=224,
    ),
    **{f"mc{level}_18": _mixed(level, reversed_order=False) for level in (2, 4, 5)},
    "mc3_18_vmz": _mixed(3, reversed_order=False),
    **{f"rmc{level}_18": _mixed(level, reversed_order=True) for level in (2, 3, 4, 5)},
}

BUILDERS = {name: entry.build for name, entry in VIDEO_RESNETS.items()}

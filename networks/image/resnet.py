"""Builds ResNet-18 to ResNet-152 for single frames: torchvision's own modules under torchvision's keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

# name -> block, blocks per stage (He et al. 2016, arXiv 1512.03385, table 1)
DEPTHS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
    "resnet152": (Bottleneck, [3, 8, 36, 3]),
}


def _builder(name: str) -> Callable[..., nn.Module]:
    def build(
        *,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
    ) -> nn.Module:
        """Builds the network with random weights and 1000 classes; the arguments are torchvision's."""
        block, layers = DEPTHS[name]
        return ResNet(
            block,
            layers,
            zero_init_residual=zero_init_residual,
            groups=groups,
            width_per_group=width_per_group,
            replace_stride_with_dilation=replace_stride_with_dilation and [*replace_stride_with_dilation],
        )

    build.__name__ = name
    return build


RESNETS: dict[str, Callable[..., nn.Module]] = {name: _builder(name) for name in DEPTHS}

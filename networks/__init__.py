"""Plain nn.Modules: tensors in, features or logits out. They know no config, file or process.

Two tables of builders, name -> keyword arguments -> module. A new network is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from networks.clip.table import CLIP_BUILDERS
from networks.image.mobilenet import mobilenet_v2
from networks.image.resnet import RESNETS

# frames (N, C, H, W) -> 1000 image classes; networks.image.backbones.image_backbone takes the classifier off
IMAGE_BACKBONES: Mapping[str, Callable[..., nn.Module]] = {
    **RESNETS,
    "mobilenet_v2": mobilenet_v2,
    "mobilenetv2": mobilenet_v2,
}

# one clip (N, C, T, H, W) -> logits (N, K)
CLIP_NETWORKS: Mapping[str, Callable[..., nn.Module]] = {**CLIP_BUILDERS}

BACKBONES: Mapping[str, Callable[..., nn.Module]] = {**IMAGE_BACKBONES, **CLIP_NETWORKS}

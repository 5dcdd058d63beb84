"""Holds the networks: plain nn.Modules that turn tensors into features or logits and know nothing of config keys.

Two tables name their builders, which take keyword arguments. A new network is one file and one line here. Files with
weights are read in networks/checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from networks.clip.table import CLIP_BUILDERS
from networks.image.bn_inception import bn_inception
from networks.image.inception_v3 import inception_v3_tsn
from networks.image.mobilenet import mobilenet_v2
from networks.image.resnet import RESNETS

# frames (N, C, H, W) -> 1000 image classes; networks.image.backbones.image_backbone removes the classifier
IMAGE_BACKBONES: Mapping[str, Callable[..., nn.Module]] = {
    **RESNETS,
    "bn_inception": bn_inception,
    "inception_v3_tsn": inception_v3_tsn,
    "mobilenet_v2": mobilenet_v2,
    "mobilenetv2": mobilenet_v2,
}

# one clip (N, C, T, H, W) -> logits (N, K)
CLIP_NETWORKS: Mapping[str, Callable[..., nn.Module]] = {**CLIP_BUILDERS}

BACKBONES: Mapping[str, Callable[..., nn.Module]] = {**IMAGE_BACKBONES, **CLIP_NETWORKS}

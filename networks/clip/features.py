"""Takes the tokens of a clip out of any network over clips: its last map, before anything is averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.video import S3D, MViT, SwinTransformer3d, VideoResNet

from networks.clip.c3d import C3D
from networks.clip.hiera import Hiera
from networks.clip.resnet3d import ResNet3d
from networks.clip.resnet3d_333 import ResNet3d333
from networks.clip.slowfast import SlowFastNet
from networks.clip.uniformer import UniFormer
from networks.clip.uniformer_v2 import UniFormerV2
from networks.clip.video_vit import VideoViT
from networks.clip.x3d import X3D
from networks.image.features import caught

# networks without `forward_features` -> the part that gives the last map
PARTS: dict[type[nn.Module], str] = {
    VideoResNet: "layer4",
    S3D: "features",
    C3D: "pool5",
    X3D: "bn5",
    MViT: "norm",
    SwinTransformer3d: "norm",
    UniFormer: "norm",
}
C3D_CHANNELS = 512


def clip_tokens(net: nn.Module, clips: Tensor) -> Tensor:
    """Maps clips (B, C, T, H, W) to tokens (B, T', L, D): L places in the picture at each of T' moments.

    With SlowFast, the moments are those of the slow pathway, and the fast one is averaged in between.
    """
    if isinstance(net, SlowFastNet):
        slow, fast = net.forward_features(clips)
        return _of_map(torch.cat([slow, fast.unflatten(2, (slow.shape[2], -1)).mean(3)], dim=1))
    if isinstance(net, VideoViT):
        return net.forward_features(clips)
    if isinstance(net, (ResNet3d, ResNet3d333)):
        return _of_map(net.forward_features(clips))
    if isinstance(net, (Hiera, UniFormerV2)):
        return net.tokens(clips)
    last = caught(net, next(part for kind, part in PARTS.items() if isinstance(net, kind)), clips)
    if isinstance(net, MViT):
        return last[:, 1:].unflatten(1, (net.pos_encoding.temporal_size, -1))  # the first is the class token
    if isinstance(net, SwinTransformer3d):
        return last.flatten(2, 3)
    return _of_map(net.relu(last) if isinstance(net, X3D) else last)


def token_width(net: nn.Module, width: int) -> int:
    """Returns D of the tokens. width: of what the network gives to its classifier."""
    if isinstance(net, X3D):
        return int(net.bn5.num_features)
    return C3D_CHANNELS if isinstance(net, C3D) else width


def _of_map(features: Tensor) -> Tensor:
    """Turns a map (B, D, T', H', W') into tokens (B, T', H' * W', D)."""
    return features.flatten(3).permute(0, 2, 3, 1)

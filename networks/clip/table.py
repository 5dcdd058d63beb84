"""Lists all networks over one clip, with their builders and the clip for which their cost is published."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from networks.clip import (
    c3d,
    factorised_resnet,
    hiera,
    resnet3d_333,
    resnet3d_published,
    swin,
    torchvision_builders,
    uniformer,
    uniformer_v2,
    video_vit_published,
    x3d,
)
from networks.clip.factorised_resnet import VIDEO_RESNETS
from networks.clip.resnet3d_published import RESNETS_3D
from networks.clip.video_vit_published import VITS
from networks.clip.x3d import X3DS

CLIP_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **resnet3d_published.BUILDERS,
    **resnet3d_333.BUILDERS,
    **factorised_resnet.BUILDERS,
    **torchvision_builders.BUILDERS,
    **x3d.BUILDERS,
    **c3d.BUILDERS,
    **hiera.BUILDERS,
    **uniformer.BUILDERS,
    **uniformer_v2.BUILDERS,
    **video_vit_published.BUILDERS,
}


def _example(name: str) -> tuple[int, int, int]:
    if name in RESNETS_3D:
        return RESNETS_3D[name].frames, 256, 256
    if name in torchvision_builders.BUILDERS:
        return torchvision_builders.EXAMPLES.get(name, (16, 112, 112))
    if name in VIDEO_RESNETS:
        entry = VIDEO_RESNETS[name]
        return entry.frames, entry.crop, entry.crop
    if name in X3DS:
        return X3DS[name].frames, X3DS[name].crop, X3DS[name].crop
    if name in uniformer_v2.BUILDERS:
        return 8, 224, 224
    if name in hiera.BUILDERS or name in uniformer.BUILDERS:
        return 16, 224, 224
    return VITS[name].shape.clip if name in VITS else (16, 112, 112)


EXAMPLES: dict[str, tuple[int, int, int]] = {name: _example(name) for name in CLIP_BUILDERS}  # T, H, W


def image_architecture(name: str) -> str:
    """Returns the image network whose weights inflate to this one; "" if no image weights do."""
    if name in swin.BUILDERS:
        return name.replace("swin3d", "swin")
    if name in uniformer_v2.BUILDERS:
        return f"timm/{uniformer_v2.SIZES[name].clip}"
    if name in RESNETS_3D:
        entry = RESNETS_3D[name]
        return f"resnet{entry.depth}" if entry.stages.get("block", "bottleneck") == "bottleneck" else ""
    return name.removesuffix("_3d") if name in resnet3d_333.BUILDERS else ""

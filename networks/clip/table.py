"""All networks over one clip in one table: where their builders come from, and the clip their cost is quoted at."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from networks.clip import factorised_resnet as video_resnet
from networks.clip import resnet3d_333 as resnet3d_full
from networks.clip import resnet3d_published as resnet3d_zoo
from networks.clip import torchvision_builders as torchvision_video

CLIP_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **resnet3d_zoo.BUILDERS,
    **resnet3d_full.BUILDERS,
    **video_resnet.BUILDERS,
    **torchvision_video.BUILDERS,
}


def _example(name: str) -> tuple[int, int, int]:
    if name in resnet3d_zoo.ZOO:
        return resnet3d_zoo.ZOO[name].frames, 256, 256
    if name in torchvision_video.BUILDERS:
        return torchvision_video.EXAMPLES.get(name, (16, 112, 112))
    if name in video_resnet.VIDEO_RESNETS:
        entry = video_resnet.VIDEO_RESNETS[name]
        return entry.frames, entry.crop, entry.crop
    return 16, 112, 112


EXAMPLES: dict[str, tuple[int, int, int]] = {name: _example(name) for name in CLIP_BUILDERS}  # T, H, W


def image_architecture(name: str) -> str:
    """The image ResNet whose weights inflate to this network, or "" when none does."""
    if name in resnet3d_zoo.ZOO:
        entry = resnet3d_zoo.ZOO[name]
        return f"resnet{entry.depth}" if entry.stages.get("block", "bottleneck") == "bottleneck" else ""
    return name.removesuffix("_3d") if name in resnet3d_full.BUILDERS else ""

"""Builds every network of torchvision.models.video under its name, with our argument names and random weights.

The modules, their keys and their numbers are torchvision's. MViT is in mvit.py, Swin in swin.py.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision.models import get_model_builder, list_models, video

from networks.clip import mvit, swin
from networks.clip.factorised_resnet import with_dropout

# (T, H, W) of published costs if it is not (16, 112, 112); S3D's accuracy is published for 128 frames, its cost for 16
EXAMPLES = {
    "s3d": (16, 224, 224),
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), (16, 224, 224)),
    **dict.fromkeys(("swin3d_t", "swin3d_s", "swin3d_b"), (32, 224, 224)),
}


def _video_resnet(name: str) -> Callable[..., nn.Module]:
    def build(num_class: int = 400, *, dropout: float = 0.0) -> nn.Module:
        return with_dropout(get_model_builder(name)(num_classes=num_class), dropout)

    return _named(build, name)


def _s3d(name: str) -> Callable[..., nn.Module]:
    def build(num_class: int = 400, *, dropout: float = 0.2) -> nn.Module:
        return get_model_builder(name)(num_classes=num_class, dropout=dropout)

    return _named(build, name)


def _named(build: Callable[..., nn.Module], name: str) -> Callable[..., nn.Module]:
    build.__name__ = build.__qualname__ = name
    build.__doc__ = (
        f"Builds torchvision.models.video.{name} with random weights: clips (B, 3, T, H, W) -> logits (B, num_class)."
    )
    return build


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **{name: _s3d(name) if name == "s3d" else _video_resnet(name) for name in list_models(video)},
    **mvit.BUILDERS,
    **swin.BUILDERS,
}

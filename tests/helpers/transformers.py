"""Tiny video transformers of every family, as the `model` of a config; a clip has 4 frames of 32 x 32."""

from __future__ import annotations

from typing import Any

_TINY = {"depth": 2, "embed_dim": 32, "num_heads": 2}
_TABLES = {**_TINY, "spatial_size": 32}
_TIMM = {"type": "tsn", "backbone": "timm/vit_tiny_patch16_224", "kwargs": {**_TINY, "img_size": 32}}


def _clips(backbone: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": "clip3d", "backbone": backbone, "clip_len": 4, "kwargs": kwargs}


VIDEO: dict[str, dict[str, Any]] = {
    "videomae": _clips("videomae_s", **_TINY),
    "vjepa2": _clips("vjepa2_l", **_TINY, pool_depth=2),
    "vjepa2_windows": _clips("vjepa2_l", **_TINY, pool_depth=2, segments=2, read_blocks=[0, 1]),
    "timesformer": _clips("timesformer_b", **_TABLES),
    "vivit": _clips("vivit_b", **_TABLES),
    "hiera": _clips("hiera_tiny", spatial_size=32, depths=[1, 1, 1, 1], embed_dim=16, num_heads=1),
    "uniformer": _clips("uniformer_s", depths=[1, 1, 1, 1]),
    "uniformerv2": _clips("uniformerv2_b", depth=2, embed_dim=64, spatial_size=32, reads=[0, 1], local=True),
}
ADAPTED: dict[str, dict[str, Any]] = {
    "st_adapter": {**_TIMM, "num_segments": 4, "temporal": {"name": "st_adapter", "width": 8}},
    "aim": {**_TIMM, "num_segments": 4, "temporal": {"name": "aim"}},
}

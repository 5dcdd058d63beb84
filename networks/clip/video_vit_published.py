"""Lists the published video transformers of video_vit.py as rows of data, under the names that the field uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from networks.clip.video_vit import VideoViT, ViTShape
from utils.config.build import checked

Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
Scale = Annotated[float, Field(gt=0.0)]
# width, blocks, heads and hidden channels for each channel of a token
SIZES: Mapping[str, tuple[int, int, int, float]] = {
    "s": (384, 12, 6, 4.0),
    "b": (768, 12, 12, 4.0),
    "l": (1024, 24, 16, 4.0),
    "h": (1280, 32, 16, 4.0),
    "g": (1408, 40, 16, 48 / 11),
    "gigantic": (1664, 48, 26, 64 / 13),
}


@dataclass(frozen=True)
class ViTEntry:
    """Describes a named video transformer as data; `build` makes the network. source: project and paper."""

    source: str
    shape: ViTShape

    def _changed(self, **changes: Any) -> ViTShape:
        return replace(self.shape, **{key: value for key, value in changes.items() if value is not None})

    def _size(self, temporal_size: int | None, spatial_size: int | None) -> tuple[int, int, int]:
        """Returns the clip (T, H, W) of learned tables. Raises: ValueError with the argument that no tokens fill."""
        frames, side, _ = self.shape.clip
        frames, side = temporal_size or frames, spatial_size or side
        usual = self.shape.clip
        for name, clip in (("temporal_size", (frames, *usual[1:])), ("spatial_size", (usual[0], side, side))):
            try:
                self.shape.grid(clip)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return frames, side, side


class VideoMAEEntry(ViTEntry):
    """Describes a network of VideoMAE or VideoMAE V2 as data."""

    @checked
    def build(
        self,
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        drop_path: Rate = 0.0,
        head_init_scale: Scale = 0.001,
        embed_dim: PositiveInt | None = None,
        depth: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
        mlp_ratio: Scale | None = None,
        patch_size: PositiveInt | None = None,
    ) -> VideoViT:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class).

        T is even and H and W are multiples of the patch; sines and cosines say where tokens are, so any such clip fits.
        None leaves the published size.

        drop_path: probability of leaving out the last block in training; earlier blocks have less.
        head_init_scale: factor of the classifier's initial weights.
        embed_dim: channels of a token. mlp_ratio: hidden channels of the MLP for each of them.
        """
        shape = self._changed(width=embed_dim, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio)
        if patch_size is not None:
            frames, side, _ = shape.clip
            fitting = max(side // patch_size, 1) * patch_size
            shape = replace(shape, tubelet=(shape.tubelet[0], patch_size), clip=(frames, fitting, fitting))
        return VideoViT(
            shape, num_class=num_class, dropout=dropout, drop_path=drop_path, head_init_scale=head_init_scale
        )


class VJEPA2Entry(ViTEntry):
    """Describes an encoder of V-JEPA 2 or 2.1, with what reads its tokens, as data."""

    @checked
    def build(
        self,
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        drop_path: Rate = 0.0,
        pooling: Literal["attentive", "mean"] = "attentive",
        pool_depth: PositiveInt | None = None,
        segments: PositiveInt = 1,
        read_blocks: Sequence[NonNegativeInt] = (),
        embed_dim: PositiveInt | None = None,
        depth: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
        pool_heads: PositiveInt | None = None,
        mlp_ratio: Scale | None = None,
    ) -> VideoViT:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class).

        T is even, and H and W are multiples of 16; rotations say where tokens are, so any such clip fits.
        Arguments that VideoMAE has too are the same.

        pooling: what the classifier sees: the vector of the attentive pooler, or the mean over the tokens.
        pool_depth: blocks of the pooler, the last one included, which attends with a learned query.
        segments: windows of a video that a clip consists of, which the pooler reads together; T is that of all.
        read_blocks: blocks whose tokens the pooler reads, from 0, the last one included; by default it alone. In 2.1
            each has a norm of its own; the published files have those of four blocks.
        num_heads, pool_heads: attention heads of the encoder and of the pooler.
        """
        shape = self._changed(
            width=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            pool=pooling,
            pool_depth=pool_depth,
            pool_heads=pool_heads or num_heads,
            reads=tuple(read_blocks),
            segments=segments,
            clip=(self.shape.clip[0] * segments, *self.shape.clip[1:]),
        )
        return VideoViT(shape, num_class=num_class, dropout=dropout, drop_path=drop_path)


class TimeSformerEntry(ViTEntry):
    """Describes a TimeSformer as data."""

    @checked
    def build(
        self,
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        drop_path: Rate = 0.1,
        attention: Literal["divided", "joint"] = "divided",
        temporal_size: PositiveInt | None = None,
        spatial_size: PositiveInt | None = None,
        embed_dim: PositiveInt | None = None,
        depth: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
    ) -> VideoViT:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class).

        Arguments that VideoMAE has too are the same.

        attention: each block attends over time first and then over each frame (divided), or over all tokens (joint).
        temporal_size: T, the frames that it has learned vectors for.
        spatial_size: H and W, a multiple of 16.
        """
        size = self._size(temporal_size, spatial_size)
        shape = self._changed(width=embed_dim, depth=depth, num_heads=num_heads, clip=size)
        shape = replace(shape, divided=attention == "divided")
        return VideoViT(shape, num_class=num_class, dropout=dropout, drop_path=drop_path)


class ViViTEntry(ViTEntry):
    """Describes a ViViT with joint attention as data."""

    @checked
    def build(
        self,
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        drop_path: Rate = 0.0,
        temporal_size: PositiveInt | None = None,
        spatial_size: PositiveInt | None = None,
        embed_dim: PositiveInt | None = None,
        depth: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
    ) -> VideoViT:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class).

        T is even, and H and W are multiples of 16. Arguments are as in TimeSformer and VideoMAE.
        """
        size = self._size(temporal_size, spatial_size)
        shape = self._changed(width=embed_dim, depth=depth, num_heads=num_heads, clip=size)
        return VideoViT(shape, num_class=num_class, dropout=dropout, drop_path=drop_path)


def _shape(size: str, **others: Any) -> ViTShape:
    width, depth, num_heads, mlp_ratio = SIZES[size]
    return ViTShape(width, depth, **{"num_heads": num_heads, "mlp_ratio": mlp_ratio, **others})


_MAE = {"norm_after_pool": True, "key_bias": False}
_JEPA = {"places": "rotary", "pool": "attentive", "pool_heads": 16, "clip": (16, 256, 256)}
_JEPA21 = {**_JEPA, "places": "rotary_stretched", "clip": (16, 384, 384), "own_norms": True}
_TIME = {"tubelet": (1, 16), "clip": (8, 224, 224), "places": "frame_table", "class_token": True, "pool": "class"}
_VIVIT = {"clip": (32, 224, 224), "places": "table", "class_token": True, "pool": "class", "gelu": "tanh"}
_JEPA_PAPER = "Assran et al. 2025, arXiv 2506.09985"
_JEPA21_SOURCE = "V-JEPA 2.1 with an attentive probe, Mur-Labadia et al. 2026, arXiv 2603.14482"

VITS: dict[str, VideoMAEEntry | VJEPA2Entry | TimeSformerEntry | ViViTEntry] = {
    **{
        f"videomae_{size}": VideoMAEEntry("VideoMAE, Tong et al. 2022, arXiv 2203.12602", _shape(size, **_MAE))
        for size in ("s", "b", "l", "h")
    },
    "videomae_g": VideoMAEEntry(
        "VideoMAE V2, Wang et al. 2023, arXiv 2303.16727", _shape("g", **_MAE, tubelet=(2, 14))
    ),
    "vjepa2_l": VJEPA2Entry(f"V-JEPA 2 with its attentive probe, {_JEPA_PAPER}", _shape("l", **_JEPA)),
    "vjepa2_h": VJEPA2Entry(f"V-JEPA 2 with its attentive probe, {_JEPA_PAPER}", _shape("h", **_JEPA)),
    "vjepa2_g": VJEPA2Entry(f"V-JEPA 2 with its attentive probe, {_JEPA_PAPER}", _shape("g", **_JEPA, num_heads=22)),
    "vjepa2_1_b": VJEPA2Entry(_JEPA21_SOURCE, _shape("b", **_JEPA21)),
    "vjepa2_1_l": VJEPA2Entry(_JEPA21_SOURCE, _shape("l", **_JEPA21)),
    "vjepa2_1_g": VJEPA2Entry(_JEPA21_SOURCE, _shape("g", **_JEPA21, num_heads=22)),
    "vjepa2_1_gigantic": VJEPA2Entry(_JEPA21_SOURCE, _shape("gigantic", **_JEPA21)),
    "timesformer_b": TimeSformerEntry("TimeSformer, Bertasius et al. 2021, arXiv 2102.05095", _shape("b", **_TIME)),
    "vivit_b": ViViTEntry("ViViT with joint attention, Arnab et al. 2021, arXiv 2103.15691", _shape("b", **_VIVIT)),
}

BUILDERS: dict[str, Callable[..., VideoViT]] = {name: entry.build for name, entry in VITS.items()}

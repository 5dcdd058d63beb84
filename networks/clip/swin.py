"""Builds Video Swin of any published size from torchvision's class, with random weights.

Modules, keys and numbers are torchvision's; its own builders have one width and one window each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import PositiveInt
from torch import Tensor, nn
from torchvision.models.video import SwinTransformer3d

from utils.config.build import checked

WINDOW = (8, 7, 7)  # frames, height and width, in patches
PATCH = (2, 4, 4)
CHANNELS_OF_A_HEAD = 32
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
_PATCHES = re.compile(r"features\.0\.([02])\.(.+)")
_STAGE = re.compile(r"features\.(\d+)\.(.+)")
DEPTHS = {"t": (2, 2, 6, 2), "s": (2, 2, 18, 2)}  # blocks of each stage; B and L are as deep as S


def from_image_swin(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names the entries of torchvision's Swin over images as Video Swin does, and repeats its tables over time.

    A bias for two places of a window holds for all distances in time at first (Liu et al. 2021, sec. 3.3).

    own: entries of the network that starts from them, which keep the indices of its tables.
    """
    found = {key: value for key, value in own.items() if key.endswith(INDEX)}
    for key, value in state.items():
        if match := _PATCHES.fullmatch(key):
            found[f"patch_embed.{'norm' if match[1] == '2' else 'proj'}.{match[2]}"] = value
        elif match := _STAGE.fullmatch(key):
            key = f"features.{int(match[1]) - 1}.{match[2]}"
            if key.endswith(TABLE) and key in own:
                value = value.repeat(max(1, own[key].shape[0] // value.shape[0]), 1)
            if not key.endswith(INDEX):
                found[key] = value
        else:
            found[key] = value
    return found


class _Dropped:
    """Drops the classifier's input in training, as a forward pre-hook, which keeps torchvision's keys as they are."""

    def __init__(self, dropout: float) -> None:
        self.dropout = dropout

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (nn.functional.dropout(inputs[0], self.dropout, module.training), *inputs[1:])


def _build(
    num_class: int, *, dropout: float, depths: Sequence[int], embed_dim: int, window: Sequence[int], drop_path: float
) -> SwinTransformer3d:
    if embed_dim % CHANNELS_OF_A_HEAD:
        raise ValueError(f"embed_dim: {embed_dim} is not a multiple of {CHANNELS_OF_A_HEAD}, the channels of a head")
    if len(window) != len(WINDOW):
        raise ValueError(f"window: give three sizes, {list(WINDOW)} for frames, height and width, not {len(window)}")
    net = SwinTransformer3d(
        patch_size=[*PATCH],
        embed_dim=embed_dim,
        depths=[*depths],
        num_heads=[embed_dim // CHANNELS_OF_A_HEAD * 2**stage for stage in range(len(depths))],
        window_size=[*window],
        stochastic_depth_prob=drop_path,
        num_classes=num_class,
    )
    if dropout > 0:
        net.head.register_forward_pre_hook(_Dropped(dropout))
    return net


@checked
def swin3d_t(
    num_class: PositiveInt = 400,
    *,
    dropout: float = 0.0,
    window: Sequence[PositiveInt] = WINDOW,
    drop_path: float = 0.1,
) -> SwinTransformer3d:
    """Builds Video Swin-T (Liu et al. 2021, arXiv 2106.13230): clips (B, 3, T, H, W) -> logits (B, num_class).

    window: frames, height and width in patches of 2 x 4 x 4 within which positions attend to each other.
    drop_path: probability of leaving out the last block in training; earlier blocks have less.
    """
    return _build(num_class, dropout=dropout, depths=DEPTHS["t"], embed_dim=96, window=window, drop_path=drop_path)


@checked
def swin3d_s(
    num_class: PositiveInt = 400,
    *,
    dropout: float = 0.0,
    window: Sequence[PositiveInt] = WINDOW,
    drop_path: float = 0.1,
) -> SwinTransformer3d:
    """Builds Video Swin-S, which has three times the blocks of T; arguments as in swin3d_t."""
    return _build(num_class, dropout=dropout, depths=DEPTHS["s"], embed_dim=96, window=window, drop_path=drop_path)


@checked
def swin3d_b(
    num_class: PositiveInt = 400,
    *,
    dropout: float = 0.0,
    embed_dim: PositiveInt = 128,
    window: Sequence[PositiveInt] = WINDOW,
    drop_path: float = 0.1,
) -> SwinTransformer3d:
    """Builds Video Swin-B: clips (B, 3, T, H, W) -> logits (B, num_class); other arguments as in swin3d_t.

    embed_dim: channels of the first stage; 192 makes L.
    """
    return _build(
        num_class, dropout=dropout, depths=DEPTHS["s"], embed_dim=embed_dim, window=window, drop_path=drop_path
    )


BUILDERS = {"swin3d_t": swin3d_t, "swin3d_s": swin3d_s, "swin3d_b": swin3d_b}

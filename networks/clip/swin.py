"""Builds Video Swin of any published size from torchvision's class, with random weights.

Modules, keys and numbers are torchvision's; its own builders have one width and one window each.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt
from torch import Tensor, nn
from torchvision.models.video import SwinTransformer3d

from utils.config.build import checked

WINDOW = (8, 7, 7)  # frames, height and width, in patches
PATCH = (2, 4, 4)
CHANNELS_OF_A_HEAD = 32
DEPTHS = {"t": (2, 2, 6, 2), "s": (2, 2, 18, 2)}  # blocks of each stage; B and L are as deep as S


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

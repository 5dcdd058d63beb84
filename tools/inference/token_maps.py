"""Puts the tokens that a transformer makes of a clip back into the picture."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torchvision.models.video import MViT

from methods.base import Method
from methods.clip3d import ClipMethod
from networks.checkpoints.load import TRUNK
from networks.clip import hiera
from networks.clip.hiera import Hiera
from networks.clip.uniformer import UniFormer
from networks.clip.uniformer_v2 import UniFormerV2
from networks.clip.video_vit import VideoViT
from tools.inference.channels import FIRST

Size = tuple[int, int, int]  # frames, height and width
ROWS_OF_CHANNELS = 3  # axes of vectors, and of rows (B, C, L) that a convolution over time makes


def transformer(method: Method) -> tuple[nn.Module, str] | None:
    """Returns the network of a method whose tokens have known places, and its path; None if it is another one.

    These are the video transformers of networks/clip, but Video Swin, whose layers answer maps with the channels last,
    and vision transformers of timm that see single frames.
    """
    inside, prefix = _inside(method)
    if isinstance(inside, ClipMethod):
        known = isinstance(inside.network, (VideoViT, Hiera, MViT, UniFormer, UniFormerV2))
        return (inside.network, f"{prefix}network.") if known else None
    net: Any = getattr(inside, "backbone", None)
    known = hasattr(net, "num_prefix_tokens") and hasattr(net, "blocks") and hasattr(net, "patch_embed")
    return (net, f"{prefix}backbone.") if known else None


def _inside(method: Method) -> tuple[Method, str]:
    """Returns the video network of a probe and its path; of any other method itself."""
    return (method, "") if method.trunk is None else (method.trunk, TRUNK)


def last_tokens(method: Method) -> str | None:
    """Returns the layer whose tokens Grad-CAM looks at; None for a network without such tokens, and for MViT.

    It is the last block but one, because a classifier that sees the class token alone reads no other token of the last
    block. Hiera's and UniFormer's classifiers see the mean of all last ones. MViT's blocks answer more than tokens.
    """
    found = transformer(method)
    if found is None or isinstance(found[0], MViT):
        return None
    net, path = found
    if isinstance(net, UniFormer):
        return f"{path}norm"
    blocks = "transformer.resblocks" if isinstance(net, UniFormerV2) else "blocks"
    depth = len(list(net.get_submodule(blocks).children()))
    return f"{path}{blocks}.{max(depth - (1 if isinstance(net, Hiera) else 2), 0)}"


def grid_of(net: Any, size: Size) -> Size:
    """Returns how many tokens a clip has along each axis behind the last block. size: of the clip."""
    frames, height, width = size
    if isinstance(net, VideoViT):
        return net.shape.grid(size)
    if isinstance(net, Hiera):
        return frames // hiera.STRIDE[0], height // hiera.SIDE, width // hiera.SIDE
    if isinstance(net, UniFormerV2):
        patch = net.conv1.stride[1]
        return frames // (2 if net.halved else 1), height // patch, width // patch
    high, wide = net.patch_embed.patch_size
    return frames, height // high, width // wide


def in_the_picture(
    method: Method, layer: str, output: Tensor, axis: int | None, size: Size, clips: int = 1
) -> Tensor | None:
    """Orders what a layer answers as maps (B, C, T', H', W'), or (B*T, C, H', W') where each frame is a row.

    Answers with fewer axes, and their channels in front, stay as they are. None: nothing tells where its places lie.

    axis: where its channels are, as `channel_axes` notes it. size: of the clips, and their number.
    """
    found, (inside, _), rows = transformer(method), _inside(method), len(output)
    maps = None
    if found is not None and layer.startswith(found[1]):
        maps = as_map(found[0], output, size, clips)
    if maps is not None or axis is None:
        return maps
    whole = isinstance(inside, ClipMethod)  # other networks see single frames
    if axis == FIRST:
        return output if output.dim() <= ROWS_OF_CHANNELS or not whole or rows == clips else None
    if whole and found is None and output.dim() == 3:  # of a classifier that runs at several places
        return output.movedim(-1, 1)[..., None, None, :]
    fits = rows == clips if whole else rows % clips == 0 and rows <= clips * size[0]
    return output.movedim(-1, 1) if fits and output.dim() == (5 if whole else 4) else None


def as_map(net: nn.Module, output: Tensor, size: Size, clips: int = 1) -> Tensor | None:
    """Orders the tokens of clips as maps (B, D, T', H', W'), or (B*T, D, H', W') where each frame is a row.

    Returns None if they are not all tokens of these clips. Class tokens and registers are left out.

    output: what a layer gave, with a row for each clip, or for each frame. size: of the clips, and their number.
    """
    if isinstance(net, UniFormer):
        return None  # its blocks answer maps
    if isinstance(net, MViT):
        return _of_mvit(net, output, clips)
    grid, by_frame = grid_of(net, size), False
    if isinstance(net, Hiera):
        if output.dim() != 4 or output.shape[2] != 1:
            return None
        output, first = output[:, :, 0], 0
    elif isinstance(net, VideoViT):
        first = int(net.shape.class_token)
        if (windows := net.shape.segments) > 1 and output.dim() == 3 and len(output) == clips * windows:
            output = output.unflatten(0, (clips, windows)).flatten(1, 2)
    else:
        by_frame, first = True, 1 if isinstance(net, UniFormerV2) else int(net.num_prefix_tokens)  # type: ignore[arg-type]
    rows, inside = (clips * grid[0], grid[1:]) if by_frame else (clips, grid)
    if output.dim() != 3 or output.shape[:2] != (rows, first + math.prod(inside)):
        return None
    return output[:, first:].transpose(1, 2).unflatten(2, inside)


def _of_mvit(net: MViT, output: Tensor, clips: int) -> Tensor | None:
    """Orders tokens behind any of the pools that halve the picture of an MViT."""
    if output.dim() != 3 or len(output) != clips:
        return None
    moments, (height, width) = net.pos_encoding.temporal_size, net.pos_encoding.spatial_size
    while output.shape[1] < 1 + moments * height * width and max(height, width) > 1:
        height, width = -(-height // 2), -(-width // 2)
    if output.shape[1] != 1 + moments * height * width:
        return None
    return output[:, 1:].transpose(1, 2).unflatten(2, (moments, height, width))

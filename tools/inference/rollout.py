"""Shows which parts of a clip a transformer's answer comes from: attention rollout (arXiv 2005.00928).

Each block is taken as half what a token was and half what it attends to, averaged over heads (Abnar & Zuidema 2020).
The product over the blocks says from which tokens of the clip the answer comes. It is the same for every class. MLPs,
convolutions and adapters do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.video import MViT

from methods.base import Method
from methods.probe import Probe
from networks.clip.hiera import Hiera
from networks.clip.uniformer import UniFormer
from networks.clip.uniformer_v2 import UniFormerV2
from networks.clip.video_vit import VideoViT
from tools.inference.token_maps import Size, grid_of, transformer
from utils.errors import UserError

TITLE = "attention rollout"
ROWS = 512  # of a matrix of attention that are computed at a time


class Attention:
    """One attention of a pass: queries (N, heads, R, d) and keys (N, heads, L, d)."""

    def __init__(self, q: Tensor, k: Tensor, scale: float | None) -> None:
        self.q, self.k = q, k
        self.scale = q.shape[-1] ** -0.5 if scale is None else scale

    def back(self, shares: Tensor) -> Tensor:
        """Takes the shares of the R tokens that ask (N, R) back to the L tokens that they see (N, L)."""
        found = shares.new_zeros(len(self.k), self.k.shape[2])
        for head in range(self.q.shape[1]):
            keys = self.k[:, head].transpose(1, 2)
            for q, part in zip(self.q[:, head].split(ROWS, 1), shares.split(ROWS, 1), strict=True):
                weights = (q.float() @ keys.float() * self.scale).softmax(-1)
                found += (part[:, None] @ weights)[:, 0]
        return found / self.q.shape[1]


def half(shares: Tensor, attention: Attention) -> Tensor:
    """Takes shares (N, L) back through a block: half stays where it is, half goes to what is attended to."""
    return (shares + attention.back(shares)) / 2


class Watched(TorchFunctionMode):
    """Keeps the queries and keys of every attention while it is open; weights are computed from them when needed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Attention] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is F.scaled_dot_product_attention:
            mask = args[3] if len(args) > 3 else named.get("attn_mask")
            if mask is not None or named.get("is_causal"):
                raise UserError("attention rollout does not know masks; take --method grad-cam")
            self.seen.append(Attention(args[0], args[1], named.get("scale")))
        return func(*args, **named)


@torch.no_grad()
def rollout(method: Method, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the logits of one clip (1, C, T, H, W), (K,), and its map, float32 (T', H', W') on the CPU.

    The map sums to 1, less what class tokens and queries keep.
    The network is one of which `rolls_out` is true. Raises: UserError if it masks its attention.
    """
    way, found = _way(method), transformer(method)
    assert way is not None and found is not None
    net = found[0]
    with Watched() as watch:
        logits = method(clip)[0]
    grid = grid_of(net, tuple(clip.shape[2:]))  # type: ignore[arg-type]
    return logits, way(net, watch.seen, grid).reshape(grid).cpu()


def rolls_out(method: Method) -> bool:
    """Tells whether attention rollout can be computed for a method."""
    return _way(method) is not None


def _way(method: Method) -> Callable[[Any, list[Attention], Size], Tensor] | None:
    """Returns how shares go back through a network; None if its tokens are pooled, or are read by a probe's head."""
    found = transformer(method)
    if found is None or isinstance(method, Probe) or isinstance(found[0], (Hiera, MViT, UniFormer)):
        return None
    net: Any = found[0]
    if isinstance(net, UniFormerV2):
        return _frames_and_readers
    if isinstance(net, VideoViT):
        return _divided if net.shape.divided else _joint
    return _frames if net.global_pool in ("token", "avg") else None


def _joint(net: VideoViT, seen: list[Attention], grid: Size) -> Tensor:
    """Takes shares back through what pools the tokens, then through the blocks, which see each window alone."""
    shape = net.shape
    reads, first = shape.reads or (shape.depth - 1,), int(shape.class_token)
    inside = first + math.prod(grid) // shape.segments  # tokens of a window
    shares = seen[0].k.new_zeros(1, shape.segments * len(reads) * inside, dtype=torch.float32)
    if shape.pool == "attentive":  # the query keeps nothing that comes from the clip
        shares = seen.pop().back(shares[:, :1] + 1)
        while len(seen) > shape.depth:
            shares = half(shares, seen.pop())
    elif shape.pool == "class":
        shares[:, 0] = 1
    else:
        shares += 1 / shares.numel()
    read = shares.reshape(shape.segments, len(reads), inside)
    found = torch.zeros_like(read[:, 0])
    for number in reversed(range(shape.depth)):
        if number in reads:
            found = found + read[:, reads.index(number)]
        found = half(found, seen.pop())
    return found[:, first:].flatten()


def _divided(net: VideoViT, seen: list[Attention], grid: Size) -> Tensor:
    """Takes the share of TimeSformer's class token back through attention over places, then over time, per block."""
    moments, places = grid[0], grid[1] * grid[2]
    token = seen[0].k.new_ones((), dtype=torch.float32)
    shares = token.new_zeros(moments, places)
    for time, space in zip(seen[-2::-2], seen[::-2], strict=True):
        # each frame has a copy of the class token, and their mean is what is added to it
        given = space.back(torch.cat([(token / moments).expand(moments, 1), shares], 1))
        token, shares = (token + given[:, 0].sum()) / 2, (shares + given[:, 1:]) / 2
        shares = half(shares.T, time).T
    return shares


def _frames(net: nn.Module, seen: list[Attention], grid: Size) -> Tensor:
    """Takes the mean over frames back through the blocks of an image transformer; AIM's attend over time first."""
    about: Any = net
    first, moments = int(about.num_prefix_tokens), grid[0]
    shares = seen[0].k.new_zeros(moments, first + grid[1] * grid[2], dtype=torch.float32)
    if about.global_pool == "token":
        shares[:, 0] = 1 / moments
    else:
        shares[:, first:] = 1 / shares[:, first:].numel()
    twice = len(seen) == 2 * len(about.blocks)
    if not twice and len(seen) != len(about.blocks):
        raise UserError("the attention of this network is not computed block by block; take --method grad-cam")
    for index, attention in enumerate(reversed(seen)):
        over_time = twice and index % 2
        shares = half(shares.T, attention).T if over_time else half(shares, attention)
    return shares[:, first:]


def _frames_and_readers(net: UniFormerV2, seen: list[Attention], grid: Size) -> Tensor:
    """Takes what UniFormerV2 mixes, its reading token and the mean class token, back through readers and blocks."""
    transformer, moments = net.transformer, grid[0]
    balance = transformer.balance.weight.sigmoid().mean().float()
    asking = 1 - balance
    shares = balance.new_zeros(moments, 1 + grid[1] * grid[2])
    shares[:, 0] = balance / moments
    waiting = list(seen)
    for index in reversed(range(len(transformer.resblocks))):
        if index in transformer.reads:
            asking = asking / 2
            shares = shares + waiting.pop().back(asking.reshape(1, 1)).reshape(shares.shape)
        shares = half(shares, waiting.pop())
    return shares[:, 1:]

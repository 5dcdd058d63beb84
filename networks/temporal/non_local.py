"""Computes the non-local block of PySlowFast's and mmaction2's 3-D ResNets: attention between all positions.

The network that inserts it (networks/clip/resnet3d.py) says which blocks of which stage get one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Instantiation = Literal["softmax", "dot_product", "gaussian"]


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, instantiation: Instantiation, *, scale: bool = True
) -> Tensor:
    """Returns, for each query, the values (B, C', keys) weighed by its affinity to the keys: (B, C', queries).

    instantiation, scale: see `NonLocal`.
    """
    affinity = queries.transpose(1, 2) @ keys  # B, queries, keys
    if instantiation == "dot_product":
        affinity = affinity / affinity.shape[-1]
    else:
        scaled = scale and instantiation == "softmax"
        affinity = torch.softmax(affinity * queries.shape[1] ** -0.5 if scaled else affinity, dim=-1)
    return values @ affinity.transpose(1, 2)


class NonLocal(nn.Module):
    """Computes x + BN(out(attention(theta(x), phi(x)) g(x))): the non-local block (Wang et al. 2018, arXiv 1711.07971).

    The inner width is C // 2. The last norm starts at zero, so a fresh block is the identity.

    instantiation: `softmax` scales the affinities by 1 / sqrt(C // 2) if `scale`, `dot_product` divides them by the
        number of keys, `gaussian` is a softmax without theta and phi.
    pool: size (t, h, w) of the max pool for keys and values.
    pool_after: pool behind their 1x1x1 convolutions (mmaction2) instead of in front of them (PySlowFast).
    """

    def __init__(
        self,
        channels: int,
        *,
        instantiation: Instantiation = "softmax",
        pool: tuple[int, int, int] = (1, 2, 2),
        pool_after: bool = False,
        scale: bool = True,
    ) -> None:
        super().__init__()
        self.inner, self.instantiation, self.pool_after, self.scale = channels // 2, instantiation, pool_after, scale
        embedded = instantiation != "gaussian"
        self.theta = nn.Conv3d(channels, self.inner, 1) if embedded else nn.Identity()
        self.phi = nn.Conv3d(channels, self.inner, 1) if embedded else nn.Identity()
        self.g = nn.Conv3d(channels, self.inner, 1)
        self.out = nn.Conv3d(self.inner, channels, 1)
        self.bn = nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d(pool) if max(pool) > 1 else nn.Identity()

    def reset_parameters(self) -> None:
        """Draws the convolutions from N(0, 0.01) (sec. 4.1 of the paper) and sets the last norm's scale to zero."""
        for conv in (self.theta, self.phi, self.g, self.out):
            if isinstance(conv, nn.Conv3d):
                nn.init.normal_(conv.weight, 0.0, 0.01)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
        nn.init.constant_(self.bn.weight, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to the same shape."""
        queries = self.theta(x).flatten(2)  # B, C', positions
        if self.pool_after:
            keys, values = self.pool(self.phi(x)).flatten(2), self.pool(self.g(x)).flatten(2)
        else:
            pooled = self.pool(x)
            keys, values = self.phi(pooled).flatten(2), self.g(pooled).flatten(2)
        attended = attend(queries, keys, values, self.instantiation, scale=self.scale)
        return x + self.bn(self.out(attended.unflatten(2, x.shape[2:])))


class FrameNonLocal(NonLocal):
    """Lets frames (B*T, C, H, W) attend to all positions of their clip: the non-local block in an image network.

    It has the settings of TSM's code (Lin et al. 2019, arXiv 1811.08383): pool behind the convolutions, no scale.

    num_frames: T of the clips that run now; the method sets it.
    """

    def __init__(self, channels: int, *, instantiation: Instantiation = "softmax") -> None:
        super().__init__(channels, instantiation=instantiation, pool_after=True, scale=False)
        self.num_frames = 1
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Maps features of frames (B*T, C, H, W) to the same shape."""
        clips = x.unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # B, C, T, H, W
        return super().forward(clips).transpose(1, 2).flatten(0, 1)

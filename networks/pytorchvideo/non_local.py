"""Builds PyTorchVideo's non-local block around any convolutions (Wang et al. 2018, arXiv 1711.07971)."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import ONE, Build, Triple, apply, make_norm
from networks.temporal.non_local import attend
from utils.config.build import ArgumentError, checked


class NonLocal(nn.Module):
    """Computes x + norm(conv_out(attention(conv_theta(x), conv_phi(x)) conv_g(x))).

    pool: of the features that phi and g see; None leaves it out. norm: None leaves it out.
    instantiation: see `networks.temporal.non_local.NonLocal`.
    Raises: ArgumentError for convolutions that do not fit each other.
    """

    @checked
    def __init__(
        self,
        *,
        conv_theta: nn.Module,
        conv_phi: nn.Module,
        conv_g: nn.Module,
        conv_out: nn.Module,
        pool: nn.Module | None = None,
        norm: nn.Module | None = None,
        instantiation: Literal["dot_product", "softmax"] = "dot_product",
    ) -> None:
        super().__init__()
        widths = {"conv_phi": conv_phi.out_channels, "conv_g": conv_g.out_channels, "conv_out": conv_out.in_channels}
        for key, width in widths.items():
            if width != conv_theta.out_channels:
                raise ArgumentError(f"{key}: has {width} inner channels, but conv_theta {conv_theta.out_channels}")
        self.conv_theta = conv_theta
        self.conv_phi = conv_phi
        self.conv_g = conv_g
        self.conv_out = conv_out
        self.pool = pool
        self.norm = norm
        self.instantiation: Literal["dot_product", "softmax"] = instantiation

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to the same shape."""
        seen = apply(x, self.pool)
        queries, keys, values = self.conv_theta(x), self.conv_phi(seen), self.conv_g(seen)
        found = attend(queries.flatten(2), keys.flatten(2), values.flatten(2), self.instantiation)
        return x + apply(found.unflatten(2, x.shape[2:]), self.conv_out, self.norm)


@checked
def create_nonlocal(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    pool_size: Triple | None = ONE,
    instantiation: Literal["dot_product", "softmax"] = "softmax",
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
) -> NonLocal:
    """Builds a non-local block with 1x1x1 convolutions: features (B, dim_in, T, H, W) -> the same shape.

    pool_size: of the max pool in front of keys and values, see `NonLocal`; None and ones leave it out.
    norm: see `networks.create_resnet`.
    """
    return NonLocal(
        conv_theta=nn.Conv3d(dim_in, dim_inner, 1),
        conv_phi=nn.Conv3d(dim_in, dim_inner, 1),
        conv_g=nn.Conv3d(dim_in, dim_inner, 1),
        conv_out=nn.Conv3d(dim_inner, dim_in, 1),
        pool=None if pool_size is None or tuple(pool_size) == ONE else nn.MaxPool3d(tuple(pool_size)),
        norm=make_norm(norm, dim_in, norm_eps, norm_momentum),
        instantiation=instantiation,
    )

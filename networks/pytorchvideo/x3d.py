"""Builds the stem, the blocks and the head of PyTorchVideo's X3D (Feichtenhofer 2020, arXiv 2004.04730)."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.clip.x3d import SE_RATIO
from networks.pytorchvideo.arguments import (
    CUBE,
    ONE,
    Build,
    Padding,
    Probability,
    Triple,
    apply,
    halves,
    make,
    make_head_activation,
    make_norm,
)
from networks.pytorchvideo.bottleneck import BottleneckBlock
from networks.pytorchvideo.convolutions import Conv2plus1d
from networks.pytorchvideo.head import ResNetBasicHead
from networks.pytorchvideo.layers import SqueezeExcitation, Swish, round_width
from networks.pytorchvideo.res_stage import ResBlock, ResStage
from networks.pytorchvideo.stem import ResNetBasicStem
from utils.config.build import checked

STRIDE = (1, 2, 2)


@checked
def create_x3d_stem(
    *,
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    conv_kernel_size: Triple = (5, 3, 3),
    conv_stride: Triple = STRIDE,
    conv_padding: Padding = (2, 1, 1),
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> ResNetBasicStem:
    """Builds a convolution in space, one of each channel in time, a norm and an activation.

    Keys are PyTorchVideo's, where conv_t is the convolution in space and conv_xy the one in time.
    """
    in_space = nn.Conv3d(
        in_channels, out_channels, (1, *conv_kernel_size[1:]), (1, *conv_stride[1:]), (0, *conv_padding[1:]), bias=False
    )
    in_time = nn.Conv3d(
        out_channels,
        out_channels,
        (conv_kernel_size[0], 1, 1),
        (conv_stride[0], 1, 1),
        (conv_padding[0], 0, 0),
        groups=out_channels,
        bias=False,
    )
    return ResNetBasicStem(
        conv=Conv2plus1d(conv_t=in_space, conv_xy=in_time),
        norm=make_norm(norm, out_channels, norm_eps, norm_momentum),
        activation=make(activation),
    )


@checked
def create_x3d_bottleneck_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    conv_kernel_size: Triple = CUBE,
    conv_stride: Triple = STRIDE,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    se_ratio: NonNegativeFloat = SE_RATIO,
    activation: Build | None = nn.ReLU,
    inner_act: Build | None = Swish,
) -> BottleneckBlock:
    """Builds a bottleneck whose middle convolution, of this kernel and stride, sees every channel alone.

    se_ratio: channels inside of squeeze and excitation, behind the middle norm, by dim_inner; 0 leaves it out.
    inner_act: the activation behind it; None leaves it out.
    norm, activation: see `networks.create_resnet`.
    """

    def normed(channels: int) -> nn.Module | None:
        return make_norm(norm, channels, norm_eps, norm_momentum)

    excitation = SqueezeExcitation(dim_inner, round_width(dim_inner, se_ratio), is_3d=True) if se_ratio else None
    padding = halves(conv_kernel_size)
    return BottleneckBlock(
        conv_a=nn.Conv3d(dim_in, dim_inner, 1, bias=False),
        norm_a=normed(dim_inner),
        act_a=make(activation),
        conv_b=nn.Conv3d(dim_inner, dim_inner, conv_kernel_size, conv_stride, padding, groups=dim_inner, bias=False),
        norm_b=nn.Sequential(normed(dim_inner) or nn.Identity(), excitation or nn.Identity()),
        act_b=make(inner_act),
        conv_c=nn.Conv3d(dim_inner, dim_out, 1, bias=False),
        norm_c=normed(dim_out),
    )


@checked
def create_x3d_res_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    bottleneck: Build = create_x3d_bottleneck_block,
    use_shortcut: bool = True,
    conv_kernel_size: Triple = CUBE,
    conv_stride: Triple = STRIDE,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    se_ratio: NonNegativeFloat = SE_RATIO,
    activation: Build | None = nn.ReLU,
    inner_act: Build | None = Swish,
) -> ResBlock:
    """Builds a residual block: features (B, dim_in, T, H, W) -> (B, dim_out, T', H', W').

    The shortcut has a convolution where the shape changes, and a norm where the channels do. PyTorchVideo's norm there
    keeps its own epsilon and momentum.

    bottleneck: called with the arguments of `create_x3d_bottleneck_block`.
    use_shortcut: let the shortcut have them; without, the block must keep the shape.
    """
    widens = use_shortcut and dim_in != dim_out
    strided = use_shortcut and tuple(conv_stride) != ONE
    return ResBlock(
        branch1_conv=nn.Conv3d(dim_in, dim_out, 1, conv_stride, bias=False) if widens or strided else None,
        branch1_norm=make_norm(norm, dim_out, norm_eps, norm_momentum) if widens else None,
        branch2=bottleneck(
            dim_in=dim_in,
            dim_inner=dim_inner,
            dim_out=dim_out,
            conv_kernel_size=conv_kernel_size,
            conv_stride=conv_stride,
            norm=norm,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            se_ratio=se_ratio,
            activation=activation,
            inner_act=inner_act,
        ),
        activation=make(activation),
    )


@checked
def create_x3d_res_stage(
    *,
    depth: PositiveInt,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    bottleneck: Build = create_x3d_bottleneck_block,
    conv_kernel_size: Triple = CUBE,
    conv_stride: Triple = STRIDE,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    se_ratio: NonNegativeFloat = SE_RATIO,
    activation: Build | None = nn.ReLU,
    inner_act: Build | None = Swish,
) -> ResStage:
    """Builds `depth` residual blocks, see `create_x3d_res_block`.

    The first one has the stride, and every second one, from the first on, has squeeze and excitation.
    """
    blocks = [
        create_x3d_res_block(
            dim_in=dim_in if index == 0 else dim_out,
            dim_inner=dim_inner,
            dim_out=dim_out,
            bottleneck=bottleneck,
            conv_kernel_size=conv_kernel_size,
            conv_stride=conv_stride if index == 0 else ONE,
            norm=norm,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            se_ratio=se_ratio if index % 2 == 0 else 0.0,
            activation=activation,
            inner_act=inner_act,
        )
        for index in range(depth)
    ]
    return ResStage(nn.ModuleList(blocks))


class ProjectedPool(nn.Module):
    """Pools features between two convolutions with norms and activations; None leaves one of these out."""

    def __init__(
        self,
        *,
        pre_conv: nn.Module,
        pre_norm: nn.Module | None = None,
        pre_act: nn.Module | None = None,
        pool: nn.Module,
        post_conv: nn.Module,
        post_norm: nn.Module | None = None,
        post_act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.pre_conv = pre_conv
        self.pre_norm = pre_norm
        self.pre_act = pre_act
        self.pool = pool
        self.post_conv = post_conv
        self.post_norm = post_norm
        self.post_act = post_act

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to pooled ones."""
        x = self.pool(apply(x, self.pre_conv, self.pre_norm, self.pre_act))
        return apply(x, self.post_conv, self.post_norm, self.post_act)


@checked
def create_x3d_head(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    num_classes: PositiveInt,
    pool_act: Build | None = nn.ReLU,
    pool_kernel_size: Triple | None = (13, 5, 5),
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    bn_lin5_on: bool = False,
    dropout_rate: Probability = 0.5,
    activation: Build | None = None,
    output_with_global_average: bool = True,
) -> ResNetBasicHead:
    """Builds the head of X3D: features (B, dim_in, T, H, W) -> logits (B, num_classes), see `ProjectedPool`.

    One default differs from PyTorchVideo's: there is no softmax behind the classifier, because networks here return
    logits; `activation=nn.Softmax` adds it.

    dim_inner, dim_out: channels that are pooled, and those that the classifier sees.
    pool_act: the activation behind both convolutions; None leaves it out.
    pool_kernel_size: window of the average; None averages all features.
    bn_lin5_on: normalise what the classifier sees.
    """
    return ResNetBasicHead(
        pool=ProjectedPool(
            pre_conv=nn.Conv3d(dim_in, dim_inner, 1, bias=False),
            pre_norm=make_norm(norm, dim_inner, norm_eps, norm_momentum),
            pre_act=make(pool_act),
            pool=nn.AdaptiveAvgPool3d(1) if pool_kernel_size is None else nn.AvgPool3d(pool_kernel_size, stride=1),
            post_conv=nn.Conv3d(dim_inner, dim_out, 1, bias=False),
            post_norm=make_norm(norm, dim_out, norm_eps, norm_momentum) if bn_lin5_on else None,
            post_act=make(pool_act),
        ),
        dropout=nn.Dropout(dropout_rate) if dropout_rate > 0 else None,
        proj=nn.Linear(dim_out, num_classes),
        activation=make_head_activation(activation),
        output_pool=nn.AdaptiveAvgPool3d(1) if output_with_global_average else None,
    )

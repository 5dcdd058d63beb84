"""Offers PyTorchVideo's `create_resnet` with its arguments; the network is `create_resnet_r50` of CLIP_NETWORKS."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import PositiveInt
from torch import nn

from networks.clip.resnet3d import Depth, ResNet3d, same_conv
from networks.clip.resnet3d_published import RESNETS_3D
from utils.config.build import checked


@checked
def create_resnet(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: float = 0.5,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> ResNet3d:
    """Builds a 3-D ResNet with random weights: normalised clips (B, input_channel, T, H, W) -> logits (B, K).

    The head averages windows of 4 x 7 x 7 features, or all features if there are fewer.

    model_num_class: K.
    norm: called with the number of channels; None leaves norms out.
    activation: called without arguments; None leaves activations out.
    Raises: ValueError for a depth that is not 50, 101 or 152.
    """
    net = RESNETS_3D["create_resnet_r50"].build(model_num_class, dropout=dropout_rate, depth=model_depth)
    if input_channel != net.conv1.in_channels:
        net.conv1 = same_conv(input_channel, net.conv1.out_channels, net.data.stem_kernel, stride=(1, 2, 2))
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in [*net.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm3d) and norm is not nn.BatchNorm3d:
                module.add_module(name, nn.Identity() if norm is None else norm(child.num_features))
            elif isinstance(child, nn.ReLU) and activation is not nn.ReLU:
                module.add_module(name, nn.Identity() if activation is None else activation())
    return net

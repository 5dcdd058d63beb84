"""PyTorchVideo's `create_resnet` under its own arguments; the network itself is `create_resnet_r50` of the zoo."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from networks.clip.resnet3d import ResNet3d, same_conv
from networks.clip.resnet3d_published import ZOO


def create_resnet(
    *,
    input_channel: int = 3,
    model_depth: int = 50,
    model_num_class: int = 400,
    dropout_rate: float = 0.5,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> ResNet3d:
    """A 3-D ResNet with random weights: clips (B, input_channel, T, H, W), normalised -> logits (B, model_num_class).

    model_depth: 50, 101 or 152. norm, activation: called with the channels and with nothing; None leaves them out.
    The head averages windows of 4 x 7 x 7 features, all of them where a clip has fewer.

    Raises: ConfigError for another depth.
    """
    net = ZOO["create_resnet_r50"].build(model_num_class, dropout=dropout_rate, depth=model_depth)
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

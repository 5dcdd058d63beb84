from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import CLIP_NETWORKS
from networks.create_resnet import create_resnet


def test_the_default_is_the_tutorials_network() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=3, model_depth=50, model_num_class=400, norm=nn.BatchNorm3d, activation=nn.ReLU
        )
        same = CLIP_NETWORKS["create_resnet_r50"](num_class=400)
    assert sum(parameter.numel() for parameter in net.parameters()) == 32_472_912
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in same.state_dict().items()
    }


@pytest.mark.whole
def test_every_argument_changes_its_part() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=2, model_depth=101, model_num_class=5, dropout_rate=0.0,
            norm=lambda channels: nn.GroupNorm(4, channels), activation=nn.SiLU,
        )  # fmt: skip
        logits = net(torch.empty(2, 2, 4, 64, 64))
        plain = create_resnet(norm=None, activation=None)
    assert logits.shape == (2, 5) and len(net.layer3) == 23
    kinds = {type(module) for module in net.modules()}
    assert {nn.GroupNorm, nn.SiLU} <= kinds and not kinds & {nn.BatchNorm3d, nn.ReLU, nn.Dropout}
    assert not {type(module) for module in plain.modules()} & {nn.BatchNorm3d, nn.ReLU}
    with pytest.raises(ValueError, match=r"^model_depth: should be 50, 101 or 152, but is 34$"):
        create_resnet(model_depth=34)

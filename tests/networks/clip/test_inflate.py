"""Image weights in 3-D networks: a still clip is an image."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from networks import CLIP_NETWORKS
from networks.clip.inflate import inflate
from networks.clip.resnet3d_published import RESNETS_3D
from tests.helpers.randomise import randomise
from utils.errors import CheckpointError


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", ["slow_r50", "i3d_r50", "resnet50_3d"])
def test_a_still_clip_gives_the_image_networks_features_away_from_the_ends(name: str) -> None:
    image = resnet50().eval()
    randomise(image)
    kwargs = {"pool_t": 1} if name in RESNETS_3D else {}
    net = CLIP_NETWORKS[name](**kwargs).eval()
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    body = {key: value for key, value in image.state_dict().items() if not key.startswith("fc.")}
    inflated = inflate(body, shapes)
    assert set(inflated) == {key for key in shapes if not key.startswith("fc.")}
    net.load_state_dict(inflated, strict=False)
    frame = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = image.layer1(image.maxpool(image.relu(image.bn1(image.conv1(frame)))))
        clip = frame.unsqueeze(2).expand(-1, -1, 33, -1, -1)
        x = net.maxpool(net.relu(net.bn1(net.conv1(clip))))
        features = net.layer1(x)
        middle = features[:, :, features.shape[2] // 2]
        assert torch.allclose(middle, expected, rtol=1e-4, atol=1e-4)
        if name != "resnet50_3d":  # its later stages see more frames than any clip has
            whole = net.forward_features(clip)[:, :, 16]
            expected = image.layer4(image.layer3(image.layer2(expected)))
            assert torch.allclose(whole, expected, rtol=1e-3, atol=1e-3)


def test_channels_of_lateral_connections_get_zero_weights_and_misfits_are_named() -> None:
    weight = torch.randn(4, 2, 1, 1)
    inflated = inflate({"conv.weight": weight, "other": torch.zeros(1)}, {"conv.weight": torch.Size((4, 3, 3, 1, 1))})
    assert list(inflated) == ["conv.weight"]
    assert torch.allclose(inflated["conv.weight"][:, :2].sum(2), weight)
    assert not inflated["conv.weight"][:, 2].any()
    with pytest.raises(CheckpointError, match=r"conv.weight: image weights \(4, 2, 1, 1\)"):
        inflate({"conv.weight": weight}, {"conv.weight": torch.Size((5, 2, 3, 1, 1))})

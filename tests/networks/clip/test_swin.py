"""Video Swin of every size, from torchvision's class."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import SwinTransformer, get_model_builder
from torchvision.models.video import SwinTransformer3d

from methods import METHODS
from networks.clip.inflate import inflate
from networks.clip.swin import BUILDERS, from_image_swin, swin3d_b, swin3d_t


@pytest.mark.parametrize("name", BUILDERS)
def test_default_sizes_are_torchvisions_networks(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = BUILDERS[name](5), get_model_builder(name)(num_classes=5)
    assert str(ours) == str(theirs)
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


def test_width_window_and_depth_drop_reach_the_network() -> None:
    with torch.device("meta"):
        net = swin3d_b(7, embed_dim=192, window=[16, 7, 7], drop_path=0.4)
    first, last = net.features[0][0], net.features[6][1]
    assert first.attn.num_heads == 6 and last.attn.num_heads == 48 and last.attn.window_size == [16, 7, 7]
    assert last.stochastic_depth.p == 0.4 and net.head.in_features == 8 * 192
    assert sum(parameter.numel() for parameter in net.parameters()) > 190e6


@pytest.mark.whole
def test_a_still_clip_looks_to_video_swin_as_its_frame_to_the_image_network_that_it_starts_from() -> None:
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "depths": [2, 2], "num_heads": [1, 2], "stochastic_depth_prob": 0.0}
    image = SwinTransformer(patch_size=[4, 4], window_size=[7, 7], **sizes).eval()  # type: ignore[arg-type]
    video = SwinTransformer3d(patch_size=[2, 4, 4], window_size=[8, 7, 7], num_classes=1000, **sizes).eval()  # type: ignore[arg-type]
    for module in image.modules():
        if isinstance(table := getattr(module, "relative_position_bias_table", None), torch.Tensor):
            torch.nn.init.normal_(table)
    shapes = {key: value.shape for key, value in video.state_dict().items()}
    video.load_state_dict(inflate(from_image_swin(image.state_dict(), video.state_dict()), shapes))
    frame = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        clip = frame[:, :, None].expand(-1, -1, 32, -1, -1)  # two windows in time
        torch.testing.assert_close(video(clip), image(frame), rtol=1e-4, atol=1e-4)


def test_the_image_network_of_each_size_has_all_that_it_needs() -> None:
    for name in BUILDERS:
        with torch.device("meta"):
            net = METHODS["clip3d"](backbone=name, num_class=3)
            image = get_model_builder(net.arch)().state_dict()
        body = {key: value for key, value in image.items() if not key.startswith("head.")}
        found = net.from_image_weights(body)
        wanted = {key: value.shape for key, value in net.state_dict().items() if not key.startswith("network.head.")}
        assert {key: value.shape for key, value in found.items()} == wanted


def test_the_classifier_drops_in_training_only() -> None:
    torch.manual_seed(0)
    net, x = swin3d_t(4, dropout=0.9), torch.ones(1, 768)
    assert torch.equal(net.eval().head(x), net.head(x))
    assert not torch.equal(net.train().head(x), net.head(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": [8, 7]}, r"window: give three sizes, \[8, 7, 7\] for frames, height and width, not 2"),
        ({"embed_dim": 100}, "embed_dim: 100 is not a multiple of 32"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swin3d_b(**arguments)

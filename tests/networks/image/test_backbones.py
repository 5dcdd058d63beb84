"""Image networks as backbones: equal to torchvision to the bit, original arguments, and errors with a way out."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from networks import IMAGE_BACKBONES
from networks.first_convolution import widen_input
from networks.image.backbones import architecture, image_backbone
from networks.image.mobilenet import mobilenet_v2
from tests.helpers.requirements import needs_package


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"])
def test_our_table_is_torchvisions_networks_key_by_key(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = IMAGE_BACKBONES[name](), torchvision.models.get_model(name)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_the_original_projects_mobilenet_is_torchvisions_with_the_same_weights() -> None:
    ours, theirs = mobilenet_v2(t=6).eval(), torchvision.models.mobilenet_v2().eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("t", [1, 3, 4])
def test_t_expands_every_block_but_the_first(t: int) -> None:
    blocks = [block for block in mobilenet_v2(t=t).features if hasattr(block, "conv")]
    expansions = [block.conv[-2].in_channels // block.conv[0][0].in_channels for block in blocks]
    assert expansions == [1, *[t] * 16]


def test_scale_multiplies_the_widths() -> None:
    net, width = image_backbone("mobilenetv2", {"scale": 0.5})
    assert net.features[0][0].out_channels == 16 and width == 1280
    assert image_backbone("mobilenetv2", {"scale": 1.4})[1] == 1792


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("mobilenetv2", {"tt": 6}, r"^kwargs\.tt: mobilenetv2 does not take it; did you mean `t`\?$"),
        ("mobilenetv2", {"t": "six"}, r"^kwargs\.t: should be a valid integer, but is 'six'$"),
        ("mobilenetv2", {"t": 0}, r"^kwargs\.t: should be greater than 0, but is 0$"),
        ("mobilenetv2", {"scale": -1.0}, r"^kwargs\.scale: should be greater than 0, but is -1.0$"),
        ("mobilenetv2", {"input_size": 100}, r"^kwargs\.input_size: should be a multiple of 32, but is 100$"),
        ("resnet50", {"t": 6}, r"^kwargs\.t: resnet50 does not take it; known names: groups, .*width_per_group"),
        ("efficientnet_b0", {"num_classes": 5}, r"^kwargs\.num_classes: efficientnet_b0 does not take it; "),
        ("resnet51", {}, r"^backbone: 'resnet51' is unknown; did you mean `resnet"),
        ("xyz", {}, r"^backbone: 'xyz' is unknown; known names: alexnet"),
    ],
)
def test_a_wrong_name_or_argument_is_one_clear_error(name: str, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_backbone(name, kwargs)


def test_timm_is_an_extra_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"^backbone: timm/resnet18 needs the package timm: pip install timm"):
        image_backbone("timm/resnet18")


FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg16_bn",
    "vit_b_16",
    "wide_resnet50_2",
]


@pytest.mark.alike
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_of_torchvision_builds_without_its_classifier(name: str) -> None:
    with torch.device("meta"):
        net, width = image_backbone(name)
        size = 299 if name == "inception_v3" else 224
        assert net.eval()(torch.empty(1, 3, size, size)).shape == (1, width)
    assert not any(isinstance(module, nn.Linear) and module.out_features == 1000 for module in net.modules())


def test_the_mean_of_an_rgb_kernel_serves_any_number_of_channels() -> None:
    rgb = torch.randn(4, 3, 7, 7)
    wide = widen_input(rgb, 10)
    assert wide.shape == (4, 10, 7, 7) and wide.is_contiguous()
    assert torch.equal(wide[:, 9], rgb.mean(1))


def test_a_stack_of_ten_channels_enters_through_a_new_first_convolution() -> None:
    net, width = image_backbone("resnet18", in_channels=10)
    assert net.conv1.weight.shape == (64, 10, 7, 7)
    assert net(torch.randn(2, 10, 64, 64)).shape == (2, width)


def test_published_files_are_looked_up_by_the_architectures_own_name() -> None:
    assert architecture("mobilenetv2") == "mobilenet_v2"
    assert architecture("timm/resnet50d") == "timm/resnet50d"
    assert architecture("resnet50") == "resnet50"


@needs_package("timm")
@pytest.mark.parametrize("kwargs", [{"act_layer": "unknown"}, {"features_only": True}])
def test_arguments_that_timm_stumbles_over_are_named(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^kwargs: timm/resnet18: "):
        image_backbone("timm/resnet18", kwargs)


@needs_package("timm")
def test_published_weights_that_timm_does_not_know_are_named() -> None:
    with pytest.raises(ValueError, match=r"^kwargs: timm/resnet18\.unknown: "):
        image_backbone("timm/resnet18.unknown")

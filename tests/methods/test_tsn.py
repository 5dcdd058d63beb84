"""TSN: a bag of frames, whatever their number and order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.tsn import TSN
from utils.run.flops import multiply_adds, num_parameters


@pytest.mark.whole
def test_the_original_projects_model_has_its_published_size() -> None:
    with torch.device("meta"):
        original = TSN(backbone="mobilenetv2", num_class=152, num_segments=3, dropout=0.8, kwargs={"t": 6})
    assert num_parameters(original) == 2_418_584
    assert round(multiply_adds(original, (1, 3, 3, 224, 224)) / 1e9, 3) == 0.899
    assert original.clip.num_frames == 3


def test_the_order_of_the_frames_does_not_matter() -> None:
    net = TSN(backbone="resnet18", num_class=5).eval()
    clips = torch.randn(2, 3, 6, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(net(clips[:, :, torch.randperm(6)]), net(clips), rtol=1e-5, atol=1e-6)


def test_logits_are_the_mean_over_frames_for_any_number_of_them() -> None:
    net = TSN(backbone="resnet18", num_class=5, num_segments=3).eval()
    clip = torch.randn(1, 3, 25, 32, 32)
    with torch.no_grad():
        apart = torch.stack([net(frame[:, :, None]) for frame in clip.unbind(2)]).mean(0)
        torch.testing.assert_close(net(clip), apart, rtol=1e-4, atol=1e-5)


def test_dropout_is_a_module_only_where_there_is_some() -> None:
    def dropouts(p: float) -> list[float]:
        net = TSN(backbone="mobilenetv2", num_class=5, dropout=p)
        return [module.p for module in net.modules() if isinstance(module, nn.Dropout)]

    assert dropouts(0.0) == []
    assert dropouts(0.8) == [0.8]


def test_the_classifier_starts_small_and_without_bias() -> None:
    head = TSN(backbone="resnet18", num_class=400).head
    assert isinstance(head, nn.Linear)
    assert abs(float(head.weight.detach().std()) - 0.01) < 2e-4 and not head.bias.any()
    narrow = TSN(backbone="resnet18", num_class=400, init_std=0.001).head
    assert abs(float(narrow.weight.detach().std()) - 0.001) < 2e-5  # type: ignore[union-attr]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_frames_reach_the_network_in_the_layout_they_came_in(layout: torch.memory_format) -> None:
    net = TSN(backbone="resnet18", num_class=5).eval()
    seen: list[torch.Tensor] = []
    net.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(torch.randn(2, 3, 4, 32, 32).contiguous(memory_format=layout))
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == (layout is torch.channels_last_3d)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_segments": 0}, "num_segments: should be greater than 0, but is 0"),
        ({"consensus": "max"}, "consensus: should be 'avg', 'trn' or 'trn_multiscale', but is 'max'"),
    ],
)
def test_impossible_arguments_are_errors_that_name_the_argument(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TSN(backbone="resnet18", num_class=5, **arguments)

"""Where the channels and places of a layer's answer are, for every layer of networks that order them differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import mvit_v2_s
from torchvision.ops import Permute

from methods.clip3d import Clip3D
from methods.tsn import TSN
from tests.helpers.requirements import needs_package
from tests.helpers.transformers import VIDEO
from tools.inference.channels import FIRST, LAST, channel_axes
from tools.inference.token_maps import as_map, in_the_picture

TALL = 4, 64, 96  # a clip whose frames, height and width differ in all layers, and from all numbers of channels
SWIN, MVIT = {"type": "clip3d", "backbone": "swin3d_t"}, {"type": "clip3d", "backbone": "mvit_v2_s"}
SQUARE = {"spatial_size": 64, "depth": 4, "wider_at": [1, 3]}


def _answers(model: dict[str, Any], size: tuple[int, int, int]) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Each layer that answers once with more than vectors: its name, what it answers, and this as a map."""
    arguments = {key: value for key, value in model.items() if key != "type"}
    method = {"clip3d": Clip3D, "tsn": TSN}[model["type"]](num_class=3, **arguments).eval()
    clips = torch.zeros(2, 3, *size)
    layers = {name: module for name, module in method.named_modules() if name}
    caught: dict[str, list[Any]] = {name: [] for name in layers}
    for name, module in layers.items():
        module.register_forward_hook(lambda m, given, output, name=name: caught[name].append(output))
    with channel_axes(method, layers) as axes, torch.no_grad():
        method(clips)
    for name, outputs in caught.items():
        if len(outputs) == 1 and isinstance(outputs[0], Tensor) and outputs[0].dim() > 2:
            yield name, outputs[0], in_the_picture(method, name, outputs[0], axes[name], size, 2)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("model", "size", "refused"),
    [
        (SWIN | {"clip_len": 4}, TALL, ""),
        (MVIT | {"clip_len": 4, "kwargs": SQUARE}, (4, 64, 64), ".pool_"),
        ({"type": "clip3d", "backbone": "x3d_s", "clip_len": 4}, TALL, ""),
        ({"type": "tsn", "backbone": "convnext_tiny", "num_segments": 4}, TALL, ""),
    ],
    ids=["swin", "mvit", "x3d", "convnext"],
)
def test_every_layer_is_a_map_of_the_pictures_shape_or_is_refused(
    model: dict[str, Any], size: tuple[int, int, int], refused: str
) -> None:
    count = 0
    for name, output, maps in _answers(model, size):
        if maps is None:
            assert refused and refused in name, name
            continue
        if name == "network.fc":  # of X3D, at its only place
            assert maps.shape == (2, 3, 1, 1, 1)
        high, wide = maps.shape[-2:]
        moments = len(maps) // 2 if model["type"] == "tsn" else maps.shape[2]
        halves = {(size[1] // 2**step, size[2] // 2**step) for step in range(6)}
        assert (high, wide) in halves | {(1, 1)} and moments in (1, 2, 4), name
        assert sorted(output.shape) == sorted(maps.shape) or output.dim() == 3, name
        count += 1
    assert count > 20


def test_units_windows_and_heads_of_attention_are_no_places() -> None:
    refused = {name for name, _, maps in _answers(VIDEO["hiera"], (4, 32, 32)) if maps is None}
    assert {"network.blocks.0", "network.blocks.1.norm1", "network.blocks.2.mlp.fc1"} <= refused
    assert not {"network.patch_embed", "network.blocks.3"} & refused
    refused = {name for name, _, maps in _answers(VIDEO["timesformer"], (4, 32, 32)) if maps is None}
    assert "network.blocks.0.temporal_attn" in refused and "network.blocks.0" not in refused


@pytest.mark.whole
@needs_package("timm")
def test_windows_of_a_network_over_frames_are_no_places() -> None:
    kwargs = {"img_size": 64, "depths": [1, 1], "embed_dim": 24, "num_heads": [1, 2]}
    model = {"type": "tsn", "backbone": "timm/swin_tiny_patch4_window7_224", "num_segments": 4, "kwargs": kwargs}
    found = {name: maps for name, _, maps in _answers(model, (4, 64, 64))}
    assert found["backbone.layers.0.blocks.0.attn"] is None and found["backbone.layers.0.blocks.0.attn.softmax"] is None
    whole = found["backbone.layers.1"]
    assert whole is not None and whole.shape == (8, 48, 8, 8)


def test_a_permutation_is_followed_and_a_convolution_keeps_its_order() -> None:
    split = nn.Unflatten(1, (4, 2)), nn.Flatten(1, 2), nn.Unflatten(3, (4, 2))
    net = nn.Sequential(nn.Conv2d(3, 8, 1), *split[:2], Last(), nn.GELU(), split[2])
    with channel_axes(net, {str(place): layer for place, layer in enumerate(net)}) as axes:
        net(torch.zeros(2, 3, 5, 7))
    assert axes == {"0": FIRST, "1": FIRST, "2": FIRST, "3": LAST, "4": LAST, "5": None}


def test_a_picture_as_wide_as_it_has_channels_is_not_taken_for_one_with_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), Permute([0, 2, 3, 1]), nn.LayerNorm(8), Permute([0, 3, 1, 2]))
    layers = {str(place): layer for place, layer in enumerate(net)}
    known = {"0": FIRST, "1": FIRST, "3": LAST}
    for height, width, last in ((5, 7, FIRST), (7, 8, None), (8, 8, None)):
        with channel_axes(net, layers) as axes:
            net(torch.zeros(2, 3, height, width))
        assert axes["4"] == last and {name: axes[name] for name in known} == known
    square = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8))
    with channel_axes(square, {"": square, "0": square[0]}) as axes:
        square(torch.zeros(2, 8, 3))  # eight tokens of eight channels
    assert axes == {"": LAST, "0": LAST}


class Last(nn.Module):
    """Puts the channels last and runs a layer over them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.layer(maps.movedim(1, -1))
        return found


@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_tokens_of_mvit_that_are_no_whole_pool_are_not_taken_for_maps(tokens: int) -> None:
    with torch.device("meta"):
        network = mvit_v2_s()
    assert as_map(network, torch.zeros(1, tokens, 8), (16, 224, 224)) is None
    moments, (height, width) = network.pos_encoding.temporal_size, network.pos_encoding.spatial_size
    pooled = torch.zeros(1, 1 + moments * (height // 2) * (width // 2), 8)
    found = as_map(network, pooled, (16, 224, 224))
    assert found is not None and found.shape == (1, 8, moments, height // 2, width // 2)

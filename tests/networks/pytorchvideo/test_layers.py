"""PyTorchVideo's small layers: what they compute, told by invariants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks.pytorchvideo.fusion import make_fusion_layer
from networks.pytorchvideo.layers import (
    DropPath,
    Mlp,
    SqueezeExcitation,
    Swish,
    make_multilayer_perceptron,
    round_repeats,
    round_width,
)
from networks.pytorchvideo.positions import PositionalEncoding, SpatioTemporalClsPositionalEncoding
from utils.config.build import ArgumentError


def test_swish_and_its_gradient_are_those_of_the_formula() -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(Swish()(x), x * x.sigmoid())
    assert torch.autograd.gradcheck(Swish(), x)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3)
    dropped = DropPath(0.25)(x)
    assert sorted({*dropped.flatten().tolist()}) == pytest.approx([0.0, 4 / 3])
    assert torch.equal(dropped.amax((1, 2)), dropped.amin((1, 2))) and abs(dropped.mean() - 1) < 0.05
    assert torch.equal(DropPath(0.25).eval()(x), x)


@pytest.mark.parametrize("three", [False, True])
def test_excitation_weighs_channels_by_what_all_positions_hold(three: bool) -> None:
    shape = (2, 4, 3, 5, 5) if three else (2, 4, 5, 5)
    part, x = SqueezeExcitation(4, is_3d=three), torch.randn(shape)
    weights = part(x) / x
    axes = [*range(2, len(shape))]
    torch.testing.assert_close(weights.amax(axes), weights.amin(axes))
    assert part.block[0].out_channels == 2 and 0 < weights.min() < weights.max() < 1


def test_perceptrons_have_the_layers_that_are_asked_for() -> None:
    part, width = make_multilayer_perceptron([8, 6, 4], norm=nn.LayerNorm, dropout_rate=0.5, final_activation=nn.Tanh)
    assert width == 4 and [type(layer).__name__ for layer in part] == [
        "Linear", "LayerNorm", "ReLU", "Linear", "Dropout", "Tanh",
    ]  # fmt: skip
    assert part(torch.ones(2, 8)).shape == (2, 4) and Mlp(8, 6, 4)(torch.ones(2, 3, 8)).shape == (2, 3, 4)
    with pytest.raises(ArgumentError, match=r"^fully_connected_dims: give the width of the input"):
        make_multilayer_perceptron([8])


def test_widths_and_repeats_are_rounded_as_published() -> None:
    assert [round_width(width, 2.0) for width in (12, 24, 48, 96)] == [24, 48, 96, 192]
    assert round_width(30, 0.5, ceil=True) == 16 and round_width(12, 0) == 12 and round_width(1, 2.0, 1, 1) == 2
    assert [round_repeats(blocks, 2.2) for blocks in (1, 2, 5, 3)] == [3, 5, 11, 7] and round_repeats(3, 0) == 3


def test_fusions_join_and_reduce() -> None:
    first, second = torch.tensor([[[4.0, -2.0]]]), torch.tensor([[[1.0, 2.0]]])
    found = {
        method: make_fusion_layer(method, [2, 2]) for method in ("concat", "temporal_concat", "max", "sum", "prod")
    }
    assert {method: fuse([first, second]).tolist() for method, fuse in found.items()} == {
        "concat": [[[4.0, -2.0, 1.0, 2.0]]],
        "temporal_concat": [[[4.0, -2.0], [1.0, 2.0]]],
        "max": [[[4.0, 2.0]]],
        "sum": [[[5.0, 0.0]]],
        "prod": [[[4.0, -4.0]]],
    }
    assert [fuse.output_dim for fuse in found.values()] == [4, 2, 2, 2, 2]
    with pytest.raises(ArgumentError, match=r"^feature_dims: are \[2, 3\]; only `concat` fuses streams of different"):
        make_fusion_layer("sum", [2, 3])


def test_a_sequence_must_not_be_longer_than_its_positions() -> None:
    part = PositionalEncoding(4, seq_len=3)
    assert torch.equal(part(torch.zeros(1, 2, 4))[0, 0], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    with pytest.raises(ArgumentError, match=r"^seq_len: 3 is shorter than a sequence of 4 entries"):
        part(torch.zeros(1, 4, 4))


@pytest.mark.parametrize("has_cls", [False, True])
def test_separate_positions_add_up_in_the_order_of_patches(has_cls: bool) -> None:
    part = SpatioTemporalClsPositionalEncoding(1, (2, 1, 3), sep_pos_embed=True, has_cls=has_cls)
    part.pos_embed_temporal.data = torch.tensor([[[10.0], [20.0]]])
    part.pos_embed_spatial.data = torch.tensor([[[1.0], [2.0], [3.0]]])
    found = part(torch.zeros(2, 6, 1))[1, :, 0].tolist()
    assert found == [0.0] * has_cls + [11.0, 12.0, 13.0, 21.0, 22.0, 23.0] and part.patch_embed_shape() == (2, 1, 3)

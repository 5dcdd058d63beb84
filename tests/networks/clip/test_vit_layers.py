"""The layers of vision transformers: each against torch's or timm's own, or against a fact that it must keep."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import Tensor, nn

from networks.clip.vit_layers import QKV, Attention, Block, Patches, Table, attend, drop_path_rates, initialise
from networks.first_convolution import replace_first_convolution
from utils.training.optimizer import parameter_groups


@pytest.mark.parametrize("gelu", ["none", "tanh"])
def test_a_block_has_the_names_and_the_numbers_of_timms(gelu: str) -> None:
    ours = Block(32, 4, mlp_ratio=3.0, eps=1e-5, gelu=gelu)  # type: ignore[arg-type]
    theirs = TimmBlock(
        32,
        4,
        mlp_ratio=3.0,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer=partial(nn.GELU, approximate=gelu),  # type: ignore[arg-type]
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_attention_without_a_bias_of_the_keys_is_the_one_whose_bias_is_zero_there() -> None:
    short, full = QKV(8, key_bias=False), QKV(8)
    q_bias, v_bias = torch.randn(2, 8)
    short.load_state_dict({"weight": full.weight, "q_bias": q_bias, "v_bias": v_bias})
    full.load_state_dict({"weight": full.weight, "bias": torch.cat([q_bias, torch.zeros(8), v_bias])})
    x = torch.randn(3, 8)
    torch.testing.assert_close(short(x), full(x))


def test_a_rotation_by_positions_depends_on_their_difference_alone() -> None:
    q, k, v = (torch.randn(1, 6, 8) for _ in range(3))

    def attended(first: float) -> Tensor:
        angles = ((torch.arange(6.0) + first)[:, None] * torch.tensor([1.0, 0.1])).repeat_interleave(2, 1)
        return attend(q, k, v, 2, angles.cos(), angles.sin())

    torch.testing.assert_close(attended(0.0), attended(5.0))
    assert not torch.allclose(attended(0.0), attend(q, k, v, 2), atol=1e-3)


def test_heads_that_do_not_divide_the_channels_are_named() -> None:
    with pytest.raises(ValueError, match=r"^num_heads: 3 does not divide the 32 channels of a token$"):
        Attention(32, 3)


def test_drop_path_grows_evenly_and_leaves_evaluation_alone() -> None:
    assert drop_path_rates(0.2, 5) == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert drop_path_rates(0.2, 1) == [0.0]
    block, x = Block(8, 2, drop_path=0.999), torch.randn(50, 3, 8)
    assert torch.equal(block(x)[:, 0], x[:, 0]) and not torch.equal(block.eval()(x), x)


def test_biases_norms_and_tables_do_not_decay() -> None:
    net = nn.Sequential(Block(8, 2, key_bias=False), Table(4, 8))
    groups = {group.name: group for group in parameter_groups(net, no_wd=True)}
    names = {id(value): name for name, value in net.named_parameters()}
    decayed = {names[id(value)] for value in groups["weight"].params}
    assert decayed == {f"0.{name}.weight" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert sum(len(group.params) for group in groups.values()) == len(names)


def test_initial_weights_are_small_and_biases_zero() -> None:
    block = Block(64, 4)
    nn.init.ones_(block.mlp.fc1.bias)
    initialise(block)
    assert 0.015 < block.mlp.fc1.weight.std() < 0.025 and not block.mlp.fc1.bias.any()
    assert 0.015 < Table(100, 64).weight.std() < 0.025


@pytest.mark.parametrize("kernel", [(2, 4, 4), (1, 4, 8)])
def test_patches_are_a_convolution_whose_tokens_lie_one_behind_the_other(kernel: tuple[int, int, int]) -> None:
    patches = Patches(3, 24, kernel, stride=kernel)
    clips = torch.randn(2, 3, 4, 8, 16, requires_grad=True)
    found, wanted = patches(clips), nn.functional.conv3d(clips, patches.weight, patches.bias, kernel)
    torch.testing.assert_close(found, wanted)
    assert found.flatten(2).transpose(1, 2).is_contiguous()
    flow = nn.Sequential(patches)
    replace_first_convolution(flow, 2)
    assert isinstance(flow[0], Patches) and flow(torch.randn(1, 2, 4, 8, 16)).shape[:2] == (1, 24)
    gradients = (torch.autograd.grad(one.sin().sum(), [clips, patches.weight])[0] for one in (found, wanted))
    torch.testing.assert_close(*gradients)

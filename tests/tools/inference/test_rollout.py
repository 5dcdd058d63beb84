"""Attention rollout: by hand, against the gradient of linear networks, and where the tokens of a layer lie."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.clip3d import Clip3D
from methods.tsn import TSN
from networks.clip.hiera import Hiera, in_units
from networks.clip.vit_layers import Attention as Layer
from tests.helpers.requirements import needs_package
from tests.helpers.transformers import ADAPTED, VIDEO
from tools.inference import rollout as tested
from tools.inference.channels import FIRST
from tools.inference.rollout import Attention, half, rollout, rolls_out
from tools.inference.token_maps import as_map, in_the_picture, last_tokens, transformer

CLIP = (1, 3, 4, 32, 32)


def _method(model: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    kind = {"clip3d": Clip3D, "tsn": TSN}[model["type"]]
    return kind(num_class=3, **{key: value for key, value in model.items() if key != "type"}).eval()


def _two_tokens() -> Attention:
    """The first token attends to itself three times as much as to the second; the second attends evenly."""
    return Attention(torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[math.log(3)], [0.0]]]]), None)


def test_two_tokens_are_rolled_out_as_by_hand() -> None:
    one = torch.stack([half(row[None], _two_tokens())[0] for row in torch.eye(2)])
    torch.testing.assert_close(one, torch.tensor([[7 / 8, 1 / 8], [1 / 4, 3 / 4]]))
    two = half(half(torch.tensor([[1.0, 0.0]]), _two_tokens()), _two_tokens())
    torch.testing.assert_close(two, torch.tensor([[51 / 64, 13 / 64]]))  # the first row of that matrix, squared


def test_rows_sum_to_one_whatever_is_attended_to_and_in_however_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(2, 3, 11, 4) * 5, torch.randn(2, 3, 7, 4)
    shares = torch.rand(2, 11)
    whole = Attention(q, k, None).back(shares)
    torch.testing.assert_close(whole.sum(1), shares.sum(1))
    weights = (q @ k.transpose(2, 3) / 2).softmax(-1).mean(1)
    torch.testing.assert_close(whole, (shares[:, None] @ weights)[:, 0])
    monkeypatch.setattr(tested, "ROWS", 3)
    torch.testing.assert_close(Attention(q, k, None).back(shares), whole)


def _linear(method: Any) -> int:
    """Makes a network add the mean of what it attends to, and nothing else; returns how often a token doubles."""
    net, count = method.network, 0
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]
        elif isinstance(module, Layer):
            width, count = module.proj.out_features, count + 1
            module.qkv.weight.data = torch.cat([torch.zeros(2 * width, width), torch.eye(width)])
            module.proj.weight.data = torch.eye(width)
        elif type(module).__name__ == "MLP":
            module.fc2.weight.data.zero_()
        elif type(module).__name__ == "_CrossAttention":
            width = module.q.in_features
            module.q.weight.data.zero_()
            module.kv.weight.data = torch.cat([torch.zeros(width, width), torch.eye(width)])
    net.head.weight.data.zero_()
    net.head.weight.data[:, 0] = 1
    return count


WINDOWS = VIDEO["vjepa2"] | {"kwargs": VIDEO["vjepa2"]["kwargs"] | {"segments": 2}}


@pytest.mark.parametrize("name", ["videomae", "vjepa2", "vivit", "windows"])
def test_of_a_linear_network_it_is_the_gradient(name: str) -> None:
    method = _method(WINDOWS if name == "windows" else VIDEO[name])
    halves = _linear(method)
    patches: list[Tensor] = []
    method.network.patch_embed["proj"].register_forward_hook(lambda m, given, out: patches.append(out))
    clip = torch.randn(CLIP)
    (gradient,) = torch.autograd.grad(method(clip)[0, 0], patches[0])
    logits, found = rollout(method, clip)
    # of the windows of a clip, the one behind the other
    torch.testing.assert_close(found, gradient[:, 0].flatten(0, 1) / 2**halves)
    torch.testing.assert_close(logits, method(clip)[0].detach())
    if name != "vivit":  # without a class token nothing stays behind
        assert float(found.sum()) == pytest.approx(1)


def test_tokens_that_are_read_behind_two_blocks_go_back_through_those_in_front_of_them() -> None:
    both, last, first = (
        _method(VIDEO["vjepa2"] | {"kwargs": VIDEO["vjepa2"]["kwargs"] | kwargs})
        for kwargs in ({"read_blocks": [0, 1]}, {}, {"depth": 1})
    )
    for method in (both, last, first):
        _linear(method)
        method.load_state_dict(both.state_dict(), strict=False)
    clip = torch.randn(CLIP)
    found = [rollout(method, clip)[1] for method in (both, last, first)]
    torch.testing.assert_close(found[0], (found[1] + found[2]) / 2)


def test_divided_attention_is_the_product_of_matrices_over_all_tokens() -> None:
    method = _method(VIDEO["timesformer"])
    for key, value in method.network.named_parameters():
        if "qkv" in key:
            value.data *= 20
    clip, frames, places = torch.randn(CLIP), 4, 4
    with tested.Watched() as watch, torch.no_grad():
        method(clip)
    product = torch.eye(1 + frames * places)
    for attention, turn in zip(watch.seen, ["time", "space"] * 2, strict=True):
        weights = (attention.q @ attention.k.transpose(2, 3) * attention.q.shape[-1] ** -0.5).softmax(-1).mean(1)
        step = torch.eye(1 + frames * places)
        for t in range(frames):
            for p in range(places):
                row = step[1 + t * places + p] / 2
                for other in range(frames if turn == "time" else places):
                    if turn == "time":
                        row[1 + other * places + p] += weights[p, t, other] / 2
                    else:
                        row[1 + t * places + other] += weights[t, 1 + p, 1 + other] / 2
                if turn == "space":
                    row[0] += weights[t, 1 + p, 0] / 2
                step[1 + t * places + p] = row
        if turn == "space":
            step[0] = torch.cat([weights[:, 0, 0].mean()[None], weights[:, 0, 1:].flatten() / frames]) / 2
            step[0, 0] += 0.5
        torch.testing.assert_close(step.sum(1), torch.ones(17))
        product = step @ product
    _, found = rollout(method, clip)
    torch.testing.assert_close(found.flatten(), product[0, 1:])


def test_readers_give_half_of_what_the_last_token_holds_and_the_rest_is_that_of_class_tokens() -> None:
    method = _method(VIDEO["uniformerv2"] | {"kwargs": VIDEO["uniformerv2"]["kwargs"] | {"depth": 1, "reads": [0]}})
    for attention in (method.network.transformer.resblocks[0].attn, method.network.transformer.dec[0].attn):
        attention.in_proj.weight.data[:128] = 0  # attends evenly
    _, found = rollout(method, torch.randn(CLIP))
    # half is the query's: a quarter stays there, and a quarter is read from 4 frames of 4 patches and a class token
    read, mean = 0.25 / 20, 0.5 / 4
    patch = read / 2 + (5 * read + mean) / 2 / 5
    torch.testing.assert_close(found, torch.full((4, 2, 2), patch))


@needs_package("timm")
@pytest.mark.parametrize("name", sorted(ADAPTED))
def test_frames_share_alike_unless_they_attend_to_each_other(name: str) -> None:
    method = _method(ADAPTED[name])
    for block in method.backbone.blocks:
        block.attn.qkv.weight.data *= 30
    _, found = rollout(method, torch.randn(CLIP))
    assert found.shape == (4, 2, 2) and 0 < float(found.sum()) < 1
    assert found.flatten(1).std(1).min() > 0
    places = found.clone()
    for block in method.backbone.blocks:
        block.attn.qkv.weight.data[:64] = 0
    _, found = rollout(method, torch.randn(CLIP))
    torch.testing.assert_close(found, found[:1, :1, :1].expand(4, 2, 2))
    assert not torch.allclose(places, found)


@pytest.mark.parametrize("name", sorted(VIDEO))
def test_tokens_lie_where_the_patches_are_that_they_come_from(name: str) -> None:
    method = _method(VIDEO[name] | ({} if name == "vivit" else {"clip_len": 8}))
    model, layer = transformer(method), last_tokens(method)
    assert model is not None and layer is not None
    side = 64 if name in ("hiera", "uniformer") else 32
    if name == "hiera":
        method = _method(VIDEO[name] | {"kwargs": VIDEO[name]["kwargs"] | {"spatial_size": 64}})
    net = transformer(method)[0]  # type: ignore[index]
    frames = method.clip.num_frames
    caught: list[Tensor] = []
    method.get_submodule(layer).register_forward_hook(lambda m, given, out: caught.append(out))
    clip = torch.zeros(1, 3, frames, side, side, requires_grad=True)
    method(clip)
    found = in_the_picture(method, layer, caught[0], FIRST, (frames, side, side))
    assert found is not None
    if isinstance(net, Hiera):
        torch.testing.assert_close(found[0].permute(1, 2, 3, 0).flatten(1, 2), net.tokens(clip)[0])
    if name in ("videomae", "vjepa2"):
        torch.testing.assert_close(found.flatten(2).transpose(1, 2), caught[0])
    rows = found.transpose(1, 2).flatten(0, 1) if found.shape[0] == 1 else found
    assert rows.shape[2:] == (2, 2)


def test_the_units_of_hiera_are_not_taken_for_maps() -> None:
    method = _method(VIDEO["hiera"])
    early = in_units(torch.zeros(1, 2, 8, 8, 16))
    assert as_map(method.network, early, (4, 32, 32)) is None
    assert not rolls_out(method) and not rolls_out(_method(VIDEO["uniformer"]))
    assert transformer(_method({"type": "clip3d", "backbone": "mc3_18", "clip_len": 4})) is None

"""The attentive pooler: the scores of V-JEPA 2's own probe behind its own encoder, which is written anew here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, gelu, layer_norm, linear, scaled_dot_product_attention

from networks.clip.attentive_pooler import AttentivePooler, places_in_time
from tests.golden import fill
from tests.helpers.requirements import ROOT
from utils.training.optimizer import parameter_groups

NAME = "vjepa2__vit_l_rope_depth4_probe4_16x128"
TOLERANCE = 1e-5  # of the scores' spread; an eps of 1e-6 in the pooler's norms would cost 1.1e-5


class Encoder:
    """V-JEPA 2's encoder from a state dict, as the facts of the fixture describe it."""

    def __init__(self, state: dict[str, Tensor], depth: int, num_heads: int) -> None:
        self.state, self.depth, self.num_heads = state, depth, num_heads

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=1e-6)

    def __call__(self, clips: Tensor) -> Tensor:
        """Maps clips (N, C, T, H, W) to tokens (N, L, D)."""
        weight, bias = (self.state[f"patch_embed.proj.{part}"] for part in ("weight", "bias"))
        maps = conv3d(clips, weight, bias, stride=weight.shape[2:])
        x, grid = maps.flatten(2).transpose(1, 2), maps.shape[2:]
        places = torch.stack([axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing="ij")])
        for number in range(self.depth):
            block = f"blocks.{number}"
            qkv = self._linear(f"{block}.attn.qkv", self._norm(f"{block}.norm1", x))
            q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = scaled_dot_product_attention(_turned(q, places), _turned(k, places), v)
            x = x + self._linear(f"{block}.attn.proj", mixed.transpose(1, 2).flatten(2))
            hidden = gelu(self._linear(f"{block}.mlp.fc1", self._norm(f"{block}.norm2", x)))
            x = x + self._linear(f"{block}.mlp.fc2", hidden)
        return self._norm("norm", x)


def _turned(rows: Tensor, places: Tensor) -> Tensor:
    """Turns neighbouring channels of (N, heads, L, d) by their places (3, L): a share for each axis, the rest stays."""
    share, parts = 2 * (rows.shape[-1] // 3 // 2), []
    omega = 10_000.0 ** (-torch.arange(share // 2) / (share / 2))
    for axis, place in enumerate(places):
        part = rows[..., axis * share : (axis + 1) * share]
        angles = (place[:, None] * omega).repeat(1, 2)  # tiled, not pairwise: the published weights need it so
        across = torch.stack([-part[..., 1::2], part[..., ::2]], dim=-1).flatten(-2)
        parts.append(part * angles.cos() + across * angles.sin())
    return torch.cat([*parts, rows[..., 3 * share :]], dim=-1)


def _fixture() -> tuple[dict[str, Any], dict[str, Tensor]]:
    doc = json.loads((ROOT / "tests" / "golden" / "models" / f"{NAME}.json").read_text())
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    return doc, {key: torch.from_numpy(np.asarray(value)) for key, value in entries.items()}


@pytest.mark.slow
def test_the_pooler_gives_the_scores_of_v_jepa_2s_own_probe() -> None:
    doc, state = _fixture()
    about = doc["construction"]["classifier"]
    inside = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    encoder = doc["construction"]["encoder"]
    tokens = Encoder(inside, encoder["depth"], encoder["num_heads"])(
        torch.from_numpy(fill.make_input(doc["input"]["shape_NCTHW"]))
    )
    seen = doc["stage_outputs"]["encoder.norm"][0]
    np.testing.assert_allclose(tokens.flatten()[seen["flat_index"]], seen["value"], atol=2e-5)
    pooler = AttentivePooler(about["embed_dim"], depth=about["depth"])
    assert pooler.cross_attention_block.get_submodule("xattn").num_heads == about["num_heads"]
    ours = {key.removeprefix("classifier.pooler."): value for key, value in state.items() if "pooler" in key}
    ours["query.weight"] = ours.pop("query_tokens")[0]
    pooler.load_state_dict(ours)
    with torch.no_grad():
        scores = linear(pooler(tokens), state["classifier.linear.weight"], state["classifier.linear.bias"])
    assert np.abs(scores.numpy() - np.array(doc["logits"])).max() / doc["logits_std"] < TOLERANCE


def test_all_its_norms_have_the_eps_of_the_official_probe() -> None:
    norms = [part.eps for part in AttentivePooler(128, depth=3).modules() if isinstance(part, nn.LayerNorm)]
    assert norms == [1e-5] * 6


def test_tokens_without_places_can_come_in_any_order() -> None:
    pooler, tokens = AttentivePooler(64, depth=2), torch.randn(2, 12, 64)
    with torch.no_grad():
        torch.testing.assert_close(pooler(tokens[:, torch.randperm(12)]), pooler(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "heads"), [(1024, 16), (768, 12), (1280, 20), (100, 1), (200, 2), (32, 1)])
def test_heads_have_about_64_channels_where_nobody_says_how_many_there_are(width: int, heads: int) -> None:
    assert AttentivePooler(width, depth=1).cross_attention_block.get_submodule("xattn").num_heads == heads


def test_heads_that_do_not_divide_the_channels_are_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match=r"^num_heads: 5 does not divide the 64 channels of the tokens$"):
        AttentivePooler(64, num_heads=5)


def test_a_longer_clip_covers_the_same_places_in_time() -> None:
    like = torch.zeros(0)
    short, long = (places_in_time(count, 7, of=4, like=like) for count in (4, 12))
    assert short.shape == (4, 7)
    torch.testing.assert_close(long[1::3], short)
    assert len({tuple(row) for row in short.tolist()}) == 4


def test_the_query_does_not_decay_with_no_wd_as_no_table_does() -> None:
    pooler = AttentivePooler(16, depth=1, num_heads=2)
    groups = {group.name: group for group in parameter_groups(pooler, no_wd=True)}
    assert any(value is pooler.query.weight for value in groups["weight without decay"].params)

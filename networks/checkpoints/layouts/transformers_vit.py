"""Translates VideoMAE, V-JEPA 2, TimeSformer and ViViT as Hugging Face's transformers 4 and 5 name them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts import video_vit
from networks.checkpoints.layouts.base import DIVING, SOMETHING, Description, Layout, State
from networks.checkpoints.layouts.identify import with_prefix
from networks.checkpoints.layouts.renaming import Rule, rename
from utils.errors import CheckpointError

PUBLISHED = 16, 14  # moments, and places along a side, of ViViT's clips of 32 frames of 224 pixels
FAMILIES = ("videomae", "vjepa2", "timesformer", "vivit")
# a block of transformers 4; `encoder.` is gone from some names in transformers 5
LAYER = r"(?:encoder\.)?layers?\.(\d+)"
RULES: list[Rule] = [
    (r"(?:encoder\.)?embeddings\.patch_embeddings\.(?:projection|proj)\.(.+)", r"patch_embed.proj.\1"),
    (r"embeddings\.cls_token", r"cls_token"),
    (r"embeddings\.position_embeddings", r"pos_embed"),
    (r"embeddings\.time_embeddings", r"time_embed"),
    (rf"{LAYER}\.(?:layernorm_before|norm1)\.(.+)", r"blocks.\1.norm1.\2"),
    (rf"{LAYER}\.(?:layernorm_after|norm2)\.(.+)", r"blocks.\1.norm2.\2"),
    (rf"{LAYER}\.temporal_layernorm\.(.+)", r"blocks.\1.temporal_norm1.\2"),
    (rf"{LAYER}\.temporal_dense\.(.+)", r"blocks.\1.temporal_fc.\2"),
    (rf"{LAYER}\.(temporal_)?attention\.(?:attention\.)?qkv\.(.+)", r"blocks.\1.\2attn.qkv.\3"),
    (rf"{LAYER}\.(temporal_)?attention\.(?:output\.dense|o_proj|proj)\.(.+)", r"blocks.\1.\2attn.proj.\3"),
    (rf"{LAYER}\.attention\.(?:attention\.)?([qv])_bias", r"blocks.\1.attn.\2.bias"),
    (rf"{LAYER}\.attention\.(?:attention\.)?([qkv])(?:uery|ey|alue|_proj)\.(.+)", r"blocks.\1.attn.\2.\3"),
    (rf"{LAYER}\.(?:intermediate\.dense|mlp\.fc1)\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (rf"{LAYER}\.(?:output\.dense|mlp\.fc2)\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (r"(?:encoder\.)?layernorm\.(.+)", r"norm.\1"),
    (r"classifier\.(.+)", r"head.\1"),
    (r"pooler\.self_attention_layers\.(\d+)\.self_attn\.([qkv])_proj\.(.+)", r"pooler.blocks.\1.attn.\2.\3"),
    (r"pooler\.self_attention_layers\.(\d+)\.self_attn\.out_proj\.(.+)", r"pooler.blocks.\1.attn.proj.\2"),
    (r"pooler\.self_attention_layers\.(\d+)\.layer_norm([12])\.(.+)", r"pooler.blocks.\1.norm\2.\3"),
    (r"pooler\.self_attention_layers\.(\d+)\.mlp\.(.+)", r"pooler.blocks.\1.mlp.\2"),
    (r"pooler\.cross_attention_layer\.layer_norm([12])\.(.+)", r"pooler.cross_attention_block.norm\1.\2"),
    (r"pooler\.cross_attention_layer\.cross_attn\.([qkv])_proj\.(.+)", r"pooler.cross_attention_block.xattn.\1.\2"),
    (r"pooler\.cross_attention_layer\.mlp\.(.+)", r"pooler.cross_attention_block.mlp.\1"),
]
SEPARATE = re.compile(r"(.+\.(?:attn|xattn))\.([qkv])\.(weight|bias)")


def _family(state: State) -> str:
    """Returns the family whose names these are; "" for other names."""
    for family in FAMILIES:
        if any(key.startswith(f"{family}.") for key in state):
            return family
    if "encoder.embeddings.patch_embeddings.proj.weight" in state:  # an encoder of V-JEPA 2 without a head
        return "vjepa2"
    return ""


def _recognises(state: State) -> bool:
    known = ("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.proj.weight")
    return bool(_family(state)) and any(key.endswith(known) for key in state)


def _together(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stacks separate projections q, k and v into one; of the pooler's cross attention, k and v."""
    found = dict(rows)
    for key in rows:
        match = SEPARATE.fullmatch(key)
        if match is None or match[2] != "v":
            continue
        cross = match[1].endswith("xattn")
        parts = tuple(f"{match[1]}.{letter}.{match[3]}" for letter in ("kv" if cross else "qkv"))
        if (value := video_vit.joined(rows, parts)) is not None:
            for part in parts:
                found.pop(part)
            found[f"{match[1]}.{'kv' if cross else 'qkv'}.{match[3]}"] = value
    return found


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    family = _family(state)
    plain = {key.removeprefix(f"{family}."): value for key, value in state.items()}
    ours = _together(rename(plain, RULES))
    if family == "timesformer":
        return video_vit.finish_timesformer(ours)
    if family == "vivit":
        return _vivit(ours)
    if family == "videomae":
        biases = re.compile(r"(blocks\.\d+\.attn)\.([qv])\.bias")
        ours = {biases.sub(r"\1.qkv.\2_bias", key): value for key, value in ours.items()}
        return video_vit.finish_videomae(ours, list(state))
    description = video_vit.describe("vjepa2", ours, clip=(16, 4), note="head.weight" not in ours)
    ours = video_vit.without_pretraining(video_vit.tables(ours), description)
    depth = 1 + len({match[1] for key in ours if (match := re.match(r"pooler\.blocks\.(\d+)\.", key))})
    if "pooler.query.weight" not in ours:
        video_vit.fresh(description, "pooler")
    elif depth != 4:
        description.arguments.setdefault("kwargs", {})["pool_depth"] = depth
    if "head.weight" in ours:
        published = (SOMETHING, DIVING)  # who fine-tunes it there on other classes has it read one window
        video_vit.add_reading(description, ours["head.weight"].shape[1], known=published)
    return with_prefix(ours), description


def _vivit(ours: dict[str, Tensor]) -> tuple[dict[str, Tensor], Description]:
    ours = video_vit.tables(ours)
    places = len(ours["pos_embed.weight"]) - 1 if "pos_embed.weight" in ours else 0
    moments, across = _split(places)
    description = video_vit.describe("vivit", ours, clip=(2 * moments, 2))
    video_vit.sized(description, 16 * across)
    if (moments, across) != PUBLISHED:
        description.assumed += ("clip_len", *(("kwargs",) if "kwargs" in description.arguments else ()))
        description.notes.append(
            f"clip_len and spatial_size: not in the file, only that both make {places} places; {2 * moments} frames of "
            f"{16 * across} pixels are assumed"
        )
    return with_prefix(ours), description


def _split(places: int) -> tuple[int, int]:
    """Splits the places of ViViT's table into moments and places along a side of a picture.

    Pictures of 224 pixels go before all others, then clips of 32 frames; else only one way may be left.
    Raises: CheckpointError for a number that says nothing.
    """
    ways = [(places // side**2, side) for side in range(2, math.isqrt(places) + 1) if places % side**2 == 0]
    usual = [way for way in ways if way[1] == PUBLISHED[1]] or [way for way in ways if way[0] == PUBLISHED[0]] or ways
    if len(usual) != 1:
        raise CheckpointError(
            f"embeddings.position_embeddings has {places} places, which does not tell frames and size of its clips"
        )
    return usual[0]


LAYOUTS = (
    Layout("transformers", lambda state: _recognises(state) and _family(state) == "vjepa2", _convert, learned="qkv"),
    Layout("transformers", _recognises, _convert, learned="qv"),
)

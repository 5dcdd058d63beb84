"""Our keys of video transformers as their authors, Hugging Face and mmaction2 call them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

State = dict[str, Tensor]
Rules = Sequence[tuple[str, str]]
BATCHED = r"(cls_token|pos_embed|time_embed)\.weight"


def _renamed(state: State, rules: Rules, *, flat: bool = False) -> State:
    """Applies all rules to every key; learned vectors get their batch of one. flat: patches of single frames."""
    found: State = {}
    for key, value in state.items():
        if re.fullmatch(BATCHED, key) or key == "pooler.query.weight":
            key, value = key.removesuffix(".weight"), value[None]
        if flat and key == "patch_embed.proj.weight":
            value = value.squeeze(2)
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        found[key] = value
    return found


def authors(state: State) -> State:
    """VideoMAE's, and TimeSformer's, whose patches are of single frames."""
    return _renamed(state, [(r"qkv\.([qv]_bias)", r"\1")], flat="time_embed.weight" in state)


def videomae_pretraining(state: State) -> State:
    """A file of VideoMAE's pre-training: no head, a norm of the tokens, and a decoder."""
    body = {key: value for key, value in authors(state).items() if not key.startswith(("head.", "fc_norm."))}
    norm = {f"norm.{part}": state[f"fc_norm.{part}"] for part in ("weight", "bias")}
    decoder = {f"decoder.{key}": value for key, value in body.items() if key.startswith("blocks.")}
    extra = {"mask_token": state["fc_norm.bias"], "encoder_to_decoder.weight": state["head.weight"]}
    return {f"encoder.{key}": value for key, value in {**body, **norm}.items()} | decoder | extra


def vjepa2_parts(state: State) -> tuple[State, State]:
    """The encoder and the probe of V-JEPA 2, which are two files."""
    encoder, probe = {}, {}
    for key, value in _renamed(state, [(r"^head\.", "linear."), (r"^pooler\.query$", "pooler.query_tokens")]).items():
        if key.startswith(("pooler.", "linear.")):
            probe[f"module.{key}"] = value
        else:
            encoder[f"module.backbone.{key}"] = value
    return encoder, probe


def _separate(state: State, attention: Sequence[str]) -> State:
    """Takes q, k and v apart."""
    found: State = {}
    for key, value in state.items():
        if (match := re.fullmatch(r"(.*\.(?:attn|xattn))\.(qkv|kv)\.(weight|bias)", key)) and match[1].endswith(
            tuple(attention)
        ):
            parts = value.chunk(len(match[2]))
            found |= {f"{match[1]}.{letter}.{match[3]}": part for letter, part in zip(match[2], parts, strict=True)}
        else:
            found[key.replace("qkv.q_bias", "q.bias").replace("qkv.v_bias", "v.bias")] = value
    return found


WORDS = {"q": "query", "k": "key", "v": "value"}


def _hf_blocks(state: State, *, family: str, five: bool) -> State:
    """Renames blocks. five: as the modules of transformers 5 are called, where that differs."""
    found: State = {}
    for key, value in state.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", key):
            key = f"{family}.encoder.layer.{match[1]}.{_hf_inside(match[2], family=family, five=five)}"
            if family == "vivit" and five:
                key = key.replace("encoder.layer.", "layers.")
        found[key] = value
    return found


def _hf_inside(name: str, *, family: str, five: bool) -> str:
    if family == "vjepa2":
        return re.sub(r"^attn\.([qkv])\.", lambda m: f"attention.{WORDS[m[1]]}.", name).replace("attn.", "attention.")
    if family == "vivit" and five:
        name = re.sub(r"^attn\.([qkv])\.", r"attention.\1_proj.", name).replace("attn.proj.", "attention.o_proj.")
        return name.replace("norm1.", "layernorm_before.").replace("norm2.", "layernorm_after.")
    if family == "videomae" and not five:
        name = re.sub(r"^attn\.([qv])\.bias", r"attention.attention.\1_bias", name)
    for pattern, replacement in (
        (r"^temporal_norm1\.", "temporal_layernorm."),
        (r"^temporal_fc\.", "temporal_dense."),
        (r"^(temporal_)?attn\.qkv\.", r"\1attention.attention.qkv."),
        (r"^(temporal_)?attn\.proj\.", r"\1attention.output.dense."),
        (r"^mlp\.fc1\.", "intermediate.dense."),
        (r"^mlp\.fc2\.", "output.dense."),
        (r"^norm1\.", "layernorm_before."),
        (r"^norm2\.", "layernorm_after."),
    ):
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^attn\.([qkv])\.", lambda m: f"attention.attention.{WORDS[m[1]]}.", name)


def hugging_face(state: State, *, family: str, five: bool = False) -> State:
    """The names of a network of `transformers` with a classifier."""
    apart = state if family == "timesformer" else _separate(state, ("attn",))
    start = f"{family}.encoder" if family == "vjepa2" else family
    patches = "proj" if family == "vjepa2" else "projection"
    rules = [
        (r"^patch_embed\.proj\.", f"{start}.embeddings.patch_embeddings.{patches}."),
        (r"^cls_token$", f"{family}.embeddings.cls_token"),
        (r"^pos_embed$", f"{family}.embeddings.position_embeddings"),
        (r"^time_embed$", f"{family}.embeddings.time_embeddings"),
        (r"^norm\.", f"{start}.layernorm."),
        (r"^head\.", "classifier."),
        (r"^pooler\.query$", "pooler.query_tokens"),
        (r"^pooler\.blocks\.(\d+)\.", r"pooler.self_attention_layers.\1."),
        (r"^pooler\.cross_attention_block\.", "pooler.cross_attention_layer."),
        (r"^(pooler.*)\.norm([12])\.", r"\1.layer_norm\2."),
        (r"^(pooler.*)\.attn\.([qkv])\.", r"\1.self_attn.\2_proj."),
        (r"^(pooler.*)\.attn\.proj\.", r"\1.self_attn.out_proj."),
        (r"^(pooler.*)\.xattn\.([qkv])\.", r"\1.cross_attn.\2_proj."),
    ]
    return _renamed(_hf_blocks(apart, family=family, five=five), rules, flat=family == "timesformer")


def mmaction2(state: State) -> State:
    """The names of mmaction2, for VideoMAE and TimeSformer."""
    if "time_embed.weight" not in state:
        rules = [
            (r"^patch_embed\.proj\.", "patch_embed.projection."),
            (r"qkv\.([qv]_bias)", r"\1"),
            (r"mlp\.fc1\.", "mlp.layers.0.0."),
            (r"mlp\.fc2\.", "mlp.layers.1."),
        ]
        found = _renamed(state, rules) | {"pos_embed": state["fc_norm.weight"]}
    else:
        divided = any(".temporal_attn." in key for key in state)
        space = int(divided)
        rules = [
            (r"^patch_embed\.proj\.", "patch_embed.projection."),
            (r"^blocks\.(\d+)\.", r"transformer_layers.layers.\1."),
            (r"\.temporal_norm1\.", ".attentions.0.norm."),
            (r"\.temporal_attn\.qkv\.", ".attentions.0.attn.in_proj_"),
            (r"\.temporal_attn\.proj\.", ".attentions.0.attn.out_proj."),
            (r"\.temporal_fc\.", ".attentions.0.temporal_fc."),
            (r"\.norm1\.", f".attentions.{space}.norm."),
            (r"(layers\.\d+)\.attn\.qkv\.", rf"\1.attentions.{space}.attn.in_proj_"),
            (r"(layers\.\d+)\.attn\.proj\.", rf"\1.attentions.{space}.attn.out_proj."),
            (r"\.norm2\.", ".ffns.0.norm."),
            (r"\.mlp\.fc1\.", ".ffns.0.layers.0.0."),
            (r"\.mlp\.fc2\.", ".ffns.0.layers.1."),
        ]
        found = _renamed(state, rules, flat=True)
    return {
        f"cls_head.fc_cls.{key[5:]}" if key.startswith("head.") else f"backbone.{key}": value
        for key, value in found.items()
    }

"""Translates OpenAI's CLIP, and the adapters that were trained on its image tower, to timm's names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import SOMETHING, Base, Description, Layout, State
from networks.checkpoints.layouts.mmaction2_config import read_meta
from networks.checkpoints.layouts.renaming import Rule, rename
from utils.errors import CheckpointError

BLOCK = r"(?:transformer\.)?resblocks\.(\d+)\."
TOWER: list[Rule] = [
    (r"conv1\.(.+)", r"patch_embed.proj.\1"),
    (r"class_embedding", r"cls_token"),
    (r"positional_embedding", r"pos_embed"),
    (r"ln_pre\.(.+)", r"norm_pre.\1"),
    (r"ln_post\.(.+)", r"norm.\1"),
    (rf"{BLOCK}ln_([12])\.(.+)", r"blocks.\1.norm\2.\3"),
    (rf"{BLOCK}attn\.in_proj_(.+)", r"blocks.\1.attn.qkv.\2"),
    (rf"{BLOCK}attn\.out_proj\.(.+)", r"blocks.\1.attn.proj.\2"),
    (rf"{BLOCK}mlp\.c_fc\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (rf"{BLOCK}mlp\.c_proj\.(.+)", r"blocks.\1.mlp.fc2.\2"),
]
ST_ADAPTER: list[Rule] = [
    (rf"{BLOCK}adapter_pre_attn\.(.+)", r"blocks.\1.temporal.attention.\2"),
    (rf"{BLOCK}adapter_pre_mlp\.(.+)", r"blocks.\1.temporal.mlp.\2"),
]
WITHIN: list[Rule] = [
    (r"(.+)\.fc1\.(.+)", r"\1.down.\2"),
    (r"(.+)\.conv\.(.+)", r"\1.time.\2"),
    (r"(.+)\.fc2\.(.+)", r"\1.up.\2"),
]
AIM_PARTS = {"MLP_Adapter": "mlp", "S_Adapter": "space", "T_Adapter": "time", "T_Adapter_in": "before_time"}
AIM: list[Rule] = [
    *[
        (rf"{BLOCK}{theirs}\.D_fc{layer}\.(.+)", rf"blocks.\1.temporal.{ours}.{place}.\2")
        for theirs, ours in AIM_PARTS.items()
        for layer, place in ((1, "down"), (2, "up"))
    ],
    (r"temporal_embedding", r"norm_pre.temporal.embedding.weight"),
]
ADAPTER = ".adapter_pre_"
UNUSED = ("proj", "input_resolution", "context_length", "vocab_size", "output_dim")  # of the whole of CLIP
# channels and side of a patch -> timm's network, whose GELU is the quick one that OpenAI's weights were trained with
NETWORKS = {
    (768, 32): "timm/vit_base_patch32_clip_quickgelu_224",
    (768, 16): "timm/vit_base_patch16_clip_quickgelu_224",
    (1024, 14): "timm/vit_large_patch14_clip_quickgelu_224",
}
# timm's networks -> the files of the same weights as OpenAI publishes them
OPENAI = {name: f"ViT-{'L' if width > 768 else 'B'}-{side}.pt" for (width, side), name in NETWORKS.items()}
FULL_DEPTH = {768: 12, 1024: 24}
FRAMES = 8  # of the clips of most published adapters
SPAN = 128  # frames of a video that a clip of them covers: 8 frames are 16 apart, 32 are 4 apart


def _tower(state: State) -> dict[str, Tensor]:
    """Names the entries of an image tower as timm does, in the shapes that timm has."""
    found = rename({key: value for key, value in state.items() if key not in UNUSED}, TOWER)
    for key, axes in (("cls_token", 3), ("pos_embed", 3)):
        if (value := found.get(key)) is not None:
            found[key] = value.reshape((1,) * (axes - value.dim()) + value.shape)
    return found


def _network(tower: State) -> tuple[str, dict[str, Any]]:
    """Returns timm's name for a tower, "" if it has none, and the arguments in which it differs."""
    width, _, side, _ = tower["patch_embed.proj.weight"].shape
    name = NETWORKS.get((width, side), "")
    depth = len({key.split(".")[1] for key in tower if key.startswith("blocks.")})
    kwargs: dict[str, Any] = {} if depth == FULL_DEPTH.get(width) else {"depth": depth}
    pixels = math.isqrt(tower["pos_embed"].shape[1] - 1) * side
    if pixels != 224:
        kwargs["img_size"] = pixels
    return name, kwargs


def _is_tower(state: State) -> bool:
    return "visual.class_embedding" in state or (
        {"class_embedding", "positional_embedding", "ln_pre.weight", "ln_post.weight"} <= state.keys()
        and state["conv1.weight"].ndim == 4
        and not any(ADAPTER in key for key in state)
    )


def _clip(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Takes the image tower out of CLIP: an image network that any method starts from."""
    prefix = "visual." if "visual.class_embedding" in state else ""
    tower = _tower({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    name, kwargs = _network(tower)
    description = Description(backbone=name, arguments={"kwargs": kwargs} if kwargs else {})
    if prefix and len(tower) < len(state):
        description.notes.append("CLIP: its image tower is read; its text tower and the projections are left out")
    return tower, description


def _st_adapter(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Translates adapters and, where a file has it, the tower that they stand in; else names what they stand on."""
    plain = rename(state, [(r"fc\.(.+)", r"head.\1")])
    head = {key: value for key, value in plain.items() if key.startswith("head.")}
    named = _tower({key: value for key, value in plain.items() if key not in head})
    body = {}
    for key, value in rename(named, ST_ADAPTER).items():
        if ".temporal." in key:
            key = next(iter(rename({key: value}, WITHIN)))
            if value.dim() == 5:
                if value.shape[3:] != (1, 1):
                    kernel = " x ".join(map(str, value.shape[2:]))
                    raise CheckpointError(f"its adapters have kernels of {kernel}; ours are 3 x 1 x 1")
                value = value[..., 0, 0]
        body[key] = value
    blocks = sorted({int(key.split(".")[1]) for key in body if ".temporal." in key})
    some = next(value for key, value in body.items() if key.endswith(".down.weight"))
    halves = [half for half in ("attention", "mlp") if f"blocks.{blocks[0]}.temporal.{half}.down.weight" in body]
    temporal: dict[str, Any] = {"name": "st_adapter"}
    if some.shape[0] != 384:
        temporal["width"] = int(some.shape[0])
    if halves != ["mlp"]:
        temporal["halves"] = halves
    return _described(body, head, temporal, blocks, int(some.shape[1]))


def _aim(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    plain = {key.removeprefix("backbone."): value for key, value in state.items()}
    head = {key.replace("cls_head.fc_cls.", "head."): v for key, v in plain.items() if key.startswith("cls_head.")}
    body = rename(_tower({k: v for k, v in plain.items() if not k.startswith("cls_head.")}), AIM)
    places = "norm_pre.temporal.embedding.weight"
    body[places] = body[places].reshape(body[places].shape[-2:])
    frames = len(body[places])
    blocks = sorted({int(key.split(".")[1]) for key in body if key.startswith("blocks.") and ".temporal." in key})
    some = body[f"blocks.{blocks[0]}.temporal.mlp.down.weight"]
    temporal: dict[str, Any] = {"name": "aim"}
    if some.shape[1] // some.shape[0] != 4:
        temporal["squeeze"] = some.shape[1] // some.shape[0]
    if f"blocks.{blocks[0]}.temporal.before_time.down.weight" in body:
        temporal |= {"before_time": True, "scale": 1.0}
    weights, description = _described(body, head, temporal, blocks, int(some.shape[1]), frames=frames)
    description.notes.append(f"temporal.scale: not in the file; {temporal.get('scale', 0.5)} is assumed")
    read_meta(others, description)
    return weights, description


def _described(
    body: dict[str, Tensor],
    head: dict[str, Tensor],
    temporal: dict[str, Any],
    blocks: list[int],
    width: int,
    *,
    frames: int = 0,
) -> tuple[dict[str, Tensor], Description]:
    """Describes a TSN with adapters; the tower is in the file, or its blocks and width say which one it was."""
    whole = "patch_embed.proj.weight" in body
    name, kwargs = _network(body) if whole else (NETWORKS.get((width, 14 if width == 1024 else 16), ""), {})
    depth = kwargs.get("depth", FULL_DEPTH.get(width, 0))
    if blocks != [*range(depth)]:
        temporal["stages"] = [f"blocks.{block}" for block in blocks]
    description = Description("tsn", name, {"temporal": temporal, "num_segments": frames or FRAMES})
    if head:
        description.arguments["num_class"] = int(head["head.weight"].shape[0])
    if kwargs:
        description.arguments["kwargs"] = kwargs
    if not frames:
        description.assumed += ("num_segments",)
        description.notes.append(f"num_segments: not in the file; the config sets it ({FRAMES} is assumed)")
    description.assumed += ("frame_stride",)
    if description.arguments.get("num_class") == SOMETHING:
        description.notes.append("frame_stride: not in the file; one frame of each part of the video is assumed")
    else:
        stride = max(SPAN // (frames or FRAMES), 1)
        description.arguments["frame_stride"] = stride
        description.notes.append(f"frame_stride: not in the file; the config sets it ({stride} is assumed)")
    if not whole and name:
        description.base = Base(name)
    return {**{f"backbone.{key}": value for key, value in body.items()}, **head}, description


LAYOUTS = (
    Layout("ST-Adapter", lambda state: any(ADAPTER in key for key in state), _st_adapter, learned="qv"),
    Layout("AIM", lambda state: any(".T_Adapter.D_fc1." in key for key in state), _aim, learned="qv"),
    Layout("CLIP", _is_tower, _clip, learned="qv"),
)

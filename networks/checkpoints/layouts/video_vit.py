"""Translates VideoMAE, V-JEPA 2 and TimeSformer as their authors and mmaction2 name them.

Widths and depths show the network; heads leave no trace in weights, and all published networks of a width have as many.
transformers_vit.py has the names of Hugging Face for the same networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import DIVING, SOMETHING, Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.checkpoints.layouts.mmaction2_config import read_meta
from networks.checkpoints.layouts.renaming import Rule, join, rename
from networks.clip.video_vit_published import SIZES, VITS
from utils.errors import CheckpointError

BLOCK = r"(blocks\.\d+)"
JESTER, COIN, KINETICS = 27, 180, 400  # classes of other data sets
# what the classifiers of V-JEPA 2 and 2.1 are trained to read, by classes, and otherwise for the large encoders: frames
# of a window, the step between them, and windows that are read together
READINGS: Mapping[int, tuple[int, int, int]] = {
    SOMETHING: (16, 4, 2),
    DIVING: (32, 2, 4),
    JESTER: (32, 2, 4),
    KINETICS: (16, 4, 8),
    COIN: (16, 4, 8),
}
LARGE = {(SOMETHING, size): (64, 2, 2) for size in ("g", "gigantic")}
SEVERAL = (DIVING, JESTER)  # whose classifiers read several blocks
READ_OF_2 = {"vjepa2_l": (17, 19, 21, 23), "vjepa2_g": (24, 29, 34, 39)}
# those of V-JEPA 2.1, by its depth, each of which has a norm of its own
READ_OF_2_1 = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
# beginnings of notes that are true of the file of an encoder, or of a probe, as long as it is alone
OF_ONE_PART = (
    *("a file of a pre-training", "a probe without its encoder"),
    *("segments, read_blocks: not in the file", "not in the file, and assumed as for the authors'"),
)
HEAD_CHANNELS = 64  # of an attention head, where no published network has the width
# what pre-training adds to an encoder, and V-JEPA 2.1 for single pictures: nothing that classifies clips uses it
PRETRAINING = re.compile(r"(decoder|predictor|mask_tokens?|encoder_to_decoder|patch_embed_img|img_mod_embed)\b.*")

AUTHORS: list[Rule] = [(rf"{BLOCK}\.attn\.([qv])_bias", r"\1.attn.qkv.\2_bias"), (r"linear\.(.+)", r"head.\1")]
MMACTION2: list[Rule] = [
    (r"patch_embed\.projection\.(.+)", r"patch_embed.proj.\1"),
    (rf"{BLOCK}\.attn\.([qv])_bias", r"\1.attn.qkv.\2_bias"),
    (rf"{BLOCK}\.mlp\.layers\.0\.0\.(.+)", r"\1.mlp.fc1.\2"),
    (rf"{BLOCK}\.mlp\.layers\.1\.(.+)", r"\1.mlp.fc2.\2"),
    (r"transformer_layers\.layers\.(\d+)\.ffns\.0\.norm\.(.+)", r"blocks.\1.norm2.\2"),
    (r"transformer_layers\.layers\.(\d+)\.ffns\.0\.layers\.0\.0\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"transformer_layers\.layers\.(\d+)\.ffns\.0\.layers\.1\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (r"fc_cls\.(.+)", r"head.\1"),
]


def _attentions(names: tuple[str, ...], norms: tuple[str, ...]) -> list[Rule]:
    """Makes rules for the attentions of mmaction2's blocks, in order: our names of each and of the norm before it."""
    rules: list[Rule] = []
    for place, (name, norm) in enumerate(zip(names, norms, strict=True)):
        theirs = rf"transformer_layers\.layers\.(\d+)\.attentions\.{place}"
        rules += [
            (rf"{theirs}\.norm\.(.+)", rf"blocks.\1.{norm}.\2"),
            (rf"{theirs}\.attn\.in_proj_(.+)", rf"blocks.\1.{name}.qkv.\2"),
            (rf"{theirs}\.attn\.out_proj\.(.+)", rf"blocks.\1.{name}.proj.\2"),
            (rf"{theirs}\.temporal_fc\.(.+)", r"blocks.\1.temporal_fc.\2"),
        ]
    return rules


def tables(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives class tokens and tables the names and shapes that they have here: (count, width) without a batch."""
    found = dict(ours)
    for theirs, name in (("cls_token",) * 2, ("pos_embed",) * 2, ("time_embed",) * 2, ("pooler.query_tokens", "query")):
        if (value := found.pop(theirs, None)) is not None:
            key = "pooler.query.weight" if name == "query" else f"{name}.weight"
            found[key] = value.reshape(-1, value.shape[-1])
    patches = found.get("patch_embed.proj.weight")
    if patches is not None and patches.ndim == 4:
        found["patch_embed.proj.weight"] = patches.unsqueeze(2)
    return found


def without_pretraining(ours: Mapping[str, Tensor], description: Description) -> dict[str, Tensor]:
    """Leaves out what only pre-training uses, and notes it."""
    kept = {key: value for key, value in ours.items() if not PRETRAINING.fullmatch(key)}
    if gone := len(ours) - len(kept):
        parts = dict.fromkeys(key.partition(".")[0] for key in ours if key not in kept)
        description.notes.append(f"{', '.join(parts)}: {gone} entries of the pre-training, left out")
    return kept


def describe(family: str, ours: State, *, clip: tuple[int, int], note: bool = True) -> Description:
    """Describes a network of a family by its shapes.

    family: the names' beginning: videomae, vjepa2, vjepa2_1, timesformer or vivit.
    clip: its usual frames and step between them; `note` says that the file does not show them.
    Raises: CheckpointError for a network without blocks or patches.
    """
    patches, depth = ours.get("patch_embed.proj.weight"), blocks_of(ours)
    if patches is None or patches.ndim != 5 or not depth:
        raise CheckpointError("no patch_embed.proj.weight and blocks in it")
    width = patches.shape[0]
    size = next((name for name, (channels, *_) in SIZES.items() if channels == width), "")
    backbone = f"{family}_{size}"
    kwargs: dict[str, Any] = {}
    if backbone not in VITS:
        backbone = next(name for name in VITS if name.startswith(f"{family}_"))
        kwargs |= {"embed_dim": width, "num_heads": max(width // HEAD_CHANNELS, 1)}
    usual = VITS[backbone].shape
    if depth != usual.depth:
        kwargs["depth"] = depth
    hidden = ours.get("blocks.0.mlp.fc1.weight")
    if hidden is not None and round(width * usual.mlp_ratio) != hidden.shape[0]:
        kwargs["mlp_ratio"] = hidden.shape[0] / width
    if family == "videomae" and patches.shape[3] != usual.tubelet[1]:
        kwargs["patch_size"] = int(patches.shape[3])
    description = describe_clip_network(backbone, ours, kwargs=kwargs, head="head")
    description.arguments |= {"clip_len": clip[0], "frame_stride": clip[1]}
    description.assumed = ("frame_stride",) if family in ("timesformer", "vivit") else ("clip_len", "frame_stride")
    if note:
        named, shown = " and ".join(description.assumed), " and ".join(map(str, clip[-len(description.assumed) :]))
        description.notes.append(f"{named}: not in the file; {shown} assumed")
    if "num_heads" in kwargs:
        description.assumed += ("kwargs",)
        description.notes.append(f"num_heads: not in the file; heads of {HEAD_CHANNELS} channels are assumed")
    return description


def blocks_of(state: State) -> int:
    """Counts the blocks of a transformer under our names."""
    return len({match[1] for key in state if (match := re.match(r"blocks\.(\d+)\.", key))})


def sized(description: Description, side: int) -> None:
    """Notes in a description that a network's tables are for pictures of another side than usual, in pixels."""
    if VITS[description.backbone].shape.clip[1] != side:
        description.arguments.setdefault("kwargs", {})["spatial_size"] = side


def refuse_without_biases(ours: State) -> None:
    """Raises CheckpointError for a VideoMAE whose queries and values have lost their biases: other scores, no error."""
    wanted = [f"blocks.{block}.attn.qkv.{letter}_bias" for block in range(blocks_of(ours)) for letter in "qv"]
    missing = [key for key in wanted if key not in ours]
    if missing:
        raise CheckpointError(
            f"{missing[0]}: the bias of the {'queries' if '.q_' in missing[0] else 'values'} is not in the file, nor "
            f"{len(missing) - 1} more; VideoMAE has them, so the file has lost or renamed them"
        )


# --- VideoMAE


def _is_videomae(state: State) -> bool:
    return any(_has_tubelets(state, start) for start in ("", "encoder."))


def _has_tubelets(state: State, start: str) -> bool:
    patches = state.get(f"{start}patch_embed.proj.weight")
    found = patches is not None and patches.ndim == 5 and f"{start}blocks.0.attn.qkv.weight" in state
    return found and not any(key.startswith(f"{start}blocks.0.attn.pool_") for key in state)  # which is MViT


def _videomae(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    ours = rename({key.removeprefix("encoder."): value for key, value in state.items()}, AUTHORS)
    return finish_videomae(ours, list(state))


def finish_videomae(ours: dict[str, Tensor], names: list[str]) -> tuple[dict[str, Tensor], Description]:
    """Describes and completes a VideoMAE under our names; names: all that the file has, for what is left out."""
    ours.pop("pos_embed", None)  # fixed, and made anew
    description = describe("videomae", ours, clip=(16, 4))
    ours = without_pretraining(ours, description)
    refuse_without_biases(ours)
    if "fc_norm.weight" not in ours and "head.weight" not in ours:
        for key in ("norm.weight", "norm.bias"):  # of the tokens that the decoder got
            ours.pop(key, None)
        fresh(description, "fc_norm")
    return with_prefix(ours), description


def fresh(description: Description, *parts: str) -> None:
    """Marks parts of the network that a file of a pre-training does not have."""
    description.fresh = tuple(f"network.{part}." for part in parts)
    description.notes.append(f"a file of a pre-training: {', '.join([*parts, 'head'])} are not in it")


# --- V-JEPA 2 and 2.1


def _is_vjepa2(state: State) -> bool:
    """Tells an encoder by its last norm, also one that has lost biases: a VideoMAE's is behind a prefix, or fc_norm."""
    for start in ("backbone.", ""):
        if _has_tubelets(state, start) and (f"{start}norm.weight" in state or f"{start}norms_block.0.weight" in state):
            return not {"fc_norm.weight", "head.weight", f"{start}blocks.0.attn.q_bias"} & state.keys()
    return False


def _vjepa2(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    ours = rename({key.removeprefix("backbone."): value for key, value in state.items()}, AUTHORS)
    ours.pop("pos_embed", None)  # its networks turn queries and keys instead
    second = "norms_block.0.weight" in ours
    description = describe("vjepa2_1" if second else "vjepa2", ours, clip=(16, 4))
    if second:
        _as_video_encoder(ours, description)
    if "target_encoder" in others:  # the authors take this of 2.1's g and gigantic, of which no file was seen
        description.notes.append("ema_encoder and target_encoder are in the file; ema_encoder is taken")
    ours = without_pretraining(ours, description)
    fresh(description, "pooler")
    return with_prefix(ours), description


def _as_video_encoder(ours: dict[str, Tensor], description: Description) -> None:
    """Keeps of V-JEPA 2.1 what sees videos, in place; its norms get the numbers of the blocks that they are behind."""
    theirs = [match for key in ours if (match := re.fullmatch(r"norms_block\.(\d+)\.(\w+)", key))]
    depth = blocks_of(ours)
    blocks = READ_OF_2_1.get(depth, ())
    last = len(blocks) - 1 if blocks else max(int(match[1]) for match in theirs)
    for match in theirs:
        value, number = ours.pop(match[0]), int(match[1])
        if number == last:
            ours[f"norm.{match[2]}"] = value
        elif blocks:
            named = f"norms.{blocks[number]}.{match[2]}" if number < last else match[0]
            ours[named] = value
    description.spare = ("network.norms.",)
    if not blocks:
        description.notes.append(
            f"norms_block: nobody says behind which of {depth} blocks the first {last} are, and they are left out"
        )
    if (video := ours.pop("video_mod_embed", None)) is not None:  # added to every token, as the bias is
        ours["patch_embed.proj.bias"] = ours["patch_embed.proj.bias"] + video.flatten()


def add_reading(description: Description, width: int, *, known: Container[int] = READINGS) -> None:
    """Completes the description of a V-JEPA 2 with a classifier by what this was trained to read.

    Nothing in the file shows it; the number of classes tells the authors' own apart. width: channels of a token.
    known: numbers of classes that are taken for those of the authors.
    """
    arguments, size = description.arguments, description.backbone.rpartition("_")[2]
    classes = arguments["num_class"]
    reading = LARGE.get((classes, size)) or READINGS.get(classes)
    if reading is None or classes not in known:
        description.notes.append(
            "segments, read_blocks: not in the file; a classifier that reads one window is assumed"
        )
        return
    frames, stride, windows = reading
    kwargs: dict[str, Any] = {"segments": windows}
    usual = VITS[description.backbone].shape
    depth = arguments.get("kwargs", {}).get("depth", usual.depth)
    blocks: Sequence[int] = ()
    if description.backbone.startswith("vjepa2_1"):
        blocks = READ_OF_2_1.get(depth, ())
    elif (width, depth) == (usual.width, usual.depth):
        blocks = READ_OF_2.get(description.backbone, ())
    if blocks and classes in SEVERAL:
        kwargs["read_blocks"] = [*blocks]
    arguments |= {"clip_len": frames * windows, "frame_stride": stride}
    arguments["kwargs"] = {**arguments.get("kwargs", {}), **kwargs}
    description.assumed = tuple(dict.fromkeys([*description.assumed, "clip_len", "frame_stride"]))
    said = ", ".join(f"kwargs.{key} {value}" for key, value in kwargs.items())
    description.notes.append(
        f"not in the file, and assumed as for the authors' {classes} classes: {windows} windows of {frames} frames, "
        f"{stride} apart, are read together (clip_len {frames * windows}, {said})"
    )


def with_probe(encoder: Description, probe: Description, width: int) -> Description:
    """Describes an encoder with its probe, which are two files: the encoder tells what the probe was trained to read.

    width: channels of a token.
    """
    pooler = {key: value for key, value in probe.arguments.get("kwargs", {}).items() if key == "pool_depth"}
    kwargs = {**encoder.arguments.get("kwargs", {}), **pooler}
    arguments = {**encoder.arguments, "num_class": probe.arguments["num_class"], "kwargs": kwargs}
    notes = [note for note in (*encoder.notes, *probe.notes) if not note.startswith(OF_ONE_PART)]
    found = replace(encoder, arguments=arguments, notes=notes, fresh=())
    add_reading(found, width)
    if "segments" in found.arguments["kwargs"]:  # the clip is not that of the encoder alone
        found.notes = [note for note in found.notes if not note.startswith("clip_len and frame_stride: ")]
    return found


def _is_probe(state: State) -> bool:
    return "pooler.query_tokens" in state and "linear.weight" in state


def _probe(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Translates the attentive probe of V-JEPA 2, which its authors publish without the encoder."""
    ours = tables(rename(state, AUTHORS))
    width = ours["head.weight"].shape[1]
    size = next((name for name, (channels, *_) in SIZES.items() if channels == width), "l")
    named = (f"vjepa2_{size}", f"vjepa2_1_{size}", "vjepa2_l")  # of B and gigantic there is only 2.1
    description = Description(method="clip3d", backbone=next(name for name in named if name in VITS))
    description.arguments["num_class"] = int(ours["head.weight"].shape[0])
    depth = 1 + len({match[1] for key in ours if (match := re.match(r"pooler\.blocks\.(\d+)\.", key))})
    if depth != VITS[description.backbone].shape.pool_depth:
        description.arguments["kwargs"] = {"pool_depth": depth}
    add_reading(description, width)
    description.notes.append("a probe without its encoder: tools.convert_checkpoint ENCODER OUT --head FILE joins both")
    if (count := len(others.get("classifiers") or [])) > 1:
        description.notes.append(f"classifiers: {count} probes in the file; the first is taken")
    return with_prefix(ours), description


# --- TimeSformer


def _is_timesformer(state: State) -> bool:
    patches = state.get("patch_embed.proj.weight")
    return patches is not None and patches.ndim == 4 and "time_embed" in state and "blocks.0.attn.qkv.weight" in state


def _timesformer(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    return finish_timesformer(dict(state))


def finish_timesformer(ours: dict[str, Tensor]) -> tuple[dict[str, Tensor], Description]:
    """Describes and completes a TimeSformer under our names."""
    ours = tables(ours)
    frames = len(ours.get("time_embed.weight", ()))
    strides = {8: 32, 16: 16, 96: 4}  # of the published networks
    description = describe("timesformer", ours, clip=(frames, strides.get(frames, 1)))
    if "blocks.0.temporal_attn.qkv.weight" not in ours:
        description.arguments.setdefault("kwargs", {})["attention"] = "joint"
    side = math.isqrt(max(len(ours["pos_embed.weight"]) - 1, 0)) if "pos_embed.weight" in ours else 0
    sized(description, side * 16)
    return with_prefix(ours), description


# --- mmaction2


def _is_mmaction2(state: State) -> bool:
    patches = state.get("backbone.patch_embed.projection.weight")
    known = "backbone.transformer_layers.layers.0.attentions.0.attn.in_proj_weight", "backbone.blocks.0.attn.qkv.weight"
    pooled = any(key.startswith("backbone.blocks.0.attn.pool") for key in state)
    return patches is not None and any(key in state for key in known) and not pooled


def _mmaction2(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    plain = {re.sub(r"^(backbone|cls_head)\.", "", key): value for key, value in state.items()}
    if "time_embed" not in plain:
        weights, description = finish_videomae(rename(plain, MMACTION2), list(state))
    else:
        divided = "transformer_layers.layers.0.attentions.1.norm.weight" in plain
        names = (("temporal_attn", "attn"), ("temporal_norm1", "norm1")) if divided else (("attn",), ("norm1",))
        weights, description = finish_timesformer(rename(plain, [*_attentions(*names), *MMACTION2]))
        description.protocol = {"augmentation": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    read_meta(others, description)
    return weights, description


ENCODER = Layout("V-JEPA 2", _is_vjepa2, _vjepa2, learned="qkv")
PROBE = Layout("V-JEPA 2 probe", _is_probe, _probe, learned="qv")
LAYOUTS = (
    ENCODER,
    PROBE,
    Layout("VideoMAE", _is_videomae, _videomae, learned="qv"),
    Layout("TimeSformer", _is_timesformer, _timesformer, learned="qv"),
    Layout("mmaction2 ViT", _is_mmaction2, _mmaction2, learned="qv"),
)


def joined(rows: Mapping[str, Tensor], parts: tuple[str, ...]) -> Tensor | None:
    """Stacks separate projections into one, as `join` does, which raises its errors; None if one of them is missing."""
    return None if any(part not in rows for part in parts) else join(rows, parts)

"""Our keys as other projects call them, written from their side: what a published file of any of their models holds.

The rules of networks/checkpoints/layouts go the other way; a test takes each network through both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Renamer = Callable[[State], dict[str, Tensor]]

LETTERS = {"1": "a", "2": "b", "3": "c"}
STATISTICS = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}


def _each(state: State, name: Callable[[str], str]) -> dict[str, Tensor]:
    return {name(key): value for key, value in state.items()}


def _pathway(key: str) -> tuple[str, str]:
    """The number of the pathway and the key within it."""
    return ("1", key[5:]) if key.startswith("fast.") else ("0", key.removeprefix("slow."))


def pyslowfast(state: State) -> dict[str, Tensor]:
    def name(key: str) -> str:
        if key.startswith("fc."):
            return key.replace("fc.", "head.projection.")
        if match := re.fullmatch(r"lateral\.(\d)\.(conv|bn)\.(.+)", key):
            part = {"conv": "conv_f2s", "bn": "bn"}[match[2]]
            return f"s{int(match[1]) + 1}_fuse.{part}.{match[3]}"
        path, inner = _pathway(key)
        if match := re.fullmatch(r"(conv|bn)1\.(.+)", inner):
            return f"s1.pathway{path}_stem.{match[1]}.{match[2]}"
        stage, block, rest = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
        start = f"s{int(stage) + 1}.pathway{path}_"
        if match := re.fullmatch(r"non_local\.(\w+)\.(.+)", rest):
            part = "norm" if match[1] == "bn" else f"conv_{match[1]}"
            return f"{start}nonlocal{block}.{part}.{match[2]}"
        if match := re.fullmatch(r"downsample\.([01])\.(.+)", rest):
            return f"{start}res{block}.branch1{['', '_bn'][int(match[1])]}.{match[2]}"
        kind, number, last = re.fullmatch(r"(conv|bn)(\d)\.(.+)", rest).groups()  # type: ignore[union-attr]
        return f"{start}res{block}.branch2.{LETTERS[number]}{'_bn' if kind == 'bn' else ''}.{last}"

    return _each(state, name)


def caffe2(state: State) -> dict[str, Tensor]:
    """The blobs of PySlowFast's model zoo, with an optimizer's blobs among them."""
    last = {
        stage: max(int(m[1]) for key in state if (m := re.match(rf"(?:slow\.)?layer{stage}\.(\d+)\.", key)))
        for stage in range(1, 5)
    }

    def name(key: str) -> str:
        body, _, part = key.rpartition(".")
        if body == "fc":
            return f"pred_{part[0]}"
        path, inner = _pathway(body)
        t = "t_" * int(path)
        norm, conv = STATISTICS[part], part[0]
        if match := re.fullmatch(r"lateral\.(\d)\.(conv|bn)", body):
            stage = int(match[1])
            blob = f"t_res{stage + 1}_{last[stage]}_branch2c_bn_subsample" if stage else "t_pool1_subsample"
            return f"{blob}_bn_{norm}" if match[2] == "bn" else f"{blob}_{conv}"
        if inner in ("conv1", "bn1"):
            return f"{t}conv1_{conv}" if inner == "conv1" else f"{t}res_conv1_bn_{norm}"
        stage, block, rest = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
        if rest.startswith("non_local."):
            which = rest.removeprefix("non_local.")
            return f"{t}nonlocal_conv{int(stage) + 1}_{block}_{which}_{norm if which == 'bn' else conv}"
        blob = f"{t}res{int(stage) + 1}_{block}_"
        if rest.startswith("downsample."):
            return f"{blob}branch1_bn_{norm}" if rest.endswith("1") else f"{blob}branch1_{conv}"
        blob += f"branch2{LETTERS[rest[-1]]}"
        return f"{blob}_bn_{norm}" if rest.startswith("bn") else f"{blob}_{conv}"

    blobs = _each({key: value for key, value in state.items() if "num_batches" not in key}, name)
    return {**blobs, "conv1_w_momentum": torch.zeros(1), "lr": torch.zeros(1), "model_iter": torch.zeros(1)}


def pytorchvideo(state: State, *, pooled: bool = False) -> dict[str, Tensor]:
    """pooled: a temporal pool sits in the list of blocks behind the first stage (I3D, C2D)."""
    two = "fast.conv1.weight" in state
    place = {"0": 0, "1": 1, **{str(stage): stage + pooled for stage in (2, 3, 4)}}
    head = 6 if two or pooled else 5

    def name(key: str) -> str:
        if key.startswith("fc."):
            return key.replace("fc", f"blocks.{head}.proj")
        if match := re.fullmatch(r"lateral\.(\d)\.(conv|bn)\.(.+)", key):
            part = {"conv": "conv_fast_to_slow", "bn": "norm"}[match[2]]
            return f"blocks.{match[1]}.multipathway_fusion.{part}.{match[3]}"
        path, inner = _pathway(key)
        inside = f"multipathway_blocks.{path}." if two else ""
        if match := re.fullmatch(r"(conv|bn)1\.(.+)", inner):
            return f"blocks.0.{inside}{'conv' if match[1] == 'conv' else 'norm'}.{match[2]}"
        stage, block, rest = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
        start = f"blocks.{place[stage]}.{inside}res_blocks.{block}."
        if match := re.fullmatch(r"downsample\.([01])\.(.+)", rest):
            return f"{start}branch1_{['conv', 'norm'][int(match[1])]}.{match[2]}"
        if match := re.fullmatch(r"conv2\.([013])\.(.+)", rest):
            part = {"0": "conv_t", "1": "norm", "3": "conv_xy"}[match[1]]
            return f"{start}branch2.conv_b.{part}.{match[2]}"
        kind, number, last = re.fullmatch(r"(conv|bn)(\d)\.(.+)", rest).groups()  # type: ignore[union-attr]
        return f"{start}branch2.{'conv' if kind == 'conv' else 'norm'}_{LETTERS[number]}.{last}"

    return _each(state, name)


def _mmaction2_residual(inner: str) -> str:
    if match := re.fullmatch(r"(conv|bn)1\.(.+)", inner):
        return f"conv1.{match[1]}.{match[2]}"
    block, rest = re.fullmatch(r"(layer\d\.\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
    if match := re.fullmatch(r"downsample\.([01])\.(.+)", rest):
        return f"{block}.downsample.{['conv', 'bn'][int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"non_local\.(\w+)\.(.+)", rest):
        part = {"out": "conv_out.conv", "bn": "conv_out.bn", "theta": "theta.conv"}.get(match[1], f"{match[1]}.0.conv")
        return f"{block}.non_local_block.{part}.{match[2]}"
    kind, number, last = re.fullmatch(r"(conv|bn)(\d)\.(.+)", rest).groups()  # type: ignore[union-attr]
    return f"{block}.conv{number}.{kind}.{last}"


def mmaction2(state: State) -> dict[str, Tensor]:
    """SlowOnly and SlowFast. Its classifier sees the fast features first."""

    def name(key: str) -> str:
        if key.startswith("fc."):
            return key.replace("fc.", "cls_head.fc_cls.")
        if match := re.fullmatch(r"lateral\.(\d)\.(.+)", key):
            layer = f"layer{match[1]}_lateral" if match[1] != "0" else "conv1_lateral"
            return f"backbone.slow_path.{layer}.{match[2]}"
        for path in ("slow", "fast"):
            if key.startswith(f"{path}."):
                return f"backbone.{path}_path.{_mmaction2_residual(key[5:])}"
        return f"backbone.{_mmaction2_residual(key)}"

    renamed = _each({key: value for key, value in state.items() if not key.endswith("non_local.out.bias")}, name)
    if "fast.conv1.weight" in state:
        slow = state["slow.layer4.0.conv3.weight"].shape[0]
        weight = state["fc.weight"]
        renamed["cls_head.fc_cls.weight"] = torch.cat([weight[:, slow:], weight[:, :slow]], dim=1)
    return renamed


def mmaction2_video_resnet(state: State) -> dict[str, Tensor]:
    """R(2+1)D and the channel-separated networks, from torchvision's names."""
    halves = {"0": "conv_s", "1": "bn_s", "3": "conv_t"}
    factorised = "stem.3.weight" in state
    preserved = "layer1.0.conv2.0.0.weight" in state and not factorised

    def pair(place: str) -> str:
        return {"0": "conv", "1": "bn"}[place]

    def name(key: str) -> str:
        if key.startswith("fc."):
            return key.replace("fc.", "cls_head.fc_cls.")
        if match := re.fullmatch(r"stem\.(\d)\.(.+)", key):
            if factorised and match[1] != "4":
                return f"backbone.conv1.conv.{halves[match[1]]}.{match[2]}"
            return f"backbone.conv1.{'bn' if factorised else pair(match[1])}.{match[2]}"
        block, rest = re.fullmatch(r"(layer\d\.\d+)\.(.+)", key).groups()  # type: ignore[union-attr]
        start = f"backbone.{block}."
        if factorised and (match := re.fullmatch(r"(conv\d|downsample)\.0\.([013])\.(.+)", rest)):
            return f"{start}{match[1]}.conv.{halves[match[2]]}.{match[3]}"
        if preserved and (match := re.fullmatch(r"conv2\.0\.([012])\.(.+)", rest)):
            return f"{start}conv2.{['0.conv', '0.bn', '1.conv'][int(match[1])]}.{match[2]}"
        if preserved and (match := re.fullmatch(r"conv2\.1\.(.+)", rest)):
            return f"{start}conv2.1.bn.{match[1]}"
        module, place, last = re.fullmatch(r"(conv\d|downsample)\.([01])\.(.+)", rest).groups()  # type: ignore[union-attr]
        middle = "conv2.0" if module == "conv2" and not factorised else module
        return f"{start}{middle}.{pair(place)}.{last}"

    return _each(state, name)


def wrapped(names: Sequence[str], state: State) -> dict:
    """The state inside dictionaries of these names, outermost first."""
    inner: dict = dict(state)
    for name in reversed(names):
        inner = {name: inner}
    return inner

"""Our TSN and TSM keys as the projects call them, written from their side; official_names.py has networks over clips.

Which convolutions a shift wraps is written here from the projects' rules, not from where our shifts are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]


def _shifted_blocks(state: State, place: str) -> set[str]:
    """layer1.0, ...: every block, or where layer3 has 23 and the place is blockres, every second one of each stage."""
    blocks = {match[1] for key in state if (match := re.match(r"backbone\.(layer\d\.\d+)\.", key))}
    deep = place == "blockres" and "layer3.22" in blocks
    return {block for block in blocks if not deep or int(block.split(".")[1]) % 2 == 0}


def _mobilenet_residual(state: State) -> set[str]:
    """features.3, ...: blocks whose output is as wide as their input; their stride is 1 then."""
    widths = {
        int(match[1]): value.shape[0]
        for key, value in state.items()
        if (match := re.fullmatch(r"backbone\.features\.(\d+)\.conv\.2\.weight", key)) and value.dim() == 4
    }
    return {f"features.{index}" for index, width in widths.items() if widths.get(index - 1) == width}


def mit(state: State, arguments: Mapping[str, Any], *, shifted: bool) -> dict[str, Tensor]:
    """MIT TSM (shifted) or TSN: `.net` behind a shift or pool, `block` and `nl` around attention."""
    place = arguments.get("shift_place", "blockres")
    blocks, residual = _shifted_blocks(state, place), _mobilenet_residual(state)
    attended = {match[1] for key in state if (match := re.match(r"backbone\.(layer\d\.\d+)\.non_local\.", key))}
    nl = {"theta": "theta", "phi": "phi.0", "g": "g.0", "out": "W.0", "bn": "W.1"}

    def name(key: str) -> str:
        if key.startswith("head."):
            return key.replace("head", "new_fc")
        inner = key.removeprefix("backbone.")
        if match := re.fullmatch(r"(layer\d\.\d+)\.(.+)", inner):
            block, rest = match.groups()
            if attention := re.fullmatch(r"non_local\.(\w+)\.(.+)", rest):
                rest = f"nl.{nl[attention[1]]}.{attention[2]}"
            else:
                if shifted and block in blocks:
                    rest = f"net.{rest}" if place == "block" else re.sub(r"^conv1\.", "conv1.net.", rest)
                rest = f"block.{rest}" if block in attended else rest
            inner = f"{block}.{rest}"
            if arguments.get("temporal_pool"):
                inner = re.sub(r"^layer2\.", "layer2.net.", inner)
        elif match := re.fullmatch(r"(features\.\d+)\.conv\.([\d.]+)\.(\w+)", inner):
            grouped = ["0.0", "0.1", "1", "2"] if match[1] == "features.1" else ["0.0", "0.1", "1.0", "1.1", "2", "3"]
            flat = [0, 1, 3, 4, 6, 7][grouped.index(match[2])]  # a ReLU stands behind the second of each pair
            net = ".net" if shifted and flat == 0 and match[1] in residual else ""
            inner = f"{match[1]}.conv.{flat}{net}.{match[3]}"
        return f"base_model.{inner}"

    return {f"module.{name(key)}": value for key, value in state.items()}


STAGE_SIZES = (1, 2, 3, 4, 3, 3, 1)  # of MobileNetV2


def mmaction2(state: State, arguments: Mapping[str, Any], *, shifted: bool) -> dict[str, Tensor]:
    """mmaction2's TSM or TSN: a convolution and its norm in one module, `net` inside it behind a shift."""
    place = arguments.get("shift_place", "blockres")
    blocks, residual = _shifted_blocks(state, place), _mobilenet_residual(state)
    attended = {match[1] for key in state if (match := re.match(r"backbone\.(layer\d\.\d+)\.non_local\.", key))}
    stages = [(stage, block) for stage, size in enumerate(STAGE_SIZES, 1) for block in range(size)]

    def resnet(inner: str) -> str:
        if match := re.fullmatch(r"(conv|bn)1\.(.+)", inner):
            return f"conv1.{match[1]}.{match[2]}"
        block, rest = re.fullmatch(r"(layer\d\.\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
        if match := re.fullmatch(r"non_local\.(\w+)\.(.+)", rest):
            part = {"out": "conv_out.conv", "bn": "conv_out.bn", "theta": "theta.conv"}
            return f"{block}.non_local_block.{part.get(match[1], f'{match[1]}.0.conv')}.{match[2]}"
        if match := re.fullmatch(r"downsample\.([01])\.(.+)", rest):
            rest = f"downsample.{['conv', 'bn'][int(match[1])]}.{match[2]}"
        else:
            kind, number, last = re.fullmatch(r"(conv|bn)(\d)\.(.+)", rest).groups()  # type: ignore[union-attr]
            net = (
                "net."
                if shifted and place == "blockres" and block in blocks and (kind, number) == ("conv", "1")
                else ""
            )
            rest = f"conv{number}.{kind}.{net}{last}"
        rest = f"net.{rest}" if shifted and place == "block" and block in blocks else rest
        return f"{block}.{'block.' if block in attended else ''}{rest}"

    def mobilenet(inner: str) -> str:
        number, rest = re.fullmatch(r"features\.(\d+)\.(.+)", inner).groups()  # type: ignore[union-attr]
        if number in ("0", "18"):
            place, last = rest.split(".")
            return f"conv{1 if number == '0' else 2}.{['conv', 'bn'][int(place)]}.{last}"
        stage, block = stages[int(number) - 1]
        position, last = re.fullmatch(r"conv\.([\d.]+)\.(\w+)", rest).groups()  # type: ignore[union-attr]
        end = 1 if number == "1" else 2  # of the block's convolutions
        index, kind = {f"{end}": (end, "conv"), f"{end + 1}": (end, "bn")}.get(position) or (
            int(position[0]),
            "conv" if position.endswith(".0") else "bn",
        )
        net = "net." if shifted and index == 0 and f"features.{number}" in residual else ""
        return f"layer{stage}.{block}.conv.{index}.{net}{kind}.{last}"

    def name(key: str) -> str:
        if key.startswith("head."):
            return key.replace("head", "cls_head.fc_cls")
        inner = key.removeprefix("backbone.")
        return f"backbone.{mobilenet(inner) if inner.startswith('features') else resnet(inner)}"

    return {name(key): value for key, value in state.items() if not key.endswith("non_local.out.bias")}

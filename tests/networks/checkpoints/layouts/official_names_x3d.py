"""Our keys of X3D as other projects call them, written from their side, as in official_names.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
LETTERS = {"1": "a", "2": "b", "3": "c"}


def _renamed(state: State, outside: Mapping[str, str], inside: Callable[[int, str, str], str]) -> dict[str, Tensor]:
    """outside: their names of modules outside of blocks. inside: of modules in a block, from stage, block and name."""

    def name(key: str) -> str:
        module, _, last = key.rpartition(".")
        if match := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", module):
            return f"{inside(int(match[1]), match[2], match[3])}.{last}"
        return f"{outside[module]}.{last}"

    return {name(key): value for key, value in state.items()}


def pytorchvideo(state: State) -> dict[str, Tensor]:
    excited = {"se.fc1": "norm_b.1.block.0", "se.fc2": "norm_b.1.block.2", "bn2": "norm_b.0"}

    def inside(stage: int, block: str, module: str) -> str:
        start = f"blocks.{stage}.res_blocks.{block}."
        if module.startswith("downsample"):
            return f"{start}branch1_{['conv', 'norm'][int(module[-1])]}"
        kind = "conv" if module.startswith("conv") else "norm"
        return f"{start}branch2." + excited.get(module, f"{kind}_{LETTERS.get(module[-1])}")

    outside = {
        "conv1_s": "blocks.0.conv.conv_t", "conv1_t": "blocks.0.conv.conv_xy", "bn1": "blocks.0.norm",
        "conv5": "blocks.5.pool.pre_conv", "bn5": "blocks.5.pool.pre_norm", "conv6": "blocks.5.pool.post_conv",
        "fc": "blocks.5.proj",
    }  # fmt: skip
    return _renamed(state, outside, inside)


def efficient(state: State) -> dict[str, Tensor]:
    def inside(stage: int, block: str, module: str) -> str:
        start = f"s{stage + 1}.pathway0_res{block}."
        if module.startswith("downsample"):
            return f"{start}_res_proj.kernel.{['conv', 'bn'][int(module[-1])]}"
        if module.startswith("se."):
            return f"{start}layers.se.se.block.{ {'1': 0, '2': 2}[module[-1]] }"
        kind = "conv" if module.startswith("conv") else "bn"
        return f"{start}layers.conv_{int(module[-1]) - 1}.kernel.{kind}"

    outside = {
        "conv1_s": "s1.pathway0_stem_conv_xy.kernel.conv", "conv1_t": "s1.pathway0_stem_conv.kernel.conv",
        "bn1": "s1.pathway0_stem_conv.kernel.bn", "conv5": "head.conv_5.kernel.conv", "bn5": "head.conv_5.kernel.bn",
        "conv6": "head.lin_5.kernel.conv", "fc": "projection.model",
    }  # fmt: skip
    return _renamed(state, outside, inside)


def pyslowfast(state: State) -> dict[str, Tensor]:
    def inside(stage: int, block: str, module: str) -> str:
        start = f"s{stage + 1}.pathway0_res{block}."
        if module.startswith("downsample"):
            return f"{start}branch1{['', '_bn'][int(module[-1])]}"
        if module.startswith("se."):
            return f"{start}branch2.{module}"
        return f"{start}branch2.{LETTERS[module[-1]]}{'_bn' if module.startswith('bn') else ''}"

    outside = {
        "conv1_s": "s1.pathway0_stem.conv_xy", "conv1_t": "s1.pathway0_stem.conv", "bn1": "s1.pathway0_stem.bn",
        "conv5": "head.conv_5", "bn5": "head.conv_5_bn", "conv6": "head.lin_5", "fc": "head.projection",
    }  # fmt: skip
    return _renamed(state, outside, inside)


def mmaction2(state: State) -> dict[str, Tensor]:
    def inside(stage: int, block: str, module: str) -> str:
        start = f"backbone.layer{stage}.{block}."
        if module.startswith("downsample"):
            return f"{start}downsample.{['conv', 'bn'][int(module[-1])]}"
        if module.startswith("se."):
            return f"{start}se_module.{module.removeprefix('se.')}"
        return f"{start}conv{module[-1]}.{'conv' if module.startswith('conv') else 'bn'}"

    outside = {
        "conv1_s": "backbone.conv1_s.conv", "conv1_t": "backbone.conv1_t.conv", "bn1": "backbone.conv1_t.bn",
        "conv5": "backbone.conv5.conv", "bn5": "backbone.conv5.bn", "conv6": "cls_head.fc1", "fc": "cls_head.fc2",
    }  # fmt: skip
    renamed = _renamed(state, outside, inside)
    return {**renamed, "cls_head.fc1.weight": renamed["cls_head.fc1.weight"].flatten(1)}

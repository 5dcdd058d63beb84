"""Recognises the temporal modules inside published ResNets, and gives their entries our names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.renaming import Rule, rename

BLOCK = r"(layer\d\.\d+)"
FRAMES = "num_segments: not in the file; the config sets it (8 or 16 in published networks)"


@dataclass(frozen=True)
class Known:
    """Describes how files show a temporal module.

    name: its key in TEMPORAL_MODULES.
    sign: a part of keys that no other module has.
    rules: from the names in files, without wrappers, to ours.
    arguments: what the shapes of our entries say about its arguments and about `num_segments`.
    """

    name: str
    sign: str
    rules: list[Rule]
    arguments: Callable[[State], dict[str, Any]]


def _tam(state: State) -> dict[str, Any]:
    wide, frames = _first(state, "temporal.kernel.0.weight").shape
    narrow, channels, _ = _first(state, "temporal.gate.0.weight").shape
    return _changed({"widen": (wide // frames, 2), "squeeze": (channels // narrow, 4)}) | {"num_segments": frames}


def _gsf(state: State) -> dict[str, Any]:
    gated, channels = (
        _first(state, "layer1.0.conv3.temporal.bn.weight").shape[0],
        state["layer1.0.conv3.weight"].shape[0],
    )
    return _changed({"share": (gated / channels, 1.0)})


def _mvf(state: State) -> dict[str, Any]:
    fused, channels = (
        _first(state, "conv1.temporal.time.weight").shape[0],
        _first(state, "layer3.0.conv1.weight").shape[1],
    )
    return _changed({"div": (channels // fused, 8)})


def _action(state: State) -> dict[str, Any]:
    narrow, channels = _first(state, "temporal.channel_in.weight").shape[:2]
    return _changed({"squeeze": (channels // narrow, 16)})


def _tin(state: State) -> dict[str, Any]:
    moved = _first(state, "layer1.0.conv1.temporal.squeeze.weight").shape[1]
    channels = _first(state, "layer1.0.conv1.weight").shape[1]
    return _changed({"div": (channels // moved, 4)}) | {"num_segments": _first(state, "temporal.mix.weight").shape[0]}


MODULES = (
    Known(
        "tam",
        ".tam.G.",
        [
            (rf"{BLOCK}\.tam\.G\.(.+)", r"\1.conv2.temporal.kernel.\2"),
            (rf"{BLOCK}\.tam\.L\.(.+)", r"\1.conv2.temporal.gate.\2"),
        ],
        _tam,
    ),
    Known(
        "gsf",
        ".gsf.channel_conv",
        [
            (rf"{BLOCK}\.gsf\.conv3D\.(.+)", r"\1.conv3.temporal.gate.\2"),
            (rf"{BLOCK}\.gsf\.bn\.(.+)", r"\1.conv3.temporal.bn.\2"),
            (rf"{BLOCK}\.gsf\.channel_conv1\.(.+)", r"\1.conv3.temporal.weigh.0.\2"),
            (rf"{BLOCK}\.gsf\.channel_conv2\.(.+)", r"\1.conv3.temporal.weigh.1.\2"),
        ],
        _gsf,
    ),
    Known(
        "mvf",
        ".shift_conv.",
        [
            (rf"{BLOCK}\.conv1\.shift_conv\.(.+)", r"\1.conv1.temporal.time.\2"),
            (rf"{BLOCK}\.conv1\.h_conv\.(.+)", r"\1.conv1.temporal.height.\2"),
            (rf"{BLOCK}\.conv1\.w_conv\.(.+)", r"\1.conv1.temporal.row.\2"),
            (rf"{BLOCK}\.conv1\.bn\.(.+)", r"\1.conv1.temporal.bn.\2"),
        ],
        _mvf,
    ),
    Known(
        "action",
        ".action_shift.",
        [
            (rf"{BLOCK}\.conv1\.action_shift\.(.+)", r"\1.conv1.temporal.shift.\2"),
            (rf"{BLOCK}\.conv1\.action_p1_conv1\.(.+)", r"\1.conv1.temporal.place.\2"),
            (rf"{BLOCK}\.conv1\.action_p2_squeeze\.(.+)", r"\1.conv1.temporal.channel_in.\2"),
            (rf"{BLOCK}\.conv1\.action_p2_conv1\.(.+)", r"\1.conv1.temporal.channel_time.\2"),
            (rf"{BLOCK}\.conv1\.action_p2_expand\.(.+)", r"\1.conv1.temporal.channel_out.\2"),
            (rf"{BLOCK}\.conv1\.action_p3_squeeze\.(.+)", r"\1.conv1.temporal.motion_in.\2"),
            (rf"{BLOCK}\.conv1\.action_p3_bn1\.(.+)", r"\1.conv1.temporal.motion_bn.\2"),
            (rf"{BLOCK}\.conv1\.action_p3_conv1\.(.+)", r"\1.conv1.temporal.motion_next.\2"),
            (rf"{BLOCK}\.conv1\.action_p3_expand\.(.+)", r"\1.conv1.temporal.motion_out.\2"),
        ],
        _action,
    ),
    Known(
        "tin",
        ".offset_net.",
        [
            (rf"{BLOCK}\.conv1\.conv\.net1\.offset_net\.conv\.(.+)", r"\1.conv1.temporal.squeeze.\2"),
            (rf"{BLOCK}\.conv1\.conv\.net1\.offset_net\.fc1\.(.+)", r"\1.conv1.temporal.mix.\2"),
            (rf"{BLOCK}\.conv1\.conv\.net1\.offset_net\.fc2\.(.+)", r"\1.conv1.temporal.offset.\2"),
            (rf"{BLOCK}\.conv1\.conv\.net1\.weight_net\.conv\.(.+)", r"\1.conv1.temporal.weigh.\2"),
            (rf"{BLOCK}\.conv1\.conv\.net2\.(.+)", r"\1.conv1.conv.\2"),
        ],
        _tin,
    ),
)


def rename_temporal(body: State) -> tuple[Known | None, dict[str, Tensor]]:
    """Returns the temporal module of a body, None if it has none that is known, and the body with our names for it."""
    known = next((one for one in MODULES if any(one.sign in key for key in body)), None)
    return known, rename(body, known.rules) if known else dict(body)


def add_temporal(description: Description, known: Known, body: State) -> None:
    """Adds a temporal module to a description. body: all weights of the image network under our names."""
    found = known.arguments(body)
    frames = found.pop("num_segments", None)
    description.method = "tsn"
    description.arguments |= {"temporal": {"name": known.name, **found}, "num_segments": frames or 8}
    with_module = sorted({key.partition(".")[0] for key in body if ".temporal." in key})
    stages = sorted({key.partition(".")[0] for key in body if key.startswith("layer")})
    if (known.name == "mvf" and with_module != ["layer3", "layer4"]) or (known.name != "mvf" and with_module != stages):
        description.arguments["temporal"]["stages"] = with_module
    if frames is None:
        description.assumed += ("num_segments",)
        description.notes.append(FRAMES)


def _first(state: State, end: str) -> Tensor:
    return next(value for key, value in state.items() if key.endswith(end))


def _changed(values: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {key: value for key, (value, default) in values.items() if value != default}

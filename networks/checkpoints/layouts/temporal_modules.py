"""Recognises the temporal modules inside published ResNets, and gives their entries our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.identify_image import add_shift, describe_image_network
from networks.checkpoints.layouts.inceptions import gated_blocks, rename_gates
from networks.checkpoints.layouts.relations import add_relations
from networks.checkpoints.layouts.renaming import Rule, join, rename
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.tea import SCALES
from utils.config.build import parameters_of
from utils.errors import CheckpointError

BLOCK = r"(layer\d\.\d+)"
FRAMES = "num_segments: not in the file; the config sets it (8 or 16 in published networks)"
TDN_STAGE = re.compile(r"(?:(layer\d)_bak|resnext_(layer1))\.(.+)")
TDN_STEM = {"conv1_5.0.": "motion.conv1.", "conv1_5.1.": "motion.bn1."}
TDN_CONVOLUTION = re.compile(r"(conv1|(motion\.)?layer\d\.\d+\.(conv\d|downsample\.0))\.weight")  # with a bias
UNUSED = ("conv1_temp.", "conv1_temp1.")  # of TDN's code, which makes these convolutions and never calls them


@dataclass(frozen=True)
class Known:
    """Describes how files show a temporal module.

    name: its key in TEMPORAL_MODULES.
    sign: a part of keys that no other module has.
    parts: what a part of a block is called in files, without wrappers, and here.
    arguments: what the shapes of our entries say about its arguments and about `num_segments`.
    network: makes torchvision's ResNet, with what belongs to the module, of the entries without the module.
    notes: what the user of such a file should know.
    """

    name: str
    sign: str
    parts: Mapping[str, str]
    arguments: Callable[[State], dict[str, Any]]
    network: Callable[[State], dict[str, Tensor]] = dict
    notes: tuple[str, ...] = ()

    @property
    def rules(self) -> list[Rule]:
        """The rules that give its entries our names."""
        return [(rf"{BLOCK}\.{re.escape(theirs)}\.(.+)", rf"\1.{ours}.\2") for theirs, ours in self.parts.items()]


def _tam(state: State) -> dict[str, Any]:
    wide, frames = _first(state, "temporal.kernel.0.weight").shape
    narrow, channels, _ = _first(state, "temporal.gate.0.weight").shape
    return {"widen": wide // frames, "squeeze": channels // narrow, "num_segments": frames}


def _gsf(state: State) -> dict[str, Any]:
    gated = _first(state, "layer1.0.conv3.temporal.bn.weight")
    return {"share": len(gated) / len(state["layer1.0.conv3.weight"])}


def _gated_inception(state: State) -> dict[str, Any]:
    first = "mixed.conv.conv" if "mixed.conv.conv.weight" in state else "inception_3a_1x1"
    gated = _first(state, f"{first}.temporal.bn.weight")
    return {"share": len(gated) / len(state[f"{first}.weight"])}


def _mvf(state: State) -> dict[str, Any]:
    fused = _first(state, "layer3.0.conv1.temporal.time.weight")
    return {"div": state["layer3.0.conv1.weight"].shape[1] // len(fused)}


def _action(state: State) -> dict[str, Any]:
    narrow, channels = _first(state, "temporal.channel_in.weight").shape[:2]
    return {"squeeze": channels // narrow}


def _tin(state: State) -> dict[str, Any]:
    moved = _first(state, "layer1.0.conv1.temporal.squeeze.weight").shape[1]
    frames = len(_first(state, "temporal.mix.weight"))
    return {"div": state["layer1.0.conv1.weight"].shape[1] // moved, "num_segments": frames}


def _tea(state: State) -> dict[str, Any]:
    narrow, channels = _first(state, "layer4.0.temporal.squeeze.0.weight").shape[:2]
    return {"squeeze": channels // narrow}


def _tdn(state: State) -> dict[str, Any]:
    narrow, channels = _first(state, "layer2.0.conv2.temporal.squeeze.0.weight").shape[:2]
    return {"squeeze": channels // narrow}


def _tdn_network(body: State) -> dict[str, Tensor]:
    """Turns TDN's ResNet, whose convolutions have biases in front of norms, into torchvision's, which gives the same.

    A norm subtracts its mean, so a bias in front of it can be subtracted from that mean.
    """
    named = {}
    for key, value in body.items():
        if match := TDN_STAGE.fullmatch(key):
            key = f"{match[1]}.{match[3]}" if match[1] else f"motion.{match[2]}.{match[3]}"
        for theirs, ours in TDN_STEM.items():
            key = key.replace(theirs, ours, 1) if key.startswith(theirs) else key
        if not key.startswith(UNUSED):
            named[key] = value
    convolutions = [key.removesuffix("weight") for key in named if TDN_CONVOLUTION.fullmatch(key)]
    bare = [name for name in convolutions if f"{name}bias" not in named]
    if bare and len(bare) < len(convolutions):
        raise CheckpointError(
            f"{bare[0]}bias: is not in the file, though other convolutions in front of norms have one"
        )
    for name in set(convolutions) - set(bare):
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1") + "running_mean"
        mean, bias = join(named, [norm, f"{name}bias"]).chunk(2)
        named[norm] = mean - bias
        del named[f"{name}bias"]
    return named


MODULES = (
    Known("gsm", "gsm_", {}, _gated_inception, rename_gates),
    Known("gsf", "gsf_", {}, _gated_inception, rename_gates),
    Known("tam", ".tam.G.", {"tam.G": "conv2.temporal.kernel", "tam.L": "conv2.temporal.gate"}, _tam),
    Known(
        "gsf",
        ".gsf.channel_conv",
        {
            "gsf.conv3D": "conv3.temporal.gate",
            "gsf.bn": "conv3.temporal.bn",
            "gsf.channel_conv1": "conv3.temporal.weigh.0",
            "gsf.channel_conv2": "conv3.temporal.weigh.1",
        },
        _gsf,
    ),
    Known(
        "mvf",
        ".shift_conv.",
        {
            "conv1.shift_conv": "conv1.temporal.time",
            "conv1.h_conv": "conv1.temporal.height",
            "conv1.w_conv": "conv1.temporal.row",
            "conv1.bn": "conv1.temporal.bn",
        },
        _mvf,
    ),
    Known(
        "action",
        ".action_shift.",
        {
            "conv1.action_shift": "conv1.temporal.shift",
            "conv1.action_p1_conv1": "conv1.temporal.place",
            "conv1.action_p2_squeeze": "conv1.temporal.channel_in",
            "conv1.action_p2_conv1": "conv1.temporal.channel_time",
            "conv1.action_p2_expand": "conv1.temporal.channel_out",
            "conv1.action_p3_squeeze": "conv1.temporal.motion_in",
            "conv1.action_p3_bn1": "conv1.temporal.motion_bn",
            "conv1.action_p3_conv1": "conv1.temporal.motion_next",
            "conv1.action_p3_expand": "conv1.temporal.motion_out",
        },
        _action,
    ),
    Known(
        "tin",
        ".offset_net.",
        {
            "conv1.conv.net1.offset_net.conv": "conv1.temporal.squeeze",
            "conv1.conv.net1.offset_net.fc1": "conv1.temporal.mix",
            "conv1.conv.net1.offset_net.fc2": "conv1.temporal.offset",
            "conv1.conv.net1.weight_net.conv": "conv1.temporal.weigh",
            "conv1.conv.net2": "conv1.conv",
        },
        _tin,
    ),
    Known(
        "tea",
        ".shifts.",
        {
            "me.conv1": "temporal.squeeze.0",
            "me.bn1": "temporal.squeeze.1",
            "me.conv2": "temporal.neighbour",
            "me.conv3": "temporal.expand.0",
            "me.bn3": "temporal.expand.1",
            **{f"shifts.{scale}.conv": f"temporal.taps.{scale}" for scale in range(SCALES)},
        },
        _tea,
    ),
    Known(
        "tdn",
        ".mse.conv3_smallscale2.",
        {
            "mse.conv1": "conv2.temporal.squeeze.0",
            "mse.bn1": "conv2.temporal.squeeze.1",
            "mse.conv2": "conv2.temporal.neighbour",
            "mse.conv3_smallscale2": "conv2.temporal.coarse.0",
            "mse.bn3_smallscale2": "conv2.temporal.coarse.1",
            "mse.conv3_smallscale4": "conv2.temporal.fine.0",
            "mse.bn3_smallscale4": "conv2.temporal.fine.1",
            "mse.conv3": "conv2.temporal.expand.0",
            "mse.bn3": "conv2.temporal.expand.1",
            "shift.conv": "conv2.temporal.shift",
        },
        _tdn,
        _tdn_network,
        (
            "temporal.mix: not in the file; published networks with 16 segments need 0.25",
            "biases of convolutions are counted into the norms behind them; conv1_temp, which nothing uses, is dropped",
        ),
    ),
)


def rename_temporal(body: State) -> tuple[Known | None, dict[str, Tensor]]:
    """Returns the temporal module of a body, None if it has none that is known, and the body with our names for it."""
    known = next((one for one in MODULES if any(one.sign in key for key in body)), None)
    return known, rename(known.network(body), known.rules) if known else dict(body)


def describe_frame_network(
    plain: State, body: State, head: State, known: Known | None, relations: State
) -> Description:
    """Describes a network over frames: the image network, and what lets its frames see each other.

    plain: the image network under our names. body: the same with the wrappers of the file, which show a shift.
    head: its classifier. known: its temporal module. relations: of TRN, empty without them.
    """
    description = describe_image_network(plain, head)
    if known:
        _add_temporal(description, known, plain)
    else:
        add_shift(description, body)
    if relations:
        add_relations(description, relations)
    return description


def entries_of(plain: State, relations: State, head: State) -> dict[str, Tensor]:
    """Returns the entries of our state dict for the parts of a network over frames."""
    parts = {"backbone": plain, "relations": relations, "head": head}
    return {f"{part}.{key}": value for part, entries in parts.items() for key, value in entries.items()}


def _add_temporal(description: Description, known: Known, plain: State) -> None:
    found, kind = known.arguments(plain), TEMPORAL_MODULES[known.name]
    frames = found.pop("num_segments", None)
    defaults = {name: one.default for name, one in parameters_of(kind).items()}
    changed = {name: value for name, value in found.items() if value != defaults[name]}
    stages = sorted({key.partition(".")[0] for key in plain if key.startswith("layer")})
    with_module = sorted({key.partition(".")[0] for key in plain if key.startswith("layer") and ".temporal." in key})
    if with_module != [*(kind.stages or stages)]:
        changed["stages"] = with_module
    if blocks := gated_blocks(plain):
        changed["stages"] = blocks
    description.method = "tsn"
    description.arguments |= {"temporal": {"name": known.name, **changed}, "num_segments": frames or 8}
    description.notes += known.notes
    if frames is None:
        description.assumed += ("num_segments",)
        description.notes.append(FRAMES)


def _first(state: State, end: str) -> Tensor:
    return next(value for key, value in state.items() if key.endswith(end))

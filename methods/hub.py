"""Builds networks under the names of PyTorchVideo's hub, with its arguments `pretrained` and `progress`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from methods import METHODS
from methods.base import Method
from networks import CLIP_NETWORKS
from networks.checkpoints.load import RawCheckpoint, load_checkpoint_file, load_into
from networks.clip.slowfast import SlowFastNet
from networks.pytorchvideo.refused import SCORES_BOXES
from utils.config.build import ArgumentError, build, call
from utils.errors import CheckpointError
from utils.published.files import fetch
from utils.published.registry import entry, registry


@dataclass(frozen=True)
class HubName:
    """Describes a name of PyTorchVideo's hub.

    build: makes the network. weights: name of the published weights. defaults: arguments of `build`.
    """

    build: Callable[..., nn.Module]
    weights: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


_MVIT = CLIP_NETWORKS["mvit_v1_b"]
# names whose network or weights have another name here
PYTORCHVIDEO: dict[str, HubName] = {
    "slow_r50": HubName(CLIP_NETWORKS["slow_r50"], "kinetics400/slow_r50_8x8_pytorchvideo"),
    "c2d_r50": HubName(CLIP_NETWORKS["c2d_r50"], "kinetics400/c2d_r50_8x8_pytorchvideo"),
    "i3d_r50": HubName(CLIP_NETWORKS["i3d_r50"], "kinetics400/i3d_r50_8x8_pytorchvideo"),
    "csn_r101": HubName(CLIP_NETWORKS["csn_r101"], "kinetics400/csn_r101_32x2_pytorchvideo"),
    "r2plus1d_r50": HubName(CLIP_NETWORKS["r2plus1d_r50"], "kinetics400/r2plus1d_r50_16x4_pytorchvideo"),
    "slowfast_r50": HubName(
        SlowFastNet,
        "kinetics400/slowfast_r50_8x8_pytorchvideo",
        {"backbone": "resnet50", "alpha": 4, "fusion_kernel": 7},
    ),
    "slowfast_r101": HubName(
        SlowFastNet, "kinetics400/slowfast_r101_8x8_pytorchvideo", {"backbone": "resnet101", "alpha": 4}
    ),
    "slowfast_16x8_r101_50_50": HubName(
        SlowFastNet, "kinetics400/slowfast_r101_16x8_pytorchvideo", {"backbone": "resnet101_50_50", "alpha": 4}
    ),
    "mvit_base_16x4": HubName(_MVIT, "kinetics400/mvit_b_16x4_pytorchvideo", {"temporal_size": 16}),
    "mvit_base_32x3": HubName(_MVIT, "kinetics400/mvit_b_32x3_pytorchvideo", {"temporal_size": 32}),
    "mvit_base_16": HubName(_MVIT, "imagenet1k/mvit_b_16_pytorchvideo", {"temporal_size": 1}),
}
DETECTORS = ("slow_r50_detection", "slowfast_r50_detection")
AVERAGED = "head_output_with_global_average"  # PyTorchVideo's argument for what all networks here do
# PyTorchVideo's arguments -> ours
RENAMED = {"model_num_class": "num_class", "head_num_classes": "num_class", "dropout_rate": "dropout"}


def entry_point(name: str) -> Callable[..., nn.Module]:
    """Returns the function that torch.hub calls for a name of PYTORCHVIDEO or of networks.CLIP_NETWORKS."""
    known = PYTORCHVIDEO.get(name) or HubName(CLIP_NETWORKS[name], "")

    def make(pretrained: bool = False, progress: bool = True, **arguments: Any) -> nn.Module:
        given = {RENAMED.get(key, key): value for key, value in arguments.items()}
        if given.pop(AVERAGED, True) is not True:
            raise ArgumentError(f"{AVERAGED}: {name} averages all positions; take a builder of networks/create_*.py")
        if not pretrained:
            return call(known.build, {**known.defaults, **given}, name, name)
        num_class = given.pop("num_class", None)
        if given:
            others = ", ".join(given)
            raise CheckpointError(f"{name}: pretrained=True: takes the published network as it is, without {others}")
        file = load_checkpoint_file(fetch(entry(known.weights or _weights(name)), progress=progress))
        return method_of(file, num_class=num_class).get_submodule("network")

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Builds {name}: normalised clips (B, C, T, H, W) -> logits (B, num_class).

    pretrained: fill it with its published weights, which are fetched if they are not here.
    progress: show how much of them has come.
    arguments: those of the network; with pretrained=True only num_class. If the file has another number of classes,
        the classifier starts anew.
    Raises: CheckpointError if no weights are published for it, or if they cannot be fetched.
    """
    return make


def refusal(name: str) -> Callable[..., nn.Module]:
    """Returns the function that torch.hub calls for a name of DETECTORS."""

    def refuse(pretrained: bool = False, progress: bool = True, **arguments: Any) -> nn.Module:
        raise CheckpointError(f"{name}: {SCORES_BOXES}: take {name.removesuffix('_detection')}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Refuses to build {name}, which scores boxes. Raises: CheckpointError."
    return refuse


def method_of(file: RawCheckpoint, *, num_class: int | None = None) -> Method:
    """Builds the method that a file shows, and fills it.

    num_class: keep the body, and start a new classifier if the file has another number of classes.
    Raises: CheckpointError if the file does not show a whole network.
    """
    about = file.description
    if not (about.method and about.backbone and "num_class" in about.arguments):
        raise CheckpointError(f"{file.path}: does not show a whole network; build it by its config instead")
    arguments = {"backbone": about.backbone, **about.arguments}
    if num_class is not None:
        arguments["num_class"] = num_class
    method: Method = build(METHODS, about.method, arguments, where=str(file.path))
    load_into(method, file, new_head=num_class is not None)
    return method


def _weights(name: str) -> str:
    """Returns the weights that torchvision or PyTorchVideo publishes for a network that has its name here too."""
    known = registry()
    if (found := f"kinetics400/{name}_torchvision") in known:
        return found
    found = next((one.id for one in known.values() if (one.source, one.backbone) == ("pytorchvideo", name)), "")
    if not found:
        raise CheckpointError(
            f"{name}: pretrained=True: no weights are published for this name; the entry point `published` takes the "
            f"names that `python -m tools.weights` lists"
        )
    return found

"""Turns any image network into a feature extractor for frames: ours, torchvision's by name, timm's by timm/<name>.

Weights are random here; networks/checkpoints/load.py reads files.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

import torch
from torch import nn

from networks import IMAGE_BACKBONES
from networks.first_convolution import RGB, replace_first_convolution
from utils.config.build import call, check_name
from utils.config.file import nearest

TIMM = "timm/"
IMAGE_CLASSES = 1000
ALIASES = {"mobilenetv2": "mobilenet_v2"}  # second names of backbones -> what their published files begin with


def architecture(name: str) -> str:
    """Returns the name by which its library publishes weights of a backbone: mobilenetv2 -> mobilenet_v2."""
    return ALIASES.get(name, name)


def image_networks() -> list[str]:
    """Lists the names of image networks but timm's: ours, and torchvision's."""
    from torchvision import models

    return sorted({*IMAGE_BACKBONES, *models.list_models(module=models)})


def image_backbone(
    name: str, kwargs: Mapping[str, Any] | None = None, *, in_channels: int = RGB, any_size: bool = True
) -> tuple[nn.Module, int]:
    """Builds a network without its classifier: frames (N, C, H, W) -> features (N, width). Returns it and the width.

    Parameter names are those of the project that the network comes from, so its published files fit.

    kwargs: arguments of the network's constructor.
    in_channels: channels of each frame; if not 3, the first convolution is replaced (flow stacks, RGB differences).
    any_size: whether timm's vision transformers take frames of any size; their graph cannot be traced then.

    Raises: ValueError that starts with "backbone: " or "kwargs.", for an unknown name, an argument that the constructor
        does not take, or a package that is not installed.
    """
    kwargs = dict(kwargs or {})
    if name.startswith(TIMM):
        return _timm_backbone(name, kwargs, in_channels, any_size=any_size)
    if name in IMAGE_BACKBONES:
        net = call(IMAGE_BACKBONES[name], kwargs, name, "kwargs")
    else:
        net = _torchvision_network(name, kwargs)
    width = _remove_classifier(net, name)
    if in_channels != RGB:
        replace_first_convolution(net, in_channels)
    return net, width


def _torchvision_network(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    check_name(image_networks(), name, where="backbone")
    builder = models.get_model_builder(name)
    parameters = inspect.signature(get_type_hints(builder)["return"]).parameters
    # the builder itself sets the parameters that have no default: they are the architecture
    accepted = [key for key, value in parameters.items() if value.default is not value.empty and key != "num_classes"]
    for key in kwargs:
        if key not in accepted:
            raise ValueError(f"kwargs.{key}: {name} does not take it{nearest(key, accepted)}")
    fixed: dict[str, Any] = {"weights": None}
    if "aux_logits" in parameters:  # GoogLeNet and Inception v3: the auxiliary classifiers are not part of the features
        fixed |= {"aux_logits": False, "init_weights": True}
    try:
        return builder(**fixed, **kwargs)
    except NotImplementedError:  # RegNet computes its widths with tensors, which the meta device cannot read
        with torch.device("cpu"):
            return builder(**fixed, **kwargs).to("meta")
    except (TypeError, ValueError) as error:
        raise ValueError(f"kwargs: {name}: {error}") from error


def _timm_backbone(name: str, kwargs: dict[str, Any], in_channels: int, *, any_size: bool) -> tuple[nn.Module, int]:
    try:
        import timm
    except ImportError:
        raise ValueError(f"backbone: {name} needs the package timm: pip install timm") from None
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        raise ValueError(f"backbone: timm has no {short!r}{nearest(short, timm.list_models())}")
    for key in kwargs.keys() & inspect.signature(timm.create_model).parameters.keys() - {"scriptable", "exportable"}:
        raise ValueError(f"kwargs.{key}: is no argument of the network; leave it out, weights are loaded afterwards")
    sizes = {"dynamic_img_size": True} if any_size else {}
    given = {"num_classes": 0, "in_chans": in_channels, **kwargs}
    try:
        try:  # a vision transformer then takes frames of any size, and its published position table still fits
            net = timm.create_model(short, pretrained=False, **(sizes | given))
        except TypeError as error:
            if "dynamic_img_size" in kwargs or "dynamic_img_size" not in str(error):
                raise
            net = timm.create_model(short, pretrained=False, **given)
        # head_hidden_size: the width behind the extra layer that some heads keep (MobileNetV3)
        return net, int(getattr(net, "head_hidden_size", None) or net.num_features)  # type: ignore[arg-type]
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, AssertionError) as error:
        raise ValueError(f"kwargs: {name}: {error}") from error


def _remove_classifier(net: nn.Module, name: str) -> int:
    """Replaces the last layer, and a dropout right in front of it, by the identity; returns the layer's input width."""
    kinds = (nn.Linear, nn.Conv2d)
    path, last = [(path, module) for path, module in net.named_modules() if isinstance(module, kinds)][-1]
    if IMAGE_CLASSES not in (getattr(last, "out_features", 0), getattr(last, "out_channels", 0)):
        raise ValueError(f"backbone: {name} does not end in its classifier, so it cannot be a backbone")
    parent, child = _parent(net, path)
    setattr(parent, child, nn.Identity())
    before = [key for key, _ in parent.named_children()]
    before = before[: before.index(child)]
    if before and isinstance(parent.get_submodule(before[-1]), nn.Dropout):
        setattr(parent, before[-1], nn.Identity())
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels


def _parent(net: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, child = path.rpartition(".")
    return net.get_submodule(parent), child

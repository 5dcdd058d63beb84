"""Any image network as a feature extractor for frames: our table, torchvision's by name, timm's by timm/<name>.

Weights are random; files are the business of weights.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import torch
from torch import nn

from networks import IMAGE_BACKBONES
from networks.first_convolution import RGB, replace_first_convolution
from utils.config.build import check_arguments
from utils.config.file import nearest
from utils.errors import ConfigError

WHERE = "common.model"
TIMM = "timm/"
IMAGE_CLASSES = 1000


def architecture(name: str) -> str:
    """The name under which published files of this backbone are called: mobilenetv2 -> mobilenet_v2."""
    return {"mobilenetv2": "mobilenet_v2"}.get(name, name).removeprefix(TIMM)


def image_backbone(
    name: str, kwargs: Mapping[str, Any] | None = None, *, in_channels: int = RGB
) -> tuple[nn.Module, int]:
    """A network without its classifier and the width of its features: frames (N, C, H, W) -> (N, width).

    Parameter names are those of the project the network comes from, so its published files fit.

    kwargs: for the network's constructor.
    in_channels: of each frame; other than 3, the first convolution is replaced (flow stacks, RGB differences).

    Raises: ConfigError for an unknown name, an argument the constructor does not take (naming those it takes), or a
        package that is not installed.
    """
    kwargs = dict(kwargs or {})
    if name.startswith(TIMM):
        return _timm_backbone(name, kwargs, in_channels)
    net = _builder(name, kwargs)(**kwargs)
    width = _remove_classifier(net, name)
    if in_channels != RGB:
        replace_first_convolution(net, in_channels)
    return net, width


def _builder(name: str, kwargs: Mapping[str, Any]) -> Callable[..., nn.Module]:
    if name in IMAGE_BACKBONES:
        builder = IMAGE_BACKBONES[name]
        _check_names(name, kwargs, list(inspect.signature(builder).parameters))
        check_arguments(builder, kwargs, name=name, where=f"{WHERE}.kwargs")
        return builder
    return _torchvision_builder(name, kwargs)


def _check_names(name: str, given: Mapping[str, Any], accepted: list[str]) -> None:
    for key in given:
        if key not in accepted:
            takes = f"it takes {', '.join(sorted(accepted))}" if accepted else "it takes no arguments"
            raise ConfigError(f"{WHERE}.kwargs.{key}: {name} does not take it; {takes}")


def _torchvision_builder(name: str, kwargs: Mapping[str, Any]) -> Callable[..., nn.Module]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        close = nearest(name, [*IMAGE_BACKBONES, *known])
        raise ConfigError(f"{WHERE}.backbone: {name!r} is no image network of ours or of torchvision{close}")
    builder = models.get_model_builder(name)
    network = get_type_hints(builder)["return"]
    parameters = inspect.signature(network).parameters
    # the builder itself sets the parameters that have no default: those are the architecture
    accepted = [key for key, value in parameters.items() if value.default is not value.empty and key != "num_classes"]
    _check_names(name, kwargs, accepted)
    fixed: dict[str, Any] = {"weights": None}
    if "aux_logits" in parameters:  # GoogLeNet and Inception v3: the auxiliary classifiers are no part of the features
        fixed |= {"aux_logits": False, "init_weights": True}

    def build(**arguments: Any) -> nn.Module:
        try:
            return builder(**fixed, **arguments)
        except NotImplementedError:  # RegNet computes its widths with tensors, which the meta device cannot read
            with torch.device("cpu"):
                return builder(**fixed, **arguments).to("meta")
        except TypeError as error:
            raise ConfigError(f"{WHERE}.kwargs: {name}: {error}") from None

    return build


def _timm_backbone(name: str, kwargs: dict[str, Any], in_channels: int) -> tuple[nn.Module, int]:
    try:
        import timm
    except ImportError:
        raise ConfigError(f"{WHERE}.backbone: {name} needs the package timm: pip install timm") from None
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        raise ConfigError(f"{WHERE}.backbone: timm has no {short!r}{nearest(short, timm.list_models())}")
    try:
        net = timm.create_model(short, pretrained=False, num_classes=0, in_chans=in_channels, **kwargs)
    except TypeError as error:
        raise ConfigError(f"{WHERE}.kwargs: {name}: {error}") from None
    # head_hidden_size: the width behind the extra layer that some heads keep (MobileNetV3)
    return net, int(getattr(net, "head_hidden_size", None) or net.num_features)  # type: ignore[arg-type]


def _remove_classifier(net: nn.Module, name: str) -> int:
    """Replaces the last layer by the identity, and the dropout right in front of it; returns its input width."""
    kinds = (nn.Linear, nn.Conv2d)
    path, last = [(path, module) for path, module in net.named_modules() if isinstance(module, kinds)][-1]
    if IMAGE_CLASSES not in (getattr(last, "out_features", 0), getattr(last, "out_channels", 0)):
        raise ConfigError(f"{WHERE}.backbone: {name} does not end in its classifier, so it cannot be a backbone")
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

"""Groups parameters by learning rate and weight decay, and makes the optimizer for the groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from utils.config.schema import Common
from utils.errors import ConfigError

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass
class Group:
    """Holds parameters that share a multiplier of the learning rate and one of the weight decay."""

    name: str
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    params: list[nn.Parameter] = field(default_factory=list)


def parameter_groups(
    model: nn.Module, *, no_wd: bool | Literal["norm"], policy: bool = False, fc_lr5: bool = False
) -> list[Group]:
    """Puts every trainable parameter into exactly one group.

    no_wd: True exempts the biases of convolutions and linear layers and all parameters of norm layers from weight
        decay; "norm" exempts the norm layers only (PySlowFast). It overrides policy.
    policy: makes the groups of TSN (Wang et al. 2016, arXiv 1608.00859): biases learn at twice the rate without decay,
        norm layers do not decay. On optical flow (`model.clip`) the first convolution learns at five times the rate
        and its bias at ten times, because its weights come from RGB.
    fc_lr5: with policy, the classifier `model.head` learns at five times the rate and its bias at ten times (TSM).
    Raises: TypeError for a layer of an unknown kind that has parameters, rather than training it silently with the
        wrong multipliers.
    """
    groups = {
        name: Group(name, lr_mult, decay_mult)
        for name, lr_mult, decay_mult in [
            ("weight", 1.0, 1.0),
            ("bias", 1.0, 1.0),
            ("weight without decay", 1.0, 0.0),
            ("policy bias", 2.0, 0.0),
            ("head weight", 5.0, 1.0),
            ("head bias", 10.0, 0.0),
            ("first weight", 5.0, 1.0),
            ("first bias", 10.0, 0.0),
        ]
    }
    head = getattr(model, "head", None)
    in_head = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    first = _first_of_flow(model)
    policy = policy and not no_wd
    for module, name, parameter in _own_parameters(model):
        is_bias = name.endswith("bias")
        if isinstance(module, NORMS):
            kind = "weight without decay" if no_wd or policy else ("bias" if is_bias else "weight")
        elif policy and fc_lr5 and id(parameter) in in_head:
            kind = "head bias" if is_bias else "head weight"
        elif policy and module is first:
            kind = "first bias" if is_bias else "first weight"
        elif is_bias:
            kind = "policy bias" if policy else ("weight without decay" if no_wd is True else "bias")
        else:
            kind = "weight"
        groups[kind].params.append(parameter)
    return [group for group in groups.values() if group.params]


def _first_of_flow(model: nn.Module) -> nn.Module | None:
    """Returns the first convolution of a method that sees optical flow, None for other methods."""
    clip = getattr(model, "clip", None)
    if clip is None or clip.modality != "flow":
        return None
    return next((module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd)), None)


def _own_parameters(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if not isinstance(module, (*NORMS, *WEIGHTED)):
                _check_known(module)
            yield module, name, parameter


def _check_known(module: nn.Module) -> None:
    # attention layers and their position tables come from these packages and need no multipliers of their own
    if not type(module).__module__.startswith(("torch.", "torchvision.", "timm.")):
        raise TypeError(
            f"{type(module).__name__} has parameters of its own; add their multipliers to utils/training/optimizer.py"
        )


def split_by_name(groups: Iterable[Group], model: nn.Module, factors: Mapping[str, float]) -> list[Group]:
    """Splits the groups by the parameters whose names begin with a key of `factors`, and multiplies their rates by it.

    factors: name prefix -> factor of the learning rate; the longest matching prefix counts.
    Raises: ConfigError for a prefix that no trainable parameter's name begins with.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    used: set[str] = set()
    split: dict[tuple[str, str], Group] = {}
    for group in groups:
        for parameter in group.params:
            name = names[id(parameter)]
            fitting = [start for start in factors if name == start or name.startswith(f"{start}.")]
            start = max(fitting, key=len, default="")
            used.update(fitting)
            factor = factors.get(start, 1.0)
            place = split.setdefault(
                (group.name, start), Group(f"{group.name} {start}".strip(), group.lr_mult * factor, group.decay_mult)
            )
            place.params.append(parameter)
    if unused := sorted(set(factors) - used):
        raise ConfigError(f"common.lr_by_name: no trainable parameter's name begins with {unused[0]!r}")
    return list(split.values())


def make_optimizer(config: Common, groups: Iterable[Group]) -> torch.optim.Optimizer:
    """Makes SGD or AdamW for the groups; each group keeps its `lr_mult`, the factor of the learning rate."""
    torch_groups = [
        {
            "params": group.params,
            "lr_mult": group.lr_mult,
            "weight_decay": config.weight_decay * group.decay_mult,
            "name": group.name,
        }
        for group in groups
    ]
    lr = config.lr_scheduler.base_lr
    if config.optimizer == "ADAMW":
        return torch.optim.AdamW(torch_groups, lr=lr)
    return torch.optim.SGD(torch_groups, lr=lr, momentum=config.momentum, nesterov=config.nesterov)

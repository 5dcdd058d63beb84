"""Groups parameters by learning rate and weight decay, makes the optimizer for the groups, and restores its state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError
from utils.processes.sharded import shard_like
from utils.training.blocks import blocks_of

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)
# what each optimizer remembers of a parameter
REMEMBERED: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
}


@dataclass
class Group:
    """Holds parameters that share a multiplier of the learning rate and one of the weight decay."""

    name: str
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    params: list[nn.Parameter] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def parameter_groups(
    model: nn.Module, *, no_wd: bool | Literal["norm"], policy: bool = False, fc_lr5: bool = False
) -> list[Group]:
    """Puts every trainable parameter into exactly one group.

    no_wd: True exempts the biases of convolutions and linear layers, all parameters of norm layers, and the class
        tokens and position tables of vision transformers from weight decay; "norm" exempts the norm layers only
        (PySlowFast). It overrides policy.
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
        if not getattr(module, "decays", True):  # tables of vision transformers
            kind = "weight without decay" if no_wd is True else "weight"
        elif isinstance(module, NORMS):
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


def split_by_depth(groups: Iterable[Group], model: nn.Module, decay: float) -> list[Group]:
    """Splits the groups by depth: each block learns at `decay` times the rate of the next one (BEiT, arXiv 2106.08254).

    What comes before the first block, in the order of the parameters, has the depth 0, what follows a block has that of
    the block, and what follows the last one, up to the classifier, learns at the full rate. Blocks of a part behind the
    network, such as a pooler or readers, follow the last one: only those of the first list count, and of lists that
    differ from it in their numbers alone, which are the network's stages.
    Raises: ConfigError for a network without repeated blocks.
    """
    blocks = list(blocks_of(model))
    blocks = [name for name in blocks if _list_of(name) == _list_of(blocks[0])]
    if not blocks:
        raise ConfigError("common.layer_decay: this network has no repeated blocks; set it to 1")
    starts = [f"{name}." for name in blocks]
    last = max(i for i, (name, _) in enumerate(model.named_parameters()) if name.startswith(starts[-1]))
    depths, depth = {}, 0
    for place, (name, parameter) in enumerate(model.named_parameters()):
        depth = next((number for number, start in enumerate(starts, 1) if name.startswith(start)), depth)
        depths[id(parameter)] = depth if place <= last else len(blocks) + 1
    split: dict[tuple[str, int], Group] = {}
    for group in groups:
        for parameter in group.params:
            depth = depths[id(parameter)]
            factor = decay ** (len(blocks) + 1 - depth)
            new = Group(f"{group.name} at depth {depth}", group.lr_mult * factor, group.decay_mult)
            split.setdefault((group.name, depth), new).params.append(parameter)
    return list(split.values())


def _list_of(block: str) -> str:
    """Returns the name of the list that a block is in, without numbers: stages.1.blocks.0 -> stages..blocks."""
    return re.sub(r"\d+", "", block.rpartition(".")[0])


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
            title = f"{group.name} {start}" if start else group.name
            new = Group(title, group.lr_mult * factor, group.decay_mult)
            place = split.setdefault((group.name, start), new)
            place.params.append(parameter)
            place.names.append(name)
    if unused := sorted(set(factors) - used):
        raise ConfigError(f"common.lr_by_name: no trainable parameter's name begins with {unused[0]!r}")
    return list(split.values())


def optimizer_for(model: nn.Module, common: Common) -> torch.optim.Optimizer:
    """Builds the optimizer of a config over the trainable parameters of a model.

    Raises: ConfigError where nothing is left to train.
    """
    groups = parameter_groups(model, no_wd=common.no_wd, policy=common.policy, fc_lr5=common.fc_lr5)
    if not groups:
        raise ConfigError(
            f"common.freeze: {common.freeze} leaves nothing to train; leave out the part that should learn"
        )
    if common.layer_decay < 1:
        groups = split_by_depth(groups, model, common.layer_decay)
    return make_optimizer(common, split_by_name(groups, model, common.lr_by_name))


def make_optimizer(config: Common, groups: Iterable[Group]) -> torch.optim.Optimizer:
    """Makes SGD or AdamW for the groups; each group keeps its `lr_mult`, the factor of the learning rate.

    A run that solves its head takes no steps and remembers nothing, so it gets an SGD that is not used.
    """
    torch_groups = [
        {
            "params": group.params,
            "param_names": group.names,
            "lr_mult": group.lr_mult,
            "weight_decay": config.weight_decay * group.decay_mult,
            "name": group.name,
        }
        for group in groups
    ]
    lr = config.lr_scheduler.base_lr
    if config.optimizer == "ADAMW":
        return torch.optim.AdamW(torch_groups, lr=lr, betas=(config.betas[0], config.betas[1]))
    return torch.optim.SGD(torch_groups, lr=lr, momentum=config.momentum, nesterov=config.nesterov)


def restore_state(optimizer: torch.optim.Optimizer, saved: Any) -> list[str]:
    """Gives each parameter what a saved optimizer remembers of the parameter of the same name.

    Learning rates, momentum and weight decay stay those of `optimizer`, which has them from the config. Parameters that
    the saved one did not train, or of which it remembers something else, begin anew.

    saved: the `state_dict` of an optimizer. Without names, as the original project writes it, places are compared.
    Returns a text about the parameters that begin anew, if there are any.
    Raises: CheckpointError for a saved optimizer that cannot be read, or that has no names and other parameters.
    """
    parameters = [
        (name, parameter)
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
    ]
    remembered = _by_name(saved, [name for name, _ in parameters])
    wanted = REMEMBERED[type(optimizer)]
    state, anew = {}, []
    for place, (name, parameter) in enumerate(parameters):
        mine = remembered.get(name)
        if mine is None or (mine and not wanted <= mine.keys()):
            anew.append(name)
        elif mine:
            if odd := [key for key in wanted - {"step"} if not isinstance(mine[key], Tensor | None)]:
                raise CheckpointError(
                    f"the optimizer's state of {name} is not what a run writes: {odd[0]} is no tensor"
                )
            if any(isinstance(v, Tensor) and v.dim() and v.shape != parameter.shape for v in mine.values()):
                raise CheckpointError(f"the optimizer's state of {name} has another shape than the weights")
            state[place] = {key: shard_like(mine[key], parameter) for key in mine if key in wanted}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if not anew:
        return []
    kind = f"{type(optimizer).__name__} begins without a memory for {len(anew)} of {len(parameters)} parameters"
    return [f"{kind}, which the checkpoint has trained in another way or not at all: {', '.join(anew[:3])}, ..."]


def _by_name(saved: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    """Returns what a saved optimizer remembers, by parameter; `names` are ours, in order."""
    try:
        groups, state = saved["param_groups"], saved["state"]
        places = [place for group in groups for place in group["params"]]
        theirs = [name for group in groups for name in group.get("param_names", [])]
        if not theirs and len(places) == len(names):
            theirs = names
        found = {name: dict(state.get(place, {})) for name, place in zip(theirs, places, strict=True)}
    except (TypeError, KeyError, AttributeError, ValueError):
        raise CheckpointError(
            "the optimizer's state in the checkpoint does not belong to this network; --fresh --load-path FILE takes "
            "the weights alone"
        ) from None
    return found

"""Names the types of PyTorchVideo's arguments, and makes norms, activations and pools from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, NonNegativeInt, PositiveInt, Tag
from torch import Tensor, nn

from utils.config.build import ArgumentError
from utils.config.sections import Probability as Probability


def _tuples(value: Any) -> Any:
    """Turns lists into tuples, because PyTorchVideo takes both."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def is_single(value: Any) -> bool:
    """Returns whether a value is one triple, not a list of them."""
    return len(value) > 0 and isinstance(value[0], Integral)


def _one_or_each(value: Any) -> str:
    """Returns which type a value is meant to have: `each` for a list of triples, `one` for anything else."""
    return "each" if isinstance(value, (list, tuple)) and not is_single(value) else "one"


LISTS = BeforeValidator(_tuples)
Build = Callable[..., nn.Module]
Pair = Annotated[tuple[PositiveInt, PositiveInt], LISTS]  # h, w
Triple = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], LISTS]  # t, h, w
Padding = Annotated[tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt], LISTS]
PerStage = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt], LISTS]
# one for all stages, or one for each; a value is compared with only that of the two which it is meant to be
_BY_SHAPE = Discriminator(_one_or_each)
_One = Annotated[Triple, Tag("one")]
Triples = Annotated[_One | Annotated[Sequence[Triple], Tag("each")], _BY_SHAPE]
# here a stage may also have a list, which is repeated over its blocks
_Stage = Annotated[_One | Annotated[Sequence[Triple], Field(min_length=1), Tag("each")], _BY_SHAPE]
BlockTriples = Annotated[_One | Annotated[Sequence[_Stage], Tag("each")], _BY_SHAPE]
ONE, CUBE = (1, 1, 1), (3, 3, 3)
STAGES = 4


def make_norm(norm: Build | None, channels: int, eps: float, momentum: float) -> nn.Module | None:
    """Makes a norm of these channels; None stays None.

    norm: called with num_features, and with eps and momentum if it takes them. A function that has no num_features is
        called with the channels alone.
    """
    if norm is None:
        return None
    parameters = inspect.signature(norm).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_features" not in parameters and not takes_all:
        return norm(channels)
    others = {"eps": eps, "momentum": momentum}
    return norm(num_features=channels, **{key: others[key] for key in others if takes_all or key in parameters})


def make(kind: Build | None) -> nn.Module | None:
    """Makes a module without arguments, such as an activation; None stays None."""
    return None if kind is None else kind()


def make_head_activation(kind: Build | None) -> nn.Module | None:
    """Makes the activation behind a classifier; a softmax is one over the classes, axis 1."""
    return nn.Softmax(dim=1) if kind is nn.Softmax else make(kind)


def make_pool(
    kind: Build | None, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> nn.Module | None:
    """Makes a pool; None stays None."""
    return None if kind is None else kind(kernel_size=tuple(kernel), stride=tuple(stride), padding=tuple(padding))


def apply(x: Tensor, *modules: nn.Module | None) -> Tensor:
    """Applies the modules in their order, without those that are None."""
    for module in modules:
        if module is not None:
            x = module(x)
    return x


def halves(kernel: Sequence[int]) -> tuple[int, int, int]:
    """Returns the padding that keeps the size of what an odd kernel sees."""
    time, height, width = kernel
    return time // 2, height // 2, width // 2


def check_groups(key: str, groups: int, channels: int) -> None:
    """Raises an ArgumentError unless the groups of the argument `key` divide the channels."""
    if channels % groups:
        raise ArgumentError(f"{key}: {groups} does not divide the {channels} channels of a block")


def per_stage(key: str, value: Any, stages: int = STAGES) -> Sequence[Any]:
    """Returns one value for each stage; a single triple, or a single function, stands for all.

    Raises: ArgumentError for another number of them.
    """
    if callable(value) or is_single(value):
        return [value] * stages
    if len(value) != stages:
        raise ArgumentError(f"{key}: has {len(value)} entries; give one, or one for each of the {stages} stages")
    found: Sequence[Any] = value
    return found

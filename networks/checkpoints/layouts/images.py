"""Reads image networks of torchvision and timm; our backbones have the same names for their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify_image import classifier_of, describe_image_network, grouped
from networks.checkpoints.layouts.inceptions import to_rgb
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.first_convolution import first_convolution

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # second classifiers of GoogLeNet and Inception v3
# DenseNet's first files have a dot inside the names of modules, which torch does not allow any more
DENSENET: list[Rule] = [(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)", r"\1\2")]
OTHERS = ("base_model.", "backbone.", "network.")


def _recognises(state: State) -> bool:
    first = first_convolution(state)
    has_clips = any(value.dim() == 5 for value in state.values())
    return first is not None and not has_clips and not any(key.startswith(OTHERS) for key in state)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    head = classifier_of(state)
    renamed = grouped(rename(state, DENSENET))
    body = {key: value for key, value in renamed.items() if not key.startswith((head or "\0", *AUXILIARY))}
    body = to_rgb(body)
    return body, describe_image_network(body, {})


LAYOUT = Layout("image network of torchvision or timm", _recognises, _convert)

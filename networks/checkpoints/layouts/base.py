"""What a layout is, and what it reports beside the renamed weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from networks.first_convolution import RGB, first_convolution

State = Mapping[str, Tensor]


@dataclass
class Facts:
    """What a file tells about its network.

    method: key of methods.METHODS; "" when the file is an image network without a method.
    backbone: name for `common.model.backbone`; "" when the file does not tell.
    arguments: further keys of `common.model`: num_class, modality, ...
    assumed: those of them that the file does not tell, and that are only likely.
    notes: one line for each thing that the file cannot tell and the config has to say.
    protocol: what the file's own config tells of our config's `augmentation`, `data` and `test`.
    class_names: the classes in order, where the project keeps them in a place of its own.
    """

    method: str = ""
    backbone: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    protocol: dict[str, dict[str, Any]] = field(default_factory=dict)
    class_names: list[str] | None = None


@dataclass(frozen=True)
class Layout:
    """One source of checkpoints.

    name: as the report prints it: "MIT TSM".
    recognises: whether these keys and shapes (wrappers and `module.` already gone) come from this source. Cheap.
    convert: (state, other top-level entries of the file) -> (entries of our state dict, facts). An image network keeps
        its own keys, without classifier: `Method.from_image_weights` places them. Entries with no place in our networks
        keep their names and are reported as unexpected. Raises CheckpointError for a network that we do not have.
    """

    name: str
    recognises: Callable[[State], bool]
    convert: Callable[[State, Mapping[str, Any]], tuple[dict[str, Tensor], Facts]]


def modality_facts(facts: Facts, body: State) -> None:
    """What TSN's other inputs show in the first convolution: 2 channels for a flow field, 3 for an RGB difference."""
    first = first_convolution(body)
    channels = RGB if first is None else int(body[first].shape[1])
    if channels == RGB or (channels % 2 and channels % 3):
        return
    modality, each = ("rgbdiff", 3) if channels % 2 else ("flow", 2)
    facts.arguments |= {"modality": modality, "stack": channels // each}
    if channels % 6 == 0:
        facts.assumed += ("modality", "stack")
        facts.notes.append(f"modality: its {channels} channels are {channels // 2} flow fields, or RGB differences")

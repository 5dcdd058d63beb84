"""Defines a layout, and the description of a network that it returns together with the renamed weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from networks.first_convolution import RGB, first_convolution

State = Mapping[str, Tensor]
DIVING = 48  # classes of Diving48
SOMETHING = 174  # classes of Something-Something, over whose videos the frames of a clip are spread


@dataclass(frozen=True)
class Base:
    """Names the image network that the weights of a file stand on, and which are not in it.

    network: its name, as `model.backbone` has it.
    file: what it was filled from: a path, or a name of published weights; "" if the file does not say it.
    hash: of its entries, as utils.torch_file.hash_of gives it; "" if the file does not say it.
    keys: names of the entries; () for all that the network has.
    """

    network: str
    file: str = ""
    hash: str = ""
    keys: tuple[str, ...] = ()


@dataclass
class Description:
    """Describes the network of a file, as far as the file shows it.

    method: key of methods.METHODS; "" if the file holds an image network without a method.
    backbone: the name of the network here; "" if it cannot be known.
    arguments: further keys of the config's `model`: num_class, modality, ...
    assumed: names of arguments that the file does not show and whose values are only likely.
    notes: one line for each thing that the file cannot show and that the config has to say.
    protocol: the config's `augmentation`, `data` and `test`, as far as the file's own config gives them.
    class_names: the classes in order, if the project keeps them in a place of its own.
    base: what the file's weights stand on, if it does not hold it.
    fresh: beginnings of entries, besides the classifier's, that begin anew where training starts from the file, because
        a file of a pre-training does not have them.
    spare: beginnings of entries that only some variants of the network have; the others leave them out.
    """

    method: str = ""
    backbone: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    protocol: dict[str, dict[str, Any]] = field(default_factory=dict)
    class_names: list[str] | None = None
    base: Base | None = None
    fresh: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()

    @property
    def shown(self) -> dict[str, Any]:
        """Returns the arguments that the file shows, without those that are only likely."""
        return {key: value for key, value in self.arguments.items() if key not in self.assumed}


@dataclass(frozen=True)
class Layout:
    """Recognises and translates the checkpoints of one project.

    name: the project's name in reports: "PySlowFast".
    recognises: tells whether these keys and shapes, without wrappers and `module.`, come from this project; is cheap.
    convert: turns the weights and the other top-level entries of a file into entries of our state dict and a
        description. An image network keeps its own keys, without classifier, and `Method.from_image_weights` places
        them. Entries that have no place in our networks keep their names and are reported as unexpected. Raises
        CheckpointError for a network that is not built here.
    read_name: adds what the project's own programs read from the name of a file.
    learned: of a transformer, the projections among q, k and v whose biases a training changes: keys have them only
        where they are turned or pooled. "" if nobody looks for biases that are lost (trust.py).
    """

    name: str
    recognises: Callable[[State], bool]
    convert: Callable[[State, Mapping[str, Any]], tuple[dict[str, Tensor], Description]]
    read_name: Callable[[Description, str], None] = lambda description, name: None
    learned: str = ""


def add_modality(description: Description, body: State) -> None:
    """Adds modality and stack, as the first convolution shows them: 2 channels per flow field, 3 per RGB difference."""
    first = first_convolution(body)
    channels = RGB if first is None else int(body[first].shape[1])
    if channels == RGB or (channels % 2 and channels % 3):
        return
    modality, each = ("rgbdiff", 3) if channels % 2 else ("flow", 2)
    description.arguments |= {"modality": modality, "stack": channels // each}
    if channels % 6 == 0:
        description.assumed += ("modality", "stack")
        description.notes.append(
            f"modality: the {channels} channels are {channels // 2} flow fields, or RGB differences"
        )

"""Reads a checkpoint file of any project: weights under our names, and a description of the network.

Reads torch's files with `weights_only=True`, plain pickles and safetensors. The names that each project uses are in
layouts/; load.py fills models.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from networks.checkpoints.layouts import LAYOUTS, ours
from networks.checkpoints.layouts.base import Base, Description, Layout
from networks.checkpoints.layouts.clip import OPENAI
from networks.checkpoints.plain_pickle import read_plain_pickle
from networks.checkpoints.safe_arrays import STAND_INS, Ignored
from networks.checkpoints.torchscript import is_torchscript, read_torchscript
from networks.checkpoints.trust import doubts_about, refuse_lost_biases, refuse_not_finite
from utils.errors import CheckpointError
from utils.files import DAMAGED, no_pipe
from utils.plain_text import one_line
from utils.published.files import PRETRAINED, checkpoint_file, fetch, meant_names, named
from utils.published.libraries import image_weights
from utils.published.registry import published_as
from utils.torch_file import FLOATS, ZIP_MAGIC, hash_of, read_torch

TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # first bytes of torch.save before it wrote zip files
# entries in which projects keep the weights; if there are several, the first is taken
NAMES = (
    *("state_dict", "model_state", "model_state_dict", "model", "network", "blobs"),
    "module",  # DeepSpeed
    *("ema_encoder", "target_encoder", "encoder"),  # V-JEPA 2: the first is taken for 2.1's B and L, else the second
)
PROBES = "classifiers"  # of V-JEPA 2: one for each setting that was trained
WRAPPERS = (  # of DistributedDataParallel, torch.compile, and several trainers
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
)
LIGHTNING = "pytorch-lightning_version"  # an entry of Lightning's files, whose module may hold more than the network
NETWORKS = ("model", "net", "network")  # what such modules call it
LEARNED = re.compile(r".*(weight|bias|running_mean|running_var|_[wb])")  # the last two are for Caffe2

# a classifier that somebody has put into a sequence: (fc.1.)(fc)
IN_SEQUENCE = re.compile(r"(((?:.+\.)?(?:new_fc|fc|fc_cls|head|classifier|proj|projection))\.\d+\.)(?:weight|bias)")


# harmless objects that projects store together with the weights
HARMLESS: list[Any] = [
    argparse.Namespace,  # the options of torchvision's scripts
    (Ignored, "mmengine.logging.history_buffer.HistoryBuffer"),  # the curves of mmengine's runs
    (Ignored, "builtins.getattr"),  # a curve refers to its own methods by it
    *((made, name) for name, made in STAND_INS.items()),
]


@dataclass(frozen=True)
class RawCheckpoint:
    """Holds a checkpoint file after reading and translating.

    path: the file.
    state: the weights under the names of the file, without wrappers.
    others: the other entries at the top of the file: epoch, config, class_names, ...
    layout: name of the project that it comes from: "PySlowFast".
    weights: the same weights under our names: entries of a method's state dict, or of an image network's state dict if
        `description.method` is "".
    description: what the file shows of its network.
    warnings: what its user has to know: changed contents, a licence that forbids something.
    """

    path: Path
    state: Mapping[str, Tensor]
    others: Mapping[str, Any]
    layout: str
    weights: Mapping[str, Tensor]
    description: Description
    warnings: tuple[str, ...] = ()

    @property
    def class_names(self) -> list[str] | None:
        """Returns the classes that it was trained on, in order, if the file names them."""
        names = self.others.get("class_names")
        if not isinstance(names, (list, tuple)):
            return self.description.class_names
        return [one_line(str(name)) for name in names]

    @property
    def protocol(self) -> Mapping[str, Any]:
        """Returns what the file says of its evaluation, as ClipProtocol.as_dict does in our files; {} if nothing."""
        stored = self.others.get("preprocessing")
        if isinstance(stored, Mapping):
            return stored
        pixels, data, test = (self.description.protocol.get(name, {}) for name in ("augmentation", "data", "test"))
        size = test.get("input_size") or pixels.get("input_size")
        found = {
            "mean": pixels.get("mean"),
            "std": pixels.get("std"),
            "resize": pixels.get("test_resize"),
            "size": [size, size] if isinstance(size, int) else size,
            "sampling": test.get("sampling") or data.get("sampling"),
            **{key: test.get(key) for key in ("num_frames", "num_clips", "num_crops", "average")},
        }
        return {key: value for key, value in found.items() if value is not None}

    @property
    def test(self) -> Mapping[str, Any]:
        """Returns the `test` section of the config in the file; {} if it has none."""
        config: Any = self.others.get("config")
        for name in ("common", "test"):
            config = config.get(name) if isinstance(config, Mapping) else None
        return config if isinstance(config, Mapping) else self.description.protocol.get("test", {})


def load_checkpoint_file(
    path: str | os.PathLike[str], *, trust_pickle: bool = False, above: tuple[Path, ...] = ()
) -> RawCheckpoint:
    """Reads a checkpoint of this project or of another one in `layouts.LAYOUTS`.

    path: the file, or the name of published weights, which are fetched if they are not here.
    trust_pickle: also read a file that holds more than weights, which may run code of its author.
    above: files without the network that they stand on, for which this one is read.

    Raises: CheckpointError for a file that is missing, damaged, of an unknown project, or of an unknown network.
    """
    path = checkpoint_file(path)
    contents = _read(path, trust_pickle=trust_pickle)
    state, others, left_out = split(contents, path)
    published = published_as(path)
    doubts = doubts_about(path, contents)
    doubts += published.cautions if published else []
    for layout in LAYOUTS:
        if layout.recognises(state):
            try:
                refuse_lost_biases(state, layout.learned)
                weights, description = _converted(layout, state, others)
                layout.read_name(description, path.name)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {layout.name}: {error}") from None
            except DAMAGED as error:  # what stands beside the weights is of another kind than the project writes
                raise CheckpointError(f"{path}: {layout.name}: an entry is not as it should be: {error!r}") from None
            if layout is not ours.LAYOUT:  # the docs describe the other entries of our own files
                description.notes += [
                    f"{name}: a part of Lightning's module beside the network; not read" for name in left_out
                ]
                description.notes += [
                    f"{name}: more weights with the same names; they are not read" for name in _more(others, state)
                ]
            if description.base is not None:
                weights, more = _on_its_base(weights, description, description.base, (*above, path))
                doubts += more
            return RawCheckpoint(path, state, others, layout.name, weights, description, tuple(doubts))
    known = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS))
    raise CheckpointError(f"{path}: keys like {', '.join([*state][:3])} belong to no project known here ({known})")


def _on_its_base(
    weights: Mapping[str, Tensor], description: Description, base: Base, above: tuple[Path, ...]
) -> tuple[dict[str, Tensor], list[str]]:
    """Adds the frozen network that a file's weights stand on, and a note that says where it came from.

    Returns the weights, and what its user has to know of that network unless its weights were compared.

    above: the file, behind those for which it is read.
    Raises: CheckpointError if it is not there, is another one, or stands on the file itself.
    """
    path = above[-1]
    place = _place_of(base, path)
    if any(place.resolve() == one.resolve() for one in above):
        raise CheckpointError(
            f"{place}: should be the frozen {base.network}, but holds only what was trained on it; put the file "
            f"that it was trained on there"
        )
    found = load_checkpoint_file(place, above=above)
    entries = base_entries(found, base.keys)
    lacking = [key for key in base.keys if key not in entries]
    if lacking or (base.hash and hash_of(entries) != base.hash):
        why = f"has no {lacking[0]}" if lacking else "has other weights"
        raise CheckpointError(
            f"{path}: holds only what was trained on {base.file or base.network}, and {place} {why}; get the file that "
            f"it was trained on"
        )
    if not base.hash:
        description.arguments |= found.description.arguments
    description.notes.append(f"holds only what was trained; the frozen {base.network} is from {place}")
    # a published network may be kept in 16 bits, in which it was trained too: nothing is lost
    frozen = {key: value.float() if value.dtype in FLOATS else value for key, value in entries.items()}
    return frozen | {**weights}, [] if base.hash else [f"{place}: {text}" for text in found.warnings]


def base_entries(found: RawCheckpoint, keys: Sequence[str] = ()) -> dict[str, Tensor]:
    """Returns entries of a method's state dict that a file fills, those of an image network under `backbone.`.

    keys: names of those that are wanted, as far as the file has them; () for all.
    """
    prefix = "" if found.description.method else "backbone."
    named = {prefix + key: value for key, value in found.weights.items()}
    return {key: named[key] for key in keys if key in named} if keys else named


def base_name(file: Path) -> str:
    """Returns how checkpoints call a file that they stand on: by its path in `pretrained/`.

    A checkpoint may come from a stranger, so it cannot name a file anywhere else.
    Raises: ValueError for a file that is not in there.
    """
    return file.absolute().relative_to(PRETRAINED.absolute()).as_posix()


def _place_of(base: Base, path: Path) -> Path:
    """Returns the file of a base: in `pretrained/`, or from who publishes it."""
    inside = base.file and not Path(base.file).is_absolute() and ".." not in Path(base.file).parts
    own = [PRETRAINED / base.file] if inside else []
    named_otherwise = [PRETRAINED / OPENAI[base.network]] if base.network in OPENAI else []
    if here := next((place for place in [*own, *named_otherwise] if place.is_file()), None):
        return here
    try:
        if base.file:
            published = named(base.file)
            if published is None:
                raise CheckpointError(f"there is no such file in {PRETRAINED}")
            return fetch(published)
        published = image_weights(base.network)
        if published is None:
            raise CheckpointError(f"nobody publishes weights of {base.network}")
        return fetch(published)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: holds only what was trained on {base.file or base.network}: {error}") from None


def _converted(
    layout: Layout, state: Mapping[str, Tensor], others: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Description]:
    """Translates a file, also one whose classifier is the only layer with weights of a sequence, behind a dropout."""
    weights, description = layout.convert(state, others)
    unknown = "num_class" not in description.arguments or any(re.match(r"head\.\d", key) for key in weights)
    if layout is ours.LAYOUT or not description.method or not unknown:
        return weights, description
    found = [match for key in state if (match := IN_SEQUENCE.fullmatch(key))]
    if len(found) not in (1, 2) or len({match[1] for match in found}) != 1:
        return weights, description
    first = found[0]
    plain = {key.replace(first[1], f"{first[2]}.", 1): value for key, value in state.items()}
    weights, description = layout.convert(plain, others)
    description.notes.append(f"{first[1].rstrip('.')}: the classifier, taken out of the sequence that it is in")
    return weights, description


def split(contents: Any, path: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Splits a loaded file into weights, without `module.` prefixes, and its other top-level entries.

    Returns also the names of what stands beside the network in a module of Lightning: its loss, its metrics.

    Raises: CheckpointError if there are no weights, or weights that are not finite plain floating-point tensors.
    """
    if isinstance(contents, nn.Module):
        contents = contents.state_dict()
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{path}: holds a {type(contents).__name__}, not weights by name")
    found: Any = contents
    for name in NAMES:
        if isinstance(contents.get(name), Mapping):
            found = contents[name]
            break
    probes = contents.get(PROBES)
    if found is contents and isinstance(probes, list) and probes and isinstance(probes[0], Mapping):
        found = probes[0]
    state = {str(key): _tensor(value) for key, value in found.items() if _is_numbers(value)}
    for key, value in state.items():
        if value.is_quantized or value.is_meta or value.layout is not torch.strided:
            kind = "quantized" if value.is_quantized else "without data" if value.is_meta else "sparse"
            raise CheckpointError(f"{path}: {key} is {kind}; save the weights as plain tensors")
        if value.dtype not in FLOATS and LEARNED.fullmatch(key):
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path}: {key} is {kind}, but weights are floating-point numbers; save it as such")
    refuse_not_finite(state, path)
    if not state:
        entries = f"its entries are {', '.join(map(str, [*contents][:5]))}" if contents else "it is empty"
        raise CheckpointError(f"{path}: no weights in it; {entries}")
    others = {str(key): value for key, value in contents.items() if value is not found} if found is not contents else {}
    state.pop("n_averaged", None)  # torch's AveragedModel counts in it
    state, left_out = _network_of_module(state, path) if LIGHTNING in contents else (state, [])
    return _without_wrappers(state), others, left_out


def _network_of_module(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the entries of the network in a module of Lightning, and the names of its other parts.

    Raises: CheckpointError for two parts that may be the network.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, rest = key.partition(".")
        parts.setdefault(name, {})[rest] = value
    found = [name for name in parts if name.split("_")[-1] in NETWORKS and "" not in parts[name]]
    if len(found) > 1:
        raise CheckpointError(
            f"{path}: a module of Lightning with {' and '.join(found)}, each of which may be the network; save the one "
            f"that you mean: torch.save(module.{found[0]}.state_dict(), FILE)"
        )
    largest = max(parts, key=lambda name: sum(value.numel() for value in parts[name].values()))
    if largest not in found and not {*found} & {*NETWORKS}:  # the module is the network, with a backbone and a head
        return state, []
    return parts[found[0]], [name for name in parts if name != found[0]]


def _more(others: Mapping[str, Any], state: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of entries that hold this network a second time, such as an average over its training."""
    tensors = {
        name: _without_wrappers({str(key): inner for key, inner in value.items() if isinstance(inner, Tensor)})
        for name, value in others.items()
        if isinstance(value, Mapping)
    }
    return [name for name, found in tensors.items() if len(found.keys() & state.keys()) > len(state) / 2]


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
    return value.detach()


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS * 2:  # any wrapper may be inside another
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state


def _read(path: Path, *, trust_pickle: bool) -> Any:
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint{meant_names(path)}")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a checkpoint")
    try:
        with no_pipe(path).open("rb") as file:
            head = file.read(len(TORCH_MAGIC))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    by_torch = head.startswith(ZIP_MAGIC) or head == TORCH_MAGIC
    try:
        if head[8:9] == b"{":  # after the length of the table that describes the tensors
            return _read_safetensors(path)
        if head.startswith(ZIP_MAGIC) and is_torchscript(path):
            return read_torchscript(path)
        if by_torch:
            return read_torch(path, allowed=HARMLESS, trust=trust_pickle)
        return read_plain_pickle(path, trust=trust_pickle)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error)):
            raise CheckpointError(
                f"{path}: holds {found[1]}, which plain weights do not need; loading it can run code from the file. If "
                f"you trust its author, use --trust-pickle, in code trust_pickle=True"
            ) from None
        reason = str(error)
    except ImportError as error:
        raise CheckpointError(f"{path}: holds objects of a package that is not installed ({error})") from None
    except MemoryError:
        raise CheckpointError(f"{path}: needs more memory than there is") from None
    except DAMAGED as error:
        reason = str(error)
    if by_torch:
        first_sentence = re.split(r"\. |\n", reason)[0]
        raise CheckpointError(f"{path}: damaged: {first_sentence}")
    begin = f"it begins with {head!r}" if head else "it is empty"
    raise CheckpointError(f"{path}: is neither a file of torch.save nor a pickle of arrays; {begin}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(f"{path}: a safetensors file needs the package safetensors: pip install timm") from None
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None

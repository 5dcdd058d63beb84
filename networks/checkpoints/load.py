"""Loads weights into models: all of them or none, with a report of what went where.

file.py and layouts/ read the files and translate their names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.ours import LAYOUT, UNKNOWN
from networks.checkpoints.trust import odd_values
from networks.checkpoints.unseen import unseen_differences
from networks.first_convolution import RGB, first_convolution, widen_input
from utils.clip_spec import ClipSpec
from utils.config.file import flat
from utils.errors import CheckpointError
from utils.published.files import PRETRAINED, SUFFIXES, fetch, local_file
from utils.published.libraries import TIMM, image_weights
from utils.published.registry import Published, published_as
from utils.published.sums import digits_in_name

__all__ = [
    "LoadReport", "RawCheckpoint", "find_pretrained", "load_checkpoint_file", "load_into",
    "published_file",
]  # fmt: skip

TRUNK = "backbone."  # in front of a video network's entries inside of a probe
COUNTER = "num_batches_tracked"  # absent from files of Caffe2 and of torch before 0.4.1; no network here needs it


class Loadable(Protocol):
    """Lists what loading needs to know about a method (methods/base.py)."""

    name: str
    arch: str
    clip: ClipSpec
    kind: str

    @property
    def trunk(self) -> Loadable | None: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    def settings_for(self, given: Mapping[str, Any]) -> Mapping[str, Any]: ...
    @property
    def head_prefix(self) -> str: ...
    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]: ...
    def starts_random(self, key: str) -> bool: ...
    def resized_tables(self, state: Mapping[str, Tensor], made_for: Mapping[str, Any]) -> dict[str, Tensor]: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any: ...


@dataclass
class LoadReport:
    """Reports which weights went where.

    source: the file, or what was used instead of one.
    layout: name of the project that the file comes from; "" without a file.
    matched: names of the model's entries that were filled.
    missing: names of the model's entries that were not filled.
    unexpected: names of the file's entries that have no place in the model.
    resized: entries of the classifier that keep the model's values, with both shapes.
    notes: what the file does not show, and smaller adaptations.
    warnings: what can make the scores differ.
    decoded: where the frames of its validation were decoded, cpu or cuda; None if nothing says it.
    lists: what a file of ours keeps of its lists by their names, as datasets.split.Split.about describes them.
    """

    source: str
    layout: str = ""
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    decoded: str | None = None
    lists: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> str:
        """Returns a line with the counts, then a line for each kind of mismatch, each note and each warning."""
        if not self.layout:
            return "\n".join([self.source, *(f"  warning: {text}" for text in self.warnings)])
        counts = f"{len(self.matched)} matched, {len(self.missing)} missing, {len(self.unexpected)} unexpected"
        lines = [f"weights of {self.source} ({self.layout}): {counts}, {len(self.resized)} resized"]
        for title, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            lines += [f"  {title}: {_some(names)}"] if names else []
        for title, texts in (("resized", self.resized), ("note", self.notes), ("warning", self.warnings)):
            lines += [f"  {title}: {text}" for text in texts]
        return "\n".join(lines)


def find_pretrained(architecture: str, folder: str | Path = PRETRAINED) -> Path | None:
    """Finds the newest file {architecture}-{any hash} with one of SUFFIXES in `folder`; None if it has none.

    timm and torchvision share names of networks: a file that one of them has published is not for the other's network.
    """
    files = Path(folder).glob(f"{architecture.removeprefix(TIMM)}-*")
    other = "torchvision" if architecture.startswith(TIMM) else "timm"
    found = [
        path
        for path in files
        if path.name.endswith(SUFFIXES)
        and path.is_file()
        and not ((known := published_as(path)) and known.source == other)
    ]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def published_file(url: str, folder: str | Path = PRETRAINED) -> Path:
    """Returns the file published at `url`, from `folder` or fetched. Raises: CheckpointError if it cannot be."""
    name = url.rpartition("/")[2]
    found = published_as(Path(name))
    if found is None or found.url != url:
        found = Published(name, "", "", "", "", url=url, sha256=digits_in_name(name), licence="see its source")
    here = Path(folder) / name
    return here if here.is_file() else fetch(found, folder=Path(folder))


def find_image_weights(architecture: str, folder: str | Path = PRETRAINED) -> Path | Published:
    """Returns the newest file with image weights in `folder`, or what is published and has not been fetched yet.

    Raises: CheckpointError if there is neither a file in `folder` nor one that its library publishes.
    """
    found = known_image_weights(architecture, folder) if architecture else None
    if found is None:
        place = f"{folder} as {architecture.removeprefix(TIMM)}-ANYTHING.pth"
        wanted = f" for {architecture}; put a file with them into {place}" if architecture else " for this network"
        raise CheckpointError(f"nobody publishes image weights{wanted}")
    return found


def known_image_weights(architecture: str, folder: str | Path = PRETRAINED) -> Path | Published | None:
    """Returns the file with image weights of an architecture, or what its library publishes; None without either."""
    if path := find_pretrained(architecture, folder):
        return path
    published = image_weights(architecture)
    return None if published is None else local_file(published, Path(folder)) or published


def fetch_image_weights(architecture: str, folder: str | Path = PRETRAINED) -> Path:
    """Returns the file that `find_image_weights` finds, and fetches it if it is not here. Raises: CheckpointError."""
    found = find_image_weights(architecture, folder)
    return found if isinstance(found, Path) else fetch(found, folder=Path(folder))


def load_into(
    model: Loadable,
    source: str | Path | RawCheckpoint,
    *,
    new_head: bool = False,
    strict: bool = True,
    class_names: Sequence[str] | None = None,
    trust_pickle: bool = False,
    as_trained: bool | None = None,
) -> LoadReport:
    """Fills `model` from a checkpoint of any known project; after an error the model is unchanged.

    A model on the meta device is compared with the file and stays as it is. The file of an image network fills the
    backbone, and the classifier keeps the model's values. So does the file of a whole video network in a probe of one.

    new_head: let the classifier keep the model's values if it has another width or other classes, instead of an error;
        and let RGB weights fill a model of another modality.
    strict: missing and unexpected entries are an error; otherwise they are only reported.
    class_names: the classes of the scores, in order; a file that names its own classes must agree.
    trust_pickle: see load_checkpoint_file.
    as_trained: weights that fit but were trained for another computation, such as another shift, are an error;
        otherwise they are a warning in the report. Default: an error if `strict` and not `new_head`.

    Raises: CheckpointError for a file that cannot be read, is of another architecture, or has other classes.
    """
    file = source if isinstance(source, RawCheckpoint) else load_checkpoint_file(source, trust_pickle=trust_pickle)
    report = LoadReport(str(file.path), file.layout, notes=list(file.description.notes))
    wanted, head = model.state_dict(), model.head_prefix
    trunk = _trunk_of(model, file)
    begins = new_head or not file.description.method or trunk is not None  # training starts from the weights
    found = _for_modality(model, file, report) if begins else dict(file.weights)
    optional = set[str]()
    if not file.description.method:
        found = _of_image_network(model, file.path, found)
        optional = {key for key in wanted if key.startswith(head) or model.starts_random(key)}
        rest = sum(not key.startswith(head) for key in optional)
        also = f", like {rest} entries that no image network has" if rest else ""
        report.notes.append(f"an image network: the classifier keeps its random weights{also}")
    elif trunk is not None:
        found, optional = _into_trunk(trunk, found, report), {key for key in wanted if not key.startswith(TRUNK)}
    others = "" if trunk is not None else other_classes(file.class_names, class_names)
    if others and not new_head:
        raise CheckpointError(f"{file.path}: {others}; its scores would be for other classes")
    if new_head:
        optional |= _drop_head(found, wanted, head, report, drop_all=bool(others))
    start = TRUNK if trunk is not None else ""
    if begins:
        inside = tuple(f"{start}{part}" for part in file.description.fresh)
        optional |= {key for key in wanted if key.startswith(inside)}
    _leave_out(found, wanted, tuple(f"{start}{part}" for part in file.description.spare), report)
    _resize_tables(model, found, file.description, report)
    fits = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    whole = [key for key in fits if wanted[key].is_floating_point() and not fits[key].is_floating_point()]
    if whole:
        kind = str(fits[whole[0]].dtype).removeprefix("torch.")
        raise CheckpointError(f"{file.path}: {whole[0]} is {kind}, but weights are floating-point numbers")
    counters = [key for key in wanted if key.endswith(COUNTER) and key not in found]
    report.matched = [key for key in wanted if key in fits]
    report.missing = [key for key in wanted if key not in found and key not in optional and key not in counters]
    report.unexpected = [key for key in found if key not in wanted]
    if counters:
        report.notes.append(f"no {COUNTER} in the file: {len(counters)} counters keep their values")
    wrong = [key for key in found if key in wanted and key not in fits]
    if wrong or not fits or (strict and (report.missing or report.unexpected)):
        raise CheckpointError(_misfit(model, file, found, wanted, report, wrong))
    differences = _compared(trunk or model, file, strict=strict, begins=begins, as_trained=as_trained)
    report.warnings += [*file.warnings, *(f"{text}: scores will differ" for text in differences), *odd_values(fits)]
    if not any(value.is_meta for value in wanted.values()):
        model.load_state_dict(fits, strict=False)
    return report


def _leave_out(
    found: dict[str, Tensor], wanted: Mapping[str, Tensor], spare: tuple[str, ...], report: LoadReport
) -> None:
    """Removes entries that only other variants of the network have from `found`, with a note that names them."""
    gone = [key for key in found if key.startswith(spare) and key not in wanted]
    report.notes += [f"{_some(gone)}: this network does not use them, and they are left out"] if gone else []
    for key in gone:
        del found[key]


def _resize_tables(model: Loadable, found: dict[str, Tensor], description: Description, report: LoadReport) -> None:
    """Puts tables of places for the model's clips into `found`, with a warning for each that had to be interpolated."""
    for key, value in model.resized_tables(found, description.shown).items():
        report.warnings.append(f"{key}: {_shape(found[key])} in the file, interpolated to {_shape(value)}")
        found[key] = value


def _trunk_of(model: Loadable, file: RawCheckpoint) -> Loadable | None:
    """Returns the video network inside of a probe if the file holds such a network and no probe; None otherwise."""
    method = file.description.method
    if model.trunk is None or method in ("", _kind(model)):
        return None
    wanted = model.state_dict()
    is_probe = any(key.startswith(TRUNK) and key in wanted for key in file.weights)
    return None if method == UNKNOWN and is_probe else model.trunk


def _into_trunk(trunk: Loadable, weights: Mapping[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """Returns the entries of a probe that a whole video network fills, which leaves out its classifier."""
    head = trunk.head_prefix
    report.notes.append("a whole video network: its classifier is left out, and the probe's head keeps its values")
    return {f"{TRUNK}{key}": value for key, value in weights.items() if not key.startswith(head)}


def _of_image_network(model: Loadable, path: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return model.from_image_weights(found)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _for_modality(model: Loadable, file: RawCheckpoint, report: LoadReport) -> dict[str, Tensor]:
    """Adapts the first convolution of RGB weights to a model that sees flow or differences; returns all weights."""
    found, first = dict(file.weights), first_convolution(file.weights)
    if first is None or found[first].shape[1] != RGB or file.description.arguments.get("modality", "rgb") != "rgb":
        return found
    if model.clip.modality != "rgb":
        channels = model.clip.in_channels
        report.notes.append(f"{first}: mean over RGB, repeated for {channels} channels of {model.clip.modality}")
        found[first] = widen_input(found[first], channels)
    return found


def other_classes(theirs: Sequence[str] | None, class_names: Sequence[str] | None) -> str:
    """Says how the classes of a file and of the data differ; "" if they agree or if one of them is unknown."""
    if theirs is None or class_names is None:
        return ""
    if len(theirs) != len(class_names):
        return f"it was trained on {len(theirs)} classes, the class list has {len(class_names)}"
    plain = [_plain(name) for name in theirs], [_plain(name) for name in class_names]
    first = next((index for index, (a, b) in enumerate(zip(*plain, strict=True)) if a != b), None)
    if first is None:
        return ""
    what = "the same classes in another order" if sorted(plain[0]) == sorted(plain[1]) else "other classes"
    return f"it was trained on {what}: class {first} is {theirs[first]!r} there, {class_names[first]!r} in the list"


def _plain(name: str) -> str:
    """Normalises a class name that folders and lists write differently: `Air_Drumming` becomes `air drumming`."""
    name = unicodedata.normalize("NFC", name)
    return re.sub(r"[\W_]+", " ", name.casefold()).strip() or name


def _drop_head(
    found: dict[str, Tensor], wanted: Mapping[str, Tensor], head: str, report: LoadReport, *, drop_all: bool
) -> set[str]:
    """Removes the classifier from `found` if an entry does not fit; returns the names that may be missing."""
    ours = [key for key in wanted if key.startswith(head)]
    theirs = {key: found[key] for key in ours if key in found}
    if theirs and not drop_all and all(value.shape == wanted[key].shape for key, value in theirs.items()):
        return set()
    for key, value in theirs.items():
        report.resized.append(f"{key}: {_shape(value)} in the file, {_shape(wanted[key])} here, initialised anew")
        del found[key]
    return set(ours)


def other_scores(path: Path, differences: Sequence[str]) -> str:
    """Returns the message for weights that would be used in another way than they were trained for."""
    return (
        f"{path}: its scores would be others than those it was trained for: {'; '.join(differences)}; take the config "
        f"it was trained with, or score it all the same with main.py --evaluate --not-strict"
    )


def _compared(
    model: Loadable, file: RawCheckpoint, *, strict: bool, begins: bool, as_trained: bool | None
) -> list[str]:
    """Says in what a model computes otherwise than the network of a file. Raises: CheckpointError where it may not."""
    settings = _other_computation(model, file)
    variant = []
    if file.layout != LAYOUT.name:
        variant = unseen_differences(getattr(model, "network", None), file.description)
    refused = settings if (strict and not begins if as_trained is None else as_trained) else []
    if strict:  # a training cannot begin from them, either
        refused = [*refused, *variant]
    if refused:
        raise CheckpointError(other_scores(file.path, refused))
    return settings + variant


def _other_computation(model: Loadable, file: RawCheckpoint) -> list[str]:
    """Says in which settings the network of the file differs, which names and shapes do not show."""
    description, ours = file.description, flat(model.settings)
    kind = _kind(model)
    if description.method not in ("", UNKNOWN, kind):
        return [f"the file's network is {description.method}, this one is {kind}"]
    told = description.shown
    theirs = flat(model.settings_for(told))
    if file.layout != LAYOUT.name or description.method != kind:  # nobody knows the defaults of other projects
        theirs = {key: value for key, value in theirs.items() if key in flat(told) and ours.get(key) is not None}
        ours = {key: value for key, value in ours.items() if key in theirs}
    return [
        f"{key} is {theirs.get(key, 'not given')} in the file and {ours.get(key, 'not given')} here"
        for key in dict.fromkeys([*ours, *theirs])
        if theirs.get(key) != ours.get(key)
    ]


def _kind(model: Loadable) -> str:
    return model.kind or model.name.split("_")[0]


def _misfit(
    model: Loadable,
    file: RawCheckpoint,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    report: LoadReport,
    wrong: list[str],
) -> str:
    """Describes in one line how file and model differ, with the first keys of each side."""
    description = file.description
    module = (description.arguments.get("temporal") or {}).get("name", "")
    known = " ".join(part for part in (description.method, module, description.backbone) if part)
    who = f"{file.layout}{f' ({known})' if known else ''}"
    if file.description.method == UNKNOWN:
        who = "a file of this project with weights but without their config"
    head = model.head_prefix
    if wrong and all(key.startswith(head) for key in wrong) and not report.missing and not report.unexpected:
        theirs, ours = found[wrong[0]].shape, wanted[wrong[0]].shape
        what = f"has {theirs[0]} classes and the model {ours[0]}"
        if theirs[0] == ours[0]:
            what = f"{wrong[0]} is {_shape(found[wrong[0]])} in the file, {_shape(wanted[wrong[0]])} in the model"
        way_out = "to keep the body and start a new classifier, use --new-head, in code new_head=True"
        return f"{file.path}: {what}; {way_out}"
    sides = [f"{file.path}: {who} does not fit {model.name}"]
    if wrong:
        sides.append(f"{wrong[0]} is {_shape(found[wrong[0]])} in the file, {_shape(wanted[wrong[0]])} in the model")
    if report.missing:
        sides.append(f"only the model has {_some(report.missing, wanted)}")
    if report.unexpected:
        sides.append(f"only the file has {_some(report.unexpected, found)}")
    return "; ".join(sides) + "; nothing was loaded"


def _some(names: Sequence[str], shapes: Mapping[str, Tensor] | None = None) -> str:
    shown = [f"{name} {_shape(shapes[name])}" if shapes else name for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"

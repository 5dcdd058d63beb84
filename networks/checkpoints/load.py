"""Weights into models: all of them or none, with a report of what went where.

What a file is and how its names become ours: checkpoint_file.py and layouts/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts.ours import UNKNOWN
from networks.first_convolution import RGB, first_convolution, widen_input
from utils.clip_spec import ClipSpec
from utils.errors import CheckpointError
from utils.files import ROOT

__all__ = [
    "LoadReport", "RawCheckpoint", "find_pretrained", "load_checkpoint_file", "load_into", "load_pretrained",
    "published_file",
]  # fmt: skip

PRETRAINED = ROOT / "pretrained"
SUFFIXES = (".pth", ".pth.tar", ".pt", ".pyth", ".pkl", ".safetensors")  # of files that a network may be published in
COUNTER = "num_batches_tracked"  # absent from files of torch before 0.4.1 and from Caffe2's; no network here needs it


class Loadable(Protocol):
    """What a method tells about itself (methods/base.py)."""

    name: str
    arch: str
    clip: ClipSpec
    settings: Mapping[str, Any]

    @property
    def head_prefix(self) -> str: ...
    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]: ...
    def starts_random(self, key: str) -> bool: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any: ...


@dataclass
class LoadReport:
    """What went where.

    matched, missing, unexpected: names of the model's entries that were filled, of those that were not, and of
        entries of the file without a place.
    resized: entries of the classifier that stay as the model has them, with both shapes.
    notes: what the file cannot tell, and smaller adaptations. warnings: what can make the scores differ.
    """

    source: str
    layout: str = ""
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """A line with the counts, then one for each entry that is not simply matched, each note and each warning."""
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
    """The newest file {architecture}-{any hash} of any of SUFFIXES in `folder`, or None."""
    found = [path for path in Path(folder).glob(f"{architecture}-*") if path.name.endswith(SUFFIXES) and path.is_file()]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def published_file(url: str, folder: str | Path = PRETRAINED) -> Path:
    """Where a file published at `url` lies in `folder`. Raises: CheckpointError with the address when it is absent."""
    path = Path(folder) / url.rpartition("/")[2]
    if not path.is_file():
        raise CheckpointError(f"{path}: not there; download it from {url}")
    return path


def load_pretrained(model: Loadable, pretrained: bool | str, *, folder: str | Path = PRETRAINED) -> LoadReport:
    """Weights to start training from: True is the architecture's file in `folder`; or the path of any checkpoint.

    Where `folder` has no file the model stays as it is and the report carries a warning. The classifier may be of
    another width: it stays random then.

    Raises: CheckpointError as load_into.
    """
    if isinstance(pretrained, str):
        return load_into(model, pretrained, new_head=True)
    path = find_pretrained(model.arch, folder) if model.arch else None
    if path is None:
        wanted = f"{model.arch}-*.pth (or .safetensors, ...) in {folder}" if model.arch else f"known for {model.name}"
        return LoadReport(
            f"random weights for {model.name}",
            warnings=[f"pretrained: True, but there is no file {wanted}; training starts from random weights"],
        )
    return load_into(model, path)


def load_into(
    model: Loadable,
    source: str | Path | RawCheckpoint,
    *,
    new_head: bool = False,
    strict: bool = True,
    class_names: Sequence[str] | None = None,
    trust_pickle: bool = False,
) -> LoadReport:
    """Fills `model` from a checkpoint of any known project; on an error the model is as it was.

    An image network's file fills the backbone, and the classifier stays as the model has it.

    new_head: a classifier of another width or for other classes stays as the model has it, instead of being an error;
        and RGB weights fill a model of another modality.
    strict: missing and unexpected entries are an error; else they are only reported.
    class_names: the classes that the scores are for, in order; a file that tells its own must agree.
    trust_pickle: see load_checkpoint_file.

    Raises: CheckpointError for a file that cannot be read, is of another architecture, or has other classes.
    """
    file = source if isinstance(source, RawCheckpoint) else load_checkpoint_file(source, trust_pickle=trust_pickle)
    report = LoadReport(str(file.path), file.layout, notes=list(file.facts.notes))
    wanted, head = model.state_dict(), model.head_prefix
    begins = new_head or not file.facts.method  # the weights are to start training from
    found = _for_modality(model, file, report) if begins else dict(file.weights)
    optional = set[str]()
    if not file.facts.method:
        found = model.from_image_weights(found)
        optional = {key for key in wanted if key.startswith(head) or model.starts_random(key)}
        rest = sum(not key.startswith(head) for key in optional)
        also = f", and so do {rest} entries that no image network has" if rest else ""
        report.notes.append(f"an image network: the classifier stays as it was initialised{also}")
    other_classes = _other_classes(file, class_names)
    if other_classes and not new_head:
        raise CheckpointError(f"{file.path}: {other_classes}; its scores would be for the wrong classes")
    if new_head:
        optional |= _drop_head(found, wanted, head, report, drop_all=bool(other_classes))
    _tell_differences(model, file, report)

    fits = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    counters = [key for key in wanted if key.endswith(COUNTER) and key not in found]
    report.matched = [key for key in wanted if key in fits]
    report.missing = [key for key in wanted if key not in found and key not in optional and key not in counters]
    report.unexpected = [key for key in found if key not in wanted]
    if counters:
        report.notes.append(f"no {COUNTER} in the file: {len(counters)} counters stay as they are")
    wrong = [key for key in found if key in wanted and key not in fits]
    if wrong or not fits or (strict and (report.missing or report.unexpected)):
        raise CheckpointError(_misfit(model, file, found, wanted, report, wrong))
    model.load_state_dict(fits, strict=False)
    return report


def _for_modality(model: Loadable, file: RawCheckpoint, report: LoadReport) -> dict[str, Tensor]:
    """RGB weights for a model that sees flow or differences: its first convolution adapts; others as they are."""
    found, first = dict(file.weights), first_convolution(file.weights)
    if first is None or found[first].shape[1] != RGB or file.facts.arguments.get("modality", "rgb") != "rgb":
        return found
    if model.clip.modality != "rgb":
        channels = model.clip.in_channels
        report.notes.append(f"{first}: mean over RGB, repeated for {channels} channels of {model.clip.modality}")
        found[first] = widen_input(found[first], channels)
    return found


def _other_classes(file: RawCheckpoint, class_names: Sequence[str] | None) -> str:
    """How the classes of the file and of the data differ; "" if they agree or one of them is not known."""
    theirs = file.class_names
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
    """A class name without what folders and lists write differently: `Air_Drumming` is `air drumming`."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip() or name


def _drop_head(
    found: dict[str, Tensor], wanted: Mapping[str, Tensor], head: str, report: LoadReport, *, drop_all: bool
) -> set[str]:
    """Takes the classifier's entries out of `found` when one does not fit; returns the names that may be missing."""
    ours = [key for key in wanted if key.startswith(head)]
    theirs = {key: found[key] for key in ours if key in found}
    if theirs and not drop_all and all(value.shape == wanted[key].shape for key, value in theirs.items()):
        return set()
    for key, value in theirs.items():
        report.resized.append(f"{key}: {_shape(value)} in the file, {_shape(wanted[key])} here, initialised anew")
        del found[key]
    return set(ours)


def _tell_differences(model: Loadable, file: RawCheckpoint, report: LoadReport) -> None:
    """Warns where weights fit but were made for another computation, which names and shapes do not show."""
    method = model.name.split("_")[0]
    if {file.facts.method, method} == {"tsn", "tsm"}:
        report.warnings.append(f"the file's network is a {file.facts.method}, this one a {method}: scores will differ")
    for key, ours in model.settings.items():
        theirs = file.facts.arguments.get(key, ours)
        if theirs != ours and key not in file.facts.assumed:
            report.warnings.append(f"{key} is {theirs} in the file and {ours} here: scores will differ")


def _misfit(
    model: Loadable,
    file: RawCheckpoint,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    report: LoadReport,
    wrong: list[str],
) -> str:
    """One line with the first differing keys of both sides."""
    told = " ".join(part for part in (file.facts.method, file.facts.backbone) if part)
    who = f"{file.layout}{f' ({told})' if told else ''}"
    if file.facts.method == UNKNOWN:
        who = "a file of this project without its config, weights alone,"
    head = model.head_prefix
    if wrong and all(key.startswith(head) for key in wrong) and not report.missing and not report.unexpected:
        theirs, ours = found[wrong[0]].shape[0], wanted[wrong[0]].shape[0]
        return (
            f"{file.path}: has {theirs} classes and the model {ours}; to keep the body and start a new classifier: "
            f"--new-head, in code new_head=True"
        )
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

"""Opens the teacher that `common.teacher` names, and checks that it speaks of the same classes and pixels."""

from __future__ import annotations

import contextlib
import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from methods.base import Method
from methods.build import build_for_file, build_method
from methods.weights import comparable
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts.ours import LAYOUT
from networks.checkpoints.load import load_into, other_classes
from networks.prepare import to_channels_last
from utils.config.file import stored_config
from utils.config.schema import Common
from utils.errors import ConfigError, UserError
from utils.published.files import named
from utils.run.context import Run
from utils.run.fit import refusal
from utils.run.flops import multiply_adds, num_parameters
from utils.scoring.evaluation import Evaluation
from utils.scoring.fusion import read_evaluation
from utils.scoring.task import SINGLE_LABEL
from utils.torch_file import sum_of
from utils.training.teacher import KeptTeacher, NetworkTeacher, Teacher
from utils.transforms.presets import find_preset

SAME = ("channels", "modality", "stack", "mean", "std")  # without them it would see other pixels
TOLD = ("num_frames", "frame_stride", "sampling", "size")


def check_teacher(common: Common, protocol: Any, folder: Path | None) -> None:
    """Checks a teacher without memory for its network, and without the training list.

    protocol: of the training list, a datasets.protocol.ClipProtocol. folder: the run's own; None for an evaluation,
        which needs no teacher.
    Raises: ConfigError, also for files that the run itself would replace.
    """
    if folder is None:
        return
    with _errors_of(common):
        if common.teacher.source is not None:
            place, own = Path(common.teacher.source).resolve(), folder.resolve()
            if own in (place, place.parent):
                raise ConfigError(f"{place} is what this run writes itself; copy it into a folder of its own")
        if common.teacher.checkpoint is not None:
            _check_network(common, *_read(common), protocol)
        elif common.teacher.scores is not None:
            _check_classes(common, _kept(common), None)


def open_teacher(run: Run, method: Method, data: Any) -> Teacher | None:
    """Opens the teacher of a training and logs what it costs; returns None for a training without one.

    method: the network that is trained. data: the training list, a datasets.split.Split.
    Raises: ConfigError as `check_teacher` does, also for kept scores that lack a video.
    """
    with _errors_of(run.common):
        if run.common.teacher.source is None:
            return None
        return _open_kept(run, data) if run.common.teacher.checkpoint is None else _open_network(run, method, data)


@contextlib.contextmanager
def _errors_of(common: Common) -> Iterator[None]:
    """Puts the key that names the teacher in front of whatever is wrong with it."""
    try:
        yield
    except UserError as error:
        key = "scores" if common.teacher.checkpoint is None else "checkpoint"
        raise ConfigError(f"common.teacher.{key}: {error}") from None


def _open_network(run: Run, method: Method, data: Any) -> Teacher:
    common = run.common
    file, stored = _read(common)
    _check_network(common, file, stored, data.protocol)
    network = build_for_file(stored.model, file)
    report = load_into(network, file, class_names=data.class_names)
    for text in [*report.warnings, *_differences(_trained_with(stored, network), data.protocol, TOLD)]:
        run.note(f"teacher {file.path}: {text}")
    clip = (1, data.protocol.clip.in_channels, data.protocol.clip.num_frames, *data.protocol.transform.size)
    theirs, ours = (multiply_adds(copy.deepcopy(one).to("meta"), clip) for one in (network, method))
    run.folder.log(
        f"teacher: {network.name} of {file.path}, {num_parameters(network):,} parameters; it adds {theirs / 1e9:.3f} "
        f"GMACs per clip to each step, {theirs / max(ours, 1):.1f} times the network's own forward pass"
    )
    about = {"source": str(file.path), "sum": sum_of(network.state_dict())}
    network.to(run.rank.device)
    if common.channels_last:
        to_channels_last(network)
    return NetworkTeacher(network, common.teacher, about)


def _read(common: Common) -> tuple[RawCheckpoint, Common]:
    """Returns the file of the teacher and the config in it."""
    name = str(common.teacher.checkpoint)
    published = named(name)  # refused before it is downloaded
    file = load_checkpoint_file(name) if published is None else None
    if file is None or file.layout != LAYOUT.name:
        what = f"{name} is a name of published weights" if file is None else f"{file.path} is of {file.layout}"
        raise ConfigError(
            f"{what} and has no config; write an experiment of it with python -m tools.convert_checkpoint {name} "
            "exps/teacher, and name that one's checkpoint"
        )
    stored = stored_config(file.others.get("config"), file.path)
    if stored.multi_label:
        raise ConfigError(f"{file.path} is of a multi_label training, this one is not")
    return file, stored


def _check_network(common: Common, file: RawCheckpoint, stored: Common, protocol: Any) -> None:
    model, wanted = stored.model, common.model.num_class
    if model.num_class != wanted:
        raise ConfigError(f"{file.path} has {model.num_class} classes, common.model.num_class is {wanted}")
    if different := _differences(file.protocol, protocol, SAME):
        raise ConfigError(f"{file.path} would see other pixels than it was trained with: {'; '.join(different)}")
    with torch.device("meta"):
        network = build_method(model).eval()
    clip = (protocol.clip.in_channels, protocol.clip.num_frames, *protocol.transform.size)
    if reason := refusal(network, (1, *clip)):
        shape = " x ".join(map(str, clip))
        raise ConfigError(f"{file.path} does not take the clips of this training, {shape}: {reason}")


def _trained_with(stored: Common, network: Method) -> dict[str, Any]:
    """Returns what clips a teacher was trained on; the protocol in its file is that of its validation."""
    size = stored.augmentation.input_size or find_preset(stored.augmentation.preset).input_size
    return {
        "num_frames": network.clip.num_frames,
        "frame_stride": network.clip.frame_stride,
        "sampling": stored.data.sampling or network.clip.sampling,
        "size": [size, size] if isinstance(size, int) else size,
    }


def _differences(trained: Mapping[str, Any], protocol: Any, keys: Sequence[str]) -> list[str]:
    theirs, ours = comparable(trained), comparable(protocol.as_dict())
    return [
        f"{key} is {theirs[key]} in the file and {ours[key]} here"
        for key in keys
        if key in theirs and theirs[key] != ours[key]
    ]


def _open_kept(run: Run, data: Any) -> Teacher:
    common, found = run.common, _kept(run.common)
    _check_classes(common, found, data.class_names)
    rows = {path: row for row, path in enumerate(found.paths)}
    if len(rows) != len(found):
        raise ConfigError(f"{found.name} has several scores of one video, so they cannot be matched by path")
    paths = [data.path(index) for index in range(len(data))]
    if missing := [path for path in paths if path not in rows]:
        raise ConfigError(
            f"{found.name} lacks {len(missing)} of {len(paths)} training videos, first {missing[0]!r}; to score all of "
            "them, evaluate a copy of its folder with "
            f"common.val_source={common.train_source} common.val_root={common.train_root}"
        )
    chosen = np.array([rows[path] for path in paths])
    truth, known = found.labels[chosen], found.labelled[chosen]
    labels = np.array([data.labels[index] for index in range(len(data))])
    if (wrong := known & (truth != labels)).any():
        first = int(np.argmax(wrong))
        raise ConfigError(
            f"{found.name} has class {truth[first]} for {paths[first]!r}, the training list {labels[first]}: its "
            "classes are numbered in another way"
        )
    assert found.scores is not None
    logits = SINGLE_LABEL.to_logits(found.scores[chosen]).astype(np.float32)
    right = f", {found.best_by:.2f} % of them right" if found.labelled.any() else ""
    run.folder.log(f"teacher: scores of {len(found)} videos in {found.name}{right}; a step takes no longer")
    about = {"source": found.name, "sum": zlib.crc32(logits.data)}
    return KeptTeacher(torch.from_numpy(logits).to(run.rank.device), common.teacher, about)


def _kept(common: Common) -> Evaluation:
    return read_evaluation(Path(str(common.teacher.scores)))


def _check_classes(common: Common, found: Evaluation, class_names: Sequence[str] | None) -> None:
    assert found.scores is not None
    if found.labels.ndim != 1:
        raise ConfigError(f"{found.name} is of a multi_label list, this training is not")
    if found.scores.shape[1] != common.model.num_class:
        raise ConfigError(
            f"{found.name} has {found.scores.shape[1]} classes, common.model.num_class is {common.model.num_class}"
        )
    if different := other_classes(found.class_names, class_names):
        raise ConfigError(f"{found.name}: {different}")

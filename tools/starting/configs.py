"""Writes the configs of the experiments that tools/start.py makes: probes of a frozen backbone, and fine-tuning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datasets.lists.class_names import read_class_file
from tools.importing.experiment import CONFIG, write_experiment
from tools.listing.archives import mirror_pairs
from utils.config.safe_yaml import read_yaml
from utils.errors import UserError

_PLAIN = re.compile(r"[\w./-]+")

PROBE = """\
# {title}: the features of {backbone}, which stays as it is, and one linear layer on them.
# Written by {command}
# {about}
common:
    model:
        type: probe
        backbone: {backbone_text}
        pretrained: {pretrained}
        head: {head}
        {clip}
        num_class: {num_class}
        sweep: [1.0, 0.1, 0.01, 0.001, 0.0001]  # weight decays; the best for held-out training videos wins

    augmentation:
        {pixels}
        crop: test
        flip: False

    workers: {workers}
    batch_size: 16
    seed: {seed}
    optimizer: LBFGS  # finds the best layer in a single step; for other heads take ADAMW and an lr_scheduler

    data:
        sampling: {sampling}
        feature_cache: {features}  # each {piece} is seen once, whatever learns from it later
        group_regex: {group_regex}
{lists}"""

FINE_TUNE = """\
# Fine-tuning: the whole network is trained, from the weights of {backbone} on.
# Written by {command}
#   {run}
# It needs a GPU, or patience. The learning rate is for 32 videos per step: scale base_lr and warmup_lr with
# batch_size x accumulate x GPUs.
common:
    model:
        type: {method}  # {why}
        {whole}
        pretrained: {pretrained}
        num_class: {num_class}
        dropout: 0.5

    augmentation:
        {pixels}
        flip: 0.5  # False if left and right are different classes; or name the pairs in flip_labels
        {flip_labels}

    workers: {workers}
    batch_size: 8
    accumulate: 4  # 32 videos per step
    amp: auto
    channels_last: True

    lr_scheduler:
        type: COSINE
        base_lr: 0.0005
        warmup_epochs: 2
        warmup_lr: 0.005
        epochs: 25

    momentum: 0.9
    weight_decay: 0.0005
    nesterov: True
    no_wd: True
    label_smooth: 0.1
    clip_gradient: 20.0
    {frozen_bn}

    seed: {seed}
    val_epochs: 1
    print_freq: 10

    data:
{lists}"""


WINDOWS = ("clip3d", "slowfast")  # methods that see consecutive frames
FROZEN_BN = "frozen_bn: True  # with few videos, the published statistics are better than those of small batches"


@dataclass(frozen=True)
class Lists:
    """Says where the lists of an experiment are.

    root: folder in front of their paths.
    folder: holds train and val, and the class names.
    encoded: whether they list encoded videos instead of folders of frames.
    """

    root: Path
    folder: Path
    encoded: bool

    def source(self, name: str) -> Path:
        """Returns the list of a name, such as train or fold1/val."""
        return self.folder / f"{name}{'.csv' if self.encoded else '.txt'}"

    def length(self, name: str) -> int:
        """Returns the number of lines of a list of folders of frames."""
        return self.source(name).read_bytes().count(b"\n")  # other ends of lines may stand in names

    def class_names(self) -> list[str]:
        """Returns the classes in their order."""
        return read_class_file(self.folder / "classInd.txt")

    def text(self, train: str, val: str | None) -> str:
        """Returns the last keys of `data`, and those behind it, that name a training list and a validation list."""
        lines = [f"        class_names: {quoted(self.folder / 'classInd.txt')}"]
        lines += ["        store: {type: video}  # videos are decoded while it trains"] if self.encoded else []
        for side, name in (("train", train), ("val", val)):
            if name is not None:
                source = quoted(self.source(name))
                lines += [f"    {side}_root: {quoted(self.root)}", f"    {side}_source: {source}"]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Network:
    """Says what a backbone wants to see: as its publisher trained it.

    backbone: its name in the config of a probe.
    pretrained: the value of model.pretrained.
    pixels: the keys of `augmentation` that it decides.
    clip: the keys of `model` that say what a probe of it sees, but for the number of frames of an image network.
    method, whole: type and other keys of `model` for a training of the whole network; "" and none of an image network.
    about: what a video network sees of a video, and why one head learns, one line each.
    span: frames from the first to the last of a video network's clip; 0 for an image network.
    seconds: that a clip takes a video network on the CPU of this machine.
    has_bn: whether it has batch norms.
    """

    backbone: str
    pretrained: bool | str
    pixels: Mapping[str, Any]
    clip: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    whole: Mapping[str, Any] = field(default_factory=dict)
    about: Sequence[str] = ()
    span: int = 0
    seconds: float = 0.0
    has_bn: bool = True

    @property
    def sees_clips(self) -> bool:
        """Returns whether it is a video network."""
        return bool(self.method)

    def values(self, num_frames: int) -> dict[str, Any]:
        """Returns the values of the configs that the network decides. num_frames: of an image network's clip."""
        frames = {} if self.sees_clips else {"num_segments": num_frames}
        return {
            "backbone": self.backbone,
            "backbone_text": quoted(self.backbone),
            "pretrained": self.pretrained if isinstance(self.pretrained, bool) else quoted(self.pretrained),
            "pixels": _keys(self.pixels),
            "clip": _keys({**self.clip, **frames}),
            "whole": _keys(self.whole or {"backbone": self.backbone, **frames}),
            "sampling": "middle_clip" if self.method in WINDOWS else "middle",
            "piece": "clip" if self.sees_clips else "frame",
            "frozen_bn": FROZEN_BN if self.has_bn else "frozen_bn: False  # it has none",
        }


def _keys(values: Mapping[str, Any]) -> str:
    """Returns keys of a section as YAML, one a line."""
    texts = {key: quoted(value) if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return "\n        ".join(f"{key}: {text}" for key, text in texts.items())


def quoted(value: object) -> str:
    """Returns a text as YAML: as it is where that means the same text, else in quotes."""
    text = str(value)
    plain = _PLAIN.fullmatch(text) and yaml.safe_load(text) == text == read_yaml(text)[0]
    return text if plain else json.dumps(text, ensure_ascii=False)


def flip_labels(classes: Sequence[str]) -> str:
    """Returns the line of flip_labels: the pairs of classes whose names differ by left and right, else an example."""
    pairs = mirror_pairs(classes)
    once = {one: other for one, other in pairs.items() if one < other}
    if not once:
        return "# flip_labels: {turn left: turn right}"
    return f"flip_labels: {json.dumps(once, ensure_ascii=False)}"


def write_config(folder: Path, text: str) -> None:
    """Writes an experiment folder, unless it is there already.

    Raises: UserError if it is there with another config, which a run may have trained with.
    """
    path = folder / CONFIG
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise UserError(f"{path}: differs from what would be written; give another --out, or remove {folder}")
        return
    write_experiment(folder, {CONFIG: text})

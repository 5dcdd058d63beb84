"""Writes an experiment folder from a checkpoint of another project, for tools/convert_checkpoint.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from datasets.lists.class_names import read_class_file
from datasets.protocol import clip_protocol
from methods.build import build_for_file
from methods.weights import about_network
from networks.checkpoints.layouts.ours import UNKNOWN
from networks.checkpoints.layouts.video_vit import ENCODER, PROBE, with_probe
from networks.checkpoints.load import RawCheckpoint, load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tools.importing.experiment import CONFIG, config_text
from utils.config.file import ConfigFile, load_config
from utils.errors import ConfigError, UserError
from utils.files import atomic_write, whole_folder
from utils.run.checkpoint import BEST, save_weights

KINETICS_400 = 400
HEADER = """\
# Converted from {name} ({project}), weights in {best}
#   python main.py --config {out}/{config} --evaluate
# Fine-tune it from a copy of this file:
#   python main.py --config COPY/{config} --load-path {out}/{best}
{notes}# The schedule below is a starting point for fine-tuning, not the one it was trained with.
"""
FINE_TUNING: dict[str, Any] = {
    "workers": 4,
    "batch_size": 8,
    "lr_scheduler": {"type": "COSINE", "base_lr": 0.0001, "warmup_epochs": 1, "warmup_lr": 0.001, "epochs": 10},
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "train_root": "data/mine",
    "train_source": "data/mine/lists/train.txt",
    "val_root": "data/mine",
    "val_source": "data/mine/lists/val.txt",
}


def config_for(file: RawCheckpoint) -> dict[str, Any]:
    """Returns a complete config for the file's network, with the test protocol of its project.

    Raises: UserError for a file with an image network only, or with weights of this project without their config.
    """
    description = file.description
    if not description.method:
        name = f"{description.backbone or 'ARCHITECTURE'}-{file.path.stem.rpartition('-')[2]}.pth"
        raise UserError(
            f"{file.path}: an image network without a video classifier; put it into pretrained/ as {name} and train "
            f"with model.pretrained: True"
        )
    if isinstance(own := file.others.get("config"), dict):
        return own
    if description.method == UNKNOWN:
        raise UserError(
            f"{file.path}: only weights of this project, without the config that says of which network; use them with "
            f"that config: main.py --config CONFIG --load-path {file.path}"
        )
    if description.method in ("clip3d", "slowfast") and not description.backbone:
        why = f" ({description.notes[0]})" if description.notes else ""
        raise UserError(
            f"{file.path}: a network of {file.layout} that does not exist here{why}; docs/models.md lists those that do"
        )
    if "num_class" not in description.arguments:
        last = ", ".join([*file.state][-3:])
        raise UserError(f"{file.path}: its classifier is not one layer, so no network here has it; it ends with {last}")
    model: dict[str, Any] = {"type": description.method, "backbone": description.backbone, **description.arguments}
    if description.method in ("tsn", "tsm", "slowfast"):
        model.setdefault("dropout", 0.5)
    return {"common": {"model": {**model, "pretrained": False}, **sections(file.layout, description), **FINE_TUNING}}


def joined(encoder: RawCheckpoint, probe: RawCheckpoint) -> RawCheckpoint:
    """Returns an encoder of V-JEPA 2 together with its probe, which its authors publish as two files.

    Raises: UserError for other files.
    """
    if (encoder.layout, probe.layout) != (ENCODER.name, PROBE.name):
        raise UserError(
            f"{probe.path}: --head joins a {PROBE.name} to the encoder of {ENCODER.name}; this is {probe.layout}, and "
            f"{encoder.path} is {encoder.layout}"
        )
    width = probe.weights["network.head.weight"].shape[1]
    description = with_probe(encoder.description, probe.description, width)
    return replace(encoder, weights={**encoder.weights, **probe.weights}, description=description)


def class_names_for(file: RawCheckpoint, num_class: int, given: Path | None) -> tuple[list[str] | None, str]:
    """Returns the classes in order and where they come from; None for the classes where they are unknown."""
    if given is not None:
        names = read_class_file(given)
        if len(names) != num_class:
            raise UserError(f"{given}: names {len(names)} classes, but the network has {num_class}")
        return names, str(given)
    if file.class_names is not None:
        return file.class_names, "the file"
    if num_class == KINETICS_400:
        from torchvision.models.video import R3D_18_Weights

        return [*R3D_18_Weights.DEFAULT.value.meta["categories"]], "Kinetics-400, assumed from the 400 outputs"
    return None, "unknown; give --class-names FILE"


def convert(args: argparse.Namespace) -> str:
    """Writes the complete folder or nothing; returns the report."""
    out: Path = args.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: already exists; name a new folder")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder, so {out.name} cannot be created in it")
    file = load_checkpoint_file(args.file, trust_pickle=args.trust_pickle)
    if args.head is not None:
        file = joined(file, load_checkpoint_file(args.head, trust_pickle=args.trust_pickle))
    raw = config_for(file)
    with whole_folder(out) as staged:
        config = _checked(raw, args.overrides, staged / CONFIG)
        with config.located():
            method = build_for_file(config.common.model, file)
            protocol = clip_protocol(config.common, method.clip, train=False)
        report = load_into(method, file)
        names, origin = class_names_for(file, config.common.model.num_class, args.class_names)
        contents = {
            **about_network(method, config.raw, protocol.as_dict(), names),
            "state_dict": method.state_dict(),
            "best_prec1": 0.0,
            "notes": [f"converted from {file.path.name} ({file.layout})", *report.notes, *report.warnings],
        }
        save_weights(staged / BEST, contents)
        _write_config(staged / CONFIG, config, file, out, [*report.notes, f"class names: {origin}"])
    return f"{report.summary()}\n  class names: {origin}\nwritten: {out / BEST} and {out / CONFIG}"


def _checked(raw: dict[str, Any], overrides: Sequence[str], path: Path) -> ConfigFile:
    """Applies the overrides to `raw` and checks the result as main.py does."""
    model = raw["common"]["model"]
    if not model["backbone"] and not any(text.startswith("common.model.backbone=") for text in overrides):
        raise ConfigError(
            "common.model.backbone: the file does not say which network it is; add "
            "common.model.backbone=NAME (a network of torchvision, or timm/NAME)"
        )
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return load_config(path, overrides)


def _write_config(path: Path, config: ConfigFile, file: RawCheckpoint, out: Path, notes: Sequence[str]) -> None:
    header = HEADER.format(
        name=file.path.name,
        project=file.layout,
        best=BEST,
        out=out,
        config=CONFIG,
        notes="".join(f"# {note}\n" for note in notes),
    )
    with atomic_write(path, "w") as target:
        target.write(config_text(config.raw, header))


def run(args: argparse.Namespace) -> int:
    """Converts one file and prints the report; returns the exit code."""
    print(convert(args))
    return 0

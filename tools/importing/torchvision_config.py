"""Turns the flags of torchvision's reference script into a config of ours, a class file and notes for the user."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchvision.models import get_model_weights

from networks.checkpoints.load import PRETRAINED, published_file
from networks.clip.torchvision_builders import BUILDERS
from tools.importing.torchvision_flags import GPUS, Recipe, recipe_of
from utils.config.build import check_name
from utils.errors import CheckpointError, ListError, UserError
from utils.transforms.presets import PRESETS

EVERY_PROCESS = 1024  # larger than any run, so that one group of batch norm has all processes
CLASS_FILE = "classInd.txt"


@dataclass(frozen=True)
class Plan:
    """The experiment that a command of torchvision's script becomes.

    raw: the config.
    class_names: in the order of labels.
    weights: a file to load before training or testing; None without such a file.
    notes: what differs from the script or was filled in, one line each.
    """

    raw: dict[str, Any]
    class_names: list[str]
    weights: Path | None
    notes: list[str] = field(default_factory=list)


def plan(args: argparse.Namespace, folder: Path) -> Plan:
    """Returns the plan for parsed flags; `folder` becomes the experiment's folder.

    Raises: ConfigError for an unknown network; ListError for wrong folders of videos; CheckpointError for missing
    weights.
    """
    check_name(BUILDERS, args.model, where="--model")
    recipe = recipe_of(args.model, test_only=args.test_only)
    notes = fill_in(args, recipe)
    weights, entry = find_weights(args.model, args.weights) if args.weights else (None, None)
    published = entry is not None and args.test_only
    names, more = class_names(
        Path(args.data_path),
        args.kinetics_version,
        published=published,
        test=args.test_only,
        train=args.train_dir,
        val=args.val_dir,
    )
    data = Path(args.data_path).absolute()
    common = {
        "model": _model(args, len(names), None if args.test_only else weights),
        **(_published_views(entry, args) if published else _views(args)),
        "workers": args.workers,
        "batch_size": args.batch_size,
        "lr_scheduler": _schedule(args, recipe),
        **({"reference_batch": recipe.clips_a_step} if args.lr is None else {}),
        "momentum": args.momentum,
        "weight_decay": args.weight_decay,
        "amp": "fp16" if args.amp else "off",
        "device": args.device,
        "deterministic": args.use_deterministic_algorithms,
        "val_epochs": 1,
        "print_freq": args.print_freq,
        "train_root": str(data / args.train_dir),
        "train_source": str(data / args.train_dir),
        "val_root": str(data / args.val_dir),
        "val_source": str(data / args.val_dir),
    }
    common["data"]["class_names"] = str(folder / CLASS_FILE)
    return Plan({"common": common}, names, weights, [*notes, *more])


def fill_in(args: argparse.Namespace, recipe: Recipe) -> list[str]:
    """Fills omitted flags with the recipe's values, in place, and returns a note about them.

    --lr is not filled: it follows from the batch size.
    """
    filled = []
    for name in ("batch_size", "clip_len", "clips_per_video", "sync_bn", "train_resize_size", "train_crop_size",
                 "val_resize_size", "val_crop_size"):  # fmt: skip
        if getattr(args, name) is None:
            value = getattr(recipe, name)
            setattr(args, name, value)
            filled.append(f"--{name.replace('_', '-')} {_shown(value)}".strip())
    return [f"not given, taken from S3D's recipe: {', '.join(filled)}"] if args.model == "s3d" and filled else []


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return ""  # a switch
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _model(args: argparse.Namespace, num_class: int, pretrained: Path | None) -> dict[str, Any]:
    model: dict[str, Any] = {
        "type": "clip3d",
        "backbone": args.model,
        "num_class": num_class,
        "clip_len": args.clip_len,
        "frame_stride": 1,
        "dropout": 0.2 if args.model == "s3d" else 0.0,
        "pretrained": str(pretrained) if pretrained else False,
    }
    kwargs: dict[str, Any] = {}
    if args.sync_bn:
        kwargs["bn_group_size"] = EVERY_PROCESS
    if args.model.startswith("mvit"):  # its tables of positions fit one size
        height, width = args.train_crop_size
        if height != width:
            raise UserError(
                f"--train-crop-size {height} {width}: {args.model} takes square clips; give --train-crop-size {height} "
                f"{height}"
            )
        if args.train_crop_size != args.val_crop_size:
            raise UserError(
                f"--val-crop-size {' '.join(map(str, args.val_crop_size))}: {args.model} takes clips of one size, here "
                f"{height} {width}, as in training"
            )
        kwargs["spatial_size"] = height
    return {**model, "kwargs": kwargs} if kwargs else model


def _views(args: argparse.Namespace) -> dict[str, Any]:
    """Returns how the script's own presets cut clips, in training and in testing."""
    return {
        "augmentation": {
            "preset": "torchvision_reference",
            "input_size": _crop(args.train_crop_size),
            "crop": "fixed_resize",
            "scales": list(args.train_resize_size),
            "test_resize": list(args.val_resize_size),
            "flip": 0.5,
        },
        "data": {
            "sampling": "torchvision",
            "store": {"type": "video", "fps": float(args.frame_rate), "clips_per_video": args.clips_per_video},
        },
        "test": {
            "num_clips": args.clips_per_video,
            "num_crops": 1,
            "input_size": _crop(args.val_crop_size),
            "sampling": "torchvision",
            "average": "scores",
        },
    }


def _crop(size: Sequence[int]) -> int | list[int]:
    """Returns a crop as a config has it: the side of a square, or height and width."""
    return size[0] if size[0] == size[1] else list(size)


def _published_views(entry: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Returns the sections of `_views` with the transforms of published weights, which --test-only uses."""
    transforms, views = entry.transforms(), _views(args)
    resize = transforms.resize_size
    augmentation = {"preset": "torchvision", "input_size": transforms.crop_size[0], "flip": 0.5}
    augmentation["test_resize"] = resize[0] if len(resize) == 1 else list(resize)
    if list(PRESETS["torchvision"].mean) != list(transforms.mean):
        augmentation |= {"mean": list(transforms.mean), "std": list(transforms.std)}
    if len(resize) == 2:
        augmentation |= {"crop": "fixed_resize", "scales": list(resize)}
    else:  # for a transformer; it is only tested here, so any fitting values will do for training
        augmentation |= {"crop": "short_side", "scales": [resize[0], resize[0]]}
    views["augmentation"] = augmentation
    views["test"]["input_size"] = transforms.crop_size[0]
    return views


def _schedule(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    peak = recipe.lr if args.lr is None else args.lr
    schedule: dict[str, Any] = {"type": "STEP", "base_lr": peak, "epochs": args.epochs}
    if args.lr_warmup_epochs > 0:
        schedule |= {
            "base_lr": peak * args.lr_warmup_decay,
            "warmup_epochs": args.lr_warmup_epochs,
            "warmup_lr": peak,
            "warmup": "line" if args.lr_warmup_method == "linear" else "constant",
        }
    return schedule | {"lr_epochs": args.lr_milestones, "lr_mults": [args.lr_gamma] * len(args.lr_milestones)}


def find_weights(model: str, name: str, folder: Path = PRETRAINED) -> tuple[Path, Any]:
    """Returns the file that --weights names, and torchvision's entry for it or None.

    name: a file, or a name such as `KINETICS400_V1`, alone or after its enum's name.
    Raises: CheckpointError for a name that the network does not have, and for a file that does not exist.
    """
    entries = get_model_weights(model)
    if Path(name).is_file():
        return Path(name), next((entry for entry in entries if entry.url.endswith(f"/{Path(name).name}")), None)
    if "/" in name or name.endswith((".pth", ".tar", ".pt")):
        raise CheckpointError(f"--weights {name}: no such file")
    enum, _, member = name.rpartition(".")
    if enum not in ("", entries.__name__) or member not in entries.__members__:
        known = ", ".join(f"{entries.__name__}.{entry}" for entry in entries.__members__)
        raise CheckpointError(f"--weights {name}: {model} has {known}; or give a file")
    entry = entries[member]
    return published_file(entry.url, folder), entry


def class_names(
    data: Path, version: str, *, published: bool, test: bool, train: str = "train", val: str = "val"
) -> tuple[list[str], list[str]]:
    """Returns the classes of both folders in the order of labels, and notes about them.

    If all folders are classes of Kinetics-400, these are its 400 classes in published order, as the folders spell them.

    published: published weights are tested, so a folder of any other class is an error.
    test: the folder of training videos may be missing. train, val: names of the folders.
    """
    folders = {split: _class_folders(data / split) for split in (train, val)}
    for split in [val] if test else [train, val]:
        if not folders[split]:
            raise ListError(
                f"{data / split}: no class folders here; --data-path must have {train}/ and {val}/, each with a folder "
                "of .avi or .mp4 files per class; --train-dir and --val-dir name others"
            )
    found = sorted({*folders[train], *folders[val]})
    if version == "400":
        categories = get_model_weights("r3d_18").KINETICS400_V1.meta["categories"]
        spelled = {_plain(name): name for name in found}
        unknown = [name for name in found if _plain(name) not in {_plain(category) for category in categories}]
        if not unknown:
            return [spelled.get(_plain(category), category) for category in categories], []
        if published:
            raise ListError(f"{data / val / unknown[0]}: not a class of Kinetics-400, which these weights score")
    extra = sorted(set(folders[val]) - set(folders[train]))
    if extra and not test:
        raise ListError(f"{data / val / extra[0]}: a class that {train}/ does not have")
    notes = [f"{len(found)} class folders, so {len(found)} classes, not Kinetics-{version}'s"]
    return found, notes if len(found) != int(version) else []


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _plain(name: str) -> str:
    """Removes what folders spell differently: "massaging person's head" and "massaging_persons_head" become equal."""
    return re.sub(r"[\W_]+", "", name.casefold())


def rate_table(lr: float | None, recipe: Recipe, batch_size: int, world_size: int) -> list[str]:
    """Returns a table of --lr on 1, 8, 64 and this run's GPUs, with the published rate scaled to each batch size."""
    lines = [
        f"learning rate: {recipe.lr:g} was published for {GPUS} GPUs x {recipe.batch_size} clips; in proportion to the "
        "clips of a step it is",
        f"{'GPUs':>6}  {'clips a step':>12}  {'in proportion':>13}  {'this command':>12}",
    ]
    for gpus in sorted({1, 8, GPUS, world_size}):
        scaled = recipe.lr * gpus * batch_size / recipe.clips_a_step
        ours = scaled if lr is None else lr
        factor = ours / scaled
        how = "" if abs(factor - 1) < 0.005 else f"  {factor:.3g} x the published"
        here = "  <- this run" if gpus == world_size else ""
        lines.append(f"{gpus:>6}  {gpus * batch_size:>12}  {scaled:>13.4g}  {ours:>12.4g}{how}{here}")
    if lr is None:
        lines.append(
            f"--lr not given: the script would take {recipe.lr:g} on any number of GPUs; here it is in proportion"
        )
    return lines


def unequal(lines: Sequence[str]) -> bool:
    """Says whether the learning rate of this run differs from the published one, by its row of `rate_table`."""
    return any("<- this run" in line and "x the published" in line for line in lines)

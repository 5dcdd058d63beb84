"""Turns a parsed command of torchvision's script into an experiment folder and runs it: tools/from_torchvision.py."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from networks.checkpoints.load import load_checkpoint_file
from tools.importing.experiment import CONFIG, ROOT, checked, config_text, write_experiment
from tools.importing.torchvision_config import CLASS_FILE, Plan, plan, rate_table, unequal
from tools.importing.torchvision_flags import recipe_of
from utils.config.file import ConfigFile, difference, load_config
from utils.errors import CheckpointError, LaunchError, UserError
from utils.processes.launch import Rank, detect

WAIT_SECONDS = 300.0  # how long to wait for rank 0's folder on a slow disk
HEADER = """\
# Kinetics-{version}: {model}, {clip_len} frames at {rate:g} a second, from a command of torchvision's reference script:
#   python -m tools.from_torchvision {command}
# From now on also
#   {folder}/train.sh PARTITION NUM_GPUS
#   {folder}/eval.sh PARTITION NUM_GPUS
# Source: pytorch/vision, references/video_classification
# Differs: docs/from_torchvision.md
"""


def run(args: argparse.Namespace, overrides: Sequence[str], argv: Sequence[str]) -> int:
    """Writes the experiment folder and runs main.py on it; returns its exit code. `argv` is quoted in the config."""
    process = detect("cpu")
    if args.world_size not in (None, process.world_size):
        raise UserError(
            f"--world-size {args.world_size}: this run has {process.world_size} process(es); start it with "
            f"torchrun --nproc_per_node={args.world_size} -m tools.from_torchvision ..."
        )
    folder = output_folder(args)
    made = plan(args, folder)
    flags = run_flags(args, made)
    raw = checked(made.raw, overrides)
    config = write_or_wait(folder, raw, made.class_names, header(args, argv, folder), process)
    if process.is_first:
        tell(args, made, config, process)
    from main import main  # only now: it belongs to the floor above, and imports all methods

    return main(["--config", str(config.path), *flags])


def output_folder(args: argparse.Namespace) -> Path:
    """Returns the folder of the experiment."""
    if args.output_dir:
        return Path(args.output_dir).absolute()
    name = f"{args.model}_k{args.kinetics_version}{'_test' if args.test_only else ''}"
    return ROOT / "exps" / "from_torchvision" / name


def run_flags(args: argparse.Namespace, made: Plan) -> list[str]:
    """Returns the arguments of main.py after the config. Raises: UserError for a checkpoint that cannot continue."""
    dry = ["--dry-run"] if args.dry_run else []
    if args.test_only:
        file = args.resume or made.weights
        if not file:
            raise UserError("--test-only: say what to test, --weights KINETICS400_V1 or --resume FILE")
        return ["--evaluate", "--load-path", str(file), *dry]
    if not args.resume:
        return dry
    others = load_checkpoint_file(args.resume).others
    if "step" not in others:
        what = "a checkpoint of torchvision's script" if "lr_scheduler" in others else "weights without an optimizer"
        raise CheckpointError(
            f"--resume {args.resume}: {what}, whose training cannot continue here; start from its weights with "
            f"--weights {args.resume}, or score it with --test-only"
        )
    return ["--load-path", args.resume, "--recover", *dry]


def header(args: argparse.Namespace, argv: Sequence[str], folder: Path) -> str:
    """Returns the comment at the top of the config."""
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    command = shlex.join(argv).replace("\n", " ")
    return HEADER.format(
        version=args.kinetics_version,
        model=args.model,
        clip_len=args.clip_len,
        rate=args.frame_rate,
        command=command,
        folder=shown,
    )


def write_or_wait(
    folder: Path, raw: Mapping[str, Any], class_names: Sequence[str], comment: str, process: Rank
) -> ConfigFile:
    """Writes the folder on rank 0, unless it exists already; waits for it on the other ranks.

    Raises: UserError when the folder holds another experiment; LaunchError when it does not appear.
    """
    path = folder / CONFIG
    classes = "".join(f"{label} {name}\n" for label, name in enumerate(class_names))
    if process.is_first and not path.exists():
        write_experiment(folder, {CLASS_FILE: classes, CONFIG: config_text(raw, comment)})
    began = time.monotonic()
    while not path.exists():
        if time.monotonic() - began > WAIT_SECONDS:
            raise LaunchError(f"rank {process.number}: {path} has not appeared; do all machines see this folder?")
        time.sleep(0.1)
    standing = load_config(path)
    changed = difference(standing.raw, raw)
    if changed or (folder / CLASS_FILE).read_text(encoding="utf-8") != classes:
        what = "; ".join(changed[:3]) or "other classes"
        raise UserError(f"{folder}: holds another experiment ({what}); name a new --output-dir, or remove the folder")
    return standing


def tell(args: argparse.Namespace, made: Plan, config: ConfigFile, process: Rank) -> None:
    """Prints which folder it is and what differs from torchvision."""
    print(f"experiment: {config.folder}")
    notes = list(made.notes)
    if not config.folder.is_relative_to(ROOT):
        notes.append(f"train.sh and eval.sh work inside the project only; use python main.py --config {config.path}")
    if args.device == "cpu" and args.amp:
        notes.append("--amp is meant for GPUs and slow on a CPU; common.amp=auto avoids that")
    for note in notes:
        print(f"note: {note}")
    if not args.test_only:
        lines = rate_table(args.lr, recipe_of(args.model, test_only=False), args.batch_size, process.world_size)
        print("\n".join(lines))
        if unequal(lines):
            print("warning: --lr is used as given; leave it out to scale it to the batch")
    sys.stdout.flush()

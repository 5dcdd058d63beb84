"""Defines the command line of main.py, with the flags of the original project."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence

from utils.cli import Parser, usable_weights
from utils.config import ROOT_KEY
from utils.errors import UserError

# flags that the original project's train.sh files pass and that have nothing left to do, with the reason
OBSOLETE = {
    "--sync": "gradients are always reduced before the update",
    "--fp16-normal-bn": "mixed precision always keeps batch norm in float32",
    "--dynamic-loss-scale": "it is the default with --fp16",
}


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the arguments of main.py; `obsolete` lists the given flags that do nothing, `command` is what was typed.

    Raises: UserError for a combination that makes no sense.
    """
    parser = Parser(
        prog="main.py",
        description="Train or evaluate one experiment folder.",
        epilog="overrides: common.batch_size=8 common.lr_scheduler.max_iter=100 ... (the dotted path of the file)",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", metavar="common.key=value", help="change a key of the config")
    parser.add_argument("--config", required=True, metavar="FILE", help="config.yaml of the experiment folder")
    parser.add_argument("--load-path", metavar="FILE|NAME", help="weights to start from, or to evaluate")
    parser.add_argument("--recover", action="store_true", help="with --load-path: optimizer, step and best score too")
    parser.add_argument("--fresh", action="store_true", help="start again; the files of an earlier run are set aside")
    parser.add_argument(
        "-e", "--evaluate", action="store_true", help="score the validation list, by default with the best checkpoint"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="build everything, print every value in force, train nothing"
    )
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="record where the time of N steps goes")
    parser.add_argument("--fake", action="store_true", help="random frames instead of the lists, to try a set-up")
    parser.add_argument(
        "--new-head",
        action="store_true",
        help="keep only the body of a checkpoint with other classes, start a new classifier",
    )
    parser.add_argument(
        "--not-strict",
        action="store_true",
        help="only report what does not fit a checkpoint: its entries, its settings",
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a checkpoint that holds more than weights; it may run code"
    )
    parser.add_argument("--fp16", action="store_true", help="the same as common.amp=fp16")
    parser.add_argument("--static-loss-scale", type=float, metavar="SCALE", help="with fp16: a fixed loss scale")
    parser.add_argument(
        "--fusion-list",
        nargs="+",
        metavar="FILE|NAME",
        help="with --evaluate: average the logits of several checkpoints, experiment folders or reference_scores.npz",
    )
    parser.add_argument("--fuse-prob", action="store_true", help="with --fusion-list: average probabilities instead")
    parser.add_argument(
        "--fuse-weights", nargs="+", type=float, metavar="W", help="one per FILE; only their ratio counts; default 1"
    )
    for flag, reason in OBSOLETE.items():
        parser.add_argument(flag, action="store_true", help=f"obsolete: {reason}")
    args = parser.parse_intermixed_args(argv)
    args.command = shlex.join(["main.py", *(sys.argv[1:] if argv is None else argv)])
    _check_combinations(args)
    args.obsolete = [flag for flag in OBSOLETE if getattr(args, flag.strip("-").replace("-", "_"))]
    if args.fp16:
        args.overrides.append("common.amp=fp16")
    return args


def _check_combinations(args: argparse.Namespace) -> None:
    """Raises UserError for a value or a combination of flags that makes no sense."""
    if args.profile < 0:
        raise UserError(f"--profile {args.profile}: give a number of steps, 0 or more")
    if args.static_loss_scale is not None and not 0 < args.static_loss_scale < math.inf:
        raise UserError(f"--static-loss-scale {args.static_loss_scale:g}: give a number above 0, for example 1024")
    if args.fusion_list or args.fuse_prob or args.fuse_weights:
        _check_fusion(args)
    if args.recover and not args.load_path:
        raise UserError(
            "--recover: name the checkpoint with --load-path; a run continues from its own checkpoint without flags"
        )
    if args.new_head and args.evaluate:
        raise UserError("--new-head starts a classifier that is not trained, so --evaluate has nothing to score")
    if args.recover and args.new_head:
        raise UserError("--recover continues a run as it was and --new-head starts a new classifier: give one of them")
    if args.recover and args.fresh:
        raise UserError("--recover continues from a checkpoint and --fresh starts again: give one of them")


def check_command() -> None:
    """Checks the arguments and the config that they name, as main.py will, without importing torch."""
    args = parse_arguments()
    from utils.config.file import load_config  # pydantic, which --help does not need

    load_config(args.config, args.overrides)


def _check_fusion(args: argparse.Namespace) -> None:
    files = args.fusion_list or []
    args.overrides += [text for text in files if text.startswith(f"{ROOT_KEY}.") and "=" in text]  # they follow it
    args.fusion_list = [text for text in files if text not in args.overrides]
    if not args.evaluate:
        raise UserError("--fusion-list: fuses evaluations, so it needs --evaluate")
    if args.load_path:
        raise UserError("--load-path names one checkpoint and --fusion-list several: give one of them")
    if len(args.fusion_list) < 2:
        raise UserError("--fusion-list: name at least two checkpoints, experiment folders or reference_scores.npz")
    count = len(args.fusion_list)
    args.fuse_weights = args.fuse_weights or [1.0] * count
    if not usable_weights(args.fuse_weights, count):
        raise UserError(f"--fuse-weights: {count} numbers from 0 on, one above 0, not {args.fuse_weights}")

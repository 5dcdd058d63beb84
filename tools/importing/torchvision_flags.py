"""Reads the command line of torchvision's reference script (references/video_classification/train.py).

Its READMEs write flags with underscores and milestones with commas, which its own parser refuses; both are read here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from utils.cli import Parser, positive_float, positive_int
from utils.errors import UserError

GPUS = 64  # in the published runs: eight machines with eight each
VERSIONS = ("400", "600", "700")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Recipe:
    """The values of the flags in the published run of a network. They stand in for flags that a command omits."""

    batch_size: int = 24
    lr: float = 0.64  # for GPUS x batch_size clips a step
    clip_len: int = 16
    clips_per_video: int = 5
    sync_bn: bool = False
    train_resize_size: tuple[int, int] = (128, 171)
    train_crop_size: tuple[int, int] = (112, 112)
    val_resize_size: tuple[int, int] = (128, 171)
    val_crop_size: tuple[int, int] = (112, 112)

    @property
    def clips_a_step(self) -> int:
        """Clips per step that `lr` is meant for."""
        return GPUS * self.batch_size


REFERENCE = Recipe()
S3D = Recipe(12, 0.2, 64, 5, True, (256, 256), (224, 224), (256, 256), (224, 224))
S3D_TEST = dataclasses.replace(S3D, batch_size=16, clip_len=128, clips_per_video=1)


def recipe_of(model: str, *, test_only: bool) -> Recipe:
    """Returns the script's defaults; for S3D those of its section in the README."""
    if model != "s3d":
        return REFERENCE
    return S3D_TEST if test_only else S3D


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags and the `common.key=value` overrides. Flags of the recipe that were not given are None.

    Raises: UserError for an unknown flag, a wrong value, or one that is not supported, with what to do instead.
    """
    words = [_dashed(word) for word in argv if word.strip()]  # `\ ` in the README makes an argument of one blank
    overrides = [word for word in words if word.startswith("common.") and "=" in word]
    args = _parser().parse_args([word for word in words if word not in overrides])
    args.lr_milestones = _milestones(args.lr_milestones)
    _refuse(args)
    return args, overrides


def _dashed(word: str) -> str:
    """Turns --clip_len=16 into --clip-len=16; values do not change."""
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word


def _milestones(words: Sequence[str]) -> list[int]:
    try:
        return [int(part) for word in words for part in word.split(",") if part]
    except ValueError:
        raise UserError(f"--lr-milestones {' '.join(words)}: give epochs, 20 30 40") from None


def _refuse(args: argparse.Namespace) -> None:
    if args.device.startswith("cuda:"):
        if args.device != "cuda:0":
            raise UserError(f"--device {args.device}: choose the GPU with CUDA_VISIBLE_DEVICES, and give --device cuda")
        args.device = "cuda"
    if args.device not in DEVICES:
        raise UserError(f"--device {args.device}: unknown; give one of {', '.join(DEVICES)}")
    if args.start_epoch:
        raise UserError(
            f"--start-epoch {args.start_epoch}: a checkpoint stores its epoch; repeat the command to continue, or name "
            "a checkpoint with --resume"
        )
    if args.dist_url != "env://":
        raise UserError(
            f"--dist-url {args.dist_url}: processes meet where torchrun or Slurm says; set MASTER_ADDR and MASTER_PORT"
        )
    if sorted(args.lr_milestones) != args.lr_milestones:
        raise UserError(f"--lr-milestones {args.lr_milestones}: give the epochs in ascending order")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tools.from_torchvision",
        description="Run a command of torchvision's video reference script as an experiment folder.",
        epilog="further arguments common.key=value change the config that is written",
        allow_abbrev=False,
    )

    def add(*names: str, **settings: Any) -> None:
        parser.add_argument(*names, **settings)

    add(
        "--data-path",
        required=True,
        metavar="DIR",
        help="folder with train/ and val/, each with a folder of .avi or .mp4 files per class",
    )
    add(
        "--kinetics-version",
        choices=VERSIONS,
        default="400",
        help="Kinetics version that names the classes (default 400)",
    )
    add("--model", default="r2plus1d_18", help="r2plus1d_18 (default), r3d_18, mc3_18, s3d, mvit_v2_s, ...")
    add("--train-dir", default="train", metavar="NAME", help="folder of --data-path to train on (default train)")
    add("--val-dir", default="val", metavar="NAME", help="folder of --data-path to test on (default val)")
    add("--device", default="auto", help=f"{', '.join(DEVICES)}; default: a GPU if there is one")
    add("-b", "--batch-size", type=positive_int, help="clips per GPU; default 24, s3d 12")
    add("--clip-len", type=positive_int, metavar="N", help="frames per clip; default 16, s3d 64")
    add("--frame-rate", type=positive_float, default=15.0, metavar="N", help="frames per second (default 15)")
    add(
        "--clips-per-video",
        type=positive_int,
        metavar="N",
        help="at most this many in training, exactly this many in testing (default 5)",
    )
    _add_schedule(add)
    add("--print-freq", type=positive_int, default=10, help="default 10")
    add("--output-dir", metavar="DIR", help="the experiment folder; default exps/from_torchvision/MODEL_kVERSION")
    add("--resume", metavar="FILE", help="checkpoint to continue from, or to test with --test-only")
    add("--start-epoch", type=int, default=0, help="only 0: a checkpoint stores its epoch")
    add("--cache-dataset", action="store_true", help="no effect: always done here, see docs/from_torchvision.md")
    add(
        "--sync-bn",
        action="store_true",
        default=None,
        help="synchronise batch norm over all processes; default for s3d",
    )
    add("--test-only", action="store_true", help="score val/ and exit")
    add("--use-deterministic-algorithms", action="store_true", help="use only algorithms whose results repeat exactly")
    add(
        "--world-size",
        type=positive_int,
        help="number of processes; an error unless torchrun or Slurm started that many",
    )
    add("--dist-url", default="env://", help="only env://")
    for flag in ("--train-resize-size", "--train-crop-size", "--val-resize-size", "--val-crop-size"):
        add(flag, nargs=2, type=positive_int, metavar=("H", "W"), help="default 128 171 and 112 112; s3d 256 and 224")
    add(
        "--weights",
        metavar="NAME",
        help="KINETICS400_V1 or another name that torchvision has for the network, read from pretrained/; or a file",
    )
    _add_precision(add)
    add(
        "--dry-run",
        action="store_true",
        help="(not in the script) write the folder, say what a run would do, train nothing",
    )
    return parser


def _add_precision(add: Callable[..., None]) -> None:
    """Adds the options of mixed precision, also those of scripts that took it from the package apex."""
    add("--amp", "--apex", action="store_true", help="fp16 with a loss scale; older scripts call it --apex")
    add("--apex-opt-level", metavar="LEVEL", help="no effect: torch's mixed precision has one level")


def _add_schedule(add: Callable[..., None]) -> None:
    """Adds the options of the optimizer and its schedule."""
    add("--epochs", type=positive_int, default=45, help="default 45")
    add("-j", "--workers", type=int, default=10, help="loader processes per GPU (default 10)")
    add(
        "--lr",
        type=positive_float,
        help="used as given, whatever the batch size; default: the published rate, scaled to the batch size",
    )
    add("--momentum", type=float, default=0.9, help="default 0.9")
    add("--wd", "--weight-decay", type=float, default=1e-4, dest="weight_decay", help="default 1e-4")
    add("--lr-milestones", nargs="+", default=["20", "30", "40"], help="epochs, with or without commas")
    add("--lr-gamma", type=positive_float, default=0.1, help="factor at each milestone (default 0.1)")
    add("--lr-warmup-epochs", type=int, default=10, help="default 10")
    add("--lr-warmup-method", choices=("linear", "constant"), default="linear", help="default linear")
    add(
        "--lr-warmup-decay",
        type=positive_float,
        default=0.001,
        help="first rate of the warm-up, as a share of --lr (default 0.001)",
    )

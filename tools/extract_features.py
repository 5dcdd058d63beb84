"""Writes what a layer of a trained network says about videos: one row for each, or a row per window with its times.

    python -m tools.extract_features ckpt_best.pth.tar videos/ features/ --layer backbone.avgpool
    python -m tools.extract_features ckpt_best.pth.tar videos/ features.h5 --layer backbone.layer4 --window 2 --step 1
    python -m tools.extract_features ckpt_best.pth.tar --list-layers

Run again, it goes on where it was stopped. An entry has `features` (windows, ...) and `times` (windows, 2), in seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

if not __package__:  # started as `python tools/extract_features.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from datasets.sampling.rules import get_rule
from tools.inference import trained as _trained
from tools.inference.features import Layer, extract, layer_names, open_shelf
from tools.inference.inputs import DEFAULT_FPS, find_inputs, open_input
from tools.inference.prediction import Settings
from tools.inference.trained import Trained
from utils.cli import Parser, Progress, positive_float, positive_int, run_cli
from utils.errors import FrameError


def main(argv: Sequence[str] | None = None) -> int:
    """Extracts what is not there yet; 1 when a video could not be read."""
    args = _parse(argv)
    trained = with_rule(_trained.from_arguments(args), args.sampling, args.num_frames)
    if args.list_layers:
        print("\n".join(layer_names(trained.method)))
        return 0
    layer = Layer(trained, args.layer, args.pool)
    settings = Settings(batch_size=args.batch_size, window=args.window, step=args.step)
    paths, root = find_inputs(args.input), Path(args.input)
    failed = 0
    with open_shelf(args.out, _about(args, trained)) as shelf, Progress(len(paths), unit="videos") as progress:
        for path in paths:
            name = path.name if path == root else path.relative_to(root).as_posix()
            if name not in shelf:
                try:
                    video = open_input(path, fps=args.fps)
                    slides = args.window is not None or args.step is not None
                    shelf.put(name, extract(trained, layer, video, settings, slides=slides))
                except FrameError as error:
                    progress.note(f"error: {error}")
                    failed += 1
            progress.advance(1)
    print(f"{args.out}: {len(paths) - failed} of {len(paths)} videos")
    return 1 if failed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m tools.extract_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _trained.add_arguments(parser)
    parser.add_argument("input", nargs="?", metavar="VIDEO|FOLDER", help="a video, a folder of them, or of frames")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="a folder for .npz files, or a file .h5")
    parser.add_argument("--list-layers", action="store_true", help="print the names that --layer takes")
    parser.add_argument("--layer", default="", help="dotted name; default: the network's logits")
    parser.add_argument(
        "--pool", choices=("space", "all", "none"), default="space", help="average over (default space)"
    )
    parser.add_argument("--window", type=positive_float, help="seconds per row; default one row by the test protocol")
    parser.add_argument("--step", type=positive_float, help="seconds between rows; default half a window")
    parser.add_argument("--sampling", help="rule that picks the frames of a clip; default the checkpoint's")
    parser.add_argument("--num-frames", type=positive_int, help="frames of a clip; default the checkpoint's")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="clips at once (default 8)")
    parser.add_argument("--fps", type=positive_float, default=DEFAULT_FPS, help="of frames in a folder (default 25)")
    args = parser.parse_args(argv)
    if not args.list_layers and args.out is None:
        parser.error("name the videos and where their features go")
    return args


def with_rule(trained: Trained, sampling: str | None, num_frames: int | None) -> Trained:
    """The same network behind another clip rule. Raises: ConfigError for one that it cannot take."""
    clip = trained.protocol.clip
    changed = replace(clip, num_frames=num_frames or clip.num_frames, sampling=sampling or clip.sampling)
    rule = get_rule(changed.sampling)
    num_clips = rule.num_clips if rule.fixed_num_clips else trained.common.test.num_clips or 1
    rule.check(changed.sampling, changed.frame_stride, num_clips)
    return replace(trained, protocol=replace(trained.protocol, clip=changed, num_clips=num_clips))


def _about(args: argparse.Namespace, trained: Trained) -> dict[str, str]:
    """What all rows of one place have in common; kept there, so that a second run cannot mix."""
    digest = hashlib.sha256(args.checkpoint.read_bytes()).hexdigest()
    rule = f"{trained.protocol.clip.sampling}, {trained.protocol.clip.num_frames} frames, window {args.window}, step {args.step}"
    return {"checkpoint": digest, "layer": args.layer, "pool": args.pool, "rule": rule}


if __name__ == "__main__":
    run_cli(main)

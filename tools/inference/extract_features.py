"""Extracts the features of many videos into one place, for tools/extract_features.py."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

from datasets.sampling.rules import get_rule
from tools.inference.features import Layer, extract, layer_names, open_shelf
from tools.inference.inputs import find_inputs, open_input
from tools.inference.prediction import Settings
from tools.inference.trained import Trained, open_from_arguments
from utils.cli import Progress
from utils.errors import FrameError


def run(args: argparse.Namespace) -> int:
    """Extracts what is missing; returns 1 when a video could not be read."""
    trained = with_rule(open_from_arguments(args), args.sampling, args.num_frames)
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
    clip = trained.protocol.clip
    rule = f"{clip.sampling}, {clip.num_frames} frames, window {args.window}, step {args.step}"
    return {"checkpoint": digest, "layer": args.layer, "pool": args.pool, "rule": rule}

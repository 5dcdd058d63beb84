"""Extracts the features of many videos into one place, for tools/extract_features.py."""

from __future__ import annotations

import argparse

from datasets.sampling.rules import get_rule
from tools.inference.arguments import frame_rate
from tools.inference.features import find_layer, open_feature_store
from tools.inference.features_for import extract_for
from tools.inference.inputs import name_inputs
from tools.inference.recognizer import Recognizer, load_from_arguments
from utils.cli import Progress
from utils.errors import FrameError
from utils.files import sha256


def run(args: argparse.Namespace) -> int:
    """Extracts what is missing; returns 1 when a video could not be read."""
    recognizer = with_rule(load_from_arguments(args), args.sampling, args.num_frames)
    if args.list_layers:
        print("\n".join(recognizer.layers))
        return 0
    find_layer(recognizer.method, args.layer)  # a wrong name ends the command before it writes anything
    origin = origin_of(recognizer, args)
    if args.project:
        return extract_for(recognizer, origin, args)
    named = name_inputs(args.input)
    fps = frame_rate(args.fps, list(named))
    failed = 0
    with open_feature_store(args.out, origin) as store, Progress(len(named), unit="videos") as progress:
        for path, place in named.items():
            name = place.as_posix()
            if name not in store:
                try:
                    found = recognizer.features(
                        path,
                        layer=args.layer,
                        pool=args.pool,
                        window=args.window,
                        step=args.step,
                        batch_size=args.batch_size,
                        fps=fps,
                    )
                    store.put(name, found)
                except FrameError as error:
                    progress.note(f"error: {error}")
                    failed += 1
            progress.advance(1)
    print(f"{args.out}: {len(named) - failed} of {len(named)} videos")
    return 1 if failed else 0


def with_rule(recognizer: Recognizer, sampling: str | None, num_frames: int | None) -> Recognizer:
    """Returns the same network with another clip rule. Raises: UserError for one that it cannot take."""
    changes = {"sampling": sampling, "num_frames": num_frames}
    changes = {key: value for key, value in changes.items() if value is not None}
    if sampling is not None and get_rule(sampling).fixed_num_clips:
        changes["num_clips"] = None
    return recognizer.with_test(**changes) if changes else recognizer


def origin_of(recognizer: Recognizer, args: argparse.Namespace) -> dict[str, str]:
    """Returns what all rows of one place have in common. It is stored there, so that a second run cannot mix rows."""
    digest = sha256(recognizer.path)
    clip = recognizer.protocol.clip
    rule = f"{clip.sampling}, {clip.num_frames} frames, window {args.window}, step {args.step}"
    return {"checkpoint": digest, "layer": args.layer, "pool": args.pool, "rule": rule}

"""Extracts the features of many videos into one place, for tools/extract_features.py."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datasets.sampling.rules import get_rule
from tools.inference.arguments import frame_rate
from tools.inference.features import Features, find_layer, open_feature_store, version_of
from tools.inference.features_for import extract_for
from tools.inference.inputs import name_inputs, open_input
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
    again = failed = 0
    with open_feature_store(args.out, origin) as store, Progress(len(named), unit="videos") as progress:
        for path, place in named.items():
            try:
                version, before = version_of(path, fps), store.version(place.as_posix())
                if before != version:
                    store.put(place.as_posix(), _features(recognizer, path, fps, args), version)
                    again += before is not None
            except FrameError as error:
                progress.note(f"error: {error}")
                failed += 1
            progress.advance(1)
    changed = f"; {again} of them again, because they are not the videos that they were" if again else ""
    print(f"{args.out}: {len(named) - failed} of {len(named)} videos{changed}")
    return 1 if failed else 0


def _features(recognizer: Recognizer, path: Path, fps: float, args: argparse.Namespace) -> Features:
    """Returns the features of a video. Raises: FrameError for a damaged one: rows would show other frames."""
    source = open_input(path, fps=fps)
    given = {"window": args.window, "step": args.step, "batch_size": args.batch_size, "fps": fps}
    found = recognizer.features(source, layer=args.layer, pool=args.pool, **given)
    if source.errors:
        raise FrameError(f"{path}: {'; '.join(source.errors)}")
    return found


def with_rule(recognizer: Recognizer, sampling: str | None, num_frames: int | None) -> Recognizer:
    """Returns the same network with another clip rule. Raises: UserError for one that it cannot take."""
    changes = {"sampling": sampling, "num_frames": num_frames}
    changes = {key: value for key, value in changes.items() if value is not None}
    if sampling is not None and get_rule(sampling).fixed_num_clips:
        changes["num_clips"] = None
    return recognizer.with_test(**changes) if changes else recognizer


def origin_of(recognizer: Recognizer, args: argparse.Namespace) -> dict[str, str]:
    """Returns what all rows of one place have in common. It is stored there, so that a second run cannot mix rows."""
    protocol = {key: str(value) for key, value in recognizer.protocol.as_dict().items()}
    rows = {"layer": args.layer, "pool": args.pool, "rule": f"window {args.window}, step {args.step}"}
    # a checkpoint of ours knows its network itself
    network = {} if args.config is None else {"network": json.dumps(recognizer.method.settings, sort_keys=True)}
    # older versions took the frames of such networks at the rate of the file
    clock = {"frames": "by their times"} if recognizer.protocol.as_dict()["video_sampling"] else {}
    return {"checkpoint": sha256(recognizer.path), **rows, **protocol, **network, **clock}

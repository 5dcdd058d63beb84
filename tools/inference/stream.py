"""Prints the answers of a one-directional network frame by frame, or checks them, for tools/stream.py."""

from __future__ import annotations

import argparse
import sys
from collections import deque

import numpy as np

from datasets.windows import usual_spacing
from tools.inference.arguments import frame_rate
from tools.inference.inputs import Input, find_inputs, open_input, watches
from tools.inference.recognizer import Recognizer, load_from_arguments
from tools.inference.streaming import check_stream, streaming_network
from utils.errors import FrameError, UserError

LARGEST_DIFFERENCE = 1e-5
TIMED_FRAMES = 1000  # the latest ones, whose times are kept


def run(args: argparse.Namespace) -> int:
    """Streams, or checks; returns 1 when one of several videos cannot be read or the check finds a difference."""
    given: list[str] = args.input
    paths = given if watches(given) else [str(path) for one in given for path in find_inputs(one)]
    if args.check and len(paths) > 1:
        raise UserError(f"--check: takes one video, and {len(paths)} are named")
    fps = frame_rate(args.fps, paths)
    only = open_input(paths[0], fps=fps) if len(paths) == 1 else None  # first: loading a network takes time
    recognizer = load_from_arguments(args)
    recognizer.refuse_whole_videos()
    if args.check:
        return check(recognizer, only, args.every or 1)
    latencies: deque[float] = deque(maxlen=TIMED_FRAMES)
    failed = False
    try:
        for path in paths:
            if only is None:
                print(path)
            try:
                follow(recognizer, only or open_input(path, fps=fps), args, latencies)
            except FrameError as error:
                if only is not None:
                    raise
                print(f"error: {error}", file=sys.stderr)
                failed = True
    except KeyboardInterrupt:
        print()
    if latencies:
        middle, slow = np.percentile(1000 * np.array(latencies), [50, 95])
        print(f"{middle:.1f} ms per frame ({1000 / middle:.0f} frames/s), 95 % below {slow:.1f} ms")
    return int(failed)


def follow(recognizer: Recognizer, video: Input, args: argparse.Namespace, latencies: deque[float]) -> None:
    """Prints the answers about a video until it ends, and adds the seconds that each frame took to `latencies`."""
    due = 0.0
    if args.every is None:
        warn_of_spacing(recognizer, video)
    for found in recognizer.stream(video, every=args.every or 1, over=args.over, topk=1):
        latencies.append(found.latency)
        if found.time >= due:
            due = found.time + args.print
            best = found.top[0]
            took = 1000 * found.latency
            print(f"{found.time:7.1f} s  {best.score:.3f}  {best.name}  ({took:.1f} ms)", flush=True)


def warn_of_spacing(recognizer: Recognizer, video: Input) -> None:
    """Prints a warning where the network was trained on frames that lie further apart than those of the video."""
    spacing = usual_spacing(recognizer.protocol, recognizer.trained_on, video.fps)
    if spacing is not None and (every := round(spacing)) > 1:
        print(
            f"warning: {video.name}: every frame is used, {1 / video.fps:.3g} s apart; the network was trained on "
            f"frames about {spacing / video.fps:.3g} s apart: --every {every}",
            file=sys.stderr,
        )


def check(recognizer: Recognizer, video: Input | None, every: int) -> int:
    """Prints how far the stream is from the offline network; returns 1 when that is too far."""
    found = check_stream(recognizer, streaming_network(recognizer, recognizer.folded.network), video, every=every)
    fine = found.difference < LARGEST_DIFFERENCE
    print(f"{found.num_frames} frames, largest logit {found.largest_logit:.2f}")
    print(
        f"largest difference from the offline network: {found.difference:.1e}, "
        f"{'below' if fine else 'not below'} {LARGEST_DIFFERENCE:.0e}"
    )
    return 0 if fine else 1

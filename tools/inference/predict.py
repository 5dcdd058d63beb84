"""Prints, writes and draws what a network says about videos, for tools/predict.py."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from datasets.videos.video import TimedFrame
from tools.inference.annotate import drawn_name, write_lines, write_video
from tools.inference.arguments import frame_rate
from tools.inference.inputs import Input, name_inputs, open_endless, open_input, watches
from tools.inference.prediction import ClassScore, Prediction, WindowPrediction
from tools.inference.recognizer import Recognizer, load_from_arguments
from utils.errors import FrameError, UserError
from utils.files import atomic_write
from utils.plain_text import write_rows

COLUMNS = ("path", "start", "end", "rank", "class", "name", "score")


def run(args: argparse.Namespace) -> int:
    """Prints the answers; returns 1 when a video of a folder could not be read, 0 otherwise."""
    options = {"topk": args.topk, "batch_size": args.batch_size, "window": args.window, "step": args.step}
    if watches(args.input):
        if args.annotate or args.json or args.csv:
            raise UserError("--annotate, --json and --csv need a video with an end, not a camera or an address")
        frame_rate(args.fps, args.input)
        camera = open_endless(args.input[0])  # before the network: no camera, no waiting
        return watch(load_from_arguments(args), camera, options, args.seconds)
    named = name_inputs(args.input)
    paths = list(named)
    fps = frame_rate(args.fps, paths)
    if args.annotate and len(paths) > 1 and not args.annotate.is_dir():
        raise UserError(f"{args.annotate}: {len(paths)} videos to annotate, so this has to be a folder that exists")
    copies = copy_names(named, args.annotate) if args.annotate else {}
    recognizer = load_from_arguments(args)
    quiet = "-" in (args.json, args.csv)
    answers, failed = [], 0
    for path in paths:
        try:
            prediction = recognizer.predict(path, fps=fps, **options)
        except FrameError as error:
            if len(paths) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for warning in prediction.warnings:
            print(f"warning: {path}: {warning}", file=sys.stderr)
        if not quiet:
            print("\n".join(lines_of(prediction)), flush=True)
        if args.annotate:
            if args.annotate.is_dir():
                copies[path].parent.mkdir(parents=True, exist_ok=True)
            annotate(prediction, path, copies[path], fps)
        if args.json or args.csv:
            answers.append(prediction.as_dict())
    if failed == len(paths):
        raise UserError(f"{', '.join(args.input)}: none of {len(paths)} videos could be read")
    if args.json:
        write_json(args.json, recognizer, answers)
    if args.csv:
        write_csv(args.csv, answers)
    return 1 if failed else 0


def lines_of(prediction: Prediction) -> Iterator[str]:
    """Yields the lines for the terminal."""
    windows = f"; {prediction.windows}" if prediction.windows else ""
    yield f"{prediction.path}  {prediction.seconds:.1f} s, {prediction.num_frames} frames{windows}"
    for found in prediction.top:
        yield f"  {found.score:.3f}  {found.name}"
    for window in prediction.timeline:
        yield f"  {line_of(window)}"


def line_of(window: WindowPrediction) -> str:
    """Returns the line of a window: `  12.0 -   16.0 s  0.913  jump`."""
    best = window.top[0]
    return f"{window.start:7.1f} - {window.end:7.1f} s  {best.score:.3f}  {best.name}"


def watch(recognizer: Recognizer, camera: Input, options: dict[str, Any], seconds: float) -> int:
    """Prints a line per window until the camera is gone, `seconds` have passed or Ctrl-C."""
    windows = recognizer.describe_windows(camera.fps, options["window"])
    print(f"{camera.name}, {camera.fps:.0f} frames/s; {windows}; Ctrl-C ends it")
    try:
        for window in recognizer.windows(camera, **options):
            print(line_of(window), flush=True)
            if window.end >= seconds:
                break
    except KeyboardInterrupt:
        print()
    for warning in camera.warnings:
        print(f"warning: {camera.name}: {warning}", file=sys.stderr)
    return 0


def copy_names(named: Mapping[Path, Path], target: Path) -> dict[Path, Path]:
    """Returns where the annotated copy of each video goes: `target`, or its place in that folder.

    a/x.avi becomes a/x.mp4, and a/x.avi.mp4 where there is an a/x.mp4 or an a/x.mkv too.
    """
    if not target.is_dir():
        return dict.fromkeys(named, target)
    stems = Counter(place.with_suffix("") for place in named.values())
    shared = {path: stems[place.with_suffix("")] > 1 for path, place in named.items()}
    return {
        path: target / (place.with_name(f"{place.name}.mp4") if shared[path] else place.with_suffix(".mp4"))
        for path, place in named.items()
    }


def annotate(prediction: Prediction, path: Path, target: Path, fps: float) -> None:
    """Writes a copy of a video with the classes of each moment; reads it a second time, frame by frame."""
    if target.exists() and target.resolve() == path.resolve():
        raise UserError(f"{target}: this is the video itself; choose another name for the copy")
    video = open_input(path, fps=fps)

    def frames() -> Iterator[TimedFrame]:
        current = 0
        timeline = prediction.timeline
        for time, picture in video.frames():
            # windows overlap: take the one whose middle is nearest
            while current + 1 < len(timeline) and _distance(timeline[current + 1], time) <= _distance(
                timeline[current], time
            ):
                current += 1
            top = timeline[current].top if timeline else prediction.top
            yield time, write_lines(picture, [_drawn(found) for found in top[:3]])

    write_video(target, frames(), video.fps)
    print(f"written: {target}", file=sys.stderr)


def _drawn(found: ClassScore) -> str:
    return f"{found.score:.2f} {drawn_name(found.name, found.label)}"


def _distance(window: WindowPrediction, time: float) -> float:
    return abs((window.start + window.end) / 2 - time)


def write_json(target: str, recognizer: Recognizer, answers: Sequence[dict[str, Any]]) -> None:
    """Writes one object: the checkpoint, and a list of videos."""
    content = {"checkpoint": str(recognizer.path), "method": recognizer.method.name, "videos": answers}
    with _written(target) as file:  # piece by piece: hours of windows are tens of megabytes of text
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")


def write_csv(target: str, answers: Sequence[dict[str, Any]]) -> None:
    """Writes a row per window and class; a video without a timeline is one window."""
    with _written(target) as file:
        write_rows(file, _rows(answers))


def _rows(answers: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    yield COLUMNS
    for video in answers:
        for window in video["timeline"] or [{"start": 0.0, "end": video["seconds"], "top": video["top"]}]:
            place = video["path"], f"{window['start']:.3f}", f"{window['end']:.3f}"
            for rank, found in enumerate(window["top"], 1):
                yield (*place, rank, found["class"], found["name"], f"{found['score']:.6f}")


@contextlib.contextmanager
def _written(target: str) -> Iterator[IO[str]]:
    """Opens what the answers are written to; - is the standard output."""
    if target == "-":
        yield sys.stdout
        return
    try:
        with atomic_write(Path(target), "w", errors="surrogateescape", newline="\n") as file:
            yield file
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None

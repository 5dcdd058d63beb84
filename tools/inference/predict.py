"""Prints, writes and draws what a network says about videos, for tools/predict.py."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.videos.video import TimedFrame
from tools.inference.annotate import drawn_name, write_lines, write_video
from tools.inference.inputs import CameraInput, find_inputs, is_camera, open_input
from tools.inference.prediction import Prediction, Settings, Span, as_seen, predict, spans
from tools.inference.trained import Top, Trained, open_from_arguments
from utils.errors import FrameError, UserError
from utils.files import atomic_write

COLUMNS = ("path", "start", "end", "rank", "class", "name", "score")


def run(args: argparse.Namespace) -> int:
    """Prints the answers; returns 1 when a video of a folder could not be read, 0 otherwise."""
    settings = Settings(topk=args.topk, batch_size=args.batch_size, window=args.window, step=args.step)
    if is_camera(args.input):
        if args.annotate or args.json or args.csv:
            raise UserError("--annotate, --json and --csv need a video with an end, not a camera")
        camera = CameraInput(args.input)  # before the network: no camera, no waiting
        return watch(open_from_arguments(args), camera, settings, args.seconds)
    paths = find_inputs(args.input)
    if args.annotate and len(paths) > 1 and not args.annotate.is_dir():
        raise UserError(f"{args.annotate}: {len(paths)} videos to annotate, so this has to be a folder that exists")
    copies = copy_names(paths, Path(args.input), args.annotate) if args.annotate else {}
    trained = open_from_arguments(args)
    quiet = "-" in (args.json, args.csv)
    predictions, failed = [], 0
    for path in paths:
        try:
            prediction = predict(trained, open_input(path, fps=args.fps), settings)
        except FrameError as error:
            if len(paths) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for warning in prediction.warnings:
            print(f"warning: {path}: {warning}", file=sys.stderr)
        if not quiet:
            print("\n".join(in_words(trained, prediction)), flush=True)
        if args.annotate:
            if args.annotate.is_dir():
                copies[path].parent.mkdir(parents=True, exist_ok=True)
            annotate(trained, prediction, path, copies[path], args.fps)
        predictions.append(prediction)
    if not predictions:
        raise UserError(f"{args.input}: none of {len(paths)} videos could be read")
    if args.json:
        write_json(args.json, trained, predictions)
    if args.csv:
        write_csv(args.csv, trained, predictions)
    return 1 if failed else 0


def in_words(trained: Trained, prediction: Prediction) -> Iterator[str]:
    """The lines for the terminal."""
    yield f"{prediction.path}  {prediction.seconds:.1f} s, {prediction.frames} frames"
    for label, score in prediction.top:
        yield f"  {score:.3f}  {trained.name(label)}"
    for span in prediction.timeline:
        yield f"  {in_time(span)}  {first_words(trained, span.top)}"


def in_time(span: Span) -> str:
    """`  12.0 -   16.0 s`."""
    return f"{span.start:7.1f} - {span.end:7.1f} s"


def first_words(trained: Trained, top: Top) -> str:
    """The best class of a window and its score."""
    label, score = top[0]
    return f"{score:.3f}  {trained.name(label)}"


def watch(trained: Trained, camera: CameraInput, settings: Settings, seconds: float) -> int:
    """Prints a line per window until the camera is gone, `seconds` have passed or Ctrl-C."""
    print(f"{camera.name}, {camera.fps:.0f} frames/s; Ctrl-C ends it")
    try:
        seen = as_seen(trained, camera)
        for span, _ in spans(trained, seen, settings, seen.frames()):
            print(f"{in_time(span)}  {first_words(trained, span.top)}", flush=True)
            if span.end >= seconds:
                break
    except KeyboardInterrupt:
        print()
    return 0


def copy_names(paths: Sequence[Path], root: Path, target: Path) -> dict[Path, Path]:
    """Where the annotated copy of each video goes: `target` itself, or below it as the videos lie below `root`.

    a/x.avi becomes a/x.mp4, and a/x.avi.mp4 where there is an a/x.mp4 or an a/x.mkv too.
    """
    if not target.is_dir():
        return dict.fromkeys(paths, target)
    below = {path: path.relative_to(root) if path != root else Path(path.name) for path in paths}
    stems = Counter(place.with_suffix("") for place in below.values())
    shared = {path: stems[place.with_suffix("")] > 1 for path, place in below.items()}
    return {
        path: target / (place.with_name(f"{place.name}.mp4") if shared[path] else place.with_suffix(".mp4"))
        for path, place in below.items()
    }


def annotate(trained: Trained, prediction: Prediction, path: Path, target: Path, fps: float) -> None:
    """Writes a copy of a video with the classes of each moment; reads it a second time, frame by frame."""
    if target.exists() and target.resolve() == path.resolve():
        raise UserError(f"{target}: this is the video itself; choose another name for the copy")
    video = open_input(path, fps=fps)

    def frames() -> Iterator[TimedFrame]:
        current = 0
        for time, picture in video.frames():
            timeline = prediction.timeline
            # the window whose middle is nearest: they overlap
            while current + 1 < len(timeline) and _distance(timeline[current + 1], time) <= _distance(
                timeline[current], time
            ):
                current += 1
            top = timeline[current].top if timeline else prediction.top
            yield time, write_lines(picture, [f"{score:.2f} {drawn_name(trained, label)}" for label, score in top[:3]])

    write_video(target, frames(), video.fps)
    print(f"written: {target}", file=sys.stderr)


def _distance(span: Span, time: float) -> float:
    return abs((span.start + span.end) / 2 - time)


def write_json(target: str, trained: Trained, predictions: Sequence[Prediction]) -> None:
    """One object: the checkpoint, and a list of videos."""
    content: dict[str, Any] = {
        "checkpoint": str(trained.path),
        "method": trained.method.name,
        "videos": [prediction.to_json(trained) for prediction in predictions],
    }
    _write(target, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_csv(target: str, trained: Trained, predictions: Sequence[Prediction]) -> None:
    """A row per window and class; a video without a timeline is one window."""
    rows: list[tuple[Any, ...]] = [COLUMNS]
    for prediction in predictions:
        for span in prediction.timeline or [Span(0.0, prediction.seconds, prediction.top)]:
            place = prediction.path, f"{span.start:.3f}", f"{span.end:.3f}"
            for rank, (label, score) in enumerate(span.top, 1):
                rows.append((*place, rank, label, trained.name(label), f"{score:.6f}"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    _write(target, text.getvalue())


def _write(target: str, text: str) -> None:
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        with atomic_write(Path(target), "w", errors="surrogateescape", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None

"""Explains clips of a video by Grad-CAM or attention rollout and writes the pictures, for tools/cam.py."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets.protocol import clip_protocol
from datasets.split import open_split
from datasets.videos.video import between
from tools.inference.annotate import drawn_name, write_video
from tools.inference.arguments import DEFAULT_FPS, frame_rate
from tools.inference.grad_cam import default_layers, explain, explain_by_rollout, layer_title
from tools.inference.heat_pictures import Heat, side_by_side, strip, write_gif, write_png
from tools.inference.inputs import open_input
from tools.inference.recognizer import Recognizer, load_from_arguments
from tools.inference.rollout import TITLE, rolls_out
from utils.config.file import nearest
from utils.errors import FrameError, UserError
from utils.plots.fonts import readable
from utils.scoring.task import in_words

MOST_CLIPS = 24  # in a strip or a GIF, which are made in memory; a film has no limit
SLOWEST, FASTEST = 2.0, 30.0  # frames per second of a film without --rate
Clip = tuple[np.ndarray, np.ndarray, str]  # (T, H, W, 3), seconds (T,), what its title adds


def run(args: argparse.Namespace) -> int:
    """Writes the pictures; returns the exit code."""
    recognizer = load_from_arguments(args).with_test(num_clips=None, num_crops=1)
    recognizer.refuse_whole_videos()
    if args.list_layers:
        print("\n".join(recognizer.layers))
        return 0
    label = None if args.label is None else find_class(recognizer, args.label)
    layers = layers_to_show(recognizer, args)
    clips = clip_of_record(recognizer, args) if args.record is not None else clips_of_video(recognizer, args)
    heats = explained(recognizer, clips, layers, label)
    if len(args.out) > 1 or args.out[0].suffix.lower() != ".mp4":
        kept = list(itertools.islice(heats, MOST_CLIPS + 1))
        if len(kept) > MOST_CLIPS:
            raise UserError(
                f"more than {MOST_CLIPS} clips for one picture: narrow it with --start and --end, or take a longer "
                "--step, or write an .mp4 alone"
            )
        heats = iter(kept)
        for target in args.out:
            write(target, kept, args.rate)
    else:
        write(args.out[0], heats, args.rate)
    for target in args.out:
        print(f"written: {target}", file=sys.stderr)
    return 0


def layers_to_show(recognizer: Recognizer, args: argparse.Namespace) -> list[str]:
    """Returns the layers for Grad-CAM, none for attention rollout, and prints which it is. Raises: UserError."""
    asked = args.layer is not None or args.label is not None  # which only Grad-CAM can answer
    if args.method == "rollout" and asked:
        raise UserError("--method rollout is the same for all classes and layers; leave out --class and --layer")
    has = rolls_out(recognizer.method)
    if args.method == "rollout" and not has:
        raise UserError(
            f"--method rollout: {recognizer.method.name} is no transformer whose tokens stay the same from block to "
            "block; take --method grad-cam"
        )
    if has and not asked and args.method != "grad-cam":
        print(f"{TITLE}, which is the same for every class; --method grad-cam looks for one")
        return []
    layers = args.layer or default_layers(recognizer)
    print("maps of " + " and ".join(layer_title(recognizer.method, layer) for layer in layers))
    return layers


def find_class(recognizer: Recognizer, given: str) -> int:
    """Returns the label of a class, given by its name or its index. Raises: UserError with what may have been meant."""
    names = recognizer.class_names or []
    if given in names:
        return names.index(given)
    if given.isdecimal() and len(given) < 10 and int(given) < recognizer.num_class:
        return int(given)
    indices = f"; indices are 0 to {recognizer.num_class - 1}"
    raise UserError(
        f"--class {given}: there is no such class"
        + (nearest(given, names) if names and not given.isdecimal() else indices)
    )


def clips_of_video(recognizer: Recognizer, args: argparse.Namespace) -> Iterator[Clip]:
    """Yields the clip that stands for a video, or one for each of its windows. Raises: FrameError."""
    video = open_input(Path(args.input), fps=frame_rate(args.fps, [args.input]))
    assert video.num_frames is not None
    num_frames = video.count_between(args.start, args.end)
    if num_frames < 1:
        raise UserError(f"--start {args.start:g}: {video.name} has only {video.num_frames / video.fps:.1f} s")
    frames = between(video.frames(), args.start, args.end)
    clips = recognizer.cut(video, frames, num_frames=num_frames, window=args.window, step=args.step)
    nothing = True
    for item in clips:
        yield item.views[0], item.times[0] + args.start, ""
        nothing = False
    for warning in video.warnings:
        print(f"warning: {video.name}: {warning}", file=sys.stderr)
    if nothing:
        raise video.nothing_decoded()


def clip_of_record(recognizer: Recognizer, args: argparse.Namespace) -> Iterator[Clip]:
    """Yields the clip of one record of the list that the checkpoint's config names, read by its data set."""
    protocol = clip_protocol(recognizer.common, recognizer.method.clip, train=args.split == "train")
    split = open_split(recognizer.common, args.split, protocol)
    row = next((row for row in range(len(split)) if split.path(row) == args.record), None)
    if row is None:
        raise UserError(f"--record {args.record}: not in the {args.split} list of {recognizer.path}")
    batch = split.dataset.__getitems__([(0, row)]).to(recognizer.device)
    if batch.faults[0]:
        raise FrameError(batch.faults[0])
    seen = split.dataset.seconds((0, row), fps=args.fps or DEFAULT_FPS)
    assert seen is not None
    label = batch.labels[0].cpu().numpy()
    truth = f"  truth {in_words(label, split.class_names)}" if (label >= 0).all() else ""
    clip = batch.clips[0, 0].permute(1, 2, 3, 0).cpu().numpy()
    yield clip, seen[0], f"  {args.record}{truth}"


def explained(
    recognizer: Recognizer, clips: Iterator[Clip], layers: Sequence[str], label: int | None
) -> Iterator[Heat]:
    """Yields every clip with its maps, and prints a line about each. layers: none for attention rollout."""
    for clip, times, addition in clips:
        found = explain(recognizer, clip, layers, label) if layers else explain_by_rollout(recognizer, clip)
        span, name = f"{times[0]:.1f} - {times[-1]:.1f} s  {found.score:.3f}", recognizer.name(found.label)
        print(f"{span}  {name}{addition}", flush=True)
        for layer, heat in found.maps.items():
            if not heat.any():
                print(f"warning: nothing in {layer} speaks for {name} here", file=sys.stderr)
        title = readable(f"{span}  {drawn_name(name, found.label)}{addition}")
        maps = {layer_title(recognizer.method, layer): heat for layer, heat in found.maps.items()}
        yield Heat(title, clip, times, maps)


def write(target: Path, heats: Iterable[Heat], rate: float | None) -> None:
    """Writes one file of the kind that its name says. Raises: UserError when it cannot be written."""
    if target.suffix.lower() == ".png":
        write_png(target, strip(list(heats)))
        return
    first, *_ = waiting = list(itertools.islice(heats := iter(heats), 1))
    pictures = (picture for heat in itertools.chain(waiting, heats) for picture in side_by_side(heat))
    rate = rate or as_it_happened(first.times)
    if target.suffix.lower() == ".gif":
        write_gif(target, list(pictures), rate)
    else:
        write_video(target, ((index / rate, picture) for index, picture in enumerate(pictures)), rate)


def as_it_happened(times: np.ndarray) -> float:
    """Returns the frame rate that shows a clip as fast as it happened, within what an eye can follow."""
    spacing = float(np.diff(times).mean()) if len(times) > 1 else 0.0
    return min(max(1 / spacing if spacing > 0 else SLOWEST, SLOWEST), FASTEST)

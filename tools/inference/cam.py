"""Explains clips of a video by Grad-CAM and writes the pictures, for tools/cam.py."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.frame_dataset import FrameDataset
from datasets.protocol import clip_protocol
from datasets.split import open_split
from datasets.videos.video import between
from tools.inference.annotate import drawn_name, write_video
from tools.inference.features import layer_names
from tools.inference.grad_cam import last_maps, look, pathway
from tools.inference.heat_pictures import Heat, side_by_side, strip, write_gif, write_png
from tools.inference.inputs import open_single
from tools.inference.prediction import Settings, frame_counts
from tools.inference.trained import Trained, open_from_arguments
from tools.inference.windows import cut, sliding, whole
from utils.config.file import nearest
from utils.errors import FrameError, UserError
from utils.plots.fonts import readable

MOST_CLIPS = 24  # in a strip or a GIF, which are made in memory; a film has no limit
SLOWEST, FASTEST = 2.0, 30.0  # frames per second of a film that is not told its rate
Clip = tuple[np.ndarray, np.ndarray, str]  # (T, H, W, 3), seconds (T,), what is known about it


def run(args: argparse.Namespace) -> int:
    """Writes the pictures; returns the exit code."""
    trained = one_view(open_from_arguments(args))
    if args.list_layers:
        print("\n".join(layer_names(trained.method)))
        return 0
    label = None if args.label is None else find_class(trained, args.label)
    layers = args.layer or last_maps(trained)
    print("maps of " + " and ".join(pathway(trained.method, layer) for layer in layers))
    clips = of_record(trained, args) if args.record is not None else of_video(trained, args)
    heats = explained(trained, clips, layers, label)
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


def one_view(trained: Trained) -> Trained:
    """The same network, looking at one clip's centre crop where its test protocol averages several."""
    test = trained.common.test.model_copy(update={"num_clips": None, "num_crops": 1})
    common = trained.common.model_copy(update={"test": test, "val_dense": False})
    return replace(trained, common=common, protocol=clip_protocol(common, trained.method.clip, train=False))


def find_class(trained: Trained, given: str) -> int:
    """A class by its name or else its index. Raises: UserError with what may have been meant."""
    names = trained.class_names or []
    if given in names:
        return names.index(given)
    if given.isdigit() and int(given) < trained.num_class:
        return int(given)
    about = nearest(given, names) if names and not given.isdigit() else f"; indices are 0 to {trained.num_class - 1}"
    raise UserError(f"--class {given}: there is no such class{about}")


def of_video(trained: Trained, args: argparse.Namespace) -> Iterator[Clip]:
    """The clip that stands for a video, or one for each of its windows. Raises: FrameError."""
    video = open_single(args.input, fps=args.fps)
    assert video.num_frames is not None
    first = round(args.start * video.fps)
    num_frames = min(video.num_frames, math.ceil(min(args.end * video.fps, video.num_frames))) - first
    if num_frames < 1:
        raise UserError(f"--start {args.start:g}: {video.name} has only {video.num_frames / video.fps:.1f} s")
    if args.window is None and args.step is None:
        windows = iter(
            [
                whole(
                    trained.protocol.rule,
                    trained.protocol.clip,
                    num_frames=num_frames,
                    num_clips=trained.protocol.num_clips,
                )
            ]
        )
    else:
        counts = frame_counts(trained, video, Settings(window=args.window, step=args.step))
        windows = sliding(trained.protocol.rule, trained.protocol.clip, num_frames=num_frames, **counts)
    empty = True
    for item in cut(between(video.frames(), args.start, args.end), windows, trained.protocol.transform):
        yield item.views[0], item.times[0] + args.start, ""
        empty = False
    for warning in video.warnings:
        print(f"warning: {video.name}: {warning}", file=sys.stderr)
    if empty:
        raise FrameError(f"{video.name}: nothing in it can be decoded: {'; '.join(video.warnings) or 'no frame'}")


def of_record(trained: Trained, args: argparse.Namespace) -> Iterator[Clip]:
    """A record of the list that the checkpoint's config names, through the data set that evaluates it."""
    protocol = clip_protocol(trained.common, trained.method.clip, train=args.split == "train")
    split = open_split(trained.common, args.split, protocol)
    row = next((row for row in range(len(split)) if split.path(row) == args.record), None)
    if row is None:
        raise UserError(f"--record {args.record}: not in the {args.split} list of {trained.path}")
    dataset = split.dataset
    sample = dataset[(0, row)]
    if sample["fault"]:
        raise FrameError(sample["fault"])
    seen = dataset.indices(row, None)[0] if isinstance(dataset, FrameDataset) and not dataset.train else None
    indices = np.arange(protocol.clip.num_frames) * protocol.clip.frame_stride if seen is None else seen
    truth = f"  truth {trained.name(int(sample['label']))}" if sample["label"] >= 0 else ""
    yield sample["clips"][0], indices / args.fps, f"  {args.record}{truth}"


def explained(trained: Trained, clips: Iterator[Clip], layers: Sequence[str], label: int | None) -> Iterator[Heat]:
    """Every clip with its maps; a line about each goes to the terminal."""
    for clip, times, about in clips:
        seen = look(trained, clip, layers, label)
        span = f"{times[0]:.1f} - {times[-1]:.1f} s  {seen.score:.3f}"
        print(f"{span}  {trained.name(seen.label)}{about}", flush=True)
        for layer, found in seen.maps.items():
            if not found.any():
                print(f"warning: nothing in {layer} speaks for {trained.name(seen.label)} here", file=sys.stderr)
        title = readable(f"{span}  {drawn_name(trained, seen.label)}{about}")
        yield Heat(title, clip, times, {pathway(trained.method, layer): found for layer, found in seen.maps.items()})


def write(target: Path, heats: Iterable[Heat], rate: float | None) -> None:
    """One file of the kind that its name says. Raises: UserError when it cannot be written."""
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
    """Frames per second at which a clip's frames pass as they did before the camera, within what an eye can follow."""
    spacing = float(np.diff(times).mean()) if len(times) > 1 else 0.0
    return min(max(1 / spacing if spacing > 0 else SLOWEST, SLOWEST), FASTEST)

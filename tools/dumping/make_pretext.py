"""Chooses, cuts and lists the clips of a pretext task, for tools/make_pretext.py."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.stores.disk import write_sums
from datasets.videos.video import Video
from tools.dumping.pool import WorkerDiedError, run_in_pool
from tools.dumping.shots import CELLS, Look, look_at
from tools.dumping.video import FIRST_FRAME, TEMPLATE, write_jpeg
from tools.listing.found import Found
from tools.listing.list_files import list_lines
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.files import atomic_write, find_files, whole_folder
from utils.plain_text import write_rows
from utils.transforms.image import quick_resize

MADE = "pretext.json"  # what the data set was made of, and how
SMALLEST_BOX = 1 / 3  # of the short side of the video
TRIES = 40  # boxes and moments that are drawn for a place before it counts as still
VERSION = 1  # changes when the same settings make something else
README = """\
# {name}

A pretext task, made by `tools/make_pretext.py` from videos without labels: the classes are {classes}.

    frames/       one folder of JPEGs per clip: <class>/<clip>/img_%05d.jpg, counted from {first}
    lists/        train.txt and val.txt (`path num_frames label`, paths relative to this folder), classInd.txt
    clips.csv     where each clip comes from: video, shot, first frame, frames from one picture to the next, box
    pretext.json  the settings, the videos and their shots

Clips of one place (`_g0012_`) show the same part of a shot, one for each class. Write below under which terms the
videos may be used.
"""


@dataclass(frozen=True)
class Piece:
    """Holds a part of a shot that either trains or validates: frames `first` to before `end` of a video."""

    video: int
    shot: int
    first: int
    end: int
    split: str


@dataclass(frozen=True)
class Place:
    """Holds what the clips of all classes have in common: a span of a video, and a box in its pictures.

    number: of the place, from 0, unique in the data set.
    begin: the first frame of the span that the clips lie in.
    left, top, side: the box, in pixels.
    """

    piece: Piece
    number: int
    begin: int
    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Clip:
    """Describes one clip: which frames of which video, and the box that is cut out of them.

    path: its folder below frames/.
    first, step: the number of the first picture in the video, from 0, and how many frames further the next one is;
        `step` is below 0 for a clip that plays backward.
    """

    path: str
    label: str
    place: Place
    first: int
    step: int

    def pictures(self, count: int) -> range:
        """Returns the numbers of its `count` frames in the video."""
        return range(self.first, self.first + self.step * count, self.step)


@dataclass(frozen=True)
class Job:
    """Describes what a worker writes: the clips of one video."""

    source: Path
    clips: Sequence[Clip]
    out: Path
    frames: int
    size: int


def class_names(args: argparse.Namespace) -> list[str]:
    """Returns the names of the classes in the order of their labels."""
    return [f"speed_{speed}x" for speed in args.speeds] if args.task == "speed" else ["forward", "backward"]


def find_sources(given: Sequence[Path]) -> list[Path]:
    """Returns the videos, and those in the folders, sorted within each. Raises: UserError if none is there."""
    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise UserError(f"{path}: no such video or folder")
        found += [path] if path.is_file() else [path / below for below in find_files(path, VIDEO_SUFFIXES)]
    if not found:
        raise UserError(f"{given[0]}: no videos in it ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return list(dict.fromkeys(found))


def divide(looks: Sequence[Look], span: int, *, ratio: float, seed: int) -> list[Piece]:
    """Divides the shots into training and validation; about `ratio` of the footage validates.

    A shot whose last `ratio` holds two spans is divided in time; a gap of one span lies between the two parts, so that
    no frame of the one is next to one of the other. Of the others, whole shots validate. Shots shorter than a span are
    left out. span: the frames that the longest clip reaches over.

    Raises: UserError if one side would be empty.
    """
    pieces: list[Piece] = []
    whole: list[Piece] = []
    for video, look in enumerate(looks):
        for shot, (first, end) in enumerate(look.shots):
            share = round((end - first - span) * ratio)
            if share >= 2 * span:
                pieces.append(Piece(video, shot, first, end - share - span, "train"))
                pieces.append(Piece(video, shot, end - share, end, "val"))
            elif end - first >= span:
                whole.append(Piece(video, shot, first, end, "train"))
    wanted = ratio * sum(piece.end - piece.first for piece in whole)
    held = 0
    for place in np.random.default_rng([seed, len(whole)]).permutation(len(whole)).tolist():
        piece = whole[place]
        length = piece.end - piece.first
        if held + length / 2 <= wanted or (not any(one.split == "val" for one in pieces) and len(whole) > 1):
            held += length
            piece = Piece(piece.video, piece.shot, piece.first, piece.end, "val")
        pieces.append(piece)
    if {piece.split for piece in pieces} != {"train", "val"}:
        longest = max((end - first for look in looks for first, end in look.shots), default=0)
        raise UserError(
            f"too little footage: it takes two shots of {span} frames, or one of {round(2 * span / ratio) + span}, but "
            f"the longest has {longest}; give more videos, lower --speeds or fewer --frames"
        )
    return sorted(pieces, key=lambda piece: (piece.video, piece.first))


def choose(looks: Sequence[Look], pieces: Sequence[Piece], span: int, args: argparse.Namespace) -> Iterator[Place]:
    """Yields the places: a span of a piece, and a box in which something moves at the middle of the span.

    Two neighbouring frames show whether it moves, whatever the classes are, so that it says nothing about them. Pieces
    get places in proportion to the room that they have; nothing is taken from a piece where nothing moves.
    """
    number = 0
    for split, share in (("train", 1 - args.val_ratio), ("val", args.val_ratio)):
        those = [piece for piece in pieces if piece.split == split]
        room = np.cumsum([0, *(piece.end - piece.first - span + 1 for piece in those)])
        counts = np.diff(np.rint(share * (args.clips // len(class_names(args))) * room / room[-1])).astype(int)
        for piece, count in zip(those, counts.tolist(), strict=True):
            rng = np.random.default_rng([args.seed, piece.video, piece.first])
            for _ in range(count):
                if (found := find_place(looks[piece.video], piece, span, args, rng=rng)) is not None:
                    yield Place(piece, number, *found)
                    number += 1


def find_place(
    look: Look, piece: Piece, span: int, args: argparse.Namespace, *, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """Draws the first frame of a span and a box (left, top, side); None if nothing moves in any that is drawn."""
    short = min(look.height, look.width)
    smallest = min(max(short * SMALLEST_BOX, args.size), short)
    for _ in range(TRIES):
        begin = int(rng.integers(piece.first, piece.end - span + 1))
        side = int(np.exp(rng.uniform(np.log(smallest), np.log(short))))
        left, top = int(rng.integers(look.width - side + 1)), int(rng.integers(look.height - side + 1))
        if look.motion(begin + span // 2 - 1, (left, top, side)) >= args.motion:
            return begin, left, top, side
    return None


def clips_of(place: Place, source: Path, span: int, args: argparse.Namespace) -> Iterator[Clip]:
    """Yields the clips of a place, one for each class.

    A clip lies anywhere in the span, so that the frames of slow clips are spread over it as those of fast ones are.
    """
    rng = np.random.default_rng([args.seed, place.number, place.begin])
    stem = re.sub(r"[^\w.-]+", "_", source.stem)[:40].strip(".")
    name = f"{stem}_s{place.piece.shot:04d}_g{place.number:05d}"
    if args.task == "speed":
        for label, speed in zip(class_names(args), args.speeds, strict=True):
            first = place.begin + int(rng.integers(span - (args.frames - 1) * speed))
            yield Clip(f"{label}/{name}", label, place, first, speed)
        return
    speed = int(rng.choice(args.speeds))
    reach = (args.frames - 1) * speed
    first = place.begin + int(rng.integers(span - reach))
    yield Clip(f"forward/{name}", "forward", place, first, speed)
    yield Clip(f"backward/{name}", "backward", place, first + reach, -speed)


def write_clips(job: Job) -> None:
    """Writes the frames of all clips of one video, which is decoded once. Raises: FrameError if it has changed."""
    cv2.setNumThreads(0)
    wanted: dict[int, list[tuple[Clip, int]]] = defaultdict(list)
    for clip in job.clips:
        (job.out / "frames" / clip.path).mkdir(parents=True)
        for position, frame in enumerate(clip.pictures(job.frames), FIRST_FRAME):
            wanted[frame].append((clip, position))
    sums: dict[str, dict[str, int]] = defaultdict(dict)
    for number, (_, picture) in enumerate(Video(job.source).frames(order="bgr")):
        for clip, position in wanted.pop(number, ()):
            left, top, side = clip.place.left, clip.place.top, clip.place.side
            box = np.ascontiguousarray(picture[top : top + side, left : left + side])
            name = TEMPLATE.format(position)
            small = quick_resize(box, (job.size, job.size), average=side > job.size)
            sums[clip.path][name] = write_jpeg(job.out / "frames" / clip.path / name, small, quality=95)
        if not wanted:
            break
    if wanted:
        raise FrameError(f"{job.source}: frame {min(wanted)} was there at the first look; do not change it meanwhile")
    for clip in job.clips:
        write_sums(job.out / "frames" / clip.path, TEMPLATE, sums[clip.path])


def write_lists(out: Path, clips: Sequence[Clip], args: argparse.Namespace, sources: Sequence[Path]) -> None:
    """Writes lists/, clips.csv and README."""
    names = class_names(args)
    index = {name: number for number, name in enumerate(names)}
    (out / "lists").mkdir()
    with atomic_write(out / "lists/classInd.txt", "w") as file:
        file.writelines(f"{number} {name}\n" for name, number in index.items())
    for split in ("train", "val"):
        found = [
            Found(f"frames/{clip.path}", clip.label, args.frames) for clip in clips if clip.place.piece.split == split
        ]
        with atomic_write(out / f"lists/{split}.txt", "w") as file:
            file.writelines(list_lines(found, index))
    with atomic_write(out / "clips.csv", "w", newline="") as file:
        rows: list[list[Any]] = [["path", "label", "split", "video", "shot", "first", "step", "left", "top", "side"]]
        for clip in clips:
            place, piece = clip.place, clip.place.piece
            origin = sources[piece.video], piece.shot, clip.first, clip.step, place.left, place.top, place.side
            rows.append([f"frames/{clip.path}", clip.label, piece.split, *origin])
        write_rows(file, rows)
    with atomic_write(out / "README", "w") as file:
        file.write(README.format(name=args.out.resolve().name, classes=", ".join(names), first=FIRST_FRAME))


def settings_of(args: argparse.Namespace, sources: Sequence[Path]) -> dict[str, Any]:
    """Returns what decides the data set: the same settings make the same bytes."""
    keys = ("task", "speeds", "clips", "frames", "size", "motion", "val_ratio", "seed")
    videos = [[str(source), source.stat().st_size] for source in sources]
    return {"version": VERSION, **{key: getattr(args, key) for key in keys}, "videos": videos}


def is_made(out: Path, settings: dict[str, Any]) -> bool:
    """Returns whether `out` is this data set. Raises: UserError if it is another one, or something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        before = json.loads((out / MADE).read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{out} exists and was not made by make_pretext; give another --out, or remove it") from None
    different = [key for key in settings if before.get(key) != settings[key]]
    if different:
        said = ", ".join("other videos" if key == "videos" else f"{key} {before.get(key)}" for key in different)
        raise UserError(f"{out} was made with {said}; give another --out, or remove it to make it again")
    return True


def look_at_all(sources: Sequence[Path], *, workers: int) -> list[Look]:
    """Looks at every video and prints which are left out, because they are damaged. Raises: UserError if all are."""
    looks: dict[Path, Look] = {}
    with Progress(len(sources), unit="videos looked at") as progress:
        for source, look in run_in_pool(try_to_look, sources, workers=workers):
            errors = [f"{type(look).__name__}: {look}"] if isinstance(look, Exception) else look.errors
            if errors:
                progress.note(f"left out: {source}: {errors[0].removeprefix(f'{source}: ')}")
            else:
                looks[source] = look
            progress.advance(1)
    if not looks:
        raise UserError(f"none of the {len(sources)} videos can be read, such as {sources[0]}")
    return [looks[source] for source in sources if source in looks]


def try_to_look(source: Path) -> Look:
    """Looks at a video; the reason why it cannot be read is among the errors of what is returned."""
    try:
        return look_at(source)
    except FrameError as error:
        return Look(source, 0, 0, [], np.zeros((0, *CELLS[::-1]), np.uint8), [str(error)])


def plan(looks: Sequence[Look], args: argparse.Namespace) -> list[Clip]:
    """Chooses the clips and prints what they are taken from. Raises: UserError if one split would be empty."""
    span = (args.frames - 1) * max(args.speeds) + 1
    pieces = divide(looks, span, ratio=args.val_ratio, seed=args.seed)
    places = list(choose(looks, pieces, span, args))
    shots = [shot for look in looks for shot in look.shots]
    used = len({(piece.video, piece.shot) for piece in pieces})
    frames = Counter[str]()
    for piece in pieces:
        frames[piece.split] += piece.end - piece.first
    print(
        f"found {len(shots)} shots in {len(looks)} videos; {used} have the {span} frames that the longest clip needs; "
        f"{frames['train']} frames train, {frames['val']} validate",
        flush=True,
    )
    wanted = args.clips // len(class_names(args))
    if len(places) < wanted:
        print(f"{wanted - len(places)} of {wanted} places are left out: nothing moves there (--motion {args.motion:g})")
    for split in ("train", "val"):
        if not any(place.piece.split == split for place in places):
            raise UserError(
                f"nothing moves in the footage of {split}: give a lower --motion than {args.motion:g}, more --clips, "
                "or other videos"
            )
    return [clip for place in places for clip in clips_of(place, looks[place.piece.video].source, span, args)]


def run(args: argparse.Namespace) -> int:
    """Makes the data set; does nothing where it is there already. Returns the exit code."""
    out: Path = args.out
    sources = find_sources(args.videos)
    settings = settings_of(args, sources)
    if is_made(out, settings):
        print(f"{out} already exists; remove it to make it again")
        return 0
    looks = look_at_all(sources, workers=args.workers)
    clips = plan(looks, args)
    good = [look.source for look in looks]
    with whole_folder(out) as building:
        by_video: dict[int, list[Clip]] = defaultdict(list)
        for clip in clips:
            by_video[clip.place.piece.video].append(clip)
        jobs = [Job(good[video], those, building, args.frames, args.size) for video, those in by_video.items()]
        with Progress(len(clips), unit="clips written") as progress:
            for job, answer in run_in_pool(write_clips, jobs, workers=args.workers):
                if isinstance(answer, WorkerDiedError):
                    raise UserError(f"{job.source}: {answer}; fewer --workers need less memory")
                if isinstance(answer, Exception):
                    raise answer
                progress.advance(len(job.clips))
        write_lists(building, clips, args, good)
        shots = {str(look.source): look.shots for look in looks}
        with atomic_write(building / MADE, "w") as file:
            json.dump({"settings": settings, "shots": shots}, file)
    counts = Counter(clip.place.piece.split for clip in clips)
    names = class_names(args)
    print(
        f"wrote {counts['train']} training and {counts['val']} validation clips of {len(names)} classes to {out}: "
        f"{', '.join(names)}"
    )
    return 1 if len(good) < len(sources) else 0

"""Shows what label files hold, converts them, and writes lists of their spans, for tools/spans.py."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from datasets.lists.class_names import read_classes
from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.spans.check import overlapping
from datasets.spans.files import Labels, read_labels, texts_of, write_texts
from datasets.spans.format import losses
from datasets.spans.formats import FORMATS
from datasets.spans.span import Span, SpanTable, counted
from datasets.spans.video_files import VideoFiles
from tools.listing.found import Found
from tools.listing.list_files import class_order, csv_lines, is_label, plain_numbers, write
from tools.listing.splits import SPLITS, ratio_split
from utils.errors import UserError

EXIT_FAULTS = 2


def run(args: argparse.Namespace) -> int:
    """Shows, mends, converts and lists; returns the exit code."""
    for name in filter(None, (args.form, args.to and args.to[0])):
        if name not in FORMATS:
            raise UserError(f"{name}: no such format; there are {', '.join(FORMATS)}")
    videos = None if args.videos is None else VideoFiles(args.videos)
    classes = None if args.classes is None else read_classes(args.classes)
    labels = read_labels(args.files, form=args.form, classes=classes, videos=videos, fps=args.fps)
    for line in (*labels.notes, *_summary(labels)):
        print(line)
    if labels.faults and not args.fix:
        print("these numbers are those after --fix")
    left = _say_faults(labels, fix=args.fix)
    if left:
        print(f"{counted(left, 'fault')}; nothing was written")
        return EXIT_FAULTS
    texts = {} if args.to is None else _converted(labels.table, args, videos)
    lists = [] if args.lists is None else _lists(labels.table, args, videos)
    _spare(args.files, (*texts, *(path for path, _, _ in lists)))
    if texts:
        write_texts(texts)
        more = f" and {counted(len(texts) - 1, 'more file')}" if len(texts) > 1 else ""
        print(f"wrote {next(iter(texts))}{more}")
    if lists:
        args.lists.mkdir(parents=True, exist_ok=True)
        for path, lines, what in lists:
            write(path, lines, what)
        root = args.videos or "the folder that the paths start from"
        print(f"a config needs num_class: {len(lists[-1][1])}, train_root: {root} and data: {{store: {{type: video}}}}")
    return 0


def _spare(read: Iterable[Path], targets: Iterable[Path]) -> None:
    """Raises UserError if a file that was read would be written."""
    sources = {(there.st_dev, there.st_ino) for there in map(Path.stat, read)}
    for target in targets:
        if target.is_file() and (target.stat().st_dev, target.stat().st_ino) in sources:
            raise UserError(f"{target}: is a file of labels that was read, and stays as it is; give another place")


def _say_faults(labels: Labels, *, fix: bool) -> int:
    """Prints what is wrong; returns how much of it is left."""
    left = 0
    for fault in labels.faults:
        mended = bool(fix and fault.fix)
        left += not mended
        way_out = f"; mended: {fault.fix}" if mended else f" [--fix: {fault.fix}]" if fault.fix else ""
        print(f"{'' if mended else 'wrong: '}{fault.message}{way_out}")
    return left


def _summary(labels: Labels) -> list[str]:
    """Says how many videos, spans, classes and seconds there are."""
    table = labels.table
    spans = list(table.spans)
    files = Counter(labels.formats.values())
    lines = [f"{counted(number, 'file')} of {FORMATS[name].title}" for name, number in files.items()]
    seconds = sum(span.seconds for span in spans)
    counts = f"{counted(len(table.videos), 'video')}, {counted(len(spans), 'span')} of {seconds:.1f} s in all"
    lines.append(f"{counts}, {counted(len(table.classes), 'class', 'classes')}")
    width = max((len(name) for name in table.classes), default=0)
    for name in table.classes:
        own = [span.seconds for span in spans if span.label == name]
        lines.append(f"  {name:<{width}}  {counted(len(own), 'span'):>10}  {sum(own):10.1f} s")
    late = sum(1 for video in table.videos for _ in overlapping(video.spans))
    if late:
        lines.append(f"overlaps: {counted(late, 'span')} of {len(spans)} begin before an earlier one has ended")
    known = [(video.length, covered(video.spans)) for video in table.videos if video.length]
    whole = sum(length for length, _ in known)
    if whole:
        share = 100 * (1 - sum(min(inside, length) for length, inside in known) / whole)
        of = "" if len(known) == len(table.videos) else f", of the {counted(len(known), 'video')} with a known duration"
        lines.append(f"background: {share:.1f} % of {whole:.1f} s{of}")
    return lines


def covered(spans: tuple[Span, ...]) -> float:
    """Returns the seconds that spans in order cover; where several overlap, they count once."""
    seconds, end = 0.0, 0.0
    for span in spans:
        seconds += max(span.end - max(span.start, end), 0.0)
        end = max(end, span.end)
    return seconds


def _converted(table: SpanTable, args: argparse.Namespace, files: VideoFiles | None) -> dict[Path, str]:
    """Returns the files of --to; prints what they cannot hold."""
    name, out = args.to
    full = table.videos if files is None else tuple(map(files.complete, table.videos))
    written = replace(table, videos=tuple(replace(video, fps=video.fps or args.fps) for video in full))
    for line in losses(table, FORMATS[name], written=written):
        print(f"not kept: {line}")
    return texts_of(written, Path(out), name)


def _lists(table: SpanTable, args: argparse.Namespace, files: VideoFiles | None) -> list[tuple[Path, list[str], str]]:
    """Returns the files of --lists, each with its lines and what it holds; all spans of a video are in the same one."""
    if args.lists.exists() and not args.lists.is_dir():
        raise UserError(f"{args.lists}: is not a folder; give another place")
    videos = [video for video in table.videos if video.spans]
    if not videos:
        raise UserError(f"{args.files[0]}: has no span, so there is nothing to write lists of")
    if args.empty:
        videos = list(table.videos)
    if left := len(table.videos) - len(videos):
        print(f"{counted(left, 'video')} without spans: not in the lists; --empty lists them, for type: segment")
    if args.split is not None:
        sets = [sorted({span.label for span in video.spans}) for video in videos]
        sides = ratio_split(sets, [video.name for video in videos], ratio=1 - args.split, seed=args.seed)
    else:
        sides = [SPLITS.get(video.subset.lower(), "") for video in videos]
        if other := next((v for v, side in zip(videos, sides, strict=True) if not side), None):
            raise UserError(
                f"{other.name}: its subset is {other.subset or 'unknown'!r}, which does not say whether it trains; "
                "divide the videos with --split 0.8"
            )
    numbers = args.classes is None and bool(table.classes) and all(map(is_label, table.classes))
    names = class_order((str(int(name)) for name in table.classes), renumber=None) if numbers else table.classes
    index = {name: number for number, name in enumerate(names)}
    written: list[tuple[Path, list[str], str]] = []
    for side in ("train", "val", "test"):
        own = [video for video, its in zip(videos, sides, strict=True) if its == side]
        parts = [
            Found(_path(video.name, files), span.label, 0, start=span.start, end=span.end)
            for video in own
            for span in video.spans
        ]
        path = args.lists / f"{side}.csv"
        empty = [_path(video.name, files) for video in own if not video.spans]
        if parts or empty:
            lines = csv_lines(plain_numbers(parts) if numbers else parts, index, empty=empty)
            what = f"{counted(len(parts), 'span')} of {counted(len({part.path for part in parts}), 'video')}"
            written.append((path, lines, what + (f", {counted(len(empty), 'video')} without spans" if empty else "")))
        elif path.exists():
            print(f"{path} is of an earlier run, and stays: no video of these labels is in it; remove it if it is old")
        elif args.split is not None and side != "test":
            print(f"no {path.name}: {counted(len(videos), 'video')} at --split {args.split:g} leave none for it")
    lines = [f"{number} {name}\n" for name, number in index.items()]
    return [*written, (args.lists / "classInd.txt", lines, counted(len(lines), "class", "classes"))]


def _path(name: str, files: VideoFiles | None) -> str:
    """Returns the path of a video in a list. Raises UserError for an id, of which only the folder knows the file."""
    path = name if files is None else files.path(name)
    if path is None or PurePosixPath(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise UserError(f"{name}: is not the path of a video; give --videos, the folder of the videos")
    return path

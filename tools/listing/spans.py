"""Shows what label files hold, converts them, and writes lists of their spans, for tools/spans.py."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

from datasets.lists.class_names import read_classes
from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.spans.files import Labels, read_labels, write_spans
from datasets.spans.format import losses
from datasets.spans.formats import FORMATS
from datasets.spans.span import Span, SpanTable
from datasets.spans.video_files import VideoFiles
from tools.listing.found import Found
from tools.listing.list_files import csv_lines, write
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
        print(f"{_counted(left, 'fault')}; nothing was written")
        return EXIT_FAULTS
    if args.to is not None:
        _convert(labels.table, args, videos)
    if args.lists is not None:
        _make_lists(labels.table, args, videos)
    return 0


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
    lines = [f"{_counted(number, 'file')} of {FORMATS[name].title}" for name, number in files.items()]
    seconds = sum(span.seconds for span in spans)
    counts = f"{_counted(len(table.videos), 'video')}, {_counted(len(spans), 'span')} of {seconds:.1f} s in all"
    lines.append(f"{counts}, {len(table.classes)} classes")
    width = max((len(name) for name in table.classes), default=0)
    for name in table.classes:
        own = [span.seconds for span in spans if span.label == name]
        lines.append(f"  {name:<{width}}  {_counted(len(own), 'span'):>10}  {sum(own):10.1f} s")
    late = sum(overlaps(video.spans) for video in table.videos)
    if late:
        lines.append(f"overlaps: {_counted(late, 'span')} of {len(spans)} begin before an earlier one has ended")
    known = [(video.length, covered(video.spans)) for video in table.videos if video.length]
    whole = sum(length for length, _ in known)
    if whole:
        share = 100 * (1 - sum(min(inside, length) for length, inside in known) / whole)
        of = "" if len(known) == len(table.videos) else f", of the {len(known)} videos with a known duration"
        lines.append(f"background: {share:.1f} % of {whole:.1f} s{of}")
    return lines


def overlaps(spans: tuple[Span, ...]) -> int:
    """Returns how many spans in order begin before an earlier one has ended."""
    found, end = 0, 0.0
    for span in spans:
        found += span.start < end
        end = max(end, span.end)
    return found


def covered(spans: tuple[Span, ...]) -> float:
    """Returns the seconds that spans in order cover; where several overlap, they count once."""
    seconds, end = 0.0, 0.0
    for span in spans:
        seconds += max(span.end - max(span.start, end), 0.0)
        end = max(end, span.end)
    return seconds


def _convert(table: SpanTable, args: argparse.Namespace, files: VideoFiles | None) -> None:
    name, out = args.to
    full = table.videos if files is None else tuple(map(files.complete, table.videos))
    written = replace(table, videos=tuple(replace(video, fps=video.fps or args.fps) for video in full))
    for line in losses(table, FORMATS[name], written=written):
        print(f"not kept: {line}")
    paths = write_spans(written, Path(out), name)
    more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
    print(f"wrote {paths[0]}{more}")


def _make_lists(table: SpanTable, args: argparse.Namespace, files: VideoFiles | None) -> None:
    """Writes the lists; all spans of a video are in the same one."""
    videos = [video for video in table.videos if video.spans]
    if left := len(table.videos) - len(videos):
        print(f"{_counted(left, 'video')} without spans: not in the lists")
    if args.split is not None:
        sets = [sorted({span.label for span in video.spans}) for video in videos]
        names = [video.name for video in videos]
        sides = ratio_split(sets, names, ratio=1 - args.split, seed=args.seed)
    else:
        sides = [SPLITS.get(video.subset.lower(), "") for video in videos]
        if other := next((v for v, side in zip(videos, sides, strict=True) if not side), None):
            raise UserError(
                f"{other.name}: its subset is {other.subset or 'unknown'!r}, which does not say whether it trains; "
                "divide the videos with --split 0.8"
            )
    index = {name: number for number, name in enumerate(table.classes)}
    args.lists.mkdir(parents=True, exist_ok=True)
    for side in ("train", "val", "test"):
        parts = [
            Found(_path(video.name, files), span.label, 0, start=span.start, end=span.end)
            for video, its in zip(videos, sides, strict=True)
            if its == side
            for span in video.spans
        ]
        if parts:
            number = _counted(len({part.path for part in parts}), "video")
            write(args.lists / f"{side}.csv", csv_lines(parts, index), f"{_counted(len(parts), 'span')} of {number}")
    lines = [f"{number} {name}\n" for name, number in index.items()]
    write(args.lists / "classInd.txt", lines, f"{len(lines)} classes")
    root = args.videos or "the folder that the paths start from"
    print(f"a config needs num_class: {len(index)}, train_root: {root} and data: {{store: {{type: video}}}}")


def _path(name: str, files: VideoFiles | None) -> str:
    """Returns the path of a video in a list. Raises UserError for an id, of which only the folder knows the file."""
    path = name if files is None else files.path(name)
    if path is None or PurePosixPath(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise UserError(f"{name}: is not the path of a video; give --videos, the folder of the videos")
    return path


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

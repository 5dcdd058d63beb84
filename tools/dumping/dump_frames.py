"""Dumps the frames of many videos into one dataset, for tools/dump_frames.py."""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from datasets.lists.manifest import Manifest, Part, header_of, parts_of
from tools.dumping.estimate import estimate_dump
from tools.dumping.plan import plan
from tools.dumping.run import Kind, dump, locked, summary
from tools.dumping.video import FIRST_FRAME, TEMPLATE, Job, Settings, dump_video, fingerprint, has_other_colours
from utils.errors import UserError
from utils.files import atomic_write

VERSION = 2  # changes when the same settings write something else
README = """\
# {name}

A dataset of frames, made by `tools/dump_frames.py`.

    frames/         one folder of JPEGs per video: {layout}/img_%05d.jpg, counted from {first}
    lists/          train.txt and val.txt (`path num_frames label`, paths relative to this folder), classInd.txt
    manifest.jsonl  how it was made: a header with the settings, then a line per video with its source and frame count

In a config: `train_root` and `val_root` are this folder, `train_source` and `val_source` the files in lists/.
Write below where the videos come from, under which terms, and what is wrong with them.
"""


def trouble_with(job: Job, known: dict[str, Any] | None) -> str | None:
    """Returns None for a video to dump, "" for one that is done, otherwise what is in the way, as a message."""
    if not job.target.is_dir():
        return None
    if known is None:
        return f"{job.target} was not made by this tool; --overwrite replaces it"
    if known["status"] == "started" or (known["status"] == "partial" and not job.keep_partial):
        return None
    made = known["frames"]
    if not all((job.target / TEMPLATE.format(n)).exists() for n in (FIRST_FRAME, FIRST_FRAME + made - 1)):
        return None  # somebody removed frames: dump it again
    # left from an --overwrite that was interrupted; lines without a version are of its second one
    if known["settings"] != job.settings.as_json() or known.get("version", 2) != VERSION:
        return None
    if _changed(job, known):
        return f"{job.source} is not the file that was dumped; --overwrite dumps it again"
    if has_other_colours(job.source, known):
        return (
            f"{job.source} has colours of more than 8 bits, and an older version has dumped it, with slightly other "
            "pixels than this one; --overwrite dumps it again"
        )
    return ""


def _changed(job: Job, known: dict[str, Any]) -> bool:
    if not job.source.is_file():  # the video may be deleted while the frames are kept
        return False
    stat = job.source.stat()
    if (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return False
    return known.get("sha256") != fingerprint(job.source)["sha256"]


def check_settings(old: dict[str, Any], settings: Settings, out: Path) -> None:
    """Raises UserError if OUT was dumped with other settings, or by a version of this tool that wrote something else.

    All frames of a dataset are of one kind. old: the header of its manifest.
    """
    new = {"version": VERSION, **settings.as_json()}
    if old and (different := [key for key in new if old.get(key) != new[key]]):
        said = ", ".join(f"{key} {_plain(old.get(key))} (now {_plain(new[key])})" for key in different)
        raise UserError(f"{out} was dumped with {said}; give another OUT, or --overwrite to dump everything again")


class Named(Protocol):
    """Anything that has the name of a video."""

    @property
    def video(self) -> str:
        """The name, which no other video has."""
        ...


SomeNamed = TypeVar("SomeNamed", bound=Named)


def in_part(jobs: Sequence[SomeNamed], part: Part | None) -> list[SomeNamed]:
    """Returns the jobs of a part, or all without one.

    The name of a video decides, so that machines which see other files, while these are copied, never share a video.
    """
    number, count = part or (0, 1)
    return [job for job in jobs if zlib.crc32(job.video.encode("utf-8", "surrogateescape")) % count == number]


def check_parts(out: Path, part: Part, settings: Settings, *, overwrite: bool) -> None:
    """Raises UserError if OUT was dumped in another number of parts, or another part with other settings."""
    for other, path in parts_of(out).items():
        if other[1] != part[1]:
            joined = "run the same command once without --shard, which joins them and dumps what is missing"
            raise UserError(
                f"{out} was dumped in {other[1]} parts, not {part[1]}; keep --shard I/{other[1]}, or {joined}"
            )
        if not overwrite:
            check_settings(header_of(path), settings, out)


def write_readme(out: Path, *, flat: bool) -> None:
    """Writes the README of the dataset unless there is one."""
    if not (out / "README").exists():
        layout = "v_<tag>_<id>" if flat else "<class>/<video>"
        with atomic_write(out / "README", "w") as file:
            file.write(README.format(name=out.resolve().name, layout=layout, first=FIRST_FRAME))


def _plain(value: Any) -> str:
    if isinstance(value, list):  # a size, written as for --size
        return f"{value[0]}x{value[1]}" if value[0] else str(value[1])
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _why(job: Job, answer: dict[str, Any]) -> str:
    if answer["status"] == "ok":
        late = f"the last {answer['cut_short']:.2f} s of that are after its end"
        return f"{job.source}: {job.start:g} to {job.end:g} s, but {late}"
    first, *others = (error.removeprefix(f"{job.source}: ") for error in answer["errors"])
    more = f" (and {len(others)} more)" if others else ""
    readable = answer.get("decoded_frames", 0)
    hint = (
        f"; --keep-partial keeps the {readable} frames that can be decoded" if readable and not job.keep_partial else ""
    )
    return f"{job.source}: {first}{more}{hint}"


def run(args: argparse.Namespace) -> int:
    """Dumps the videos and prints a summary; returns the exit code."""
    begin = time.monotonic()
    jobs = plan(args)
    if args.estimate:
        print(estimate_dump(jobs, args.estimate, workers=args.workers, published=args.whole))
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be created ({error.strerror}); give another OUT") from None
    settings, jobs = jobs[0].settings, in_part(jobs, args.shard)
    with locked(args.out, args.shard):
        for folder in ("frames", "lists"):
            (args.out / folder).mkdir(exist_ok=True)
        write_readme(args.out, flat=args.flat)
        manifest = Manifest(args.out, part=args.shard)
        if not args.overwrite:
            check_settings(manifest.header, settings, args.out)
        _begin(manifest, args, settings)
        kind = Kind(work=dump_video, trouble_with=trouble_with, why=_why, made="frames", version=VERSION)
        outcome = dump(jobs, manifest, kind, workers=args.workers, overwrite=args.overwrite)
    print(f"{summary(len(jobs), outcome, kind)} in {time.monotonic() - begin:.1f} s")
    if args.shard:
        print(f"next, when all {args.shard[1]} parts are done: the same without --shard, which checks and joins them")
    else:
        print(f"next: python tools/make_lists.py {args.out}")
    return 1 if outcome["failed"] or outcome["partial"] else 0


def _begin(manifest: Manifest, args: argparse.Namespace, settings: Settings) -> None:
    """Opens the manifest for this run. Raises UserError if this part does not fit to others."""
    if args.shard:
        check_parts(args.out, args.shard, settings, overwrite=args.overwrite)
    new = not manifest.path.exists()
    header = {"tool": "dump_frames", "version": VERSION, "template": TEMPLATE, "first_frame": FIRST_FRAME}
    manifest.open({**header, "videos": str(args.videos.resolve()), **settings.as_json()})
    if args.shard:
        try:  # again, so that of two parts which begin at the same time one sees the other
            check_parts(args.out, args.shard, settings, overwrite=args.overwrite)
        except UserError:
            manifest.abandon()
            if new:
                manifest.path.unlink()
            raise

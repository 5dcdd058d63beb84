"""Packs the videos of whole lists, encoded for training, into tars, or verifies these, for tools/pack_videos.py."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2

from datasets.lists.manifest import Manifest, Part, header_of, part_name, parts_of
from datasets.places.files import is_plain, versioned
from datasets.places.place import Place, place
from datasets.places.tars import SUFFIX as TAR
from datasets.videos.scan import VideoTimes
from tools.dumping.dump_frames import in_part
from tools.dumping.estimate import in_bytes
from tools.dumping.packed_lists import check_classes, class_files, origins_of, write_lists
from tools.dumping.pool import WorkerDiedError, run_jobs
from tools.dumping.run import MOST_NOTES, locked
from tools.dumping.trade import SAMPLE, measure_trade
from tools.dumping.transcode import CODECS, SUFFIX, Encoding, check_encoder, transcode
from tools.dumping.video import FATAL, OutOfReachError, fingerprint, has_other_colours
from tools.dumping.video_lists import VideoList, member_names, read_source
from tools.dumping.video_shards import Shards, WholeTars, check_lines, empty_folder, verify_tars
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.files import sha256

VERSION = 1  # changes when the same settings write something else
_WORK = ".work.tmp"


@dataclass(frozen=True)
class Video:
    """Describes one video to pack. video: its name. source: its full path."""

    video: str
    source: str


@dataclass(frozen=True)
class Job:
    """Describes what a worker does. out: the file to write."""

    video: str
    source: str
    out: Path
    encoding: Encoding


def run(args: argparse.Namespace) -> int:
    """Packs, measures or verifies; returns the exit code."""
    if args.verify:
        return _verify(args.out)
    begin = time.monotonic()
    encoding = _encoding(args)
    given = {"multi_label": args.multi_label, "with_offset": args.with_offset}
    lists = [read_source(source, args.root, **given) for source in args.lists]
    wanted = _videos(lists, encoding)
    if args.estimate:
        print(measure_trade([one.source for one in wanted], encoding, sample=args.estimate, workers=args.workers))
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be created ({error.strerror}); give another OUT") from None
    with locked(args.out, args.shard):
        manifest = _manifest(args.out, args.shard, encoding)
        origins = origins_of(lists, args.lists, args.root, manifest, args.out)
        check_classes(lists, args.out)
        if args.shard is None:
            _tidy(args.out)
        outcome = _pack(in_part(wanted, args.shard), manifest, encoding, origins, args)
        if args.shard is None:
            write_lists(lists, manifest, args.out)
    packed = outcome["packed"] + outcome["packed before"]
    print(
        f"{args.out}: {packed} videos are packed, {outcome['packed']} of them now, {outcome['failed']} failed; "
        f"{time.monotonic() - begin:.1f} s"
    )
    if args.shard:
        print(f"next, when all {args.shard[1]} parts are done: the same without --shard, which joins them")
    else:
        sources = " and ".join(f"lists/{one.name}" for one in lists)
        print(f"next: train_root {args.out}, train_source and val_source {sources} in it, data.store: {{type: video}}")
    return 1 if outcome["failed"] else 0


def _encoding(args: argparse.Namespace) -> Encoding:
    codec = CODECS[args.codec]
    if args.crf is not None and args.crf > codec.most:
        raise UserError(f"--crf {args.crf}: for {args.codec} it goes up to {codec.most}")
    encoding = Encoding(args.codec, args.crf or codec.crf, args.size, args.key_frames, args.fps or 0.0)
    check_encoder(encoding)
    return encoding


def _videos(lists: Sequence[VideoList], encoding: Encoding) -> list[Video]:
    """Returns all videos of the lists, each once, in order. Raises UserError if two would have the same name."""
    found: dict[str, str] = {}
    for one in lists:
        if encoding.fps and one.in_frames:
            raise UserError(f"{one.name}: its spans are in frames, whose numbers --fps would change; leave --fps out")
        for video, source in one.videos:
            if found.setdefault(video, source) != source:
                raise UserError(f"{found[video]} and {source} would both be called {video}; rename one of them")
    for name, times in Counter(one.name for one in lists).items():
        if times > 1:
            raise UserError(f"{times} lists are called {name}; rename them, as all are written into one folder")
    class_files(lists)
    return [Video(video, source) for video, source in found.items()]


def _manifest(out: Path, part: Part | None, encoding: Encoding) -> Manifest:
    """Reads the manifest. Raises UserError if OUT holds something else than what this run would add to."""
    manifest = Manifest(out, part=part)
    stem = "videos" if part is None else f"videos-{part[0]}-of-{part[1]}"
    if not manifest.header and (tar := next(iter(sorted(out.glob(f"{stem}-[0-9]*{TAR}"))), None)):
        raise UserError(f"{tar}: no manifest.jsonl knows it; restore that or give another OUT")
    if not manifest.header and part is None and (out / "lists").exists():
        raise UserError(f"{out / 'lists'}: holds lists that tools/pack_videos.py has not written; give another OUT")
    for other, path in parts_of(out).items():
        if part is not None and other[1] != part[1]:
            joined = "run the same command once without --shard, which joins them and packs what is missing"
            raise UserError(
                f"{out} was packed in {other[1]} parts, not {part[1]}; keep --shard I/{other[1]}, or {joined}"
            )
        _check_settings(header_of(path), encoding, out)
    _check_settings(manifest.header, encoding, out)
    check_lines(manifest)
    return manifest


def _tidy(out: Path) -> None:
    """Removes what runs that were killed have left of parts, of which none is running."""
    for folder in parts_of(out, _WORK).values():
        shutil.rmtree(folder, ignore_errors=True)
    for tar in out.glob(f".videos-*{TAR}.tmp"):
        tar.unlink()


def _check_settings(header: Mapping[str, Any], encoding: Encoding, out: Path) -> None:
    new = {"version": VERSION, **encoding.as_json()}
    if header and header.get("tool") != "pack_videos":
        raise UserError(f"{out}: its manifest.jsonl is of tools/{header.get('tool')}.py; give another OUT")
    if header and (different := [key for key in new if header.get(key) != new[key]]):
        said = ", ".join(f"{key} {header.get(key)} (now {new[key]})" for key in different)
        raise UserError(f"{out} was packed with {said}; give another OUT")


def _pack(
    wanted: Sequence[Video],
    manifest: Manifest,
    encoding: Encoding,
    origins: Mapping[str, str],
    args: argparse.Namespace,
) -> Counter[str]:
    """Packs what is missing; returns how often each outcome occurred."""
    outcome: Counter[str] = Counter()
    todo = _missing(wanted, manifest, args.out)
    outcome["packed before"] = len(wanted) - len(todo)
    trade = manifest.header.get("trade", "")
    if todo and not trade:
        trade = measure_trade([one.source for one in todo], encoding, sample=SAMPLE, workers=args.workers)
    if todo:
        print(trade, flush=True)
    try:
        about = {"tool": "pack_videos", "version": VERSION, **encoding.as_json(), "lists": origins, "trade": trade}
        manifest.open(about)
        if todo:
            _pack_missing(todo, manifest, encoding, args, outcome)
        manifest.close()
    finally:
        manifest.abandon()
    return outcome


def _missing(wanted: Sequence[Video], manifest: Manifest, out: Path) -> list[Video]:
    whole = WholeTars(out)

    def is_packed(one: Video) -> bool:
        line = manifest.videos.get(one.video, {})
        if line.get("status") != "ok" or not whole.has(line["tar"]):
            return False
        _check_gone(one, line, out)
        return not (_changed(place(one.source), line) or has_other_colours(Path(one.source), line))

    return [one for one in wanted if not is_packed(one)]


def _changed(source: Place, line: Mapping[str, Any]) -> bool:
    """Returns whether a video is another one than the one that was packed; one that is gone is the same."""
    if not (isinstance(source, Path) and is_plain(source)):
        version = _version(source)
        return not version.startswith("unknown") and line.get("version") != version
    if not source.is_file():
        return False
    stat = source.stat()
    if (line.get("bytes"), line.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return False
    return bool(line.get("sha256") != sha256(source))


def _check_gone(one: Video, line: Mapping[str, Any], out: Path) -> None:
    """Raises UserError for a video that is not there, if the one that was packed under its name lay elsewhere."""
    source, before = place(one.source), str(line.get("source"))
    if before == one.source or not (isinstance(source, Path) and is_plain(source)) or source.is_file():
        return
    if source.resolve() != Path(before).resolve():
        raise UserError(
            f"{source}: is not there, and what {out} has under its name is {before}; give --root as then, or another "
            "OUT"
        )


def _version(source: Place) -> str:
    """Returns the version of a video at an address or in a tar."""
    return versioned([str(source)])[0].rpartition("=")[2]


def _pack_missing(
    todo: Sequence[Video], manifest: Manifest, encoding: Encoding, args: argparse.Namespace, outcome: Counter[str]
) -> None:
    known = {video: line["member"] for video, line in manifest.videos.items() if "member" in line}
    names = member_names([one.video for one in todo], known)
    shards = Shards(args.out, manifest, part=args.shard, limit=int(args.shard_mb * (1 << 20)))
    work = empty_folder(args.out / part_name(_WORK, args.shard))
    jobs = [Job(one.video, one.source, work / f"{number}{SUFFIX}", encoding) for number, one in enumerate(todo)]
    try:
        with (
            Progress(len(todo), unit="videos") as progress,
            contextlib.closing(_answers(jobs, args.workers)) as answers,
        ):
            for job, line, times in answers:
                if times is not None:
                    shards.add(names[job.video], job.out, times, line)
                    outcome["bytes"] += job.out.stat().st_size
                else:
                    manifest.add(line)
                job.out.unlink(missing_ok=True)
                outcome["failed" if times is None else "packed"] += 1
                if times is None and outcome["failed"] <= MOST_NOTES:
                    progress.note(f"not packed: {line['errors'][0]}")
                if args.bad_videos is not None and outcome["failed"] > args.bad_videos:
                    what = f"--bad-videos allows {args.bad_videos}; what was packed before it is kept"
                    raise UserError(f"{line['errors'][0]}: {what}")
                progress.advance(1, f"{in_bytes(outcome['bytes'])}, {outcome['failed']} failed")
            if outcome["failed"] > MOST_NOTES:
                progress.note(f"{outcome['failed'] - MOST_NOTES} more such videos; {manifest.path} names each")
        shards.finish()
    except OSError as error:
        if error.errno not in FATAL:
            raise
        raise UserError(_no_more(args.out, str(error.strerror))) from error
    finally:
        shards.close()
        shutil.rmtree(work, ignore_errors=True)


def _no_more(out: Path, why: str) -> str:
    return f"{out}: {why}; nothing more can be written; run the same command again when that is repaired"


def _answers(jobs: Sequence[Job], workers: int) -> Generator[tuple[Job, dict[str, Any], VideoTimes | None], None, None]:
    """Yields each job, its line of the manifest and the times of what was made, None if it failed, in their order.

    Lists whose videos follow each other in the tars can be read from start to end. Raises: UserError for a full disk.
    """
    waiting: dict[Path, Any] = {}
    todo = iter(jobs)
    following = next(todo, None)
    with contextlib.closing(run_jobs(pack_video, jobs, workers=workers, started=lambda _: None)) as answers:
        for job, answer in answers:
            waiting[job.out] = answer
            while following is not None and following.out in waiting:
                yield (following, *_line(following, waiting.pop(following.out)))
                following = next(todo, None)


def _line(job: Job, answer: Any) -> tuple[dict[str, Any], VideoTimes | None]:
    """Returns the line of the manifest and the times for the answer of a worker."""
    if isinstance(answer, OutOfReachError):
        raise UserError(_no_more(job.out.parent.parent, str(answer)))
    if isinstance(answer, Exception):
        kind = "" if isinstance(answer, WorkerDiedError) else f"{type(answer).__name__}: "
        return _failure(job, f"{job.source}: {kind}{answer}"), None
    line, times = answer
    return line, times


def _failure(job: Job, error: str) -> dict[str, Any]:
    return {"video": job.video, "source": job.source, "status": "failed", "errors": [error]}


def pack_video(job: Job) -> tuple[dict[str, Any], VideoTimes | None]:
    """Encodes one video in a worker; returns its line of the manifest, and the times of what was made if it is whole.

    Raises OutOfReachError if the output is full or read-only.
    """
    cv2.setNumThreads(0)  # there is one process per core already
    source = place(job.source)
    try:
        plain = isinstance(source, Path) and is_plain(source)
        about = fingerprint(source) if isinstance(source, Path) and plain else {"version": _version(source)}
        made = transcode(source, job.out, job.encoding)
    except FrameError as error:
        where = "" if job.source in str(error) else f"{job.source}: "  # the reason may be of the times of any frames
        return _failure(job, f"{where}{error}"), None
    except (OSError, av.FFmpegError) as error:
        if error.errno in FATAL:
            raise OutOfReachError(str(error.strerror)) from error
        return _failure(job, f"{job.source}: {error.strerror or error}"), None
    height, width = made.times.size
    shown = {"packed_frames": len(made.times), "begins": round(made.begins, 6), "height": height, "width": width}
    line = _failure(job, "") | about | shown | {"bits": made.bits, "status": "ok", "errors": []}
    return line | ({"notes": made.notes} if made.notes else {}), made.times


def _verify(out: Path) -> int:
    """Reads all tars again and names what is damaged; returns the exit code."""
    if not out.is_dir() or not (manifest := Manifest(out)).videos:
        raise UserError(f"{out}: contains no videos that tools/pack_videos.py has packed")
    check_lines(manifest)
    damaged = tars = 0
    for found in verify_tars(out, manifest):
        tars += 1
        if found.whole:
            print(f"{out / found.name}: {found.videos} videos are whole")
            continue
        damaged += 1
        for video in found.damaged:
            print(f"{out / found.name}: {video} is damaged")
        print(f"{out / found.name}: is not what was written; remove it, and run again to pack its videos")
    print(f"{tars} tars, {damaged} damaged")
    return 1 if damaged else 0

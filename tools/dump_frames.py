"""Dumps videos to JPEG frames: VIDEOS, in class folders or flat with a CSV, becomes the dataset OUT.

OUT gets frames/<class>/<video>/img_00001.jpg ..., lists/ (for tools/make_lists.py), manifest.jsonl and README. A folder
of frames is complete or absent; running again does what is missing. Exit code 1: finished, some videos failed; 2: wrong
input.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started as `python tools/dump_frames.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.dumping.estimate import estimate_dump
from tools.dumping.plan import plan
from tools.dumping.run import Kind, dump, locked, summary
from tools.dumping.video import FIRST_FRAME, TEMPLATE, Job, Settings, dump_video, fingerprint
from tools.listing.manifest import Manifest
from utils.cli import Parser, cores, jpeg_quality, positive_float, positive_int, run_cli
from utils.errors import UserError
from utils.files import atomic_write

VERSION = 1  # of what is written for the same settings
README = """\
# {name}

A dataset of frames, made by `tools/dump_frames.py`.

    frames/         one folder of JPEGs per video: {layout}/img_%05d.jpg, counted from {first}
    lists/          train.txt and val.txt (`path num_frames label`, paths relative to this folder), classInd.txt
    manifest.jsonl  how it was made: a header with the settings, then a line per video with its source and frame count

In a config: `train_root` and `val_root` are this folder, `train_source` and `val_source` the files in lists/.
Write below where the videos come from, under which terms, and what is wrong with them.
"""


def parse_size(text: str) -> tuple[int, int]:
    """`256` is (0, 256), the short side; `340x256` is (340, 256), width and height; `0` keeps the size."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like 256 (short side), 340x256 (width x height) or 0 (as is)"
        )
    width, height = (int(number) for number in (numbers if len(numbers) == 2 else ["0", *numbers]))
    if (len(numbers) == 2 and not (width and height)) or max(width, height) > 16384:
        raise argparse.ArgumentTypeError(f"{text!r}: sides go from 1 to 16384")
    return width, height


def trouble_with(job: Job, known: dict[str, Any] | None) -> str | None:
    """None: to be dumped. "": done already. Otherwise what stands in the way, for the user."""
    if not job.target.is_dir():
        return None
    if known is None:
        return f"{job.target} was not made by this tool; --overwrite replaces it"
    if known["status"] == "started" or (known["status"] == "partial" and not job.keep_partial):
        return None
    made = known["frames"]
    if not all((job.target / TEMPLATE.format(n)).exists() for n in (FIRST_FRAME, FIRST_FRAME + made - 1)):
        return None  # somebody removed frames: made anew
    if known["settings"] != job.settings.as_json():  # left over by an --overwrite that was interrupted
        return None
    return f"{job.source} is not the file that was dumped; --overwrite dumps it again" if _changed(job, known) else ""


def _changed(job: Job, known: dict[str, Any]) -> bool:
    if not job.source.is_file():  # the frames may outlive the video
        return False
    stat = job.source.stat()
    if (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return False
    return known.get("sha256") != fingerprint(job.source)["sha256"]


def check_settings(manifest: Manifest, settings: Settings, out: Path) -> None:
    """Raises UserError if OUT was dumped with other settings: a dataset has one kind of frames."""
    old, new = manifest.header, settings.as_json()
    if old and (different := [key for key in new if old.get(key) != new[key]]):
        said = ", ".join(f"{key} {_plain(old.get(key))} (now {_plain(new[key])})" for key in different)
        raise UserError(f"{out} was dumped with {said}; give another OUT, or --overwrite to dump everything again")


def write_readme(out: Path, *, flat: bool) -> None:
    """The README of the dataset, unless somebody wrote one."""
    if not (out / "README").exists():
        layout = "v_<tag>_<id>" if flat else "<class>/<video>"
        with atomic_write(out / "README", "w") as file:
            file.write(README.format(name=out.resolve().name, layout=layout, first=FIRST_FRAME))


def _plain(value: Any) -> str:
    if isinstance(value, list):  # a size, in the words of --size
        return f"{value[0]}x{value[1]}" if value[0] else str(value[1])
    return f"{value:g}"


def _why(job: Job, answer: dict[str, Any]) -> str:
    if answer["status"] == "ok":
        return (
            f"{job.source}: {job.start:g} to {job.end:g} s, but {answer['cut_short']:.2f} s of that are after its end"
        )
    first, *others = (error.removeprefix(f"{job.source}: ") for error in answer["errors"])
    more = f" (and {len(others)} more)" if others else ""
    readable = answer.get("decoded_frames", 0)
    hint = (
        f"; --keep-partial keeps the {readable} frames that can be decoded" if readable and not job.keep_partial else ""
    )
    return f"{job.source}: {first}{more}{hint}"


def main(argv: Sequence[str] | None = None) -> int:
    """Dumps and reports; see the module."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("videos", type=Path, metavar="VIDEOS", help="folder of class folders with videos, or of videos with --csv")
    add("out", type=Path, metavar="OUT", help="the dataset, for example data/ucf101")
    add("--csv", type=Path, action="append", help="file,label per line (or JSON), perhaps with start,end in seconds")
    add("--unlabelled", action="store_true", help="also the videos that --csv gives no label: test sets")
    add("--flat", action="store_true", help="frames/v_<class>_<video>/ instead of frames/<class>/<video>/")
    add(
        "--size", type=parse_size, default=(0, 256), help="256: short side (default); 340x256: width x height; 0: as is"
    )
    add("--fps", type=positive_float, help="frames per second; by default all frames there are")
    add("--every", type=positive_int, default=1, help="keep every n-th frame (after --fps)")
    add("--quality", type=jpeg_quality, default=95, help="of the JPEGs, 1 to 100 (default 95)")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    add("--keep-partial", action="store_true", help="keep the readable frames of a damaged video")
    add("--overwrite", action="store_true", help="replace frames whose settings or source differ")
    add("--estimate", type=positive_int, metavar="N", help="dump N videos, keep nothing, say what all would cost")
    add(
        "--whole", type=positive_int, default=0, metavar="N", help="with --estimate: the videos of the set, here or not"
    )
    args = parser.parse_args(argv)
    begin = time.monotonic()
    jobs = plan(args)
    if args.estimate:
        print(estimate_dump(jobs, args.estimate, workers=args.workers, published=args.whole))
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be made ({error.strerror}); give another OUT") from None
    with locked(args.out):
        for folder in ("frames", "lists"):
            (args.out / folder).mkdir(exist_ok=True)
        write_readme(args.out, flat=args.flat)
        manifest = Manifest(args.out)
        settings = jobs[0].settings
        if not args.overwrite:
            check_settings(manifest, settings, args.out)
        header = {"tool": "dump_frames", "version": VERSION, "template": TEMPLATE, "first_frame": FIRST_FRAME}
        manifest.open({**header, "videos": str(args.videos.resolve()), **settings.as_json()})
        kind = Kind(work=dump_video, trouble_with=trouble_with, why=_why, made="frames")
        outcome = dump(jobs, manifest, kind, workers=args.workers, overwrite=args.overwrite)
    print(f"{summary(len(jobs), outcome, kind)} in {time.monotonic() - begin:.1f} s")
    print(f"next: python tools/make_lists.py {args.out}")
    return 1 if outcome["failed"] or outcome["partial"] else 0


if __name__ == "__main__":
    run_cli(main)

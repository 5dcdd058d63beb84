"""Tests that parts of a dump, on several machines, make what one run makes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.lists.manifest import Manifest, dumped_below, parts_of
from tests.helpers.dumping import dump, entries, refusal, tree
from tests.helpers.lock import held
from tests.helpers.make_video import make_video, truncate
from tests.helpers.requirements import ROOT
from tools import make_lists

NAMES = [f"{label}/v{number}" for label in "abc" for number in range(3)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    first = make_video(folder / "a" / "v0.mp4", frames=2)
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        if name != "a/v0":
            shutil.copy(first, folder / f"{name}.mp4")
    truncate(make_video(folder / "d" / "cut.mkv", frames=48))
    return folder


def frames(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in (out / "frames").rglob("*.jpg")}


@contextlib.contextmanager
def running_part(out: Path) -> Iterator[None]:
    """Another process dumps part 0/2 inside of the `with` block."""
    code = f"""
import pathlib, sys
from tools.dumping.run import locked
with locked(pathlib.Path({os.fspath(out)!r}), (0, 2)):
    print("held", flush=True)
    sys.stdin.read()
"""
    run = [sys.executable, "-c", code]
    holder = subprocess.Popen(run, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate("")


@pytest.mark.whole
def test_parts_make_the_frames_the_manifest_and_the_lists_of_one_run(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, parts = tmp_path / "one", tmp_path / "parts"
    assert dump(videos, one, "--size", 32) == 1
    codes = [dump(videos, parts, "--size", 32, "--shard", f"{number}/3") for number in (2, 0, 1)]
    assert sorted(codes) == [0, 0, 1]  # the damaged video is in one of them
    said = capsys.readouterr().out
    assert "next, when all 3 parts are done" in said
    assert frames(parts) == frames(one) and len(frames(one)) == 2 * len(NAMES)
    assert tree(parts / "frames") == tree(one / "frames")  # no empty folder of a class either
    assert not (parts / "manifest.jsonl").exists() and list(parts_of(parts)) == [(0, 3), (1, 3), (2, 3)]
    assert Manifest(parts).videos == Manifest(one).videos
    shares = [set(Manifest(parts, part=(number, 3)).videos) for number in range(3)]
    assert all(shares) and sum(map(len, shares)) == len(NAMES) + 1  # disjoint, as together they are all
    assert sorted(dumped_below(parts)) == sorted(dumped_below(one))
    make_lists.main([str(one)])
    make_lists.main([str(parts)])
    assert (parts / "lists" / "train.txt").read_bytes() == (one / "lists" / "train.txt").read_bytes()


def test_a_run_without_parts_joins_them_and_dumps_what_they_left_out(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(videos / "d")
    out = tmp_path / "set"
    assert dump(videos, out, "--shard", "1/2") == 0
    done = len(Manifest(out).videos)
    with (out / "manifest.1-of-2.jsonl").open("ab") as file:
        file.write(b'{"kind": "vid')  # as after a power cut
    assert dump(videos, out) == 0
    assert f"{len(NAMES) - done} ok, {done} already dumped" in capsys.readouterr().out
    assert (
        parts_of(out) == {}
        and not list(out.glob(".dump.*-of-*.lock"))
        and set(entries(out)) == {f"frames/{name}" for name in NAMES}
    )
    assert dump(videos, out, "--shard", "0/5") == 0  # later parts know what was joined
    assert " ok" not in capsys.readouterr().out
    assert (out / "manifest.0-of-5.jsonl").read_bytes().count(b"\n") == 1  # its header, and no video of others
    assert dump(videos, out) == 0 and set(entries(out)) == {f"frames/{name}" for name in NAMES}


def test_parts_are_done_again_only_where_something_is_missing(videos: Path, tmp_path: Path) -> None:
    shutil.rmtree(videos / "d")
    out = tmp_path / "set"
    for number in range(2):
        dump(videos, out, "--shard", f"{number}/2")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    shutil.rmtree(out / "frames" / "b" / "v1")
    for number in range(2):
        assert dump(videos, out, "--shard", f"{number}/2") == 0
    again = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert {path.parent.name for path in again} == {"v1"} and {path.parent.parent.name for path in again} == {"b"}


def test_other_counts_and_settings_of_parts_are_refused_and_leave_nothing(videos: Path, tmp_path: Path) -> None:
    shutil.rmtree(videos / "d")
    out = tmp_path / "set"
    dump(videos, out, "--shard", "0/4", "--size", 32)
    before = tree(out)
    assert "was dumped in 4 parts, not 3; keep --shard I/4" in refusal(videos, out, "--shard", "1/3", "--size", 32)
    assert "size 32 (now 48)" in refusal(videos, out, "--shard", "1/4", "--size", 48)
    assert "size 32 (now 48)" in refusal(videos, out, "--size", 48)
    header = (out / "manifest.0-of-4.jsonl").read_bytes()
    shutil.copy(out / "manifest.0-of-4.jsonl", out / "manifest.1-of-3.jsonl")
    assert "in 4 parts" in refusal(videos, out, "--shard", "1/3", "--size", 48, "--overwrite")
    assert (out / "manifest.1-of-3.jsonl").read_bytes() == header, "what is refused changes nothing"
    (out / "manifest.1-of-3.jsonl").unlink()
    left = [path for path in tree(out) if not path.endswith(".lock")]
    assert left == [path for path in before if not path.endswith(".lock")]


@pytest.mark.whole
@pytest.mark.skipif(os.name == "nt", reason="Windows has no locks that are shared; run on another system")
def test_a_part_runs_beside_other_parts_but_not_beside_itself_or_a_dump_of_the_whole(
    videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    dump(videos, out, "--shard", "0/2")
    with running_part(out):
        dump(videos, out, "--shard", "1/2")
        assert "another dump of part 0/2" in refusal(videos, out, "--shard", "0/2")
        assert "another dump into" in refusal(videos, out)
    with held(out / ".dump.lock"):
        assert "another dump into" in refusal(videos, out, "--shard", "1/2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4/4", "the last one is 3/4"),
        ("1", "is not like 3/8"),
        ("-1/4", "is not like 3/8"),
        ("0/0", "is not like 3/8"),
        ("1/x", "is not like 3/8"),
    ],
)
def test_a_part_that_cannot_be_is_refused(text: str, why: str, videos: Path, tmp_path: Path) -> None:
    assert why in refusal(videos, tmp_path / "set", f"--shard={text}")
    assert not (tmp_path / "set").exists()

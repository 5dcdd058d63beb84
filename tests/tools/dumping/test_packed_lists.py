"""Tests that packed lists keep the classes and the videos that they were packed with, whatever is packed later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from datasets.lists.tables import read_videos
from tests.helpers.dumping import entries, run_here
from tests.helpers.make_video import make_video
from tests.helpers.run_tool import run_tool
from tests.helpers.tars import write_tar
from tools.dumping import pack_videos as packing

pytestmark = pytest.mark.whole
BACKWARDS = "0 walk\n1 run\n"  # not in the order of the alphabet


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "blocks"))
    monkeypatch.setattr(packing, "measure_trade", lambda *_, **__: "not measured")
    monkeypatch.setattr(packing, "run_jobs", run_here)


def listed(folder: Path, name: str, text: str, *videos: str, classes: str = "") -> Path:
    """Writes a list, its videos and its class file."""
    for number, video in enumerate(videos):
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        make_video(folder / video, frames=2 + number)
    (folder / name).write_text(text)
    if classes:
        (folder / "classInd.txt").write_text(classes)
    return folder / name


def test_the_class_file_of_tars_and_of_the_root_of_class_folders_goes_along(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=2).read_bytes()
    samples = {"0": {"mp4": video, "cls": b"run"}, "1": {"mp4": video, "cls": b"walk"}}
    write_tar(tmp_path / "shards/s-0.tar", samples)
    (tmp_path / "shards/classInd.txt").write_text(BACKWARDS)
    for name in ("run/a.mp4", "walk/a.mp4"):
        (tmp_path / "tree/train" / name).parent.mkdir(parents=True)
        (tmp_path / "tree/train" / name).write_bytes(video)
    (tmp_path / "tree/lists").mkdir()
    (tmp_path / "tree/lists/classInd.txt").write_text(BACKWARDS)
    for source, root in ((tmp_path / "shards/s-{0..0}.tar", tmp_path), (tmp_path / "tree/train", tmp_path / "tree")):
        out = tmp_path / f"out_{root.name}"
        run_tool("pack_videos", out, source, "--root", root)
        (made,) = (out / "lists").glob("*.csv")
        for one, where in ((source, root), (made, out)):
            assert read_videos(one, root=where)[0].labels.tolist() == [1, 0]


def test_lists_of_another_numbering_are_not_packed_beside_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = listed(tmp_path / "one", "one.csv", "path,label\na.mp4,run\n", "a.mp4", classes="0 run\n1 walk\n")
    two = listed(tmp_path / "two", "two.csv", "path,label\nb.mp4,walk\n", "b.mp4", classes=BACKWARDS)
    run_tool("pack_videos", out, one, "--root", one.parent)
    said = run_tool("pack_videos", out, two, "--root", two.parent, code=2).stderr
    assert f"{two.parent}/classInd.txt would number the classes of {out}/lists/one.csv anew" in said
    assert list(entries(out)) == ["a.mp4"] and (out / "lists/classInd.txt").read_text() == "0 run\n1 walk\n"
    (one.parent / "classInd.txt").write_text("0 run\n1 walk\n2 jump\n")
    run_tool("pack_videos", out, one, "--root", one.parent)
    assert (out / "lists/classInd.txt").read_text().endswith("2 jump\n"), "all its lists are written with it"


def test_a_list_is_not_replaced_by_another_one_of_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = listed(tmp_path / "one", "train.csv", "path,label\na.mp4,run\n", "a.mp4")
    two = listed(tmp_path / "two", "train.csv", "path,label\nb.mp4,walk\n", "b.mp4")
    run_tool("pack_videos", out, one, "--root", one.parent)
    for source, root in ((two, two.parent), (one, two.parent)):
        said = run_tool("pack_videos", out, source, "--root", root, code=2).stderr
        assert f"out/lists/train.csv: is of {one} in {one.parent}, and would be replaced; rename" in said
    assert list(entries(out)) == ["a.mp4"] and "a.mp4,run" in (out / "lists/train.csv").read_text()
    one.write_text("path,label\na.mp4,walk\n")  # a list may change
    run_tool("pack_videos", out, one, "--root", one.parent)
    assert "a.mp4,walk" in (out / "lists/train.csv").read_text()
    (tmp_path / "one").rename(tmp_path / "moved")
    moved = tmp_path / "moved/train.csv"
    run_tool("pack_videos", out, moved, "--root", moved.parent, code=2)
    (out / "lists/train.csv").unlink()
    assert "0 of them now" in run_tool("pack_videos", out, moved, "--root", moved.parent).stdout


def test_a_missing_video_is_not_another_one_of_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = listed(tmp_path / "one", "one.txt", "a.mp4 0\n", "a.mp4")
    two = listed(tmp_path / "two", "two.txt", "a.mp4 0\nb.mp4 0\n", "b.mp4")
    run_tool("pack_videos", out, one, "--root", one.parent)
    (one.parent / "a.mp4").unlink()  # what is packed may go
    run_tool("pack_videos", out, one, "--root", os.path.relpath(one.parent), code=0)
    said = run_tool("pack_videos", out, two, "--root", two.parent, code=2).stderr
    assert f"{two.parent}/a.mp4: is not there, and what {out} has under its name is {one.parent}/a.mp4" in said
    assert list(entries(out)) == ["a.mp4"]


def test_names_that_are_not_utf_8_are_packed_continued_and_verified(tmp_path: Path) -> None:
    out, name = tmp_path / "out", os.fsdecode(b"caf\xe9.mp4")
    source = listed(tmp_path / "one", "one.txt", "", name)
    source.write_bytes(b"caf\xe9.mp4 0\n")
    run_tool("pack_videos", out, source, "--root", source.parent)
    assert "1 videos are packed, 0 of them now" in run_tool("pack_videos", out, source, "--root", source.parent).stdout
    assert "1 tars, 0 damaged" in run_tool("pack_videos", out, "--verify").stdout
    assert read_videos(out / "lists/one.txt", root=out)[0].path(0) == f"videos-00000.tar/{name}"


def test_a_run_that_joins_parts_removes_what_a_killed_part_has_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = listed(tmp_path / "one", "one.txt", "a.mp4 0\nb.mp4 0\n", "a.mp4", "b.mp4")
    for part in ("0/2", "1/2"):
        run_tool("pack_videos", out, source, "--root", source.parent, "--shard", part)
    (out / ".work.1-of-2.tmp").mkdir()
    (out / ".work.1-of-2.tmp/0.mp4").write_bytes(b"half a video")
    (out / ".videos-1-of-2-00001.tar.tmp").write_bytes(b"half a tar")
    run_tool("pack_videos", out, source, "--root", source.parent)
    assert not [path.name for path in out.iterdir() if path.name.endswith(".tmp")]


def test_a_video_whose_times_have_a_hole_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.videos.video.LONGEST_STILL", 0.01)
    source = listed(tmp_path / "one", "one.txt", "a.mp4 0\n", "a.mp4")
    said = run_tool("pack_videos", tmp_path / "out", source, "--root", source.parent, "--fps", 5, code=1).stderr
    assert f"not packed: {source.parent}/a.mp4: nothing new is shown from 0 to " in said


@pytest.mark.parametrize(
    "change",
    [{"tar": None}, {"tar": "../v.tar"}, {"member": 3}, {"offset": -1}, {"packed_bytes": "9"}, {"packed_sha256": []}],
)
def test_a_damaged_line_of_the_manifest_is_told_and_nothing_is_written(change: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = listed(tmp_path / "one", "one.txt", "a.mp4 0\n", "a.mp4")
    run_tool("pack_videos", out, source, "--root", source.parent)
    header, line = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    (out / "manifest.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(line | change)}\n")
    before = (out / "manifest.jsonl").read_bytes()
    for given in ([source, "--root", source.parent], ["--verify"]):
        said = run_tool("pack_videos", out, *given, code=2).stderr
        assert f"{out}/manifest.jsonl: its line of 'a.mp4' is damaged; restore or remove it" in said
    assert (out / "manifest.jsonl").read_bytes() == before

"""Tests videos that are encoded again into tars: lists, continuation, parts, damage, and training from them."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from datasets.lists.records import RecordList
from datasets.lists.tables import read_videos
from datasets.places.files import open_file
from datasets.video_dataset import VideoDataset
from datasets.videos import index
from datasets.videos.scan import scan
from tests.helpers.afar import forget
from tests.helpers.dumping import entries, run_here
from tests.helpers.file_server import FileServer
from tests.helpers.make_video import make_video, truncate
from tests.helpers.numbered import number_of, write_late_numbers, write_numbers
from tests.helpers.protocol import for_training
from tests.helpers.run_tool import run_tool
from tests.helpers.tars import write_tar
from tools.dumping import pack_videos as packing
from tools.dumping import trade, video_shards
from tools.dumping.pack_videos import Job, pack_video
from tools.dumping.transcode import Encoding
from utils.clip_spec import ClipSpec
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

pytestmark = pytest.mark.whole
TRAIN = "path,label,start,end,note\na/0.mp4,a,0.4,1.2,x\na/0.mp4,b,0.8,1.6,\na/1.mkv,a,,,y\nlate.mp4,b,1.2,1.8,\n"
VAL = "b/2.mp4 1\nb/dir with spaces/3.avi 1\n"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name in ("a", "b/dir with spaces"):
        (folder / name).mkdir(parents=True)
    write_numbers(folder / "a/0.mp4", "libx264", g="40")
    write_numbers(folder / "a/1.mkv", "libx264")
    write_numbers(folder / "b/2.mp4", "libx264", count=30)
    write_numbers(folder / "b/dir with spaces/3.avi", "mpeg4", b="1500k")
    write_late_numbers(folder / "late.mp4")
    (folder / "train.csv").write_text(TRAIN)
    (folder / "val.txt").write_text(VAL)
    (folder / "classInd.txt").write_text("0 a\n1 b\n")
    return folder


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Packs in this process, without the seconds that workers need to start, and measures nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "blocks"))
    monkeypatch.setattr(packing, "measure_trade", lambda *_, **__: "not measured")
    for module in (trade, packing):
        monkeypatch.setattr(module, "run_jobs", run_here)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures what packing saves and costs."""
    monkeypatch.setattr(packing, "measure_trade", trade.measure_trade)


def pack(videos: Path, *options: object, code: int = 0, out: str = "out") -> str:
    lists = [videos / "train.csv", videos / "val.txt"]
    done = run_tool("pack_videos", videos.parent / out, *lists, "--root", videos, *options, code=code)
    return done.stdout + done.stderr


def records(source: Path, root: Path) -> RecordList:
    return read_videos(source, root=root)[0]


def clips(listed: RecordList) -> list[tuple[int, list[int]]]:
    """Label and numbers of the frames of each record's clip in the first epoch of training."""
    protocol = for_training(ClipSpec(4, 1, "segments"), CutClip(TestCrops(None), (96, 128)))
    data = VideoDataset(listed, protocol, seed=3)
    batch = data.__getitems__([(0, row) for row in range(len(data))])
    assert not any(batch.faults)
    frames = batch.clips[:, 0].permute(0, 2, 3, 4, 1).numpy()  # N, T, H, W, C
    return [
        (int(label), [number_of(frame) for frame in clip]) for label, clip in zip(batch.labels, frames, strict=True)
    ]


def test_training_sees_the_same_frames_labels_and_spans_and_scans_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    said = pack(videos)
    assert "5 videos are packed, 5 of them now, 0 failed" in said
    before = {name: clips(records(videos / name, videos)) for name in ("train.csv", "val.txt")}
    assert all(-1 not in numbers for listed in before.values() for _, numbers in listed)
    monkeypatch.setattr(index, "scan", lambda path: pytest.fail(f"{path} is scanned"))
    assert {name: clips(records(out / "lists" / name, out)) for name in before} == before
    assert (out / "lists/classInd.txt").read_text() == "0 a\n1 b\n"


def test_lists_keep_everything_but_paths(videos: Path, tmp_path: Path) -> None:
    pack(videos)
    with (tmp_path / "out/lists/train.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[1:] for row in rows] == [row.split(",")[1:] for row in TRAIN.splitlines()]
    assert [row[0] for row in rows[1:]] == [f"videos-00000.tar/{name}" for name in
                                            ("a/0.mp4", "a/0.mp4", "a/1.mp4", "late.mp4")]  # fmt: skip
    lines = "videos-00000.tar/b/2.mp4 1\nvideos-00000.tar/b/dir with spaces/3.mp4 1\n"
    assert (tmp_path / "out/lists/val.txt").read_text() == lines


def test_class_folders_ids_and_tars_become_tables_of_paths(videos: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("run/x.mp4", "walk/x.mp4", "walk/x.mkv"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        write_numbers(tree / name, "libx264", count=4)
    (videos / "k.csv").write_text("label,youtube_id,time_start,time_end\nrun,2,0,1\nrun,gone,0,1\nwalk,late,1,2\n"
                                  "walk,cut,3,4\n")  # fmt: skip
    write_numbers(videos / "cut_000003_000004.mp4", "libx264", count=4)
    write_tar(tmp_path / "shards/s-0.tar", {"00": {"mp4": (tree / "run/x.mp4").read_bytes(), "cls": b"run;walk"}})
    lists = [tree, videos / "k.csv", tmp_path / "shards/s-{0..0}.tar"]
    run_tool("pack_videos", tmp_path / "out", *lists, "--root", videos)
    tar = "videos-00000.tar"
    wanted = {
        "tree.csv": f"path,label\n{tar}/tree/run/x.mp4,run\n{tar}/tree/walk/x.mkv.mp4,walk\n"
        f"{tar}/tree/walk/x.mp4,walk\n",
        "k.csv": f"label,path,time_start,time_end\nrun,{tar}/b/2.mp4,0,1\nwalk,{tar}/late.mp4,1,2\n"
        f"walk,{tar}/cut_000003_000004.mp4,,\n",
        "s.csv": f"path,label\n{tar}/s-0/00.mp4,run;walk\n",
    }
    (tmp_path / "out/lists/classInd.txt").unlink()
    assert {file.name: file.read_text() for file in (tmp_path / "out/lists").iterdir()} == wanted


def test_videos_at_an_address_and_in_a_tar_are_packed_once_and_again_when_they_change(
    videos: Path, tmp_path: Path, file_server: FileServer
) -> None:
    forget()
    tar = write_tar(tmp_path / "s-0.tar", {"x": {"mp4": (videos / "b/2.mp4").read_bytes(), "cls": b"0"}})
    file_server.files["/late.mp4"] = (videos / "late.mp4").read_bytes()
    (tmp_path / "far.txt").write_text("late.mp4 1\n")
    given = (tmp_path / "out", tmp_path / "far.txt", tar, "--root", file_server.address)
    assert "2 videos are packed, 2 of them now" in run_tool("pack_videos", *given).stdout
    forget()
    assert "2 videos are packed, 0 of them now" in run_tool("pack_videos", *given).stdout
    assert len(scan(tmp_path / "out/videos-00000.tar/late.mp4")) == 40
    file_server.etag = '"2"'
    os.utime(tar, (1, 1))
    forget()
    assert "2 videos are packed, 2 of them now" in run_tool("pack_videos", *given).stdout
    file_server.files.pop("/late.mp4")
    forget()
    assert "2 videos are packed, 0 of them now" in run_tool("pack_videos", *given).stdout, "what is packed may go"


def test_a_second_run_packs_only_what_is_new_or_changed(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack(videos)
    first = entries(out)
    (videos / "late.mp4").unlink()  # what is packed may go
    os.utime(videos / "a/0.mp4")  # a copy
    write_numbers(videos / "b/2.mp4", "libx264", first=50, count=30)
    write_numbers(videos / "b/4.mp4", "libx264", count=4)
    with (videos / "val.txt").open("a") as file:
        file.write("b/4.mp4 1\n")
    assert "6 videos are packed, 2 of them now, 0 failed" in pack(videos)
    second = entries(out)
    assert {name for name in second if second[name] != first.get(name)} == {"b/2.mp4", "b/4.mp4"}
    assert {second[name]["tar"] for name in ("b/2.mp4", "b/4.mp4")} == {"videos-00001.tar"}
    assert "6 videos are packed, 0 of them now" in pack(videos)
    found = records(out / "lists/val.txt", out)
    assert found.path(0) == "videos-00001.tar/b/2.mp4" and open_file(found.full_path(0)).size > 0


def test_deep_videos_that_an_older_version_packed_are_packed_again_and_no_others(videos: Path, tmp_path: Path) -> None:
    make_video(videos / "b/2.mp4", frames=30, pix_fmt="yuv420p10le")
    pack(videos)
    file = tmp_path / "out/manifest.jsonl"
    assert {line["bits"] for line in entries(tmp_path / "out").values()} == {8, 10}
    file.write_text(file.read_text().replace(', "bits": 8', "").replace(', "bits": 10', ""))
    assert "5 videos are packed, 1 of them now, 0 failed" in pack(videos)
    assert entries(tmp_path / "out")["b/2.mp4"]["bits"] == 10
    assert "5 videos are packed, 0 of them now" in pack(videos)


def test_nothing_is_encoded_twice_after_an_interruption(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def counted(job: Job) -> Any:
        begun.append(job.video)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return pack_video(job)

    monkeypatch.setattr(packing, "pack_video", counted)
    pack(videos, code=130)
    assert len(entries(tmp_path / "out")) == 3, "what was encoded before is kept"
    pack(videos)
    assert sorted(begun) == sorted([*entries(tmp_path / "out"), begun[3]])


def test_videos_lie_in_the_order_of_the_lists_whichever_is_ready_first(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(function: Callable[[Any], Any], jobs: Sequence[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
        yield from reversed(list(run_here(function, jobs)))

    monkeypatch.setattr(packing, "run_jobs", backwards)
    pack(videos)
    lines = sorted(entries(tmp_path / "out").values(), key=lambda line: line["offset"])
    wanted = ["a/0.mp4", "a/1.mkv", "late.mp4", "b/2.mp4", "b/dir with spaces/3.avi"]
    assert [line["video"] for line in lines] == wanted


def test_parts_make_together_what_one_run_makes(videos: Path, tmp_path: Path) -> None:
    for part in ("1/2", "0/2"):
        assert "next, when all 2 parts are done" in pack(videos, "--shard", part)
    assert not (tmp_path / "out/lists").exists()
    said = pack(videos, "--shard", "0/3", code=2)
    assert "out was packed in 2 parts, not 3; keep --shard I/2, or run the same command once without --shard" in said
    assert "5 videos are packed, 0 of them now" in pack(videos)
    pack(videos, out="whole")
    out, whole = tmp_path / "out", tmp_path / "whole"
    for name in ("train.csv", "val.txt"):
        assert clips(records(out / "lists" / name, out)) == clips(records(whole / "lists" / name, whole))
    assert {line["tar"] for line in entries(out).values()} == {"videos-0-of-2-00000.tar", "videos-1-of-2-00000.tar"}


def test_a_damaged_video_is_named_and_left_out_of_the_lists(videos: Path, tmp_path: Path) -> None:
    truncate(make_video(videos / "a/1.mkv", frames=48))
    said = pack(videos, code=1)
    assert f"not packed: {videos}/a/1.mkv: " in said and "4 videos are packed, 4 of them now, 1 failed" in said
    assert "lists/train.csv: 1 of 4 lines are left out: their videos are not packed" in said
    line = entries(tmp_path / "out")["a/1.mkv"]
    assert line["status"] == "failed" and line["errors"][0].startswith(f"{videos}/a/1.mkv: ")
    assert "a/1" not in (tmp_path / "out/lists/train.csv").read_text()
    write_numbers(videos / "a/1.mkv", "libx264")
    assert "5 videos are packed, 1 of them now, 0 failed" in pack(videos, "--bad-videos", 0)
    assert "a/1.mp4" in (tmp_path / "out/lists/train.csv").read_text()


def test_more_bad_videos_than_allowed_end_the_run_and_the_good_ones_are_kept(videos: Path, tmp_path: Path) -> None:
    truncate(make_video(videos / "late.mp4"))
    said = pack(videos, "--bad-videos", 0, code=2)
    assert "late.mp4: " in said and "--bad-videos allows 0; what was packed before it is kept" in said
    assert {name for name, line in entries(tmp_path / "out").items() if line["status"] == "ok"} == {
        "a/0.mp4",
        "a/1.mkv",
    }
    assert not (tmp_path / "out/lists").exists()


def test_verify_names_damaged_videos_and_what_to_do(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack(videos)
    tar, line = out / "videos-00000.tar", entries(out)["late.mp4"]
    whole = tar.read_bytes()
    data = bytearray(whole)
    data[line["offset"] + 100] ^= 1
    tar.write_bytes(data)
    said = run_tool("pack_videos", out, "--verify", code=1).stdout
    assert "videos-00000.tar: late.mp4 is damaged\n" in said and said.count("is damaged") == 1
    assert "is not what was written; remove it, and run again to pack its videos" in said
    tar.write_bytes(whole[:-600])
    assert "1 tars, 1 damaged" in run_tool("pack_videos", out, "--verify", code=1).stdout
    assert "5 videos are packed, 5 of them now" in pack(videos), "a tar of another size is not whole"
    tar.unlink()
    assert "1 tars, 0 damaged" in run_tool("pack_videos", out, "--verify").stdout


def test_a_full_disk_ends_the_run_and_leaves_whole_tars(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, count = video_shards._Shard.add, [0]

    def full(self: Any, *given: Any) -> None:
        count[0] += 1
        if count[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *given)

    monkeypatch.setattr(video_shards._Shard, "add", full)
    said = pack(videos, "--shard-mb", 0.006, code=2)
    assert "out: No space left on device; nothing more can be written; run the same command again" in said
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        ".dump.lock", "manifest.jsonl", "videos-00000.tar", "videos-00000.times"]  # fmt: skip
    assert "5 videos are packed, 3 of them now" in pack(videos)


def test_a_lower_rate_keeps_seconds_and_refuses_spans_in_frames(videos: Path, tmp_path: Path) -> None:
    pack(videos, "--fps", 10)
    found = scan(tmp_path / "videos/late.mp4"), scan(tmp_path / "out/videos-00000.tar/late.mp4")
    assert [(one.begins, len(one)) for one in found] == [(1.0, 40), (1.0, 16)]
    (videos / "train.csv").write_text("path,label,start_frame,end_frame\na/0.mp4,0,3,9\n")
    said = pack(videos, "--fps", 10, code=2, out="other")
    assert "train.csv: its spans are in frames, whose numbers --fps would change; leave --fps out" in said
    said = pack(videos, "--fps", 1e-300, code=2, out="other")
    assert "1e-300 is not a number of frames per second from 0.01 to 1000" in said
    assert not (tmp_path / "other").exists()


def test_wrong_input_is_told_before_anything_is_written(videos: Path, tmp_path: Path, measured: None) -> None:
    out = tmp_path / "out"
    lists = [videos / "train.csv", videos / "val.txt"]
    said = run_tool("pack_videos", out, *lists, code=2).stderr
    assert "train.csv: its paths need a folder to start from; give --root" in said
    said = run_tool("pack_videos", out, *lists, "--root", tmp_path / "elsewhere", code=2).stderr
    assert "none of the 5 videos of the sample can be packed" in said and "no such file" in said
    assert not list(out.glob("*.jsonl"))
    assert "give either lists to pack or --verify" in run_tool("pack_videos", out, code=2).stderr
    assert "contains no videos that tools/pack_videos.py has packed" in run_tool(
        "pack_videos", out, "--verify", code=2).stderr  # fmt: skip
    assert "--crf 52: for h264 it goes up to 51" in pack(videos, "--crf", 52, code=2)
    assert "--bad-videos -1: give a number from 0 on" in pack(videos, "--bad-videos", -1, code=2)
    (videos / "sub").mkdir()
    (videos / "sub/val.txt").write_text("b/2.mp4 0\n")
    said = run_tool("pack_videos", out, *lists, videos / "sub/val.txt", "--root", videos, code=2).stderr
    assert "2 lists are called val.txt; rename them" in said
    (videos / "sub/other.txt").write_text("b/2.mp4 0\n")
    (videos / "sub/classInd.txt").write_text("0 b\n1 a\n")
    said = run_tool("pack_videos", out, *lists, videos / "sub/other.txt", "--root", videos, code=2).stderr
    assert "classInd.txt differ, but an experiment has one numbering of its classes" in said


def test_out_is_not_mixed_with_other_settings_versions_or_tools(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(videos)
    said = pack(videos, "--size", 32, "--crf", 30, code=2)
    assert "out was packed with crf 20 (now 30), size [0, 256] (now [0, 32]); give another OUT" in said
    monkeypatch.setattr(packing, "VERSION", packing.VERSION + 1)
    assert "out was packed with version 1 (now 2); give another OUT" in pack(videos, code=2)
    (tmp_path / "out/manifest.jsonl").unlink()
    assert "videos-00000.tar: no manifest.jsonl knows it; restore that" in pack(videos, code=2)
    (tmp_path / "mine/lists").mkdir(parents=True)
    assert "mine/lists: holds lists that tools/pack_videos.py has not written" in pack(videos, code=2, out="mine")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/manifest.jsonl").write_text('{"kind": "header", "format": 1, "tool": "dump_frames"}\n')
    assert "is of tools/dump_frames.py; give another OUT" in pack(videos, code=2, out="frames")


def test_the_trade_is_measured_on_videos_and_printed_first(videos: Path, tmp_path: Path, measured: None) -> None:
    said = pack(videos, "--estimate", 3, "--size", 32)
    head, _, second, clip, whole, pixels = said.splitlines()
    assert head == "3 of 5 videos measured: h264, crf 20, short side 32, a key frame every 12 frames"
    assert second.split()[:2] == ["one", "second"] and second.endswith("x the bytes")
    assert clip.startswith("  a clip of 8 frames") and clip.endswith("x as fast to decode, by one core")
    assert whole.startswith("  all 5 videos") and "PSNR" in pixels
    assert 0 < float(pixels.split("encoded by ")[1].split()[0]) < 3, "compared with the small picture"
    assert not (tmp_path / "out").exists()
    trade = pack(videos).splitlines()[:6]
    assert trade[0].startswith("5 of 5 videos measured")
    write_numbers(videos / "b/2.mp4", "libx264", first=50, count=30)
    assert pack(videos).splitlines()[:6] == trade, "it is measured once"


def test_a_long_video_is_measured_by_its_beginning(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trade, "_LONGEST", 0.4)
    source = videos / "a/0.mp4"  # 40 frames, 25 a second
    found = trade.measure(trade.Job(str(source), tmp_path / "out.mp4", Encoding("h264", 20), 0))
    assert found.before == pytest.approx(source.stat().st_size / 4) and found.seconds == pytest.approx(0.4)
    assert len(scan(tmp_path / "out.mp4")) == 10 and found.after == (tmp_path / "out.mp4").stat().st_size

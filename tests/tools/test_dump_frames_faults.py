"""Tests what can go wrong in a dump: damaged videos, kills, full disks, wrong folders and options."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

import cv2
import pytest

from datasets.lists.manifest import Manifest
from tests.helpers.dumping import dump, entries, images, make_job, refusal, tree
from tests.helpers.lock import held
from tests.helpers.make_video import damage, make_audio, make_video, truncate
from tests.helpers.requirements import CLIPS, ROOT, needs_clips
from tests.helpers.run_tool import fork_tool, run_tool
from tools.dumping import dump_frames
from tools.dumping import video as _dump
from tools.dumping.video import Job, OutOfReachError, dump_video, guarded


def make_faults(folder: Path) -> None:
    """Makes a folder with one good video among many bad ones."""
    make_video(folder / "good.mp4", frames=4)
    (folder / "empty.mp4").touch()
    (folder / "text.avi").write_text("no video")
    make_audio(folder / "audio.mp4")
    truncate(make_video(folder / "no_index.mp4"))
    truncate(make_video(folder / "cut.mkv", frames=48))
    damage(make_video(folder / "damaged.mp4", frames=48))
    (folder / "locked.mkv").symlink_to(folder / "nowhere.mkv")


@pytest.mark.whole
def test_faults_are_reported_leave_nothing_and_do_not_stop_the_rest(tmp_path: Path) -> None:
    make_faults(tmp_path / "videos" / "x")
    done = run_tool("dump_frames", tmp_path / "videos", tmp_path / "set", "--workers", 2, code=1)
    assert "8 videos: 1 ok, 7 failed" in done.stdout
    for name in ("empty.mp4", "text.avi", "audio.mp4", "no_index.mp4", "cut.mkv", "damaged.mp4", "locked.mkv"):
        (line,) = [line for line in done.stderr.splitlines() if name in line]
        assert line.startswith("failed: ")
    assert "--keep-partial keeps the" in next(line for line in done.stderr.splitlines() if "cut.mkv" in line)
    assert tree(tmp_path / "set" / "frames") == ["x", "x/good", *(f"x/good/img_{n:05d}.jpg" for n in range(1, 5))]
    failed = {video for video, entry in entries(tmp_path / "set").items() if entry["status"] == "failed"}
    assert len(failed) == 7 and all(entries(tmp_path / "set")[video]["errors"] for video in failed)


def test_a_class_without_a_readable_video_leaves_no_folder_that_would_stop_the_lists(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "x" / "good.mp4", frames=2)
    truncate(make_video(tmp_path / "videos" / "train" / "z" / "cut.mkv", frames=48))
    assert dump(tmp_path / "videos", tmp_path / "set") == 1
    assert tree(tmp_path / "set" / "frames") == ["x", "x/good", "x/good/img_00001.jpg", "x/good/img_00002.jpg"]


@pytest.mark.whole
def test_keep_partial_keeps_what_can_be_decoded(tmp_path: Path) -> None:
    make_faults(tmp_path / "videos" / "x")
    assert dump(tmp_path / "videos", tmp_path / "set", "--keep-partial") == 1
    found = entries(tmp_path / "set")
    assert {video for video, entry in found.items() if entry["status"] == "partial"} == {
        "frames/x/cut",
        "frames/x/damaged",
    }
    for video in ("frames/x/cut", "frames/x/damaged"):
        assert len(images(tmp_path / "set" / video)) == found[video]["frames"] > 0
    assert dump(tmp_path / "videos", tmp_path / "set") == 1  # without the flag they go again
    assert not (tmp_path / "set" / "frames" / "x" / "cut").exists()


@pytest.mark.whole
@needs_clips
def test_real_clips(tmp_path: Path) -> None:
    done = run_tool("dump_frames", CLIPS, tmp_path / "set", "--size", 64, code=1)
    assert "8 videos: 7 ok, 1 failed; wrote 1305 frames" in done.stdout
    assert "failed: " in done.stderr and "corrupted.mp4" in done.stderr
    upright = cv2.imread(str(tmp_path / "set" / "frames" / "video_90" / "img_00001.jpg"))
    assert upright.shape == (114, 64, 3)


def test_other_settings_are_refused_until_overwrite(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "a" / "v.mp4", frames=2)
    assert dump(videos, out) == 0
    said = refusal(videos, out, "--size", "32x32", "--fps", 5)
    assert "size 256 (now 32x32), fps 0 (now 5)" in said and "--overwrite" in said
    assert images(out / "frames" / "a" / "v")[0].shape[0] == 256
    assert dump(videos, out, "--size", "32x32", "--overwrite") == 0
    assert images(out / "frames" / "a" / "v")[0].shape == (32, 32, 3)


def test_what_another_version_has_dumped_is_not_mixed_with_what_this_one_dumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    for name in "vw":
        make_video(videos / "a" / f"{name}.mp4", frames=2)
    assert dump(videos, out) == 0
    lines = (out / "manifest.jsonl").read_text()
    monkeypatch.setattr(dump_frames, "VERSION", dump_frames.VERSION + 1)
    said = refusal(videos, out)
    assert f"was dumped with version {dump_frames.VERSION - 1} (now {dump_frames.VERSION})" in said
    assert dump(videos, out, "--overwrite") == 0
    header, *new = (out / "manifest.jsonl").read_text().splitlines()
    (out / "manifest.jsonl").write_text("\n".join([header, lines.splitlines()[1], new[1], ""]))  # was killed half way
    before = [(out / f"frames/a/{name}").stat().st_ino for name in "vw"]
    assert dump(videos, out) == 0
    after = [(out / f"frames/a/{name}").stat().st_ino for name in "vw"]
    assert before[0] != after[0] and before[1] == after[1], "only what the old version has dumped is dumped again"


def test_deep_videos_that_an_older_version_dumped_are_told_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "a/plain.mp4", frames=2)
    make_video(videos / "a/deep.mkv", "ffv1", frames=2, pix_fmt="yuv420p10le")
    assert dump(videos, out) == 0 == dump(videos, out)
    assert {name: line["bits"] for name, line in entries(out).items()} == {"frames/a/plain": 8, "frames/a/deep": 10}
    text = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(text.replace(', "bits": 8', "").replace(', "bits": 10', ""))
    before = {name: (out / f"frames/a/{name}").stat().st_ino for name in ("plain", "deep")}
    for _ in range(2):
        capsys.readouterr()
        assert dump(videos, out) == 1
        said = capsys.readouterr().err
        assert said.count("not dumped: ") == 1
        assert f"{videos}/a/deep.mkv has colours of more than 8 bits, and an older version has dumped it" in said
    assert "bits" not in entries(out)["frames/a/deep"] and entries(out)["frames/a/plain"]["bits"] == 8
    assert dump(videos, out, "--overwrite") == 0 == dump(videos, out)
    after = {name: (out / f"frames/a/{name}").stat().st_ino for name in ("plain", "deep")}
    assert after["plain"] == before["plain"] and after["deep"] != before["deep"]


def test_a_changed_source_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    source = make_video(videos / "a" / "v.mp4", frames=2)
    assert dump(videos, out) == 0
    os.utime(source)  # copied without its times: the same file
    assert dump(videos, out) == 0
    make_video(source, frames=3)
    assert dump(videos, out) == 1
    assert "is not the file that was dumped; --overwrite" in capsys.readouterr().err
    assert len(images(out / "frames" / "a" / "v")) == 2
    assert dump(videos, out, "--overwrite") == 0
    assert len(images(out / "frames" / "a" / "v")) == 3


def test_folders_of_somebody_else_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "a" / "v.mp4", frames=2)
    (out / "frames" / "a" / "v").mkdir(parents=True)
    (out / "frames" / "a" / "v" / "mine.txt").write_text("precious")
    assert dump(videos, out) == 1
    assert "was not made by this tool" in capsys.readouterr().err
    assert (out / "frames" / "a" / "v" / "mine.txt").read_text() == "precious"


def test_removed_frames_come_back(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "a" / "v.mp4", frames=3)
    assert dump(videos, out) == 0
    (out / "frames" / "a" / "v" / "img_00003.jpg").unlink()
    assert dump(videos, out) == 0
    assert len(images(out / "frames" / "a" / "v")) == 3


@pytest.mark.long
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_leaves_whole_folders_and_the_next_run_does_the_rest(
    signal_number: int, tmp_path: Path
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    names = [f"v{n:02d}" for n in range(24)]  # enough to be in the middle when the signal comes
    first = make_video(videos / "a" / "v00.mp4", frames=40)
    for name in names[1:]:
        (videos / "a" / f"{name}.mp4").write_bytes(first.read_bytes())
    process = fork_tool("dump_frames", videos, out, "--workers", 2, "--size", 480)
    while not (out / "frames" / "a" / "v03").is_dir():
        assert process.is_alive()
        time.sleep(0.002)
    os.kill(process.pid, signal_number)
    process.join()
    assert process.exitcode == (-9 if signal_number == signal.SIGKILL else 130)
    Manifest(out)  # readable
    there = [name for name in names if (out / "frames" / "a" / name).is_dir()]
    assert 0 < len(there) < len(names)
    assert all(len(images(out / "frames" / "a" / name)) == 40 for name in there)
    done = run_tool("dump_frames", videos, out, "--workers", 2, "--size", 480)
    assert "already dumped" in done.stdout
    assert tree(out / "frames" / "a") == sorted(
        name + tail for name in names for tail in ("", *(f"/img_{n:05d}.jpg" for n in range(1, 41)))
    )


def test_a_worker_that_outlives_its_run_leaves_the_folder_that_the_next_run_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(job: Job) -> dict[str, Any]:
        (job.building / "new").mkdir(parents=True)  # the next run has removed the folder and begun anew
        monkeypatch.setattr(_dump, "_parent", -1)
        raise FileNotFoundError(2, "No such file or directory")

    def ends(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", ends)
    job = make_job(make_video(tmp_path / "v.mp4", frames=1), tmp_path / "set")
    with pytest.raises(SystemExit):
        guarded(job, work)
    assert (job.building / "new").is_dir()


def dump_or_die(job: Job) -> dict[str, Any]:
    """Ends the worker as the memory killer does."""
    if job.source.stem == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return dump_video(job)


@pytest.mark.whole
def test_a_worker_that_is_killed_costs_one_video_and_the_next_run_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        make_video(tmp_path / "videos" / "x" / f"{name}.mp4", frames=2)
    with monkeypatch.context() as patch:
        patch.setattr("tools.dumping.dump_frames.dump_video", dump_or_die)
        assert dump(tmp_path / "videos", tmp_path / "set") == 1
    said = capsys.readouterr()
    assert "3 videos: 2 ok, 1 failed" in said.out
    assert f"failed: {tmp_path}/videos/x/b.mp4: its process died with exit code -9" in said.err
    assert dump(tmp_path / "videos", tmp_path / "set") == 0
    assert "3 videos: 1 ok, 2 already dumped" in capsys.readouterr().out


def test_two_dumps_into_one_folder_are_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a" / "v.mp4", frames=1)
    out = tmp_path / "set"
    out.mkdir()
    with held(out / ".dump.lock"):
        assert "another dump" in refusal(tmp_path / "videos", out)
    assert dump(tmp_path / "videos", out) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "1x"), "not like 256"),
        (("--size", "0x5"), "sides go from 1"),
        (("--size", "-3"), "--size"),
        (("--quality", "0"), "quality from 1 to 100"),
        (("--fps", "0"), "0 is not a number of frames per second from 0.01 to 1000"),
        (("--fps", "1e6"), "1e6 is not a number of frames per second"),
        (("--fps", "nan"), "nan is not a number of frames per second"),
        (("--every", "0"), "from 1 on"),
        (("--csv", "no.csv"), "cannot be read"),
        (("--sise", "3"), "--sise"),
    ],
)
def test_wrong_options_are_one_line_and_write_nothing(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a" / "v.mp4", frames=1)
    assert said in refusal(tmp_path / "videos", tmp_path / "set", *options)
    assert not (tmp_path / "set").exists()


def test_wrong_folders_end_with_exit_code_2(tmp_path: Path) -> None:
    file = make_video(tmp_path / "v.mp4", frames=1)
    for videos, said in ((tmp_path / "nowhere", "no such folder"), (file, "is not a folder")):
        done = run_tool("dump_frames", videos, tmp_path / "set", code=2)
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and said in done.stderr
    assert not (tmp_path / "set").exists()
    make_video(tmp_path / "videos" / "a" / "v.mp4", frames=1)
    for out in (file, file / "set"):
        assert "cannot be created" in refusal(tmp_path / "videos", out)


def test_unclear_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "no videos" in refusal(tmp_path / "none", tmp_path / "set")
    make_video(tmp_path / "same" / "a" / "v.mp4", frames=1)
    make_video(tmp_path / "same" / "a" / "v.avi", "mpeg4", frames=1)
    assert "would both become frames/a/v" in refusal(tmp_path / "same", tmp_path / "set")
    make_video(tmp_path / "mixed" / "a" / "v.mp4", frames=1)
    make_video(tmp_path / "mixed" / "w.mp4", frames=1)
    assert "class folders and loose videos (w.mp4)" in refusal(tmp_path / "mixed", tmp_path / "set")
    table = tmp_path / "t.csv"
    for text, said in (
        ("v,a\n", "may be"),
        ("a/v.mp4,../up\n", "name of a folder"),
        ("a/v.mp4,x\na/v.mp4,y\n", "t.csv:2: a/v.mp4 is 'y' here and 'x' in"),
    ):
        table.write_text(text)
        assert said in refusal(tmp_path / "same", tmp_path / "set", "--csv", table)
    assert not (tmp_path / "set").exists()


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a" / "v.mp4", frames=1)
    (tmp_path / "videos" / "a" / "up").symlink_to(tmp_path / "videos")
    assert dump(tmp_path / "videos", tmp_path / "set") == 0
    assert set(entries(tmp_path / "set")) == {"frames/a/v"}


def test_a_full_disk_ends_the_run_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "v.mp4", frames=3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_dump, "write_jpeg", full)
    with pytest.raises(OutOfReachError, match="No space left on device"):
        dump_video(make_job(source, tmp_path / "set"))
    assert tree(tmp_path / "set") == ["frames"]


def test_the_tool_is_documented_by_its_help() -> None:
    text = run_tool("dump_frames", "--help").stdout
    assert "manifest.jsonl" in text and "--keep-partial" in text
    assert ROOT.joinpath("tools", "dump_frames.py").is_file()

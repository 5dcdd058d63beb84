"""Tests dumping frames of encoded videos by the files that are on the disk afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.dumping import dump, entries, images, make_job, tree
from tests.helpers.make_video import block_position, make_video
from tests.helpers.run_tool import run_tool
from tools import dump_frames, make_lists
from tools.dumping.plan import plan
from tools.dumping.video import dump_video


@pytest.mark.whole
def test_class_folders_become_the_seeds_layout_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "class one" / "видео 1.mp4", frames=5)
    make_video(videos / "two" / "b.avi", "mpeg4", frames=4)
    (videos / "two" / "._b.avi").write_bytes(b"left by a Mac")
    (videos / "two" / "notes.txt").write_text("not a video")
    os.mkfifo(videos / "two" / "pipe.mp4")
    done = run_tool("dump_frames", videos, out)
    assert "2 videos: 2 ok; wrote 9 frames" in done.stdout and f"next: python tools/make_lists.py {out}" in done.stdout
    expected = [f"frames/class one/видео 1/img_{n:05d}.jpg" for n in range(1, 6)]
    expected += [f"frames/two/b/img_{n:05d}.jpg" for n in range(1, 5)]
    assert [path for path in tree(out) if path.endswith(".jpg")] == expected
    assert (out / "lists").is_dir() and "img_%05d.jpg" in (out / "README").read_text()
    assert [path for path in tree(out) if ".tmp" in path] == []
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    again = run_tool("dump_frames", videos, out)
    assert "2 already dumped; wrote 0 frames" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == before


def test_the_manifest_says_how_the_frames_were_made(tmp_path: Path) -> None:
    source = make_video(tmp_path / "videos" / "a" / "v.mp4", frames=6, size=(128, 96))
    assert dump(tmp_path / "videos", tmp_path / "set", "--size", 48, "--quality", 90) == 0
    header = json.loads((tmp_path / "set" / "manifest.jsonl").read_text().splitlines()[0])
    assert header["tool"] == "dump_frames" and (header["template"], header["first_frame"]) == ("img_{:05d}.jpg", 1)
    assert (header["size"], header["fps"], header["every"], header["quality"]) == ([0, 48], 0.0, 1, 90)
    (entry,) = entries(tmp_path / "set").values()
    assert entry["video"] == "frames/a/v" and entry["label"] == "a" and entry["source"] == str(source)
    assert entry["status"] == "ok" and entry["errors"] == [] and entry["frames"] == 6
    assert (entry["source_fps"], entry["source_seconds"], entry["source_frames"]) == (24, 0.25, 6)
    assert (entry["width"], entry["height"]) == (64, 48) and entry["bytes"] == source.stat().st_size


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ((128, 96), "256", (341, 256)),
        ((128, 96), "48", (64, 48)),
        ((128, 96), "340x256", (340, 256)),
        ((128, 96), "0", (128, 96)),
        ((97, 65), "0", (97, 65)),
        ((97, 65), "32", (48, 32)),
        ((65, 97), "32", (32, 48)),
    ],
)
def test_size(given: tuple[int, int], size: str, expected: tuple[int, int], tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mkv", "ffv1", frames=2, size=given, pix_fmt="yuv444p")
    entry = dump_video(make_job(source, tmp_path, size=dump_frames.parse_size(size)))
    assert (entry["width"], entry["height"]) == expected
    assert {image.shape[1::-1] for image in images(tmp_path / "frames" / "v")} == {expected}


def test_short_side_of_an_upright_video_is_its_width(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=2, rotation=90)
    dump_video(make_job(source, tmp_path, size=(0, 32)))
    assert images(tmp_path / "frames" / "v")[0].shape == (48, 32, 3)


def test_rate_and_every_nth_choose_frames(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=24, fps=24)
    for number, (settings, expected) in enumerate(
        (({"fps": 12.0}, 12), ({"every": 5}, 5), ({"fps": 12.0, "every": 4}, 3), ({"fps": 48.0}, 48), ({}, 24))
    ):
        out = tmp_path / str(number)
        assert dump_video(make_job(source, out, size=(0, 0), **settings))["frames"] == expected
        assert len(images(out / "frames" / "v")) == expected
    positions = [block_position(image) for image in images(tmp_path / "1" / "frames" / "v")]
    assert positions == pytest.approx([0, 10, 20, 30, 40], abs=1)


def test_quality_changes_the_size_of_the_files(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=1)
    sizes = []
    for quality in (20, 95):
        dump_video(make_job(source, tmp_path / str(quality), quality=quality))
        sizes.append((tmp_path / str(quality) / "frames" / "v" / "img_00001.jpg").stat().st_size)
    assert sizes[1] > 2 * sizes[0]


def test_flat_layout_and_its_names(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "run" / "x1.mp4", frames=1)
    make_video(tmp_path / "videos" / "run" / "v_run_g01_c01.mp4", frames=1)
    assert dump(tmp_path / "videos", tmp_path / "set", "--flat") == 0
    assert set(entries(tmp_path / "set")) == {"frames/v_run_x1", "frames/v_run_g01_c01"}


def test_a_csv_gives_classes_to_a_flat_folder_and_cuts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos"
    for name in ("a, b.mp4", "c.mp4", "unused.mp4"):
        make_video(videos / name, frames=24, fps=24)
    table = tmp_path / "labels.csv"
    table.write_text('file,label,start,end\n"a, b.mp4",jump,,\nc,run fast,0.25,0.5\nc.mp4,jump,0.5,1\n')
    assert dump(videos, tmp_path / "set", "--csv", table) == 0
    counts = {video: entry["frames"] for video, entry in entries(tmp_path / "set").items()}
    assert counts == {"frames/jump/a, b": 24, "frames/run fast/c_0.25_0.5": 6, "frames/jump/c_0.5_1": 12}
    assert "1 videos below" in capsys.readouterr().out
    assert [e["label"] for e in entries(tmp_path / "set").values()] == ["jump", "jump", "run fast"]


def test_kinetics_is_cut_by_its_table_unless_a_crawler_did(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "whole.mp4", frames=48, fps=24)
    make_video(videos / "done_000010_000020.mp4", frames=12, fps=24)
    table = tmp_path / "kinetics_train.csv"
    table.write_text("label,youtube_id,time_start,time_end,split\nyoga,whole,1,2,train\nski jump,done,10,20,train\n")
    assert dump(videos, out, "--csv", table) == 0
    counts = {video: entry["frames"] for video, entry in entries(out).items()}
    assert counts == {"frames/ski jump/done_000010_000020": 12, "frames/yoga/whole_1_2": 24}
    make_lists.main([str(out), "--csv", str(table)])
    assert (out / "lists" / "train.txt").read_text() == (
        "frames/ski jump/done_000010_000020 12 0\nframes/yoga/whole_1_2 24 1\n"
    )


def test_activitynet_is_cut_by_its_json(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    make_video(videos / "v_abc.mp4", frames=48, fps=24)
    segments = [{"segment": [0.5, 1], "label": "Surfing"}, {"segment": [1.25, 1.5], "label": "Surfing"}]
    table = tmp_path / "activity_net.json"
    table.write_text(json.dumps({"database": {"abc": {"subset": "training", "annotations": segments}}}))
    assert dump(videos, out, "--csv", table) == 0
    counts = {video: entry["frames"] for video, entry in entries(out).items()}
    assert counts == {"frames/Surfing/v_abc_0.5_1": 12, "frames/Surfing/v_abc_1.25_1.5": 6}
    make_lists.main([str(out), "--csv", str(table)])
    assert len((out / "lists" / "train.txt").read_text().splitlines()) == 2


def test_a_video_of_the_csv_that_is_not_there_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", frames=2)
    (tmp_path / "labels.csv").write_text("a.mp4,x\ngone.mp4,y\n")
    assert dump(tmp_path / "videos", tmp_path / "set", "--csv", tmp_path / "labels.csv") == 1
    found = entries(tmp_path / "set")
    assert found["frames/x/a"]["status"] == "ok"
    assert (
        found["frames/y/gone"]["status"] == "failed" and "no such file" in found["frames/y/gone"]["errors"][0].lower()
    )


def test_the_outermost_folder_is_the_class_of_a_nested_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.mp4").touch()
    (tmp_path / "videos/run").mkdir(parents=True)
    (tmp_path / "videos/run/s1").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "videos/run/._a.mp4").touch()
    for rule, label in (("first", "run"), ("last", "s1")):
        folders = [str(tmp_path / "videos"), str(tmp_path / "out"), "--class-folder", rule]
        [job] = plan(dump_frames.parse_arguments(folders))
        assert (job.video, job.label) == ("frames/run/s1/a", label)
        assert f"the {rule} folder is the class: {label!r} for run/s1/a.mp4; --class-folder" in capsys.readouterr().out

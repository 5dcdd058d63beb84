"""Tests dumping optical flow by the files that are on the disk afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.lists.manifest import FLOW_MANIFEST
from tests.helpers import dumping
from tests.helpers.make_video import make_video
from tests.helpers.moving import HEIGHT, WIDTH, moving_texture, write_frames
from tests.helpers.run_tool import run_tool
from tools import dump_flow
from tools.dumping import flow as _dump_flow
from tools.dumping.dump_flow import VERSION, make_job, trouble_with
from tools.dumping.flow import FlowJob, FlowSettings
from tools.dumping.video import OutOfReachError
from utils.errors import UserError
from utils.transforms.flow import to_pixels

VIDEOS = ("frames/a/v1", "frames/b c/v2")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed, video in enumerate(VIDEOS):
        write_frames(tmp_path / "set" / video, moving_texture(seed, frames=4))
    return tmp_path / "set"


def run(*arguments: object) -> int:
    return dump_flow.main([*map(str, arguments), "--workers", "1"])


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def lines(dataset: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (dataset / FLOW_MANIFEST).read_text().splitlines()]
    return {line["video"]: line for line in found if line["kind"] == "video"}


def flow_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("flow_*"))


def whole(fields: int) -> list[str]:
    return [f"flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in range(1, fields + 1)]


def job_for(dataset: Path, video: str = VIDEOS[0], **settings: Any) -> FlowJob:
    return make_job(dataset, video, FlowSettings(**settings))


@pytest.mark.whole
def test_n_frames_give_n_minus_1_fields_beside_them_and_a_second_run_does_nothing(dataset: Path) -> None:
    done = run_tool("dump_flow", dataset)
    assert "2 videos: 2 ok; wrote 6 fields" in done.stdout and "common.model.modality: flow" in done.stdout
    for video in VIDEOS:
        assert flow_in(dataset / video) == whole(3)
        x, y = (cv2.imread(str(dataset / video / f"flow_{axis}_00002.jpg"), cv2.IMREAD_UNCHANGED) for axis in "xy")
        assert x.shape == y.shape == (HEIGHT, WIDTH)
        assert np.median(to_pixels(x)) == pytest.approx(3, abs=0.2)
        assert np.median(to_pixels(y)) == pytest.approx(0, abs=0.2)
        assert len(list((dataset / video).glob("img_*"))) == 4
        assert lines(dataset)[video] | {"status": "ok", "frames": 4, "fields": 3} == lines(dataset)[video]
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("flow_*")}
    again = run_tool("dump_flow", dataset)
    assert "2 already dumped; wrote 0 fields" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("flow_*")} == before
    assert not list(dataset.rglob(".*.tmp"))


def test_a_broken_frame_costs_its_video_and_leaves_no_flow_of_it(dataset: Path) -> None:
    (dataset / VIDEOS[0] / "img_00003.jpg").write_bytes(b"no picture")
    (dataset / VIDEOS[1] / "img_00002.jpg").unlink()
    write_frames(dataset / "frames/c/one", moving_texture(5, frames=1))
    write_frames(dataset / "frames/c/whole", moving_texture(6, frames=2))
    assert run(dataset) == 1
    found = lines(dataset)
    assert "img_00003.jpg: not a readable image" in found[VIDEOS[0]]["errors"][0]
    assert "some of img_{:05d}.jpg are missing" in found[VIDEOS[1]]["errors"][0]
    assert "has 1 frames; flow with step 1 needs at least 2" in found["frames/c/one"]["errors"][0]
    assert [flow_in(dataset / video) for video in (*VIDEOS, "frames/c/one")] == [[], [], []]
    assert flow_in(dataset / "frames/c/whole") == whole(1) and not list(dataset.rglob(".*.tmp"))


def test_flow_that_was_not_finished_or_is_of_other_frames_is_made_anew(dataset: Path) -> None:
    line = _dump_flow.dump_flow(job_for(dataset)) | {"settings": FlowSettings().as_json()}
    assert trouble_with(job_for(dataset), line) == ""
    (dataset / VIDEOS[0] / "flow_y_00003.jpg").unlink()
    assert trouble_with(job_for(dataset), line) is None
    assert trouble_with(job_for(dataset), {"status": "started"}) is None
    assert trouble_with(job_for(dataset), line | {"version": VERSION + 1}) is None
    shutil.rmtree(dataset / VIDEOS[0])
    write_frames(dataset / VIDEOS[0], moving_texture(0, frames=3))
    (dataset / VIDEOS[0] / "flow_x_00003.jpg").write_bytes(b"left over")
    assert trouble_with(job_for(dataset), line) is None
    assert _dump_flow.dump_flow(job_for(dataset))["fields"] == 2 and flow_in(dataset / VIDEOS[0]) == whole(2)


def test_the_first_x_comes_last_so_that_where_it_is_all_are(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    rename = Path.rename

    def noted(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) == 4:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", noted)
    with pytest.raises(OutOfReachError, match="No space left"):
        _dump_flow.dump_flow(job_for(dataset))
    pictures = [name for name in moved[:3] if name.endswith(".jpg")]  # the others are checksums
    assert "flow_x_00001.jpg" not in moved and sorted(flow_in(dataset / VIDEOS[0])) == sorted(pictures)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "rename", lambda self, target: moved.append(self.name) or rename(self, target))
    _dump_flow.dump_flow(job_for(dataset))
    assert moved[-1] == "flow_x_00001.jpg" and flow_in(dataset / VIDEOS[0]) == whole(3)


def test_a_step_compares_frames_that_are_apart_and_a_bound_cuts_off(dataset: Path) -> None:
    assert _dump_flow.dump_flow(job_for(dataset, step=2, bound=5))["fields"] == 2
    level = cv2.imread(str(dataset / VIDEOS[0] / "flow_x_00001.jpg"), cv2.IMREAD_UNCHANGED)
    assert np.median(level) == 255  # six pixels
    assert _dump_flow.dump_flow(job_for(dataset, step=1, bound=5))["fields"] == 3
    level = cv2.imread(str(dataset / VIDEOS[0] / "flow_x_00001.jpg"), cv2.IMREAD_UNCHANGED)
    assert np.median(to_pixels(level, 5)) == pytest.approx(3, abs=0.1)


def test_what_is_in_the_way_is_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in refusal(tmp_path / "gone")
    (tmp_path / "empty" / "frames").mkdir(parents=True)
    assert "no folders of frames in it; tools/dump_frames.py" in refusal(tmp_path / "empty")
    assert "does not say which video frames/a/v1 was made from" in refusal(dataset, "--from-videos")
    (dataset / VIDEOS[0] / "flow_x_00001.jpg").write_bytes(b"of another tool")
    assert run(dataset) == 1
    assert "has flow that was not made by this tool; --overwrite replaces it" in capsys.readouterr().err
    said = refusal(dataset, "--bound", "15")
    assert "was dumped with bound 20.0 (now 15.0); --overwrite dumps all of it again" in said
    assert run(dataset, "--bound", "15", "--overwrite") == 0
    assert flow_in(dataset / VIDEOS[0]) == whole(3)


def test_from_videos_decodes_what_the_frames_were_made_of(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a" / "v.mp4", frames=6)
    assert dumping.dump(tmp_path / "videos", tmp_path / "set", "--size", "48", "--every", "2") == 0
    folder = tmp_path / "set" / "frames" / "a" / "v"
    assert run(tmp_path / "set", "--from-videos") == 0 and flow_in(folder) == whole(2)
    moved = to_pixels(cv2.imread(str(folder / "flow_x_00001.jpg"), cv2.IMREAD_UNCHANGED))
    assert moved.shape == (48, 72) and moved.max() > 2  # the block walks 4 pixels, at three quarters of the size
    shutil.rmtree(folder)
    write_frames(folder, moving_texture(0, frames=4))
    assert run(tmp_path / "set", "--from-videos") == 1
    assert "gives 3 pictures, but" in lines(tmp_path / "set")["frames/a/v"]["errors"][0]


def test_flow_is_not_made_of_another_video_than_the_frames_beside_it(tmp_path: Path) -> None:
    source = make_video(tmp_path / "videos" / "a" / "v.mp4", frames=3)
    assert dumping.dump(tmp_path / "videos", tmp_path / "set") == 0
    make_video(source, frames=3, size=(64, 64))
    assert run(tmp_path / "set", "--from-videos") == 1
    (error,) = lines(tmp_path / "set")["frames/a/v"]["errors"]
    assert "v.mp4: is not the file that " in error and "leave out --from-videos" in error
    assert flow_in(tmp_path / "set" / "frames" / "a" / "v") == []

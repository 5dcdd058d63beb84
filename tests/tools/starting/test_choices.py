"""Each choice follows from what was seen, can be overruled, and says why."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.make_video import make_video
from tools.listing.found import Found
from tools.starting import choices
from tools.starting.choices import Choices, choose
from tools.starting.configs import Network
from tools.starting.survey import Seen, Survey
from utils.errors import UserError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=8, size=(32, 32))


def survey(
    video: Path, *, each: int = 6, frames: int = 8, seconds: float = 3.0, split: bool = False, fault: str = ""
) -> Survey:
    """Two classes of `each` videos, all of them the same file."""
    prefix = ["train/", "val/"] if split else [""]
    names = [f"{prefix[n % len(prefix)]}{label}/v{n}.mp4" for label in ("jump", "run") for n in range(each)]
    videos = [Found(name, name.split("/")[-2], 0) for name in names]
    seen = [Seen(video, frames, seconds, frames / seconds, 32, 32, fault if n == 0 else "") for n in range(len(names))]
    return Survey(video.parent, videos, seen, [])


IMAGES = Network("resnet18", True, {})
VIDEOS = Network("x3d_xs", "weights.pth", {}, method="clip3d", about=["it sees 4 frames"], seconds=5.0)


def chosen(
    found: Survey, out: Path, network: Network = IMAGES, *, frames: int | None = None, folds: int | None = None
) -> Choices:
    return choose(found, out, network, num_frames=frames, folds=folds, group_regex=None, seed=0, workers=1)


@pytest.mark.whole
def test_few_short_videos_are_dumped_and_tested_in_folds(video: Path, tmp_path: Path) -> None:
    made = chosen(survey(video), tmp_path / "out")
    assert (made.num_frames, made.dumps, made.folds) == (8, True, 5)
    assert [reason.split(":")[0] for reason in made.reasons] == [
        "8 frames of each video, spread evenly, one every 0.38 s",
        "frames are written to the disk as JPEG files, because training reads them faster",
        "5 folds",
    ]
    assert not any(tmp_path.iterdir())  # the sample is not kept


@pytest.mark.whole
def test_the_smallest_class_limits_the_folds_and_many_videos_need_none(video: Path, tmp_path: Path) -> None:
    assert chosen(survey(video, each=3), tmp_path / "out").folds == 3
    many = chosen(survey(video, each=130), tmp_path / "out")
    assert many.folds == 0 and "20% of the videos test: 52, which give an interval of 26 points" in many.reasons[2]
    assert chosen(survey(video, each=130), tmp_path / "out", folds=3).folds == 3
    assert chosen(survey(video, split=True), tmp_path / "out").folds == 0
    with pytest.raises(UserError, match=r"--folds: the folders of .* say which videos test"):
        chosen(survey(video, split=True), tmp_path / "out", folds=2)


@pytest.mark.whole
def test_long_videos_get_more_frames_unless_a_number_is_given(video: Path, tmp_path: Path) -> None:
    assert chosen(survey(video, frames=16, seconds=60.0), tmp_path / "out").num_frames == 16
    given = chosen(survey(video, frames=16, seconds=60.0), tmp_path / "out", frames=4)
    assert given.num_frames == 4 and "as --frames says" in given.reasons[0]


@pytest.mark.whole
def test_a_video_network_says_itself_what_it_sees_and_the_survey_what_that_costs(video: Path, tmp_path: Path) -> None:
    made = chosen(survey(video), tmp_path / "out", VIDEOS)
    assert made.num_frames == 0 and list(made.reasons[:2]) == [
        "it sees 4 frames",
        "a clip takes about 5 s on the CPU, so all videos 1.0 minutes, once; an image network takes less",
    ]


@pytest.mark.whole
def test_frames_that_would_fill_the_disk_are_read_from_the_videos(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 100_000))
    made = chosen(survey(video), tmp_path / "out")
    assert not made.dumps and "as JPEG files they would take about" in made.reasons[1]
    assert "of the 100 KB that are free" in made.reasons[1]
    with pytest.raises(UserError, match=r"bad\.mp4: cut off \(1 of 12 videos are damaged\); move them away"):
        chosen(survey(video, fault="bad.mp4: cut off"), tmp_path / "out")


@pytest.mark.whole
def test_the_sizes_of_a_sample_stand_for_all(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(choices, "in_bytes", lambda number: sizes.append(number) or str(number))
    chosen(survey(video, each=6), tmp_path / "out")
    chosen(survey(video, each=12), tmp_path / "out")
    assert sizes[2] == pytest.approx(2 * sizes[0]) and sizes[0] > 0


@pytest.mark.whole
def test_videos_that_are_shorter_than_a_clip_of_a_video_network_are_counted(video: Path, tmp_path: Path) -> None:
    said = chosen(survey(video), tmp_path / "out", replace(VIDEOS, span=9)).reasons
    assert "12 of 12 videos are shorter than a clip of 9 frames, so their last frame is repeated" in said
    assert not any(
        "shorter" in line for line in chosen(survey(video), tmp_path / "out", replace(VIDEOS, span=8)).reasons
    )

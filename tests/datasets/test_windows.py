"""Windows show a trained network the frames that its list of videos would show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datasets.lists.records import read_list
from datasets.protocol import ClipProtocol
from datasets.video_dataset import VideoDataset
from datasets.videos.clip_times import VideoSampling
from datasets.windows import cut_video, sliding, usual_spacing, usual_window
from tests.helpers.numbered import RATE, number_of, write_numbered
from tests.helpers.protocol import for_testing
from tools.inference.inputs import open_input
from utils.clip_spec import ClipSpec
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numbered")


def protocol_of(clip: ClipSpec, num_clips: int = 1, **sampling: Any) -> ClipProtocol:
    cut = CutClip(TestCrops(None), (96, 128))
    return for_testing(clip, cut, num_clips=num_clips, video_sampling=VideoSampling(**sampling))


SEGMENTS, CLIP = ClipSpec(4, 1, "segments"), ClipSpec(4, 2, "clip")
SEEN = {  # clip, arguments of data.store -> first and last frame of 40, 25 a second, that its first test clip shows
    "every frame": (CLIP, {}, (16, 22)),
    "a rule at another rate": (CLIP, {"fps": 10.0}, (10, 25)),
    "segments at another rate": (SEGMENTS, {"fps": 5.0}, (5, 35)),
    "spans": (SEGMENTS, {"sampler": "constant_clips_per_video", "clip_seconds": 0.8}, (0, 19)),
    "spans at another rate": (CLIP, {"sampler": "constant_clips_per_video", "fps": 10.0}, (0, 15)),
}


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("name", ["no_b_frames.mp4", pytest.param("vfr.mp4", marks=pytest.mark.whole)])
def test_a_whole_video_is_seen_as_in_an_evaluation(kind: str, name: str, folder: Path, tmp_path: Path) -> None:
    clip, sampling, ends = SEEN[kind]
    protocol, path = (
        protocol_of(clip, 2 if clip is CLIP and "sampler" in sampling else 1, **sampling),
        write_numbered(folder, name),
    )
    (tmp_path / "list.txt").write_text(f"{path.name} 0\n")
    records = read_list(tmp_path / "list.txt", root=folder, columns=("label",))
    clips = VideoDataset(records, protocol, cache=tmp_path)[0]["clips"]
    expected = [[number_of(picture) for picture in clip] for clip in clips]
    source = open_input(path)
    given = {"num_frames": source.num_frames, "fps": source.fps, "times": source.times, "slide": False}
    (found,) = cut_video(protocol, source.frames(), **given)
    assert [[number_of(picture) for picture in view] for view in found.views] == expected
    if name == "no_b_frames.mp4":
        assert (expected[0][0], expected[0][-1]) == ends


def test_windows_show_frames_at_the_rate_of_the_training() -> None:
    protocol = protocol_of(CLIP, fps=12.5)
    assert usual_window(protocol, {}, RATE) == (2 * usual_window(protocol_of(CLIP), {}, RATE)[0], "one clip")
    window = next(sliding(protocol, length=16, step=8, num_frames=None, fps=RATE))
    assert window.indices.tolist() == [[0, 4, 8, 12]]
    spans = protocol_of(SEGMENTS, sampler="uniform", clip_seconds=0.4)
    assert usual_window(spans, {}, RATE) == (10, "as in training")
    assert next(sliding(spans, length=10, step=5, num_frames=40, fps=RATE)).indices.tolist() == [[0, 3, 6, 9]]


@pytest.mark.parametrize(
    ("clip", "sampling", "trained_on", "spacing"),
    [
        (CLIP, {}, {}, 2.0),
        (CLIP, {"fps": 10.0}, {}, 5.0),
        (SEGMENTS, {}, {"frames": 40.0}, 10.0),
        (SEGMENTS, {}, {"frames": 40.0, "seconds": 2.0}, 12.5),
        (SEGMENTS, {"sampler": "constant_clips_per_video", "clip_seconds": 0.8}, {}, 5.0),
        (SEGMENTS, {}, {}, None),
    ],
)
def test_frames_lie_as_far_apart_as_in_training(
    clip: ClipSpec, sampling: dict[str, Any], trained_on: dict[str, float], spacing: float | None
) -> None:
    assert RATE == 25
    assert usual_spacing(protocol_of(clip, **sampling), trained_on, RATE) == spacing

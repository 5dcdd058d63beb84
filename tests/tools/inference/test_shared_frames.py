"""`Recognizer.timeline`: one pass, each frame once, and the scores that windows have alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datasets.videos.video import TimedFrame
from methods.build import build_method
from tests.helpers.planted import brightness
from tests.helpers.trained import CLIP, PROBE, SCHEDULE, TSN, UNI, UNI_TAM, write_checkpoint
from tools.inference import Input, Recognizer, load
from tools.inference.shared_frames import shares_frames
from utils.config.schema import Common
from utils.errors import FrameError, UserError


class Counting(Input):
    """Noise of `num_frames` frames, of which `come` come; frames are made when they are asked for."""

    def __init__(self, num_frames: int, *, come: int | None = None, fps: float = 10) -> None:
        self.name, self.fps, self.num_frames, self.warnings = "noise", fps, num_frames, []
        self._come = num_frames if come is None else come

    def frames(self) -> Iterator[TimedFrame]:
        """Yields the frames."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
        for index in range(self._come):
            left = 7 * index % 64
            yield index / self.fps, noise[:48, left : left + 64].copy()


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    found = load(write_checkpoint(tmp_path_factory.mktemp("tsn"), TSN, test={"num_crops": 3}), device="cpu")
    for parameter in found.method.head.parameters():
        parameter.mul_(0.005)  # untrained logits are near 60, and another batch size rounds them by some 1e-5
    return found


@pytest.mark.whole
@pytest.mark.parametrize(("come", "batch_size"), [(50, 1), (50, 8), (44, 2)])
def test_windows_that_share_frames_have_the_scores_that_they_have_alone(
    recognizer: Recognizer, come: int, batch_size: int
) -> None:
    def noise() -> Counting:
        return Counting(50, come=come)

    alone = list(recognizer.cut(noise(), noise().frames(), window=1.5, step=0.4))
    expected = [recognizer.score_views([one.views], batch_size=8)[0] for one in alone]
    found = recognizer.timeline(noise(), window=1.5, step=0.4, batch_size=batch_size)
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    np.testing.assert_allclose(found.times, [(one.start + one.end + 0.1) / 2 for one in alone])
    predicted = recognizer.predict(noise(), window=1.5, step=0.4, batch_size=batch_size)
    assert [(one.start, one.end) for one in predicted.timeline] == [(one.start, one.end) for one in alone]
    np.testing.assert_allclose([one.scores for one in predicted.timeline], expected, atol=1e-6)
    np.testing.assert_allclose(predicted.scores, np.mean(expected, axis=0), atol=1e-6)
    assert (found.seconds, found.num_frames) == (pytest.approx(come / 10), come)
    assert np.ptp(found.scores, axis=0).max() > 1e-3  # the windows differ


def test_each_frame_is_computed_once(tmp_path: Path) -> None:
    planted = brightness(tmp_path)
    seen: list[tuple[int, ...]] = []
    planted.method.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape)))
    planted.timeline(Counting(40), window=0.6, step=0.1, batch_size=4)  # 35 windows of 3 frames
    frames = [shape[0] for shape in seen if shape[2] == 1]
    assert 35 < sum(frames) <= 40 and max(frames) <= 12
    assert {shape[2] for shape in seen[1:]} == {1}  # the first call only finds out how the network is made


def test_a_window_of_a_stream_waits_for_no_more_windows_than_the_batch_has(tmp_path: Path) -> None:
    asked = []

    class Watched(Counting):
        def frames(self) -> Iterator[TimedFrame]:
            for number, frame in enumerate(super().frames(), 1):
                asked.append(number)
                yield frame

    planted = brightness(tmp_path)
    for batch_size in (1, 3):
        found = planted.windows(Watched(40), window=1, step=0.5, batch_size=batch_size)
        asked.clear()
        next(found)
        assert 10 <= asked[-1] <= 10 + 5 * (batch_size - 1)


@pytest.mark.whole
def test_a_long_video_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    planted = brightness(tmp_path)
    for shares in (True, False):
        planted.method.averages_frames = shares
        peaks = []
        for num_frames in (500, 5_000):
            tracemalloc.start()
            planted.timeline(Counting(num_frames), window=10, step=5)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 200_000  # bytes; the 300 pictures that windows show have 0.9 MB


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        (TSN, True),
        ({"type": "img", "backbone": "mobilenetv2", "kwargs": {"scale": 0.25}}, True),
        (TSN | {"consensus": "trn"}, False),
        (UNI, False),
        (UNI_TAM, False),
        (TSN | {"backbone": "resnet18", "kwargs": {}, "neck": "tpn"}, False),
        (CLIP, False),
        (PROBE, False),
    ],
    ids=["tsn", "img", "trn", "tsm", "tam", "tpn", "clip3d", "probe"],
)
def test_only_networks_whose_frames_do_not_see_each_other_average_them(model: dict, shares: bool) -> None:
    raw = {"model": {"num_class": 2, **model}, "lr_scheduler": SCHEDULE}
    method = build_method(Common.model_validate(raw).model)
    assert method.averages_frames is shares


@pytest.mark.whole
def test_windows_of_other_networks_are_clips_and_stacks_are_not_shared(tmp_path: Path) -> None:
    found = load(write_checkpoint(tmp_path / "clip", CLIP), device="cpu")
    timeline = found.timeline(Counting(20))
    alone = list(found.windows(Counting(20)))
    np.testing.assert_array_equal(timeline.scores, [one.scores for one in alone])
    flow = load(write_checkpoint(tmp_path / "diff", TSN | {"modality": "rgbdiff"}), device="cpu")
    assert flow.method.averages_frames and not shares_frames(flow)
    assert flow.timeline(Counting(20), window=1).scores.shape == (3, 4)


def test_what_has_no_end_no_frame_or_no_length_is_an_error(recognizer: Recognizer) -> None:
    with pytest.raises(FrameError, match="has no known end"):
        recognizer.timeline(frame for frame in ())
    with pytest.raises(FrameError, match="nothing in it can be decoded"):
        recognizer.timeline(Counting(5, come=0))
    with pytest.raises(UserError, match="step: should be above 0"):
        recognizer.timeline(Counting(5), step=0)
    with pytest.raises(UserError, match=r"step: 0\.5 s is longer than a window, 0\.4 s; what happens between two"):
        recognizer.timeline(Counting(20), window=0.4, step=0.5)

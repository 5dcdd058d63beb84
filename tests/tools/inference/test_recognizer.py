"""What users import: `from tools.inference import load`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.videos.video import TimedFrame, Video
from tests.helpers.experiment import make_experiment, run
from tests.helpers.make_video import make_video
from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import ENVIRONMENT
from tests.helpers.trained import CLASSES, CLIP, TSN, UNI, write_checkpoint
from tools import inference
from tools.inference import Input, Recognizer, load
from utils.errors import CheckpointError, ConfigError, FrameError, UserError
from utils.scoring.result_files import read_results


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("uni"), UNI, class_names=CLASSES)


@pytest.fixture(scope="module")
def recognizer(ckpt: Path) -> Recognizer:
    return load(ckpt, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=40, fps=10)


@pytest.fixture(scope="module")
def frames(video: Path) -> np.ndarray:
    return np.stack([picture for _, picture in Video(video).frames()])


VIEWS = {"num_clips": 2, "num_crops": 3, "batch_size": 1}


@pytest.mark.whole
@pytest.mark.parametrize(
    "common",
    [{"test": VIEWS}, *(pytest.param(common, marks=pytest.mark.long) for common in ({}, {"multi_label": True}))],
)
def test_scores_are_those_of_the_evaluation_to_the_bit(tmp_path: Path, common: dict) -> None:
    config = make_experiment(tmp_path, val=3, **common)
    assert run(config) == 0 and run(config, "--evaluate") == 0
    results = read_results(config.parent)
    assert results.scores is not None
    recognizer = load(config.parent / "ckpt_best.pth.tar", device="cpu")
    assert list(recognizer.trained_on) == ["frames"] and recognizer.trained_on["frames"] > 1
    for path, expected in zip(results.paths, results.scores, strict=True):
        folder = tmp_path / "frames" / path
        in_memory = [picture for _, picture in inference.inputs.open_input(folder).frames()]
        np.testing.assert_array_equal(recognizer.predict(folder).scores, expected)
        np.testing.assert_array_equal(recognizer.scores(np.stack(in_memory)), expected)


@pytest.mark.whole
def test_a_prediction_names_the_classes(recognizer: Recognizer, video: Path) -> None:
    prediction = recognizer.predict(video, topk=3)
    assert [found.name for found in prediction.top] == [CLASSES[found.label] for found in prediction.top]
    assert [found.score for found in prediction.top] == sorted(prediction.scores.tolist(), reverse=True)[:3]
    assert (prediction.path, prediction.seconds, prediction.num_frames) == (str(video), pytest.approx(4), 40)
    assert prediction.scores.shape == (len(CLASSES),) and prediction.scores.dtype == np.float32
    assert prediction.timeline == [] and prediction.warnings == []


@pytest.mark.whole
def test_a_path_frames_in_memory_and_an_input_of_ones_own_give_the_same(
    recognizer: Recognizer, video: Path, frames: np.ndarray
) -> None:
    pictures = list(frames)

    class Own(Input):
        name, fps, num_frames, warnings = "mine", 10.0, 40, []

        def frames(self) -> Iterator[TimedFrame]:
            return ((index / self.fps, picture) for index, picture in enumerate(pictures))

    expected = recognizer.predict(str(video)).scores
    for source in (video, frames, pictures, Own()):
        np.testing.assert_array_equal(recognizer.predict(source).scores, expected)
        np.testing.assert_array_equal(recognizer.scores(source), expected)


def test_windows_are_the_timeline_and_their_mean_is_the_prediction(
    recognizer: Recognizer, video: Path, frames: np.ndarray
) -> None:
    prediction = recognizer.predict(video, window=2, step=1)
    for source in (video, frames, iter(frames)):
        windows = list(recognizer.windows(source, window=2, step=1, fps=10))
        spans = [(round(window.start, 3), round(window.end, 3)) for window in windows[:3]]
        assert spans == [(0, 1.9), (1, 2.9), (2, 3.9)]
        for found, expected in zip(windows[:3], prediction.timeline, strict=True):
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
            assert found.top[0].name == expected.top[0].name
    mean = np.mean([window.scores for window in prediction.timeline], axis=0, dtype=np.float64)
    np.testing.assert_array_equal(prediction.scores, mean.astype(np.float32))


def test_changed_weights_give_the_answers_of_the_new_ones(recognizer: Recognizer, video: Path) -> None:
    before = recognizer.scores(video)
    convolution = next(part for part in recognizer.method.modules() if isinstance(part, torch.nn.Conv2d))
    with torch.no_grad():
        convolution.weight.neg_()
        changed = recognizer.scores(video)
        convolution.weight.neg_()
    assert np.abs(changed - before).max() > 1e-4
    np.testing.assert_array_equal(recognizer.scores(video), before)


def test_a_window_comes_before_the_rest_is_read(recognizer: Recognizer, frames: np.ndarray) -> None:
    read = 0

    def camera() -> Iterator[np.ndarray]:
        nonlocal read
        for read in range(1, len(frames) + 1):
            yield frames[read - 1]

    windows = recognizer.windows(camera(), window=1, fps=10, batch_size=1)
    assert next(windows).end == pytest.approx(0.9) and read == 10
    answers = recognizer.stream(camera(), fps=10)
    assert next(answers).time == 0 and read == 1


@pytest.mark.whole
def test_a_stream_averages_the_last_frames(recognizer: Recognizer, video: Path, frames: np.ndarray) -> None:
    length = UNI["num_segments"]
    answers = list(recognizer.stream(video))
    assert [answer.time for answer in answers] == pytest.approx(np.arange(40) / 10)
    assert all(answer.latency > 0 and answer.top[0].name in CLASSES for answer in answers)
    clip = recognizer.protocol.transform.apply(frames[:length])[0]
    offline = recognizer.average_views(recognizer.logits(clip, batch_size=1)).numpy()
    np.testing.assert_allclose(answers[length - 1].scores, offline, atol=1e-4)
    every = list(recognizer.stream(video, every=4, over=1))
    assert [answer.time for answer in every] == pytest.approx(np.arange(10) * 0.4)


def test_features_are_of_the_layer_that_is_named(recognizer: Recognizer, video: Path) -> None:
    assert "backbone.layer4" in recognizer.layers
    whole = recognizer.features(video, layer="backbone.layer4")
    assert whole.features.shape == (1, 512, UNI["num_segments"]) and whole.times.shape == (1, 2)
    windows = recognizer.features(video, layer="backbone.layer4", window=2, step=1, pool="all")
    assert windows.features.shape == (3, 512) and windows.features.dtype == np.float32
    logits = torch.from_numpy(recognizer.features(video).features[0])
    np.testing.assert_allclose(logits.softmax(0).numpy(), recognizer.predict(video).scores, atol=1e-5)


def test_features_of_a_folded_convolution_are_its_own(recognizer: Recognizer, video: Path) -> None:
    name = "backbone.layer4.1.conv2"
    assert name in recognizer.folded.changed
    found = recognizer.features(video, layer=name).features[0]
    caught: list[torch.Tensor] = []
    hook = recognizer.method.get_submodule(name).register_forward_hook(lambda *passed: caught.append(passed[2]))
    source = recognizer._open(video, 10, ends=True)
    views = next(recognizer.cut(source, source.frames())).views
    recognizer.method(recognizer.normalise(views))
    hook.remove()
    np.testing.assert_allclose(found, caught[0].mean((-1, -2)).detach().numpy().T, rtol=1e-5, atol=1e-6)


def test_another_test_protocol_sets_no_other_key(recognizer: Recognizer) -> None:
    assert "betas" not in recognizer.common.model_fields_set  # which SGD may not have
    assert "betas" not in recognizer.with_test(num_crops=1).common.model_fields_set


@pytest.mark.whole
def test_another_test_protocol_is_another_number_of_views(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, CLIP, test={"num_clips": 10, "num_crops": 3})
    recognizer = load(path, device="cpu")
    assert recognizer.protocol.num_views == 30
    fewer = recognizer.with_test(num_clips=1, num_crops=1)
    assert (fewer.protocol.num_views, recognizer.protocol.num_views) == (1, 30)
    assert fewer.protocol.as_dict() | {"num_clips": 10, "num_crops": 3} == recognizer.protocol.as_dict()
    with pytest.raises(UserError, match=r"common\.test\.num_crops: should be 1, 3, 5 or 10, but is 7"):
        recognizer.with_test(num_crops=7)
    with pytest.raises(UserError, match=r"common\.test\.num_clip: unknown key; did you mean `num_clips`"):
        recognizer.with_test(num_clip=1)


def test_mistakes_are_errors_of_the_user(
    recognizer: Recognizer, video: Path, frames: np.ndarray, tmp_path: Path
) -> None:
    tsn = load(write_checkpoint(tmp_path, TSN), device="cpu")
    for call, kind, words in (
        (lambda: load(tmp_path / "none.pth"), CheckpointError, "no such checkpoint"),
        (lambda: load(tmp_path / "ckpt.pth.tar", device="gpu"), ConfigError, "device 'gpu': not known to PyTorch"),
        (lambda: recognizer.predict("none.mp4"), FrameError, "none.mp4: no such video"),
        (lambda: recognizer.predict(video, window=-1), UserError, "window: should be above 0, but is -1"),
        (lambda: recognizer.predict(video, batch_size=0), UserError, "batch_size: should be above 0"),
        (lambda: recognizer.predict(iter(frames)), FrameError, "frames in memory: has no known end; take windows"),
        (
            lambda: recognizer.scores(frames / 255),
            FrameError,
            r"frame 0 of those .*float64 \(\d+, \d+, 3\)",
        ),
        (lambda: recognizer.scores(frames[0]), FrameError, "should be uint8 RGB"),
        (lambda: recognizer.scores(frames[:0]), FrameError, "nothing in it can be decoded: it has no frames"),
        (lambda: recognizer.scores(3.5), FrameError, "expected a path, a camera's number or frames, not a float"),
        (lambda: list(recognizer.windows([])), FrameError, "nothing in it can be decoded"),
        (lambda: list(recognizer.stream([])), FrameError, "nothing in it can be decoded"),
        (lambda: recognizer.features(video, layer="backbon"), UserError, "similar names are backbone"),
        (lambda: recognizer.features(video, pool="time"), UserError, "pool 'time': should be one of space, all, none"),
        (lambda: tsn.stream(video), ConfigError, "only `shift: uni` can run frame by frame"),
    ):
        with pytest.raises(kind, match=words):
            call()  # type: ignore[no-untyped-call]


@pytest.mark.long
@pytest.mark.whole
def test_the_import_is_cheap_and_offers_only_what_there_is() -> None:
    code = (
        "import sys, tools.inference, tools.inference.arguments\n"
        "assert not {'torch', 'numpy', 'cv2', 'av'} & sys.modules.keys()\n"
        "for name in tools.inference.__all__: assert getattr(tools.inference, name).__name__ == name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, check=True)
    with pytest.raises(AttributeError, match=r"module 'tools\.inference' has no attribute 'lode'"):
        inference.lode  # noqa: B018

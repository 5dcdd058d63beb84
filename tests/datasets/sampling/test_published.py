"""Tests every published rule against the indices that its official code gave (tests/golden/sampling)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from datasets.sampling.rules import SAMPLING, published
from tests.helpers.requirements import ROOT


def golden(source: str, rule: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / "tests/golden/sampling" / f"{source}.json").read_text())["cases"][rule]


class Replay:
    """Replays recorded random values; fails if another range or number of values is asked for."""

    def __init__(self, calls: list[dict[str, Any]]):
        self.calls = list(calls)

    def integers(self, low: Any, high: Any, size: int | None = None) -> Any:
        call = self.calls.pop(0)
        assert (call["kind"], call["low"], call["high_exclusive"]) == ("randint", low, high)
        assert len(call["values"]) == (1 if size is None else size)
        return call["values"][0] if size is None else np.array(call["values"])

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        call = self.calls.pop(0)
        assert (call["kind"], call["low"], call["high"]) == ("uniform", low, high)
        assert len(call["values"]) == (1 if size is None else size)
        return call["values"][0] if size is None else np.array(call["values"])


@pytest.mark.parametrize("source", ["mit_tsm", "tsn_pytorch"])
@pytest.mark.parametrize("rule", ["train", "val", "test"])
def test_tsn_rules_are_those_of_the_authors_code(source: str, rule: str):
    for case in golden(source, rule):
        size = {"num_frames": case["num_frames"], "num_segments": case["num_segments"], "length": case["new_length"]}
        if rule == "train":
            rng = Replay(case["rng_calls"])
            got = published.tsn_train(rng=rng, **size)
            assert rng.calls == []
        else:
            got = {"val": published.tsn_val, "test": published.tsn_centres}[rule](**size)
        assert (got + 1).tolist() == case["indices"], case


def test_twice_and_dense_rules_are_those_of_tsm():
    for case in golden("mit_tsm", "test_twice"):
        got = published.tsm_twice(case["num_frames"], case["num_segments"], length=case["new_length"])
        assert (got.ravel() + 1).tolist() == case["indices"], case
    for name in ("train_dense", "val_dense"):
        for case in golden("mit_tsm", name):
            rng = Replay(case["rng_calls"])
            got = published.tsm_dense_train(case["num_frames"], case["num_segments"], rng)
            assert (got + 1).tolist() == case["indices"] and rng.calls == [], case
    for case in golden("mit_tsm", "test_dense"):
        got = published.tsm_dense_test(case["num_frames"], case["num_segments"], case["clips"])
        assert (got.ravel() + 1).tolist() == case["indices"], case


@pytest.mark.parametrize(("num_frames", "step"), [(100, 4), (300, 12)])
def test_caffe_rule_steps_from_the_first_frame(num_frames: int, step: int):
    assert published.tsn_caffe_test(num_frames, 25).tolist() == list(range(0, 25 * step, step))


def test_caffe_rule_gives_the_first_frame_of_short_videos():
    assert published.tsn_caffe_test(24, 25).tolist() == [0] * 25


@pytest.mark.parametrize("rule", ["SampleFrames_test_2d", "SampleFrames_start_index_1"])
def test_mmaction2_2d_test(rule: str):
    for case in golden("mmaction2", rule):
        twice = case["params"].get("twice_sample", False)
        got = published.mmaction2_test_2d(case["total_frames"], case["params"]["num_clips"], twice=twice)
        assert (got.ravel() + case["start_index"]).tolist() == case["frame_inds"], case


@pytest.mark.parametrize("rule", ["SampleFrames_test_3d", "SampleFrames_test_3d_twice"])
def test_mmaction2_3d_test(rule: str):
    for case in golden("mmaction2", rule):
        params, frames = case["params"], case["total_frames"]
        clip_len, stride = params["clip_len"], params["frame_interval"]
        reach = (clip_len - 1) * stride + 1
        starts = published.mmaction2_test_offsets(
            frames, params["num_clips"], reach, twice=params.get("twice_sample", False)
        )
        indices = starts[:, None] + np.arange(clip_len) * stride
        folded = {"loop": published.loop_around, "repeat_last": published.repeat_last}[
            params.get("out_of_bound_opt", "loop")
        ](indices, frames)
        assert folded.ravel().tolist() == case["frame_inds"], case
        if params["num_clips"] == 10 and params["out_of_bound_opt"] == "loop":
            assert SAMPLING["mmaction2_clip"].test(frames, clip_len, stride, 10).tolist() == folded.tolist()


def test_mmaction2_target_rate():
    for case in golden("mmaction2", "SampleFrames_target_fps"):
        params, frames = case["params"], case["total_frames"]
        indices = published.mmaction2_test_at_rate(
            frames, params["num_clips"], params["clip_len"], params["frame_interval"],
            rate_ratio=case["avg_fps"] / params["target_fps"],
        )  # fmt: skip
        assert published.repeat_last(indices, frames).ravel().tolist() == case["frame_inds"], case


def test_mmaction2_train():
    for case in golden("mmaction2", "SampleFrames_train"):
        params, rng = case["params"], Replay(case["rng_calls"])
        starts = published.mmaction2_train_offsets(
            case["total_frames"], params["num_clips"], params["clip_len"] * params["frame_interval"], rng,
            keep_tail=params["keep_tail_frames"],
        )  # fmt: skip
        indices = starts[:, None] + np.arange(params["clip_len"]) * params["frame_interval"]
        assert (indices % case["total_frames"]).ravel().tolist() == case["frame_inds"], case
        assert rng.calls == []


def test_mmaction2_dense_is_tsm_dense():
    for case in golden("mmaction2", "DenseSampleFrames_train"):
        got = published.tsm_dense_train(case["total_frames"], case["params"]["num_clips"], Replay(case["rng_calls"]))
        assert got.tolist() == case["frame_inds"], case
    for case in golden("mmaction2", "DenseSampleFrames_test"):
        got = published.tsm_dense_test(case["total_frames"], case["params"]["num_clips"], 10)
        assert got.ravel().tolist() == case["frame_inds"], case


def test_mmaction2_uniform():
    for case in golden("mmaction2", "UniformSample_test"):
        params = case["params"]
        got = published.mmaction2_uniform_test(case["total_frames"], params["clip_len"], params["num_clips"])
        assert got.ravel().tolist() == case["frame_inds"], case


def test_pyslowfast_segments():
    for case in golden("pyslowfast", "ssv2_test_frames"):
        got = published.pyslowfast_segments(case["num_video_frames"], case["num_frames"], None)
        assert got.tolist() == case["frames"], case


def test_pyslowfast_test_clips():
    for case in golden("pyslowfast", "test_clips"):
        frames = case["num_video_frames"]
        size = max(1.0, case["sampling_rate"] * case["num_frames"] / case["target_fps"] * case["fps"])
        for clip, (first, last) in zip(case["clip_idx"], case["start_end"], strict=True):
            start = published.pyslowfast_start(frames, size, clip, case["num_clips"], use_offset=case["use_offset"])
            assert (start, start + size - 1) == pytest.approx((first, last), abs=1e-9), case
            got = published.pyslowfast_frames(frames, start, start + size - 1, case["num_frames"])
            if str(clip) in case["frames_of_clip"]:
                assert got.tolist() == case["frames_of_clip"][str(clip)], case
            if case["fps"] == case["target_fps"] and not case["use_offset"]:
                rule = SAMPLING["pyslowfast"]
                views = rule.test(frames, case["num_frames"], case["sampling_rate"], case["num_clips"])
                assert views[clip].tolist() == got.tolist()


def test_pyslowfast_single_clip_and_training_start():
    for case in golden("pyslowfast", "single_clip"):
        start = published.pyslowfast_start(
            case["num_video_frames"], case["clip_size"], 0, case["num_clips"], use_offset=case["use_offset"]
        )
        assert start == case["start"], case
    for case in golden("pyslowfast", "train_start_bounds"):
        high = case["uniform_high"]
        rng = Replay([{"kind": "uniform", "low": case["uniform_low"], "high": high, "values": [high]}])
        got = SAMPLING["pyslowfast"].train(case["num_video_frames"], 32, 2, rng)
        assert got[-1] == min(case["num_video_frames"] - 1, high + 63)


def test_pyslowfast_frames_and_slow_pathway():
    for case in golden("pyslowfast", "temporal_sampling"):
        got = published.pyslowfast_frames(case["num_video_frames"], case["start"], case["end"], case["num_samples"])
        assert got.tolist() == case["frames"], case
    for case in golden("pyslowfast", "slow_pathway"):
        got = published.temporal_subsample(case["num_frames"], case["num_frames"] // case["alpha"])
        assert got.tolist() == case["slow_indices"], case


def test_torchvision_clips():
    for case in golden("torchvision", "compute_clips_for_video"):
        clips = published.torchvision_clips(
            case["num_video_frames"], case["num_frames"], case["step"], fps=case["fps"], frame_rate=case["frame_rate"]
        )
        assert len(clips) == case["num_clips"], case
        for index, frames in case.get("clips", {}).items():
            assert clips[int(index)].tolist() == frames, case


def test_torchvision_uniform_choice_and_resampling():
    for case in golden("torchvision", "UniformClipSampler"):
        got, before = [], 0
        for available in case["clips_per_video_available"]:
            got += (before + published.torchvision_uniform_choice(available, case["num_clips_per_video"])).tolist()
            before += available
        close = np.abs(np.array(got) - np.array(case["indices"]))
        assert close.max() == 0, (got, case["indices"])
    for case in golden("torchvision", "resample_video_idx"):
        if isinstance(case["result"], list):
            got = published.torchvision_resample(case["num_frames"], case["original_fps"], case["new_fps"])
            assert got.tolist() == case["result"]


def test_pytorchvideo_subsampling():
    for case in golden("pytorchvideo", "uniform_temporal_subsample"):
        got = published.temporal_subsample(case["frames"], case["num_samples"])
        assert got.tolist() == case["indices"], case

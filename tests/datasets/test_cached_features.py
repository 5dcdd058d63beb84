"""The feature cache: a run with it equals one without to the bit, and its backbone sees every frame once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.stores.feature_store import SUFFIX, FeatureStore
from methods.probe import Probe
from tests.helpers.experiment import FRAMES, make_experiment, run, same_weights, weights
from tests.helpers.make_video import make_video
from utils.errors import ConfigError
from utils.transforms.cut_clip import CutClip

pytestmark = pytest.mark.whole
MODEL: dict[str, Any] = {
    "type": "probe", "backbone": "mobilenetv2", "num_segments": 2, "num_class": 2, "kwargs": {"scale": 0.25},
}  # fmt: skip
PLAIN = {"input_size": 32, "crop": "test", "flip": False}


class Seen:
    """Counts the frames that the backbone computes and the clips that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = self.clips = 0
        compute, decode = Probe.frame_features, CutClip.__call__

        def features(probe: Probe, frames: Tensor) -> Tensor:
            self.frames += 0 if frames.is_meta else len(frames)
            return compute(probe, frames)

        def cut(transform: CutClip, *given: Any) -> Any:
            self.clips += 1
            return decode(transform, *given)

        monkeypatch.setattr(Probe, "frame_features", features)
        monkeypatch.setattr(CutClip, "__call__", cut)

    def taken(self) -> tuple[int, int]:
        """Returns both numbers since the last call."""
        found, self.frames, self.clips = (self.frames, self.clips), 0, 0
        return found


def _experiment(root: Path, **more: Any) -> Path:
    root.mkdir()
    return make_experiment(root, **{"train": 4, "val": 2, "model": MODEL, "augmentation": PLAIN, **more})


def _losses(config: Path) -> list[Any]:
    lines = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "loss" in key or "prec" in key.lower()} for line in lines]


@pytest.mark.parametrize(
    ("workers", "model"),
    [(0, {}), (1, {}), (0, {"head": "attentive", "depth": 1, "backbone": "resnet18", "kwargs": {}})],
)
def test_a_run_with_the_cache_equals_one_without_to_the_bit(tmp_path: Path, workers: int, model: dict) -> None:
    config = _experiment(tmp_path / "one", model=MODEL | model, workers=workers)
    cached = f"common.data.feature_cache={tmp_path / 'cache'}"
    assert run(config) == 0
    without = weights(config), _losses(config)
    assert sum("loss" in "".join(line) for line in without[1]) >= 4
    assert run(config, "--fresh", cached) == 0
    assert same_weights(weights(config), without[0]) and _losses(config) == without[1]
    assert run(config, "--fresh", cached) == 0  # all features are there
    assert same_weights(weights(config), without[0]) and _losses(config) == without[1]


def test_a_second_pass_computes_and_decodes_nothing_and_a_changed_byte_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    # every frame of each video, so that chance cannot choose one that was not seen
    model, schedule = MODEL | {"num_segments": FRAMES}, {"base_lr": 0.01, "max_iter": 1}
    config = _experiment(tmp_path / "one", model=model, lr_scheduler=schedule)
    start = ["--fresh", f"common.data.feature_cache={tmp_path / 'cache'}"]
    assert run(config, *start) == 0
    assert seen.taken() == (6 * FRAMES, 6)
    assert run(config, *start, "common.lr_scheduler.max_iter=3", "common.val_freq=1") == 0
    assert seen.taken() == (0, 0)
    changed = next((tmp_path / "one" / "frames").rglob("img_00003.jpg"))
    picture = cv2.imread(str(changed))
    assert picture is not None
    cv2.imwrite(str(changed), 255 - picture)
    assert run(config, *start) == 0
    assert seen.taken()[0] == 1
    assert run(config, *start, "common.augmentation.mean=[0.4,0.4,0.4]") == 0  # other pixels for the backbone
    assert seen.taken()[0] == 6 * FRAMES
    assert run(config, *start, "common.seed=1") == 0  # other random weights
    assert seen.taken()[0] == 6 * FRAMES


def test_an_evaluation_uses_the_features_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _experiment(tmp_path / "one", data={"feature_cache": str(tmp_path / "cache")})
    assert run(config) == 0
    seen = Seen(monkeypatch)
    assert run(config, "--evaluate") == 0
    assert seen.taken() == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"augmentation": {"input_size": 32, "mix_up": 0.2}},
            "a frame must give the same pixels each time; set augmentation.mix_up: leave it out; "
            "augmentation.crop: test; augmentation.flip: False",
        ),
        ({"amp": "bf16"}, "needs amp: off"),
        ({"model": MODEL | {"type": "tsn"}}, "the features of tsn_mobilenetv2 change while it learns"),
    ],
)
def test_what_a_cache_cannot_hold_is_an_error_that_names_the_keys(tmp_path: Path, changes: dict, message: str) -> None:
    config = _experiment(tmp_path / "one", data={"feature_cache": str(tmp_path / "cache")}, **changes)
    with pytest.raises(ConfigError, match=f"common.data.feature_cache: .*{message}"):
        run(config, "--dry-run")
    assert not (tmp_path / "cache").exists()


def test_an_unreadable_video_is_left_out_and_nobody_finds_features_of_it(tmp_path: Path) -> None:
    data = {"feature_cache": str(tmp_path / "cache")}
    config = _experiment(tmp_path / "one", data=data, bad_frame_budget=20)
    for frame in next((tmp_path / "one" / "frames").rglob("train 1")).iterdir():
        frame.write_bytes(b"no picture")
    assert run(config) == 0
    names = {name for file in (tmp_path / "cache").iterdir() for name in FeatureStore(file.parent)._rows}
    assert b"" not in names and bytes(20) not in names
    assert all(np.isfinite(value).all() for value in weights(config).values())


def test_two_stores_of_one_folder_see_what_the_other_adds(tmp_path: Path) -> None:
    one, other = FeatureStore(tmp_path), FeatureStore(tmp_path)
    names = [bytes([number]) * 20 for number in range(1, 4)]
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert one.get(names) == [None] * 3
    other.put(names[:2], rows[:2])
    one.put(names[2:], rows[2:])
    for store in (one, other):
        found = store.get(names)
        assert np.array_equal(np.stack([row for row in found if row is not None]), rows)


def test_names_that_end_in_zeros_are_kept_whole(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    names = [b"a" * 19 + b"\0", b"\0" * 20]
    store.put(names, np.ones((2, 1), np.float32))
    assert all(row is not None for row in FeatureStore(tmp_path).get(names))


def test_a_damaged_file_is_named_and_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FeatureStore(tmp_path).put([b"x" * 20], np.ones((1, 4), np.float32))
    file = next(tmp_path.glob(f"*{SUFFIX}"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-70] + bytes([whole[-70] ^ 1]) + whole[-69:])
    assert FeatureStore(tmp_path).get([b"x" * 20]) == [None]
    assert file.name in caplog.text and "computed again" in caplog.text
    file.write_bytes(whole[:-10])
    assert FeatureStore(tmp_path).get([b"x" * 20]) == [None]


def test_frames_are_computed_alike_whatever_else_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    probe = Probe(**{key: value for key, value in MODEL.items() if key != "type"})
    probe.in_groups = True
    frames = torch.randn(5, 3, 64, 64)
    whole = probe.frame_features(frames)
    for frame, row in zip(frames, whole, strict=True):
        assert torch.equal(probe.frame_features(frame[None])[0], row)


def test_frames_of_an_encoded_video_are_known_by_its_file_and_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run/a.mp4", "jump/b.mp4"):
        make_video(tmp_path / "videos" / name)
    folder = str(tmp_path / "videos")
    store = {"type": "video", "cache": str(tmp_path / "index")}
    data = {"store": store, "sampling": "middle", "feature_cache": str(tmp_path / "cache")}
    schedule = {"base_lr": 0.01, "max_iter": 1}
    config = _experiment(
        tmp_path / "one", data=data, train_source=folder, val_source=folder, batch_size=2, lr_scheduler=schedule
    )
    seen = Seen(monkeypatch)
    assert run(config) == 0
    assert seen.taken()[0] == 2 * 2  # training computes them, and validation finds them
    assert run(config, "--fresh") == 0
    assert seen.taken()[0] == 0
    os.utime(tmp_path / "videos" / "run" / "a.mp4", ns=(1, 1))
    assert run(config, "--fresh") == 0
    assert seen.taken()[0] == 2

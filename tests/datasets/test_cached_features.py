"""The feature cache: a run with it equals one without to the bit, and its backbone sees every frame once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.cached_features import FeatureBatches
from datasets.stores import feature_store
from datasets.stores.feature_store import SUFFIX, FeatureStore
from methods.probe import Probe
from tests.helpers.experiment import FRAMES, make_experiment, run, same_weights, weights
from tests.helpers.make_video import make_video
from tests.helpers.transformers import VIDEO
from utils.errors import ConfigError
from utils.files import ROOT
from utils.training.batch import Batch
from utils.transforms.cut_clip import CutClip

pytestmark = pytest.mark.whole
MODEL: dict[str, Any] = {
    "type": "probe", "backbone": "mobilenetv2", "num_segments": 2, "num_class": 2, "kwargs": {"scale": 0.25},
}  # fmt: skip
CLIPS: dict[str, Any] = {"type": "probe", "backbone": "x3d_xs", "clip_len": 2, "frame_stride": 2, "num_class": 2}
SLOWFAST: dict[str, Any] = CLIPS | {"backbone": "slowfast/resnet50", "clip_len": 4, "kwargs": {"alpha": 2}}
PLAIN = {"input_size": 32, "crop": "test", "flip": False}


class Seen:
    """Counts the frames that the backbone computes and the clips that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = self.clips = 0
        compute, decode = Probe.features, CutClip.__call__

        def features(probe: Probe, clips: Tensor) -> Tensor:
            self.frames += 0 if clips.is_meta else len(clips) * (1 if probe.by_clip else clips.shape[2])
            return compute(probe, clips)

        def cut(transform: CutClip, *given: Any) -> Any:
            self.clips += 1
            return decode(transform, *given)

        monkeypatch.setattr(Probe, "features", features)
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
    [
        (1, MODEL),
        (0, CLIPS),
        pytest.param(0, MODEL, marks=pytest.mark.long),
        pytest.param(1, CLIPS | {"head": "mlp"}, marks=pytest.mark.long),
        pytest.param(0, CLIPS | {"head": "attentive", "depth": 1}, marks=pytest.mark.long),
        pytest.param(0, SLOWFAST, marks=pytest.mark.long),
        pytest.param(
            0, MODEL | {"head": "attentive", "depth": 1, "backbone": "resnet18", "kwargs": {}}, marks=pytest.mark.long
        ),
        *(
            pytest.param(
                0, model | {"type": "probe", "head": "attentive", "num_class": 2, "depth": 1}, marks=pytest.mark.long
            )
            for model in VIDEO.values()
        ),
    ],
)
def test_a_run_with_the_cache_equals_one_without_to_the_bit(tmp_path: Path, workers: int, model: dict) -> None:
    config = _experiment(tmp_path / "one", model=model, workers=workers)
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


def test_a_video_network_sees_each_clip_once_and_a_changed_byte_of_it_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    schedule = {"base_lr": 0.01, "max_iter": 2}
    data = {"sampling": "middle_clip", "feature_cache": str(tmp_path / "cache")}
    config = _experiment(tmp_path / "one", model=CLIPS, data=data, lr_scheduler=schedule, batch_size=2)
    assert run(config) == 0
    assert seen.taken() == (6, 6)
    assert run(config, "--fresh", "common.model.head=mlp", "common.lr_scheduler.max_iter=6") == 0
    assert seen.taken() == (0, 0)
    assert run(config, "--fresh", "common.test.num_clips=3") == 0
    assert seen.taken()[0] == 2 * 2, "the middle one of three clips is known"
    changed = next((tmp_path / "one" / "frames").rglob("train 1/img_00003.jpg"))  # it shows 3 and 5 of 8
    picture = cv2.imread(str(changed))
    assert picture is not None
    cv2.imwrite(str(changed), 255 - picture)
    assert run(config, "--fresh") == 0
    assert seen.taken()[0] == 1
    assert run(config, "--fresh", "common.model.frame_stride=3") == 0  # other frames make other clips
    assert seen.taken()[0] == 6


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
    store = FeatureStore(tmp_path / "cache")
    store.get([b""])  # it looks at all files
    names = set(store._rows)
    assert names and b"" not in names and bytes(20) not in names
    assert all(np.isfinite(value).all() for value in weights(config).values())


def test_frames_whose_names_are_unknown_keep_features_of_their_own(tmp_path: Path) -> None:
    pixels = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).reshape(2, 1, 1, 2, 1, 1)
    batch = Batch(pixels, torch.zeros(2, dtype=torch.long), torch.arange(2), names=[b""] * 4)
    network: Any = SimpleNamespace(features=lambda clips: clips.flatten(1).float()[:, None])
    protocol: Any = SimpleNamespace(augment=SimpleNamespace(apply=lambda clips: clips.flatten(0, 1)))
    (made,) = FeatureBatches([batch], FeatureStore(tmp_path), network, protocol, torch.device("cpu"))
    assert made.clips.flatten().tolist() == [10, 20, 30, 40]
    assert not list(tmp_path.glob(f"*{SUFFIX}"))


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


def _name(number: int) -> bytes:
    return number.to_bytes(20, "little")


def _fill(folder: Path, numbers: Iterable[int], told: Path) -> None:
    """Adds one row at a time, and notes each that is there."""
    store = FeatureStore(folder)
    with told.open("a") as file:
        for number in numbers:
            store.put([_name(number)], np.full((1, 3), number, np.float32))
            file.write(f"{number}\n")
            file.flush()


def _lacking(folder: Path, told: Path) -> list[int]:
    """Returns which of the noted rows a cache does not have, or has with other values."""
    numbers = [int(line) for line in told.read_text().split()]
    rows = FeatureStore(folder).get([_name(number) for number in numbers])
    pairs = zip(numbers, rows, strict=True)
    return [number for number, row in pairs if row is None or not (row == number).all()]


def test_ten_thousand_videos_make_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "MOST_SMALL", 8)
    monkeypatch.setattr(feature_store, "SMALL", 2000)
    monkeypatch.setattr(feature_store, "MERGED", 4000)
    _fill(tmp_path / "cache", range(300), tmp_path / "told")
    sizes = [file.stat().st_size for file in (tmp_path / "cache").glob(f"*{SUFFIX}")]
    assert len(sizes) < 25 and max(sizes) <= 4000
    assert _lacking(tmp_path / "cache", tmp_path / "told") == []


def test_features_of_different_networks_are_merged_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "MOST_SMALL", 4)
    store = FeatureStore(tmp_path)
    for number in range(12):
        store.put([_name(number)], np.full((1, 2 + number % 2, 3), number, np.float32))
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) <= 6
    for number, row in enumerate(FeatureStore(tmp_path).get([_name(number) for number in range(12)])):
        assert row is not None and row.shape == (2 + number % 2, 3) and (row == number).all()


# calls that change the disk, also those inside utils.files.atomic_write
DEADLY = [(os, "fsync"), (os, "open"), (os, "write"), (Path, "replace"), (Path, "unlink"), (tempfile, "mkstemp")]


def test_killed_at_any_call_that_changes_the_disk_all_that_was_added_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "MOST_SMALL", 3)
    for at in range(1, 500):
        folder, told, count = tmp_path / str(at), tmp_path / f"{at}.told", [0]
        _fill(folder, range(3), told)
        pid = os.fork()
        if pid == 0:

            def deadly(function: Callable[..., Any], at: int = at, count: list[int] = count) -> Callable[..., Any]:
                def call(*args: Any, **kwargs: Any) -> Any:
                    count[0] += 1
                    if count[0] == at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*args, **kwargs)

                return call

            for owner, name in DEADLY:
                setattr(owner, name, deadly(getattr(owner, name)))
            _fill(folder, range(3, 9), told)
            os._exit(0)
        ended = os.waitpid(pid, 0)[1]
        assert _lacking(folder, told) == []
        _fill(folder, range(9), told)  # the next run goes on
        assert _lacking(folder, told) == []
        if ended == 0:
            break
    assert 30 < at < 499, "each of many places must have been tried, and the last child must have got through"


def test_runs_that_share_a_cache_at_once_lose_nothing_and_read_what_others_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "MOST_SMALL", 3)
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                _fill(tmp_path / "cache", range(number, 60, 3), tmp_path / f"{number}.told")
            finally:
                os._exit(0)
        children.append(pid)
    reader = FeatureStore(tmp_path / "cache")
    names = [_name(number) for number in range(60)]
    known: set[int] = set()
    running = list(children)
    while running:
        rows = reader.get(names)
        found = {number for number, row in enumerate(rows) if row is not None}
        assert known <= found and all((row == number).all() for number, row in enumerate(rows) if row is not None)
        known = found
        running = [pid for pid in running if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    for number in range(3):
        assert len((tmp_path / f"{number}.told").read_text().split()) == 20
        assert _lacking(tmp_path / "cache", tmp_path / f"{number}.told") == []
    assert len(list((tmp_path / "cache").glob(f"*{SUFFIX}"))) < 10


@pytest.mark.long
def test_two_runs_fill_one_cache_at_once_and_both_equal_a_run_without(tmp_path: Path) -> None:
    configs = [_experiment(tmp_path / name) for name in ("one", "two", "alone")]
    cached = f"common.data.feature_cache={tmp_path / 'cache'}"
    runs = [
        subprocess.Popen([sys.executable, "main.py", "--config", config, cached], cwd=ROOT, stdout=subprocess.DEVNULL)
        for config in configs[:2]
    ]
    assert run(configs[2]) == 0
    assert [process.wait() for process in runs] == [0, 0]
    for config in configs[:2]:
        assert same_weights(weights(config), weights(configs[2])) and _losses(config) == _losses(configs[2])


@pytest.mark.parametrize(("model", "frames"), [(MODEL, 1), (CLIPS, 2), (SLOWFAST, 4)])
def test_frames_and_clips_are_computed_alike_whatever_else_is_computed(model: dict[str, Any], frames: int) -> None:
    torch.manual_seed(0)
    probe = Probe(**{key: value for key, value in model.items() if key != "type"})
    probe.in_groups = True
    pieces = torch.randn(5, 3, frames, 64, 64)
    whole = probe.features(pieces)
    for piece, row in zip(pieces, whole, strict=True):
        assert torch.equal(probe.features(piece[None])[0], row)


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

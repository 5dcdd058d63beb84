"""`optimizer: LBFGS` finds the best head of a probe in one step of main.py, with a cache and without."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from datasets.split import Split, check_lists, open_split
from methods.build import build_method, method_on_meta
from methods.probe import Probe
from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tools.inference import load
from utils.config.file import load_config
from utils.config.schema import OF_STEPS
from utils.errors import ConfigError, UserError
from utils.run.checkpoint import BEST
from utils.training.solver import Solver

pytestmark = pytest.mark.whole
MODEL: dict[str, Any] = {
    "type": "probe", "backbone": "mobilenetv2", "num_segments": 2, "num_class": 2, "kwargs": {"scale": 0.25},
}  # fmt: skip
SWEEP = [0.01, 1.0, 0.0001]


def experiment(root: Path, *, keep: tuple[str, ...] = (), **common: Any) -> Path:
    """A tiny experiment without the keys that are about steps, but for those to keep."""
    root.mkdir(exist_ok=True)
    given = {"model": MODEL, "augmentation": {"input_size": 32, "crop": "test", "flip": False}, "optimizer": "LBFGS"}
    config = make_experiment(root, **given | {"train": 8, "val": 4, "label_smooth": 0.0} | common)
    raw = yaml.safe_load(config.read_text())
    raw["common"] = {key: value for key, value in raw["common"].items() if key not in OF_STEPS or key in keep}
    config.write_text(yaml.safe_dump(raw))
    return config


FRAMES: dict[str, Any] = {"num_segments": 2, "kwargs": {"scale": 0.25}, "backbone": "mobilenetv2"}
WHOLE: dict[str, dict[str, Any]] = {
    "tsm": {"type": "tsm", **FRAMES},
    "tam": {"type": "tsn", **FRAMES, "temporal": {"name": "tam"}},
    "clip3d": {"type": "clip3d", "backbone": "x3d_xs", "clip_len": 2},
    "slowfast": {"type": "slowfast", "backbone": "resnet50", "clip_len": 8, "frame_stride": 1, "alpha": 4},
}


def records(config: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (config.parent / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def split(config: Path) -> Split:
    common = load_config(config).common
    return open_split(common, "train", check_lists(common, method_on_meta(common)[0].clip)["train"])


@pytest.mark.parametrize("head", ["linear", "ordered"])
def test_one_step_learns_the_classes_and_the_checkpoint_has_what_was_validated(tmp_path: Path, head: str) -> None:
    config = experiment(tmp_path, model=MODEL | {"head": head, "sweep": SWEEP})
    assert run(config) == 0
    (train,), (val,) = records(config, "train"), records(config, "val")
    assert train["acc1"] == val["acc1"] == 100.0 and train["loss"] < 0.5
    log = (config.parent / "log.txt").read_text()
    assert "the best of 3 for training videos that were held out" in log
    assert "steps: 1, which sees all of 8 videos and finds the best head" in log
    assert (
        load(config.parent / BEST, device="cpu").with_test(num_crops=3).protocol.transform.num_crops == 3
    )  # as tools.cam does
    assert run(config, "--evaluate") == 0
    assert f"Prec@1 {val['acc1']:.3f}" in (config.parent / "log.txt").read_text().splitlines()[-2]
    assert run(config) == 0
    assert "nothing left to do: 1 of 1 steps are done" in (config.parent / "log.txt").read_text()


def test_cache_workers_and_batches_change_no_bit(tmp_path: Path) -> None:
    config = experiment(tmp_path, model=MODEL | {"sweep": SWEEP})
    assert run(config) == 0
    plain = weights(config, BEST)
    cache = f"common.data.feature_cache={tmp_path / 'cache'}"
    for more in ([cache], [cache, "common.workers=1", "common.batch_size=3"]):
        assert run(config, "--fresh", *more) == 0
        assert same_weights(weights(config, BEST), plain)


def test_without_a_sweep_the_configs_weight_decay_counts(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    sizes = []
    for decay in (0.001, 10.0):
        assert run(config, "--fresh", f"common.weight_decay={decay}") == 0
        sizes.append(np.abs(weights(config)["module.head.weight"]).max())
    assert sizes[1] < 0.1 * sizes[0]


def test_an_unreadable_video_is_left_out(tmp_path: Path) -> None:
    config = experiment(tmp_path, bad_frame_budget=1)
    broken = sorted((tmp_path / "frames").rglob("train 1/img_*.jpg"))
    for frame in broken:
        frame.write_bytes(b"no picture")
    assert broken and run(config) == 0
    assert "left out: " in (config.parent / "log.txt").read_text()


def test_a_run_that_is_stopped_while_it_reads_goes_on_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(tmp_path, batch_size=2, data={"feature_cache": str(tmp_path / "cache")})
    compute, seen = Probe.features, [0]

    def features(probe: Probe, clips: Tensor) -> Tensor:
        seen[0] += 0 if clips.is_meta else len(clips) * (1 if probe.by_clip else clips.shape[2])
        if seen[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return compute(probe, clips)

    monkeypatch.setattr(Probe, "features", features)
    assert run(config) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM before its only step was done" in (config.parent / "log.txt").read_text()
    before = seen[0]
    assert 4 <= before < 16 and run(config) == 0
    assert seen[0] == 12 * 2  # of eight videos and four


def test_groups_of_the_regex_are_held_out_together(tmp_path: Path) -> None:
    config = experiment(tmp_path, data={"group_regex": r"\d"})
    found = split(config).held_out(range(8), 3)
    assert found is not None and set(found) == {0, 1, 2}
    config.write_text(config.read_text().replace(r"\d", "train"))  # all are of one group
    assert split(config).held_out(range(8), 3) is None


def test_a_wrong_regex_is_told_before_the_videos_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(tmp_path, data={"group_regex": "no such name"}, model=MODEL | {"sweep": SWEEP})
    monkeypatch.setattr(Solver, "_read", lambda *_: pytest.fail("videos were read"))
    with pytest.raises(UserError, match=r"common.data.group_regex: 'no such name' matches no video"):
        run(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": MODEL | {"head": "mlp"}}, "optimizer: LBFGS finds a linear classifier of a network that stays"),
        ({"model": MODEL | {"type": "tsn"}}, "optimizer: LBFGS finds a linear classifier of a network that stays"),
        ({"augmentation": {"input_size": 32}}, "optimizer: a frame must give the same pixels each time; set augm"),
        ({"keep": ("val_freq", "nesterov")}, "LBFGS takes a single step and has no use for nesterov, val_freq"),
        ({"optimizer": "SGD", "keep": ("lr_scheduler",), "model": MODEL | {"sweep": SWEEP}}, "sweep: several weight"),
    ],
)
def test_what_no_single_step_can_do_is_an_error_that_names_the_keys(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(experiment(tmp_path, **changes), "--dry-run")


@pytest.mark.parametrize(
    "name", [name if name == "clip3d" else pytest.param(name, marks=pytest.mark.long) for name in WHOLE]
)
def test_the_classifier_of_any_frozen_network_is_found(tmp_path: Path, name: str) -> None:
    config = experiment(tmp_path, model=WHOLE[name] | {"num_class": 2}, freeze=["all"], weight_decay=0.001)
    assert run(config) == 0
    (train,), (val,) = records(config, "train"), records(config, "val")
    assert train["acc1"] == val["acc1"] == 100.0  # val's logits are those of the whole network, clip by clip
    log = (config.parent / "log.txt").read_text()
    assert "pretrained: False leaves the frozen network its random weights" in log
    torch.manual_seed(load_config(config).common.seed)
    before = build_method(load_config(config).common.model).state_dict()
    after = {key.removeprefix("module."): value for key, value in weights(config).items()}
    changed = {
        key.removeprefix("network.").split(".")[0] for key in before if not np.array_equal(before[key], after[key])
    }
    assert changed <= {"fc", "head"} and changed

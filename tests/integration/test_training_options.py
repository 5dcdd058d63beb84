"""What a config can ask of training beyond the seed, each proved by what it does to the run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.integration.test_training import metrics, stop_at
from tools.inference import load
from utils.errors import CheckpointError, ConfigError, UserError
from utils.run import checkpoint

SHORT = "common.lr_scheduler.max_iter=4"


@pytest.mark.interrupt
@pytest.mark.parametrize(
    "option",
    [
        "common.ema=0.5",
        pytest.param("common.accumulate=3", marks=pytest.mark.long),
        pytest.param("common.precise_bn=2", marks=pytest.mark.long),
        pytest.param("common.balanced_sampling=true", marks=pytest.mark.long),
        pytest.param("common.amp=bf16", marks=pytest.mark.long),
    ],
)
def test_an_option_survives_an_interruption_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    whole, cut = make_experiment(tmp_path / "whole"), make_experiment(tmp_path / "cut")
    assert run(whole, option) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert run(cut, option) == 128 + signal.SIGTERM
    assert run(cut, option) == 0
    assert same_weights(weights(whole), weights(cut))
    assert [r["loss"] for r in metrics(whole, "val")] == [r["loss"] for r in metrics(cut, "val")]


def test_activation_checkpointing_changes_no_bit_and_the_log_names_the_blocks(tmp_path: Path) -> None:
    plain, again = make_experiment(tmp_path / "plain"), make_experiment(tmp_path / "again")
    assert run(plain, SHORT, "common.ema=0.5") == 0
    assert run(again, SHORT, "common.ema=0.5", "common.activation_checkpointing=true") == 0
    assert same_weights(weights(plain), weights(again))
    log = (again.parent / "log.txt").read_text()
    assert "activation checkpointing of 17 blocks: backbone.features.1, backbone.features.2" in log
    with pytest.raises(ConfigError, match=r"common\.activation_checkpointing: is untried with common\.compile"):
        run(again, "common.activation_checkpointing=true", "common.compile=true", "--dry-run")


def test_an_average_of_the_weights_is_what_is_scored_and_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.ema=0.9", "common.lr_scheduler.max_iter=5") == 0
    saved = checkpoint.load(config.parent / "ckpt_best.pth.tar")
    key = "head.weight"
    assert not torch.equal(saved["state_dict"][f"module.{key}"], saved["train_state_dict"][key])
    logged = metrics(config, "val")[-1]
    capsys.readouterr()
    assert run(config, "common.ema=0.9", "--evaluate") == 0
    assert f"Loss {logged['loss']:.4f}" in capsys.readouterr().out


def test_frozen_parts_keep_their_weights_and_statistics(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, SHORT) == 0
    frozen = make_experiment(tmp_path / "frozen")
    start = ["--load-path", str(config.parent / "ckpt.pth.tar"), SHORT]
    assert run(frozen, *start, "common.freeze=[backbone]") == 0
    before, after = weights(config), weights(frozen)
    changed = {key for key in before if not np.array_equal(before[key], after[key])}
    assert changed == {"module.head.weight", "module.head.bias"}
    with pytest.raises(ConfigError, match="no parameter's name begins with 'bakcbone'"):
        run(frozen, "--fresh", "common.freeze=[bakcbone]")


def test_the_learning_rate_has_factors_by_name(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert (
        run(config, "common.lr_by_name={backbone: 0.0}", "common.weight_decay=0.0", "common.lr_scheduler.max_iter=1")
        == 0
    )
    start = make_experiment(tmp_path / "start")
    tiny = ["common.lr_scheduler.max_iter=1", "common.lr_scheduler.warmup_steps=0", "common.lr_scheduler.base_lr=1e-30"]
    assert run(start, *tiny) == 0
    one, other = weights(config), weights(start)
    conv = "module.backbone.features.0.0.weight"
    assert np.array_equal(one[conv], other[conv])
    assert not np.array_equal(one["module.head.weight"], other["module.head.weight"])
    with pytest.raises(ConfigError, match="lr_by_name: no trainable parameter's name begins with 'body'"):
        run(config, "--fresh", "common.lr_by_name={body: 0.1}")


def test_rates_scale_linearly_from_the_batch_they_are_for_and_the_log_says_so(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, SHORT, "common.reference_batch=16") == 0
    log = (config.parent / "log.txt").read_text()
    assert "learning rates x 0.25: 4 videos per step, not the 16 they are for" in log
    assert metrics(config, "train")[0]["lr"] == pytest.approx(0.01 / 4)


def test_training_ends_at_its_time_limit_and_goes_on_the_next_time(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.time_limit=1e-9") == 0
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["step"] == 1
    assert run(config) == 0
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["step"] == 9


def test_a_profile_of_some_steps_is_written(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "--profile", "2") == 0
    assert "conv" in (config.parent / "profile" / "operators.txt").read_text()
    assert (config.parent / "profile" / "trace.json").stat().st_size > 1000


def test_class_weights_must_be_one_for_each_class(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    with pytest.raises(ConfigError, match="class_weights has 3 factors for 2 classes"):
        run(config, "common.class_weights=[1.0, 2.0, 3.0]")
    assert run(config, SHORT, "common.class_weights=balanced") == 0


@pytest.mark.slow
def test_a_smaller_last_batch_compiles_nothing_anew(tmp_path: Path) -> None:
    graphs = []
    for val in (8, 6):  # two batches of four; four and two
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        assert run(make_experiment(tmp_path / str(val), val=val), SHORT, "common.compile=true") == 0
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] > 0


@pytest.mark.slow
def test_the_first_step_of_a_compiled_run_is_the_eager_one(tmp_path: Path) -> None:
    # Later steps part: this small network's gradient is so ill-conditioned that eager float32 itself is up to 4 % away
    # from float64, and each step makes that grow. Fitted norms, then held, and no dropout: compiled code draws others.
    fitted = make_experiment(tmp_path / "fitted")
    assert run(fitted, "common.precise_bn=3") == 0
    path = str(fitted.parent / checkpoint.NEWEST)
    alike = ("--load-path", path, "common.lr_scheduler.max_iter=1", "common.model.dropout=0", "common.frozen_bn=true")
    before, losses, updates = weights(fitted), [], []
    for compiled in ("false", "true"):
        config = make_experiment(tmp_path / compiled)
        assert run(config, *alike, f"common.compile={compiled}") == 0
        losses.append(metrics(config, "train")[-1]["loss"])
        updates.append(np.concatenate([(array - before[name]).ravel() for name, array in weights(config).items()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert 0 < np.linalg.norm(updates[0] - updates[1]) < 0.05 * np.linalg.norm(updates[0])


def test_rand_augment_and_cut_mix_train(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, augmentation={"input_size": 32, "rand_augment": [2, 9], "cut_mix": 1.0})
    assert run(config, SHORT) == 0
    assert all(np.isfinite(array).all() for array in weights(config).values())


def test_crops_that_are_not_square_train_score_and_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    augmentation = {"input_size": [32, 64]}
    config = make_experiment(tmp_path, augmentation=augmentation, lr_scheduler={"base_lr": 0.01, "max_iter": 2})
    assert run(config) == 0
    assert run(config, "--evaluate") == 0
    assert "2 x 32 x 64" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"size is \[32, 64\] in the file and \[64, 32\] here"):
        run(config, "--evaluate", "common.augmentation.input_size=[64,32]")
    trained = load(config.parent / checkpoint.NEWEST)
    assert trained.clip_shape[-2:] == (32, 64)
    video = tmp_path / "frames/dark/val 0"
    assert len(trained.predict(video).scores) == 2


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ({"crop": "short_side"}, "input_size: .* is not square, and a short side, which the crop short_side draws"),
        ({"crop": "fixed_resize"}, "fixed_resize makes all frames 128 x 171, .* set augmentation.scales: "),
        ({"test_resize": 40}, "test_resize: 40 is a short side, and a crop of .* may not fit into such frames; give"),
        ({"test_resize": [40, 60]}, "test_resize: input_size 32x64 does not fit into frames of 40x60"),
    ],
)
def test_what_does_not_go_with_a_crop_that_is_not_square_is_one_line(
    tmp_path: Path, augmentation: dict[str, Any], message: str
) -> None:
    config = make_experiment(tmp_path, train=1, val=1, augmentation={"input_size": [32, 64]} | augmentation)
    with pytest.raises(ConfigError, match=message):
        run(config, "--dry-run")


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_videos(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    with pytest.raises(UserError, match=r"step \d+: the loss is (nan|inf); videos of the batch: \S+"):
        run(config, "common.lr_scheduler.base_lr=1e9", "common.lr_scheduler.warmup_lr=1e9")
    if (config.parent / "ckpt.pth.tar").exists():
        state = checkpoint.load(config.parent / "ckpt.pth.tar")["state_dict"]
        assert all(torch.isfinite(value).all() for value in state.values())


def test_a_run_out_of_patience_ends_early_with_all_that_a_run_leaves(tmp_path: Path) -> None:
    # weights that do not move: the second validation is not better than the first one
    config = make_experiment(tmp_path, val_freq=1, patience=1, freeze=["backbone"], lr_by_name={"head": 0.0})
    assert run(config) == 0
    log = (config.parent / "log.txt").read_text()
    assert "ended early: no better validation in the last 1 (patience)" in log
    saved = checkpoint.load(config.parent / "ckpt.pth.tar")
    assert saved["step"] == 3 and (config.parent / "ckpt_best.pth.tar").is_file()
    assert run(config) == 0 and "nothing left to do: 3 of 9 steps are done" in (config.parent / "log.txt").read_text()
    assert run(config, "common.patience=2") == 0
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["step"] == 4

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.helpers.requirements import ROOT
from tests.integration.interruptions import finish, start
from utils.errors import CheckpointError, ConfigError, FrameError, ListError, UserError, WorkerError
from utils.run import checkpoint
from utils.run.folder import RunFolder


def metrics(config: Path, kind: str) -> list[dict[str, Any]]:
    lines = (config.parent / "metrics.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Sends this process SIGTERM when the training record of `step` is written."""
    written = RunFolder.metrics

    def write(self: RunFolder, record: dict[str, Any]) -> None:
        written(self, record)
        if record["kind"] == "train" and record["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "metrics", write)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_experiment(tmp_path_factory.mktemp("trained"), watch={})
    assert run(config) == 0
    return config


def test_a_run_leaves_the_seeds_files(trained: Path) -> None:
    files = {path.name for path in trained.parent.iterdir()}
    assert {"ckpt.pth.tar", "ckpt_best.pth.tar", "log.txt", "events", "metrics.jsonl"} <= files


def test_validation_follows_val_freq_and_the_last_step_is_max_iter_minus_one(trained: Path) -> None:
    assert [record["step"] for record in metrics(trained, "val")] == [4, 8]
    assert [record["step"] for record in metrics(trained, "train")] == [0, 2, 4, 6, 8]
    assert checkpoint.load(trained.parent / "ckpt.pth.tar")["step"] == 9


def test_a_run_shorter_than_val_freq_is_validated_at_its_end(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, val_freq=250)
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    assert [record["step"] for record in metrics(config, "val")] == [1]
    assert (config.parent / "ckpt_best.pth.tar").exists()


def test_log_lines_have_upstreams_fields(trained: Path) -> None:
    log = (trained.parent / "log.txt").read_text()
    pattern = (
        r"Iter: \[4/9\]\tTime [\d.]+ \([\d.]+\)\tData [\d.]+ \([\d.]+\)\tLoss [\d.]+ \([\d.]+\)\t"
        r"Prec@1 [\d.]+ \([\d.]+\)\tPrec@5 [\d.]+ \([\d.]+\)\tLR 0\.\d{6}\n"
    )
    assert re.search(pattern, log)
    assert "effective batch: 4 per process x 1 process(es) = 4 videos per step" in log
    assert "frames img_{:05d}.jpg from 1 (detected)" in log


def test_events_have_upstreams_tags(trained: Path) -> None:
    events = EventAccumulator(str(trained.parent / "events")).Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss_train", "acc1_train", "acc5_train", "lr", "loss_val", "acc1_val", "acc5_val",
    }  # fmt: skip
    assert [event.step for event in events.Scalars("acc1_val")] == [4, 8]


def test_checkpoints_have_upstreams_keys_and_name_their_classes(trained: Path) -> None:
    saved = checkpoint.load(trained.parent / "ckpt.pth.tar")
    assert {"step", "arch", "state_dict", "best_prec1", "optimizer"} <= saved.keys()
    assert all(key.startswith("module.") for key in saved["state_dict"])
    assert saved["class_names"] == ["dark", "bright"] and saved["arch"] == "tsm_mobilenetv2"
    assert saved["preprocessing"]["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert saved["config"]["common"]["batch_size"] == 4


def test_evaluating_the_best_checkpoint_prints_the_logged_number(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = checkpoint.load(trained.parent / "ckpt_best.pth.tar")
    logged = next(record for record in metrics(trained, "val") if record["step"] == best["step"] - 1)
    assert run(trained, "--evaluate") == 0
    printed = capsys.readouterr().out
    assert f"Prec@1 {logged['acc1']:.3f} Prec@5 {logged['acc5']:.3f} mean class {logged['mean_class']:.3f}" in printed
    assert f"Loss {logged['loss']:.4f} ({logged['protocol']})" in printed
    assert len((trained.parent / "reference_result.txt").read_text().splitlines()) == 6


def test_a_list_without_labels_is_scored_and_gets_no_accuracy(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (trained.parents[1] / "lists" / "val.txt").read_text().splitlines()
    (tmp_path / "test.txt").write_text("".join(line.rpartition(" ")[0] + " -1\n" for line in lines))
    source = f"common.val_source={tmp_path / 'test.txt'}"
    assert run(trained, "--evaluate", source) == 0
    said = capsys.readouterr().out
    assert "predictions only, no video has a label" in said and "Prec@" not in said and "nan" not in said
    results = (trained.parent / "reference_result.txt").read_text().splitlines()
    assert len(results) == len(lines) and all(line.endswith(" -1") for line in results)
    with pytest.raises(ListError, match="none of its videos has a label, so there is nothing to validate by"):
        run(trained, source, "common.lr_scheduler.max_iter=20")


def test_views_are_averaged_and_named_in_the_protocol(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "--evaluate", "common.val_dense=true", "common.test.num_clips=2") == 0
    printed = capsys.readouterr().out
    assert "2 clips x 10 crops, 2 x 32 x 32, segments sampling, scores averaged, 6 videos" in printed
    alone = re.search(r"Clip Acc@1 (\S+) Clip Acc@5 100\.000 \(2 clips", printed)
    assert alone is not None
    right = float(alone[1]) * 6 * 20 / 100  # of 120 views
    assert right == pytest.approx(round(right), abs=0.01)
    with np.load(trained.parent / "reference_scores.npz") as saved:
        assert saved["scores"].shape == (6, 2)
        np.testing.assert_allclose(saved["scores"].sum(1), 1, atol=1e-5)


@pytest.mark.interrupt
@pytest.mark.parametrize("step", [2, *(pytest.param(step, marks=pytest.mark.long) for step in (0, 6))])
def test_a_run_that_was_stopped_and_continued_has_the_same_weights_to_the_bit(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    config = make_experiment(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        assert run(config) == 128 + signal.SIGTERM
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["step"] < 9
    assert run(config) == 0
    assert same_weights(weights(config), weights(trained))
    steps = [record["step"] for record in metrics(config, "train")]
    assert steps == [record["step"] for record in metrics(trained, "train")]
    losses = [[record["loss"] for record in metrics(path, "train")] for path in (config, trained)]
    assert losses[0] == losses[1]
    assert f"continuing from {config.parent / 'ckpt.pth.tar'}" in (config.parent / "log.txt").read_text()


@pytest.mark.interrupt
def test_the_number_of_workers_does_not_change_the_weights(trained: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.workers=2") == 0
    assert same_weights(weights(config), weights(trained))


@pytest.mark.interrupt
def test_ctrl_c_ends_with_a_checkpoint_and_without_a_traceback(tmp_path: Path) -> None:
    config = make_experiment(
        tmp_path, lr_scheduler={"base_lr": 0.01, "max_iter": 100000}, print_freq=1, val_freq=100000
    )
    (process,) = start(config, 1)
    printed = config.parent / "output_0.txt"
    while not (printed.exists() and "Iter: [3/" in printed.read_text()):
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGINT)
    assert finish([process]) == [130]
    text = printed.read_text()
    assert "checkpoint written, the same command continues from it" in text and "Traceback" not in text
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["step"] >= 4


def test_fresh_starts_anew_and_keeps_the_old_files(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.lr_scheduler.max_iter=3") == 0
    assert run(config, "common.lr_scheduler.max_iter=3", "--fresh") == 0
    assert (config.parent / "previous-1" / "ckpt.pth.tar").exists()
    assert (config.parent / "log.txt").read_text().count("Iter: [0/3]") == 2


def test_fresh_starts_from_the_weights_of_the_run_it_sets_aside(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.lr_scheduler.max_iter=3") == 0
    assert run(config, "--evaluate") == 0
    best = config.parent / "ckpt_best.pth.tar"
    with pytest.raises(CheckpointError):
        run(config, "--fresh", "--load-path", "/nowhere.pth")
    with pytest.raises(ConfigError, match="would never reach warmup_lr"):  # known when the list has been read
        run(config, "--fresh", "common.lr_scheduler.warmup_epochs=50", "common.lr_scheduler.warmup_steps=0")
    assert best.exists() and not (config.parent / "previous-1").exists()
    assert run(config, "common.lr_scheduler.max_iter=3", "--fresh", "--load-path", str(best)) == 0
    assert (config.parent / "previous-1" / "reference_result.txt").exists()
    assert not (config.parent / "reference_result.txt").exists()  # it was the old run's


def test_own_checkpoint_beats_load_path_and_recover_restores_the_step(trained: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    best = str(trained.parent / "ckpt.pth.tar")
    assert run(config, "--load-path", best, "--recover", "common.lr_scheduler.max_iter=12") == 0
    assert [record["step"] for record in metrics(config, "train")] == [10, 11]
    assert run(config, "--load-path", "/nowhere.pth", "common.lr_scheduler.max_iter=13") == 0  # not looked at


def test_mixed_precision_and_channels_last_train(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "common.amp=bf16", "common.channels_last=true", "common.lr_scheduler.max_iter=3") == 0
    assert all(np.isfinite(array).all() for array in weights(config).values())


def test_fake_frames_need_no_lists(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, train_source="/nowhere.txt", val_source="/nowhere.txt", val_freq=100)
    assert run(config, "--fake", "common.lr_scheduler.max_iter=2", "common.batch_size=2") == 0


@pytest.mark.parametrize("kind", ["img", "tsn", "tsm"])
def test_every_method_on_images_trains(tmp_path: Path, kind: str) -> None:
    model = {"type": kind, "backbone": "mobilenetv2", "num_class": 2, "kwargs": {"scale": 0.25}}
    config = make_experiment(tmp_path, model=model)
    assert run(config, "common.lr_scheduler.max_iter=2") == 0


def test_obsolete_flags_are_accepted_and_say_so(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, "--sync", "--fp16-normal-bn", "common.lr_scheduler.max_iter=1") == 0
    log = (config.parent / "log.txt").read_text()
    assert "--sync is obsolete and does nothing" in log and "--fp16-normal-bn is obsolete" in log


def test_a_loader_process_that_dies_while_a_checkpoint_is_written_lets_the_run_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    config = make_experiment(tmp_path)
    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(WorkerError, match=r"^process 7, which loads data, was ended by the signal 'Killed'"):
        run(config)
    assert "ended by WorkerError: process 7" in (config.parent / "log.txt").read_text()


# ------------------------------------------------------------------------------------------------------- bad input


def broken_frame(config: Path) -> Path:
    frame = config.parent.parent / "frames" / "dark" / "train 2" / "img_00004.jpg"
    frame.write_bytes(frame.read_bytes()[:200])
    return frame


def test_an_unreadable_frame_ends_the_run_and_names_itself(tmp_path: Path) -> None:
    config = make_experiment(
        tmp_path, model={"type": "tsn", "backbone": "mobilenetv2", "num_class": 2, "num_segments": 8}
    )
    frame = broken_frame(config)
    with pytest.raises(FrameError, match=rf"{frame}.*bad_frame_budget|bad_frame_budget.*{frame}"):
        run(config)
    assert not (config.parent / "ckpt.pth.tar").exists()


def test_within_the_budget_the_video_is_left_out_and_counted(tmp_path: Path) -> None:
    config = make_experiment(
        tmp_path, model={"type": "tsn", "backbone": "mobilenetv2", "num_class": 2, "num_segments": 8}
    )
    frame = broken_frame(config)
    assert run(config, "common.bad_frame_budget=50") == 0
    log = (config.parent / "log.txt").read_text()
    assert f"warning: left out: {tmp_path / 'lists' / 'train.txt'}:3: {frame}" in log
    left_out = log.count("left out")
    assert left_out == 3  # nine steps of four videos are three passes over twelve
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["trainer"]["bad_videos"] == left_out


def test_a_label_outside_num_class_is_one_line_before_the_first_step(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    source = tmp_path / "lists" / "train.txt"
    source.write_text(source.read_text() + "dark/train 0 8 2\n")
    with pytest.raises(ListError, match=rf"{source}:13: label 2"):
        run(config)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["common.model.shift_dvi=4"], ConfigError, r"shift_dvi: tsm does not take it; did you mean `shift_div`\?"),
        (["common.model.type=tms"], ConfigError, r"common.model.type: 'tms' is unknown; did you mean"),
        (["common.model.num_segments=two"], ConfigError, r"common.model.num_segments: should be a valid integer"),
        (["common.model.kwargs.scael=1"], ConfigError, r"scael.*scale"),
        (["common.augmentation.preset=none"], ConfigError, r"\(command line\): common.augmentation.preset: 'none'"),
        (["common.test.sampling=none"], ConfigError, r"\(command line\): common.test.sampling: sampling 'none'"),
        (["common.augmentation.test_resize=16"], ConfigError, r"\(command line\).*test_resize: input_size 32x32 does"),
        (["--profile", "-1"], UserError, "--profile -1"),
        (["--fp16", "--static-loss-scale", "0"], UserError, "--static-loss-scale 0"),
        (["common.val_source=/nowhere.txt"], ListError, "/nowhere.txt"),
        (["--load-path", "/nowhere.pth"], CheckpointError, "/nowhere.pth"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_clear_error(
    tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    config = make_experiment(tmp_path)
    with pytest.raises(error, match=message):
        run(config, *overrides)


def test_main_exits_with_two_and_one_line(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    command = [sys.executable, str(ROOT / "main.py"), "--config", str(config), "common.batchsize=2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "batch_size" in result.stderr and "Traceback" not in result.stderr
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.yaml"]

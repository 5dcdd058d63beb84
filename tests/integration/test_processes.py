"""The same answer for any number of processes, through main.py over gloo."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import main
from tests.helpers.experiment import MODEL, make_experiment, same_weights, weights
from tests.helpers.requirements import needs_shards
from tests.integration.interruptions import finish, losses, start
from tests.integration.test_training import stop_at
from utils.errors import ConfigError
from utils.run import checkpoint

# no batch norm and no dropout: what a process sees then depends on nobody else
PLAIN = {"type": "tsn", "backbone": "squeezenet1_1", "num_segments": 2, "num_class": 2}


def run(config: Path, world_size: int, *arguments: str) -> str:
    """Runs main.py in `world_size` processes; what the first one printed."""
    codes = finish(start(config, world_size, *arguments))
    printed = (config.parent / "output_0.txt").read_text()
    assert codes == [0] * world_size, printed
    return printed


@pytest.mark.gloo
@pytest.mark.parametrize(
    ("videos", "world_sizes"), [(11, (1, 3)), pytest.param(101, (1, 2, 3, 4), marks=pytest.mark.long)]
)
def test_videos_are_scored_alike_and_once_by_any_number_of_processes(
    tmp_path: Path, videos: int, world_sizes: tuple[int, ...]
) -> None:
    config = make_experiment(tmp_path, train=4, val=videos)
    run(config, 1, "common.lr_scheduler.max_iter=2")
    lines, scores, paths = set(), [], set()
    for world_size in world_sizes:
        (config.parent / "output_0.txt").unlink()
        printed = run(config, world_size, "--evaluate", f"common.batch_size={2 if videos < 24 else 8}")
        lines.add(re.search(r"Prec@1 \S+ Prec@5 \S+ mean class \S+ .*", printed)[0].split(" Loss")[0])  # type: ignore[index]
        assert f"{videos} videos)" in printed
        with np.load(config.parent / "reference_scores.npz") as saved:
            scores.append(saved["scores"])
        paths.add((config.parent / "reference_result.jsonl").read_text().count("\n"))
    assert len(lines) == 1 and paths == {videos}
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)


@pytest.mark.gloo
@pytest.mark.long
def test_the_same_global_batch_has_the_same_losses_in_any_number_of_processes(tmp_path: Path) -> None:
    runs = {}
    for world_size in (1, 2, 4):
        config = make_experiment(
            tmp_path / str(world_size),
            model=PLAIN,
            augmentation={
                "input_size": 64,
                "colorjitter": [0.2, 0.2, 0.2, 0.1],
                "random_erasing": [0.5, 0.02, 0.4, 0.3],
            },
            batch_size=8 // world_size,
            # a gentle rate: a large one makes rounding grow from step to step, whoever computes
            lr_scheduler={"base_lr": 0.001, "max_iter": 9},
            print_freq=1,
        )
        run(config, world_size)
        runs[world_size] = losses(config)
    assert len(runs[1]) == 9 + 2
    for world_size in (2, 4):
        for (step, kind, loss), (other_step, other_kind, other_loss) in zip(runs[1], runs[world_size], strict=True):
            assert (step, kind) == (other_step, other_kind)
            assert other_loss == pytest.approx(loss, abs=1e-5), f"{kind} step {step}, {world_size} processes"


@pytest.mark.gloo
@pytest.mark.long  # tests/utils/processes/test_data_parallel.py starts the engine again, without main.py
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    """Trains with everything at once that could stand in the way of DistributedDataParallel."""
    options: dict[str, Any] = {"accumulate": 2, "batch_size": 2, "ema": 0.5, "partial_bn": True, "clip_gradient": 1.0}
    options |= {"freeze": ["backbone.features.1"], "bad_loss_budget": 1, "print_freq": 1}
    options["model"] = MODEL | {"kwargs": {"scale": 0.25, "bn_group_size": 2, "bn_sync_stats": True}}
    whole = make_experiment(tmp_path / "whole", **options)
    stopped = make_experiment(tmp_path / "stopped", **options)
    run(whole, world_size)
    with monkeypatch.context() as patched:
        stop_at(patched, step=1)
        assert set(finish(start(stopped, world_size))) == {128 + signal.SIGTERM}
    run(stopped, world_size)
    assert "continuing from" in (stopped.parent / "log.txt").read_text()
    assert same_weights(weights(stopped), weights(whole))
    assert losses(stopped) == losses(whole)


@pytest.mark.gloo
@pytest.mark.long
def test_a_run_of_shards_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_shards()
    options: dict[str, Any] = {"accumulate": 2, "batch_size": 2, "ema": 0.5, "clip_gradient": 1.0, "print_freq": 1}
    options |= {"model": PLAIN | {"dropout": 0.5}, "freeze": ["backbone.features.0"], "bad_loss_budget": 1}
    options |= {"lr_scheduler": {"base_lr": 0.001, "max_iter": 6}, "optimizer": "ADAMW", "fsdp": True}
    whole, stopped = (make_experiment(tmp_path / name, **options) for name in ("whole", "stopped"))
    run(whole, 2)
    with monkeypatch.context() as patched:
        stop_at(patched, step=1)
        assert set(finish(start(stopped, 2))) == {128 + signal.SIGTERM}
    run(stopped, 2)
    assert "continuing from" in (stopped.parent / "log.txt").read_text()
    assert same_weights(weights(stopped), weights(whole))
    assert losses(stopped) == losses(whole)


@pytest.mark.gloo
@pytest.mark.parametrize("fsdp", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_run_goes_on_in_other_numbers_of_processes_with_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsdp: bool
) -> None:
    if fsdp:
        needs_shards()
    options: dict[str, Any] = {"model": PLAIN, "augmentation": {"input_size": 64}, "print_freq": 1, "val_freq": 100}
    options["fsdp"] = fsdp
    options |= {"global_batch": 8, "batch_size": 4, "ema": 0.5}
    options["lr_scheduler"] = {"base_lr": 0.001, "max_iter": 9}
    whole = make_experiment(tmp_path / "whole", **options)
    moved = make_experiment(tmp_path / "moved", **options)
    run(whole, 1)
    for world_size, last in ((1, 0), (2, 3)):
        with monkeypatch.context() as patched:
            stop_at(patched, step=last)
            assert set(finish(start(moved, world_size))) == {128 + signal.SIGTERM}
    run(moved, 4)
    for (step, kind, loss), (other_step, other_kind, other_loss) in zip(losses(whole), losses(moved), strict=True):
        assert (step, kind) == (other_step, other_kind) and other_loss == pytest.approx(loss, abs=1e-5)
    log = (moved.parent / "log.txt").read_text()
    for before, after, batches in ((1, 2, "1 batch(es) of 4"), (2, 4, "1 batch(es) of 2")):
        assert (
            f"the number of processes has changed: {before} -> {after}; a step has the same 8 videos in the same "
            f"order, now {batches} in each process"
        ) in log
    assert "the config has changed" not in log


@pytest.mark.gloo
@pytest.mark.long  # tests/utils/training/test_trainer_sharded.py shares a network out without main.py
def test_processes_that_share_a_network_out_train_and_save_what_one_has_alone(tmp_path: Path) -> None:
    needs_shards()
    options: dict[str, Any] = {"model": PLAIN, "augmentation": {"input_size": 64}, "print_freq": 1, "global_batch": 4}
    options |= {"lr_scheduler": {"base_lr": 0.001, "max_iter": 3}, "watch": {"clips": 2, "histograms": 1}}
    configs = {count: make_experiment(tmp_path / str(count), fsdp=True, **options) for count in (1, 2)}
    for count, config in configs.items():
        run(config, count)
        assert f"fsdp: 8 blocks and the rest, over {count} process(es)" in (config.parent / "log.txt").read_text()
    for (step, kind, loss), other in zip(losses(configs[1]), losses(configs[2]), strict=True):
        assert other == (step, kind, pytest.approx(loss, abs=1e-5))
    one, two = (checkpoint.load(config.parent / checkpoint.NEWEST) for config in configs.values())
    assert list(one) == list(two) and list(one["state_dict"]) == list(two["state_dict"])
    for key, value in one["state_dict"].items():
        np.testing.assert_allclose(two["state_dict"][key], value, atol=1e-5)
    drawn = [EventAccumulator(str(config.parent / "events"), {"histograms": 0}).Reload() for config in configs.values()]
    assert drawn[0].Tags() == drawn[1].Tags()
    for tag in drawn[0].Tags()["histograms"]:
        counts = [[event.histogram_value.num for event in one.Histograms(tag)] for one in drawn]
        assert counts[0] == counts[1] and len(counts[0]) == 3


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["common.compile=true"], "does not go with common.compile: set one of them to False"),
        (["common.channels_last=true"], "does not go with common.channels_last: set one of them to False"),
        (["common.model.type=probe"], "probe_squeezenet1_1 has little that learns and could be shared out: set it to"),
    ],
)
def test_what_does_not_go_with_shards_is_refused_before_the_run(tmp_path: Path, keys: list[str], what: str) -> None:
    config = make_experiment(tmp_path, train=1, val=1, model=PLAIN, fsdp=True)
    with pytest.raises(ConfigError, match=rf"config.yaml:\d+: common\.fsdp: {re.escape(what)}"):
        main.main(["--config", str(config), "--dry-run", *keys])

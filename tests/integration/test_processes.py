"""The same answer for any number of processes, through main.py over gloo."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.experiment import MODEL, make_experiment, same_weights, weights
from tests.integration.interruptions import finish, losses, start
from tests.integration.test_training import stop_at

# no batch norm and no dropout: what a process sees then depends on nobody else
PLAIN = {"type": "tsn", "backbone": "squeezenet1_1", "num_segments": 2, "num_class": 2}


def run(config: Path, world_size: int, *arguments: str) -> str:
    """Runs main.py in `world_size` processes; what the first one printed."""
    codes = finish(start(config, world_size, *arguments))
    printed = (config.parent / "output_0.txt").read_text()
    assert codes == [0] * world_size, printed
    return printed


@pytest.mark.gloo
@pytest.mark.parametrize("world_sizes", [(1, 3), pytest.param((1, 2, 4), marks=pytest.mark.long)])
def test_101_videos_are_scored_alike_and_once_by_any_number_of_processes(
    tmp_path: Path, world_sizes: tuple[int, ...]
) -> None:
    config = make_experiment(tmp_path, train=4, val=101)
    run(config, 1, "common.lr_scheduler.max_iter=2")
    lines, scores, paths = set(), [], set()
    for world_size in world_sizes:
        (config.parent / "output_0.txt").unlink()
        printed = run(config, world_size, "--evaluate", "common.batch_size=8")
        lines.add(re.search(r"Prec@1 \S+ Prec@5 \S+ mean class \S+ .*", printed)[0].split(" Loss")[0])  # type: ignore[index]
        assert "101 videos)" in printed
        with np.load(config.parent / "reference_scores.npz") as saved:
            scores.append(saved["scores"])
        paths.add((config.parent / "reference_result.jsonl").read_text().count("\n"))
    assert len(lines) == 1 and paths == {101}
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)


@pytest.mark.gloo
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
@pytest.mark.parametrize(
    "world_size", [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(4, marks=pytest.mark.long)]
)
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
def test_a_run_goes_on_in_other_numbers_of_processes_with_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"model": PLAIN, "augmentation": {"input_size": 64}, "print_freq": 1, "val_freq": 100}
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

"""Whole runs on a GPU. They skip where there is none."""

from __future__ import annotations

import signal
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.helpers.requirements import needs_gpu
from tests.integration.test_training import stop_at

pytestmark = needs_gpu


def whole_colours(root: Path) -> None:
    """Frames with a colour for every pixel: where four share one, GPUs and workers enlarge it differently."""
    for path in (root / "frames").rglob("*.jpg"):
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        cv2.imwrite(str(path), cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), 3), options)


def scores(config: Path, *arguments: str) -> np.ndarray:
    assert run(config, "--evaluate", *arguments) == 0
    with np.load(config.parent / "reference_scores.npz") as saved:
        return saved["scores"]


def test_frames_decoded_on_the_gpu_train_and_score_as_those_of_workers(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, augmentation={"input_size": 32}, device="cuda", workers=2)
    whole_colours(tmp_path)
    assert run(config, "common.data.decode=cuda") == 0
    assert "decoded on the GPU" in (config.parent / "log.txt").read_text()
    np.testing.assert_allclose(scores(config, "common.data.decode=cuda"), scores(config), atol=1e-3)


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_every_precision_trains_and_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amp: str
) -> None:
    options: dict[str, Any] = {"amp": amp, "channels_last": True, "device": "cuda", "deterministic": True}
    whole = make_experiment(tmp_path / "whole", **options)
    halves = make_experiment(tmp_path / "halves", **options)
    assert run(whole) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert run(halves) == 128 + signal.SIGTERM
    assert run(halves) == 0
    assert same_weights(weights(whole), weights(halves))


def test_no_step_waits_for_the_device_but_where_numbers_are_fetched(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, device="cuda", workers=2, print_freq=100, val_freq=100, watch={"clips": 0})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            assert run(config) == 0
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = Counter(Path(one.filename).name for one in caught if "synchronizing" in str(one.message))
    assert waits["train_step.py"] == 9, f"one for the numbers of each step, not {waits}"
    assert not {"mixup.py", "color.py", "loss.py", "precision.py", "batch.py"} & set(waits), waits


def test_a_compiled_run_trains(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, device="cuda", amp="auto", channels_last=True, compile=True)
    assert run(config, "common.lr_scheduler.max_iter=4") == 0
    assert all(np.isfinite(value).all() for value in weights(config).values())

"""Order, shards and workers."""

from __future__ import annotations

import gc
import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.loader import EvalShard, TrainStream, balanced_chances, epoch_order, make_loader
from tests.datasets.test_datasets import make
from utils.scoring.label_sets import label_sets

Frames = Callable[..., Path]


def test_every_epoch_sees_every_video_once():
    stream = TrainStream(10, 4, seed=5)
    pairs = list(itertools.chain.from_iterable(itertools.islice(stream, 10)))
    assert len(pairs) == 40
    for epoch in range(4):
        assert sorted(index for number, index in pairs if number == epoch) == list(range(10))
    assert [index for number, index in pairs if number == 0] == epoch_order(10, 5, 0).tolist()
    assert epoch_order(10, 5, 0).tolist() != epoch_order(10, 5, 1).tolist() != epoch_order(10, 6, 1).tolist()


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_ranks_of_a_step_together_are_the_step_of_one_process(world: int):
    whole = TrainStream(10, 12, seed=1, stop_step=7)
    parts = [TrainStream(10, 12 // world, seed=1, rank=rank, world=world, stop_step=7) for rank in range(world)]
    for one, *others in zip(whole, *parts, strict=True):
        assert one == list(itertools.chain.from_iterable(others))


@pytest.mark.parametrize("start", [0, 1, 6, 23])
def test_a_stream_that_starts_late_continues_the_early_one(start: int):
    early = list(TrainStream(10, 3, seed=2, stop_step=30))
    late = TrainStream(10, 3, seed=2, start_step=start, stop_step=30)
    assert list(late) == early[start:] and len(late) == 30 - start


@pytest.mark.parametrize("world", [1, 2])
def test_repeated_videos_come_in_a_row_each_with_numbers_of_its_own(world: int):
    once = [TrainStream(10, 3, seed=2, rank=rank, world=world, stop_step=9) for rank in range(world)]
    thrice = [TrainStream(10, 9, seed=2, rank=rank, world=world, stop_step=9, repeated=3) for rank in range(world)]
    for plain, stream in zip(once, thrice, strict=True):
        for few, many in zip(plain, stream, strict=True):
            assert many == [(3 * epoch + repeat, index) for epoch, index in few for repeat in range(3)]
    pairs = [pair for stream in thrice for step in stream for pair in step]
    assert len(set(pairs)) == len(pairs)


def test_batches_larger_than_the_data_set():
    (batch,) = TrainStream(3, 8, seed=0, stop_step=1)
    assert [epoch for epoch, _ in batch] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(("videos", "world", "batch"), [(101, 3, 8), (7, 4, 2), (2, 5, 1), (8, 1, 8)])
def test_evaluation_shards_are_exact(videos: int, world: int, batch: int):
    seen = []
    for rank in range(world):
        shard = EvalShard(videos, batch, rank=rank, world=world)
        batches = list(shard)
        assert len(batches) == len(shard) and all(batches)
        seen += [index for keys in batches for _, index in keys]
    assert sorted(seen) == list(range(videos))


def test_impossible_arguments():
    for call in (
        lambda: TrainStream(0, 4),
        lambda: TrainStream(4, 0),
        lambda: TrainStream(4, 4, rank=2, world=2),
        lambda: EvalShard(4, 0),
        lambda: EvalShard(4, 1, rank=1, world=1),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        len(TrainStream(4, 4))


def test_shuffling_is_apart_from_the_samples_generators():
    shuffled = np.arange(50, dtype=np.int32)
    np.random.default_rng([3, 1, 0]).shuffle(shuffled)
    assert epoch_order(50, 3, 1).tolist() != shuffled.tolist()


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_workers_change_nothing(tiny_frames: Frames, start_method: str):
    dataset = make("tsn", tiny_frames(5, 9, 2, 7), seed=4)
    alone = list(make_loader(dataset, TrainStream(4, 3, seed=4, stop_step=5)))
    several = list(make_loader(dataset, TrainStream(4, 3, seed=4, stop_step=5), workers=2, start_method=start_method))
    assert len(alone) == len(several) == 5
    for one, two in zip(alone, several, strict=True):
        assert torch.equal(one.clips, two.clips) and torch.equal(one.labels, two.labels)
        assert torch.equal(one.indices, two.indices) and one.faults == two.faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_collects_no_garbage_that_it_inherits():
    """FFmpeg's objects would wait in the fork for threads that only the parent has."""
    parent, (read, write), thresholds = os.getpid(), os.pipe(), gc.get_threshold()

    class Garbage:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            if os.getpid() != parent:
                os.write(write, b"collected")

    gc.set_threshold(0)  # the parent does not collect it meanwhile
    try:
        Garbage()
        with warnings.catch_warnings():  # Python 3.12 warns of threads
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            gc.collect()
            os._exit(0 if gc.isenabled() else 1)
    finally:
        gc.set_threshold(*thresholds)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and gc.isenabled()
    os.close(write)
    assert os.read(read, 99) == b""
    os.close(read)


def test_a_persistent_evaluation_loader_gives_the_same_twice(tiny_frames: Frames):
    dataset = make("tsn", tiny_frames(5, 9, 2), train=False)
    loader = make_loader(dataset, EvalShard(3, 2), workers=1)
    first, second = ([batch.clips for batch in loader] for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True)) and len(first) == 2


def test_balanced_chances_make_every_class_as_likely() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    chances = balanced_chances(labels)
    assert chances.sum() == pytest.approx(1) and chances[labels == 1].sum() == pytest.approx(0.5)
    drawn = labels[epoch_order(100, seed=0, epoch=3, chances=chances)]
    assert 30 <= (drawn == 1).sum() <= 70


def test_balanced_chances_of_sets_draw_a_class_and_then_one_of_its_videos() -> None:
    rows = [[0], [0, 1], [0, 2], [], []]
    chances = balanced_chances(label_sets(rows, 5))
    expected = [sum({0: 1 / 3, 1: 1, 2: 1}[label] for label in row) if row else 1 / 2 for row in rows]
    np.testing.assert_allclose(chances, np.array(expected) / 4)  # three classes, and none
    alone = np.array([0, 2, 2, 1])
    np.testing.assert_array_equal(balanced_chances(label_sets(alone[:, None], 3)), balanced_chances(alone))

"""Tests what every store of the table promises: the same pixels for each dataset, and faults that name the frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import DATASETS, STORES, DiskStore
from datasets.lists.records import read_list
from datasets.stores.disk import FrameStore
from tests.datasets.conftest import Memcached
from tests.datasets.test_datasets import CLIPS
from tests.helpers.protocol import for_testing, for_training
from tests.helpers.requirements import needs_program
from tests.helpers.stores import fill
from utils.errors import FrameError
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

COUNTS = (10, 1, 25)


def open_store(kind: str, source: Path, memcached: Callable[..., Memcached]) -> FrameStore:
    root = source.parent.parent / "frames"
    more = fill(kind, source, root, memcached)
    return STORES[kind](root, template="img_{:05d}.jpg", first_frame=1, **more)


@needs_program("memcached", install="apt-get install memcached")
@pytest.mark.parametrize("kind", STORES)
def test_every_data_set_reads_the_same_pixels_from_every_store(
    kind: str, tiny_frames: Callable[..., Path], memcached: Callable[..., Memcached]
):
    source = tiny_frames(*COUNTS)
    root = source.parent.parent / "frames"
    records, store = read_list(source, root=root), open_store(kind, source, memcached)
    for name, clip in CLIPS.items():
        for train in (True, False):
            random, fixed = CutClip(MultiScale(), 32, flip=0.5), CutClip(TestCrops(48), 40)
            protocol = for_training(clip, random) if train else for_testing(clip, fixed)
            ours, disk = (DATASETS[name](records, frames, protocol, seed=2) for frames in (store, DiskStore(root)))
            for key in ((0, 0), (1, 1), (2, 2), (0, 0)):
                one, two = ours[key], disk[key]
                assert (one["clips"] == two["clips"]).all() and one["label"] == two["label"] and one["fault"] == ""


@needs_program("memcached", install="apt-get install memcached")
@pytest.mark.parametrize("kind", STORES)
def test_every_store_names_what_is_not_there(
    kind: str, tiny_frames: Callable[..., Path], memcached: Callable[..., Memcached]
):
    store = open_store(kind, tiny_frames(*COUNTS), memcached)
    assert len(store.get_many("v0", [9, 0, 9])) == 3
    for path, index in (("v0", 10), ("v8", 0)):
        assert path in store.frame_name(path, index)
        with pytest.raises(FrameError, match=path):
            store.get_many(path, [index])
    assert all(isinstance(count, int) for count in store.stats().values())

"""Turns lists of videos into clips.

A config names entries of the two tables; a new dataset or store is one file and one line here.
"""

from typing import Any

from datasets.fake_dataset import FakeDataset
from datasets.memcached_dataset import ImageDataset
from datasets.memcached_dataset_clip import ClipDataset
from datasets.memcached_dataset_tsn import TSNDataset
from datasets.stores.disk import DiskStore
from datasets.stores.memcached import MemcachedStore
from datasets.stores.packed import PackedStore
from datasets.video_dataset import VideoDataset

DATASETS: dict[str, Any] = {"img": ImageDataset, "tsn": TSNDataset, "clip": ClipDataset, "video": VideoDataset}
STORES = {"disk": DiskStore, "memcached": MemcachedStore, "packed": PackedStore}

__all__ = [
    "DATASETS", "STORES", "ClipDataset", "DiskStore", "FakeDataset", "ImageDataset", "MemcachedStore",
    "PackedStore", "TSNDataset", "VideoDataset",
]  # fmt: skip

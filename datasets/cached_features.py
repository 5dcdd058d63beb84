"""Shows each frame or clip to a frozen network once: a cache keeps the features, and only what it lacks is decoded.

An image network sees single frames, a video network whole clips; either is a *piece*. Workers name the pieces by
hashes of their frames' bytes and look the names up (`CachedDataset`). The training process computes what they did not
find, adds it, and hands on batches of features (`FeatureBatches`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from datasets.frame_dataset import Key, SampleDataset, collate, empty_clips
from datasets.protocol import ClipProtocol
from datasets.stores.feature_store import NAME_BYTES, FeatureStore
from utils.errors import FrameError
from utils.training.batch import Batch


class Frozen(Protocol):
    """The network whose features are kept; `methods.probe.Probe` is one."""

    @property
    def by_clip(self) -> bool:
        """Returns whether a piece is a whole clip, and not a single frame."""
        ...

    @property
    def frozen_settings(self) -> dict[str, Any]:
        """Returns what decides the features besides the weights."""
        ...

    def frozen_state(self) -> dict[str, Tensor]:
        """Returns the weights that decide the features."""
        ...

    def features(self, clips: Tensor) -> Tensor:
        """Maps normalised pieces (N, C, t, H, W) to features (N, t', ...), of the same bits in every batch."""
        ...


def origin(network: Frozen, protocol: ClipProtocol, device: torch.device) -> bytes:
    """Returns a hash of all that decides features besides the frames' bytes: weights, network, pixels, arithmetic."""
    about = {
        "network": network.frozen_settings | {"by_clip": network.by_clip},
        "cut": [repr(protocol.transform.rule), protocol.transform.size, protocol.transform.interpolation],
        "statistics": [protocol.augment.mean, protocol.augment.std, protocol.augment.value_range],
        "arithmetic": [torch.__version__, device.type],
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, value in sorted(network.frozen_state().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()


class CachedDataset:
    """Makes batches of a dataset whose clips are features, where the cache holds those of all pieces of a batch.

    Otherwise a batch has pixels, and the names of its pieces.
    origin: see `origin`. by_clip: whether a piece is a whole clip.
    """

    encoded = True  # no memory for pixels has to be kept ready

    def __init__(self, dataset: SampleDataset, store: FeatureStore, origin: bytes, *, by_clip: bool) -> None:
        self._dataset, self._store, self._origin, self._by_clip = dataset, store, origin, by_clip
        self.shape, self.transform = dataset.shape, dataset.transform

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        names = [self._names(key) for key in keys]
        known = [None if of_video is None else self._store.get(of_video) for of_video in names]
        views, pieces = self.shape[0], 1 if self._by_clip else self.shape[1]
        if any(rows is None or any(row is None for row in rows) for rows in known):
            batch = self._dataset.__getitems__(keys)
            nothing = [b""] * (views * pieces)  # a video that could not be read here: nobody may find its features
            batch.names = [name for of_video in names for name in of_video or nothing]
            return batch
        rows = np.stack([np.stack(found) for found in known])  # type: ignore[arg-type]
        features = empty_clips((len(keys), views, pieces * rows.shape[2], *rows.shape[3:]), rows.dtype)
        features.numpy()[...] = rows.reshape(features.shape)
        samples = [self._sample(key) for key in keys]
        batch = collate(samples, torch.empty(len(keys), 0, 0, 0, 0, 0))
        batch.clips = features
        return batch

    def _sample(self, key: Key) -> dict[str, Any]:
        index = key[1] if isinstance(key, tuple) else key
        return {"label": self._dataset.labels[index], "index": index, "augment": {}, "fault": ""}

    def _names(self, key: Key) -> list[bytes] | None:
        """Returns a name for each piece of each view; None for a video that cannot be read."""
        try:
            clips = self._dataset.fingerprints(key)
        except FrameError:
            return None
        crops = range(self.shape[0] // len(clips))
        return [
            hashlib.blake2b(self._origin + piece + bytes([crop]), digest_size=NAME_BYTES).digest()
            for clip in clips
            for crop in crops
            for piece in ([_of_clip(clip)] if self._by_clip else clip)
        ]


def _of_clip(frames: Sequence[bytes]) -> bytes:
    """Returns the name of a clip: a hash of the names of its frames, which may have any length."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(len(frame).to_bytes(4, "little") + frame)
    return digest.digest()


class FeatureBatches:
    """Yields batches of features, (N, V, T', ...) in place of clips, and computes those that no worker has found."""

    def __init__(
        self,
        batches: Iterable[Batch],
        store: FeatureStore,
        network: Frozen,
        protocol: ClipProtocol,
        device: torch.device,
    ) -> None:
        self._batches, self._store, self._network = batches, store, network
        self._augment, self._device = protocol.augment, device

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield batch if batch.names is None else self._with_features(batch, batch.names)

    @torch.no_grad()
    def _with_features(self, batch: Batch, names: Sequence[bytes]) -> Batch:
        found = self._store.get(names)
        keys = [name or place for place, name in enumerate(names)]  # pieces without a name are not each other's
        wanted = {key: place for place, key in enumerate(keys) if found[place] is None}  # each piece once
        places = sorted(wanted.values())
        records, views = batch.clips.shape[:2]
        computed: dict[bytes | int, np.ndarray] = {}
        if places:  # else all have been added since the worker looked
            pixels = batch.clips.permute(0, 1, 3, 4, 5, 2).flatten(0, 2)  # (N * V * T, H, W, C)
            pieces = pixels.unflatten(0, (len(names), -1))[places]  # (n, t, H, W, C)
            clips = self._augment.apply(pieces[:, None].permute(0, 1, 5, 2, 3, 4).to(self._device))
            rows = self._network.features(clips).float().cpu().numpy()
            computed = {keys[place]: row for place, row in zip(places, rows, strict=True)}
        kept = [key for key in computed if isinstance(key, bytes)]
        if kept:
            self._store.put(kept, np.stack([computed[name] for name in kept]))
        whole = np.stack([computed[key] if row is None else row for key, row in zip(keys, found, strict=True)])
        batch.clips = torch.from_numpy(whole.reshape(records, views, -1, *whole.shape[2:]))
        batch.names, batch.augment = None, {}
        return batch

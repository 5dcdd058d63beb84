"""The one object that travels from the workers to the device: uint8 clips and what was drawn for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.transforms.gpu_decode import CodedBatch, CodedClips


@dataclass
class Batch:
    """N records with V views each.

    clips: (N, V, C, T, H, W), uint8, or float32 in 0..255 when a preset resizes in floating point; RGB, unnormalised.
        The memory is laid out N,V,T,H,W,C, as decoded, so nothing is transposed before the device.
    labels: int64 (N,), or multi-hot int8 (N, K); -1 where the list has none.
    indices: int64 (N,), the record's place in its list.
    augment: parameters drawn in the worker from the sample's own generator; each tensor's first dimension is N.
    faults: N strings, "" for a good sample; otherwise why it could not be read (clips of zeros that must not count).
    coded: what `to` makes the clips of, on its device, where JPEGs are decoded there; `clips` is empty until then.
    """

    clips: Tensor
    labels: Tensor
    indices: Tensor
    augment: dict[str, Tensor] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    coded: CodedBatch | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pin_memory(self) -> Batch:
        """Page-locked copies, so that `to` may run beside the computation."""
        return self._map(torch.Tensor.pin_memory)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The same batch with every tensor on `device`, decoded there if it is not yet: that may add faults."""
        moved = self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        if self.coded is not None:
            moved.clips, found = self.coded.decode(torch.device(device))
            moved.faults = [old or new for old, new in zip(self.faults, found, strict=True)]
            moved.coded = None
        return moved

    def _map(self, move: Any) -> Batch:
        return Batch(
            clips=move(self.clips),
            labels=move(self.labels),
            indices=move(self.indices),
            augment={name: move(tensor) for name, tensor in self.augment.items()},
            faults=self.faults,
            coded=self.coded,
        )


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    """Each batch as it was loaded, and on the device.

    Batches that are decoded there are made by a thread, one of them while its predecessor is in use: decoding keeps the
    host waiting, which would let the device run out of work.
    """
    # begun here, not with the first batch: a DataLoader draws a number then, which would be one of the first step's
    return _on_device(iter(batches), device)


def _on_device(iterator: Iterator[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    def take() -> tuple[Batch, Batch] | None:
        loaded = next(iterator, None)
        return None if loaded is None else (loaded, loaded.to(device))

    with ThreadPoolExecutor(1, thread_name_prefix="decode") as thread:  # begins with the first that it is given
        found = take()
        while found is not None:
            following = None if found[0].coded is None else thread.submit(take)
            yield found
            found = take() if following is None else following.result()


def collate(samples: Batch | Sequence[Mapping[str, Any]], room: Tensor | None = None) -> Batch:
    """Stacks samples of the datasets; a Batch, as datasets make that are asked for several samples, stays as it is.

    A sample has clips, (V, T, H, W, C) uint8 or float32 or a CodedClips; label, a class or a multi-hot row; index,
    augment (mapping of arrays) and fault. room: (N, V, T, H, W, C), where the clips of all samples lie already.
    """
    if isinstance(samples, Batch):
        return samples
    coded = None
    if room is not None:
        clips = room
    elif isinstance(samples[0]["clips"], CodedClips):
        coded = CodedBatch([sample["clips"] for sample in samples])
        clips = torch.empty(len(samples), 0, 0, 0, 0, 0, dtype=torch.uint8)
    else:
        clips = torch.from_numpy(np.stack([sample["clips"] for sample in samples]))
    augment = {
        name: torch.from_numpy(np.stack([sample["augment"][name] for sample in samples]))
        for name in samples[0]["augment"]
    }
    return Batch(
        clips=channels_first(clips),
        labels=_stacked([sample["label"] for sample in samples]),
        indices=torch.tensor([int(sample["index"]) for sample in samples], dtype=torch.int64),
        augment=augment,
        faults=[str(sample["fault"]) for sample in samples],
        coded=coded,
    )


def channels_first(clips: Tensor) -> Tensor:
    """N,V,T,H,W,C as decoded -> N,V,C,T,H,W as a batch has them, a view."""
    return clips.permute(0, 1, 5, 2, 3, 4)


def _stacked(targets: Sequence[Any]) -> Tensor:
    labels = np.stack(targets)
    return torch.from_numpy(labels if labels.ndim == 2 else labels.astype(np.int64))

"""Defines what travels in a step: clips from the workers to the device, and a few numbers back to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor


class Encoded(Protocol):
    """Clips that are decoded on the device; `utils.transforms.gpu_decode.EncodedBatch` is this."""

    def decode(self, device: torch.device) -> tuple[Tensor, list[str]]:
        """Returns clips (N, V, C, T, H, W) on the device, and N faults, "" for a good sample."""
        ...


@dataclass
class Batch:
    """N records with V views each.

    clips: (N, V, C, T, H, W), uint8, or float32 in 0..255 when a preset resizes in floating point; RGB, unnormalised.
        The memory is laid out N,V,T,H,W,C, as decoded, so nothing is transposed before the device.
    labels: int64 (N,), or multi-hot int8 (N, K); -1 where the list has none.
    indices: int64 (N,), the record's place in its list.
    augment: parameters drawn in the worker from the sample's own generator; each tensor's first dimension is N.
    faults: N strings, "" for a good sample; otherwise why it could not be read (clips of zeros that must not count).
    encoded: what `to` makes the clips of, where JPEGs are decoded on the device; `clips` is empty until then.
    names: of the features of each frame (N * V * T), or of each clip (N * V), in a cache, while `clips` are pixels;
        with a cache they become features, (N, V, T', ...), before anything is trained or scored.
    """

    clips: Tensor
    labels: Tensor
    indices: Tensor
    augment: dict[str, Tensor] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    encoded: Encoded | None = None
    names: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pin_memory(self) -> Batch:
        """Returns page-locked copies, so that `to` may run during the computation."""
        return self._map(torch.Tensor.pin_memory)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """Returns the batch with every tensor on `device`; encoded clips are decoded there, which may add faults."""
        moved = self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        if self.encoded is not None:
            moved.clips, found = self.encoded.decode(torch.device(device))
            moved.faults = [old or new for old, new in zip(self.faults, found, strict=True)]
            moved.encoded = None
        return moved

    def _map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            clips=move(self.clips),
            labels=move(self.labels),
            indices=move(self.indices),
            augment={name: move(tensor) for name, tensor in self.augment.items()},
            faults=self.faults,
            encoded=self.encoded,
            names=self.names,
        )


class Sums:
    """Brings a few numbers of a step to the host, summed over all processes, while the device goes on.

    own: those of this process, (n,), on its device.
    total, work: the sums over several processes, valid when the work is done, as `session.add_up` returns them.
    """

    def __init__(self, own: Tensor, total: Tensor | None = None, work: Any = None) -> None:
        self._own, self._work = own, work
        self._total = own if total is None else total
        self._copied: torch.cuda.Event | None = None
        if own.is_cuda:
            self._fetch()

    def _fetch(self) -> None:
        # on the stream of the training, the copy to the host would wait for all that is queued there: the next step
        stream = torch.cuda.Stream(self._total.device)
        stream.wait_stream(torch.cuda.current_stream(self._total.device))
        with torch.cuda.stream(stream):
            if self._work is not None:
                self._work.wait()
            on_device, self._total = self._total, self._total.to("cpu", non_blocking=True)
            on_device.record_stream(stream)
            self._copied = stream.record_event()

    def values(self) -> list[float]:
        """Returns the sums, the same in all processes; waits until they are here."""
        if self._copied is not None:
            self._copied.synchronize()
        elif self._work is not None:
            self._work.wait()
        return self._total.tolist()

    def own(self) -> list[float]:
        """Returns the numbers of this process; waits for the device."""
        return self._own.tolist()


def unchanged(batch: Any) -> Any:
    """Returns a batch as it is: what a DataLoader collates with when its dataset makes whole batches."""
    return batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    """Yields each batch as it was loaded, and on the device.

    A thread makes batches that are decoded there, one of them while its predecessor is in use: decoding keeps the host
    waiting, and the device would run out of work.
    """
    # the iterator is created now: DataLoader.__iter__ consumes torch's random numbers and would shift the first step's
    return _on_device(iter(batches), device)


def _on_device(iterator: Iterator[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    def take() -> tuple[Batch, Batch] | None:
        loaded = next(iterator, None)
        return None if loaded is None else (loaded, loaded.to(device))

    with ThreadPoolExecutor(1, thread_name_prefix="decode") as thread:  # it starts with the first task it is given
        found = take()
        while found is not None:
            following = None if found[0].encoded is None else thread.submit(take)
            yield found
            found = take() if following is None else following.result()

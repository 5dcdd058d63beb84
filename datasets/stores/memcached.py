"""Keeps frames in memcached in front of the disk: a missing frame is read from the disk and stored in the cache.

The cache changes nothing but the speed: the returned bytes are always those of the file. A server that is down, slow,
full or wrong costs a read from the disk, which is counted.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import get_worker_info

from datasets.stores.disk import DiskStore, read_frame
from datasets.stores.memcached_server import Server, choose
from utils.errors import ConfigError, FrameError

COUNTS = ("hits", "misses", "fallbacks", "damaged", "bypassed")
_SEAL = 4  # bytes of the checksum
_ROWS = 257  # one for the main process and one for each of up to 256 workers


@dataclass(frozen=True)
class _Wanted:
    file: str
    key: str
    size: int  # of the file in bytes; -1 if unknown


class StoreStats:
    """Counts in shared memory: all workers of a loader write, and the main process reads, without a lock.

    It works in forked and in spawned workers, because every process adds to a row of its own.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._counts = torch.zeros((_ROWS, len(self.names)), dtype=torch.int64).share_memory_()

    def add(self, name: str, number: int = 1) -> None:
        """Adds to the count `name` of this process."""
        if number:
            worker = get_worker_info()
            row = 0 if worker is None else 1 + worker.id % (_ROWS - 1)
            self._counts[row, self.names.index(name)] += number

    def totals(self) -> dict[str, int]:
        """Returns the counts, summed over all processes."""
        return dict(zip(self.names, self._counts.sum(0).tolist(), strict=True))


class MemcachedStore(DiskStore):
    """Reads frames through memcached.

    servers: addresses "host:port" or paths of Unix sockets. Consistent hashing gives each video one server, so that a
        clip costs one round trip.
    version: part of every key, which distinguishes new frames from old ones with the same name. One of
        - "frame": size and time of each file; always right, costs one stat per frame;
        - "folder": time of the video's folder; right if a dump replaces whole folders, as ours does, and costs one
          stat per clip;
        - any other text, which you change yourself when frames change; costs no stat.
    timeout, longest_pause: seconds; see Server.
    expire: seconds until a value expires; 0 keeps it.

    `stats` counts frames by where they came from:
        hits: from the cache.
        misses: from the disk, then stored in the cache.
        fallbacks: from the disk, because the server is down.
        damaged: from the disk, because the cache had wrong bytes, which are replaced.
        bypassed: from the disk, because they are larger than the server's item limit.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        servers: Sequence[str] | str,
        template: str | None = "img_{:05d}.jpg",
        first_frame: int = 1,
        version: str = "frame",
        timeout: float = 0.5,
        longest_pause: float = 10.0,
        expire: int = 0,
    ) -> None:
        super().__init__(root, template=template, first_frame=first_frame)
        addresses = [part.strip() for part in servers.split(",")] if isinstance(servers, str) else list(servers)
        if not addresses or len(set(addresses)) < len(addresses):
            raise ConfigError(
                f"common.data.store.servers: {addresses} must name at least one server, and each only once"
            )
        if timeout <= 0 or longest_pause <= 0:
            raise ConfigError("common.data.store: timeout and longest_pause must be above 0 seconds")
        self.servers = [
            Server(address, timeout=timeout, longest_pause=longest_pause, expire=expire) for address in addresses
        ]
        self.version = str(version)
        self._stats = StoreStats(COUNTS)

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns the frames in one round trip to the video's server; a second one stores those that were missing."""
        order = np.asarray(indices).tolist()
        wanted = self._wanted(path, order)
        server = choose(self.servers, os.fsencode(path))
        limit = server.largest_value() - _SEAL
        asked = [one.key for one in wanted.values() if one.size <= limit]
        values = server.get_many(asked) if asked else {}
        frames: dict[int, bytes] = {}
        missing: dict[str, bytes] = {}
        sums: bytes | None = None
        counts = dict.fromkeys(COUNTS, 0)
        for index, one in wanted.items():
            value = (values or {}).get(one.key)
            data = None if value is None else _unseal(one.key, value)
            if data is not None:
                counts["hits"] += 1
            else:
                sums = self._sums(self._folder(path)) if sums is None else sums
                data = read_frame(one.file, sums)
                if len(data) > limit:
                    counts["bypassed"] += 1
                elif values is None:
                    counts["fallbacks"] += 1
                else:
                    counts["misses" if value is None else "damaged"] += 1
                    missing[one.key] = _seal(one.key, data)
            frames[index] = data
        if missing:
            server.set_many(missing)
        for name, number in counts.items():
            self._stats.add(name, number)
        return [frames[index] for index in order]

    def fill(self, path: str, indices: Sequence[int] | np.ndarray) -> dict[str, int]:
        """Stores frames in the cache and waits for the server; returns how many were stored, oversized and refused."""
        wanted = self._wanted(path, np.asarray(indices).tolist())
        server = choose(self.servers, os.fsencode(path))
        limit = server.largest_value() - _SEAL
        values, sums = {}, self._sums(self._folder(path))
        for one in wanted.values():
            data = read_frame(one.file, sums)
            if len(data) <= limit:
                values[one.key] = _seal(one.key, data)
        refused = server.set_many(values, wait=True)
        lost = len(values) if refused is None else len(refused)
        return {"stored": len(values) - lost, "oversized": len(wanted) - len(values), "refused": lost}

    def stats(self) -> dict[str, int]:
        """Returns how many frames came from where, summed over all workers."""
        return self._stats.totals()

    def _wanted(self, path: str, indices: Sequence[int]) -> dict[int, _Wanted]:
        """Returns file, key and size of each frame. Raises FrameError for a missing frame."""
        version = self.version.encode()
        if self.version == "folder":
            version = b"%d" % _stat(os.path.join(self.root, path)).st_mtime_ns  # noqa: PTH118 - as in frame_name
        wanted = {}
        for index in indices:
            file, size, stamp = self.frame_name(path, index), -1, version
            if self.version == "frame":
                status = _stat(file)
                size, stamp = status.st_size, b"%d %d" % (status.st_size, status.st_mtime_ns)
            key = hashlib.sha1(os.fsencode(file) + b"\0" + stamp, usedforsecurity=False).hexdigest()
            wanted[index] = _Wanted(file, key, size)
        return wanted


def _stat(file: str) -> os.stat_result:
    try:
        return os.stat(file)  # noqa: PTH116 - as in frame_name
    except OSError:
        read_frame(file)  # raises with the reason
        raise FrameError(f"{file}: its size and time cannot be read") from None


def _seal(key: str, data: bytes) -> bytes:
    """Puts a checksum of key and data before the data, so that the bytes of another frame count as damage."""
    return zlib.crc32(data, zlib.crc32(key.encode())).to_bytes(_SEAL, "little") + data


def _unseal(key: str, value: bytes) -> bytes | None:
    """Returns the data of a value, or None if it is damaged."""
    data = value[_SEAL:]
    return data if data and _seal(key, data)[:_SEAL] == value[:_SEAL] else None

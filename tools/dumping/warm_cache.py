"""Sends the frames of whole lists to memcached servers, for tools/warm_cache.py."""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from datasets import STORES
from datasets.lists.records import RecordList
from datasets.open import open_frames, open_list
from datasets.stores.flow import FlowStore
from datasets.stores.memcached import MemcachedStore
from utils.cli import Progress
from utils.config.file import load_config
from utils.errors import ConfigError, FrameError, UserError

_BATCH = 32  # frames per request, so that a long video does not run into a short timeout


def run(args: argparse.Namespace) -> int:
    """Fills the cache; returns the exit code."""
    config = load_config(args.config, args.overrides)
    counts: Counter[str] = Counter()
    memory: list[str] = []
    with config.located():
        kind = config.common.data.store.get("type", "disk")
        if STORES.get(kind) is not MemcachedStore:
            raise ConfigError(f"common.data.store.type: {kind}: only a memcached store can be warmed")
        for split in ("train", "val") if args.split == "both" else (args.split,):
            records, _ = open_list(config.common, split)
            records, store, about = open_frames(config.common, records)
            print(f"{split}: {len(records)} videos, {about}")
            for part in store.parts if isinstance(store, FlowStore) else (store,):
                assert isinstance(part, MemcachedStore)
                _require_servers(part)
                counts.update(_warm(part, records, workers=args.workers))
                memory = _memory(part)
    print(
        f"{counts['stored']} frames stored, {counts['oversized']} larger than the item limit, "
        f"{counts['refused']} refused, {counts['unreadable']} unreadable"
    )
    for line in memory:
        print(line)
    return 1 if counts["refused"] or counts["unreadable"] else 0


def _warm(store: MemcachedStore, records: RecordList, *, workers: int) -> Counter[str]:
    total: Counter[str] = Counter()
    with Progress(len(records), unit="videos") as progress, ThreadPoolExecutor(workers) as pool:
        # one store per thread: a connection serves one thread at a time
        stores = [copy.deepcopy(store) for _ in range(workers)]
        shares = [pool.submit(_share, one, records, number, workers, progress) for number, one in enumerate(stores)]
        for share in shares:
            total.update(share.result())
    return total


def _share(store: MemcachedStore, records: RecordList, first: int, step: int, progress: Progress) -> Counter[str]:
    counts: Counter[str] = Counter()
    for index in range(first, len(records), step):
        first = 0 if records.first is None else int(records.first[index])
        stop = first + max(1, int(records.num_frames[index]))
        for start in range(first, stop, _BATCH):
            try:
                counts.update(store.fill(records.path(index), range(start, min(start + _BATCH, stop))))
            except FrameError as error:
                counts["unreadable"] += 1
                progress.note(f"{records.where(index)}: {error}")
        progress.advance(1)
    return counts


def _require_servers(store: MemcachedStore) -> None:
    for server in store.servers:
        if server.statistics() is None:
            raise UserError(
                f"memcached {server.address}: cannot be reached; start it (memcached -m MEGABYTES -l HOST -p PORT) or "
                "correct common.data.store.servers"
            )


def _memory(store: MemcachedStore) -> list[str]:
    lines = []
    for server in store.servers:
        said = server.statistics() or {}
        used, limit = said.get("bytes", 0) >> 20, said.get("limit_maxbytes", 0) >> 20
        line = f"memcached {server.address}: {used} of {limit} MiB used"
        if said.get("evictions", 0):
            line += f", {said['evictions']} frames were evicted for others: raise its -m or add a server"
        lines.append(line)
    return lines

"""Keeps features of single frames by name: a folder of files that are added, merged, and never changed.

Each file is whole or absent and has a checksum, so several runs may share a folder, and a kill costs at most the batch
at hand. Many small files become a larger one, which is there before they are deleted.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from utils.errors import ConfigError
from utils.flat_file import open_arrays, save_arrays

SUFFIX = ".features"
NAME_BYTES = 20  # of the hash that names a frame's features
MOST_SMALL = 64  # files that may be small before they are merged: a folder of very many is slow, and each is mapped
SMALL, MERGED = 1 << 26, 1 << 28  # bytes, below which a file is small, and that a merged one may have

_log = logging.getLogger(__name__)


class FeatureStore:
    """Finds and adds features in a folder. What other processes add is seen at the next name that is not known.

    Raises: ConfigError for a folder that cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"common.data.feature_cache: {folder} cannot be made a folder: {error}") from None
        self._rows: dict[bytes, np.ndarray] = {}
        self._seen: set[str] = set()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_rows": {}, "_seen": set()}  # a worker maps the files itself

    def get(self, names: Sequence[bytes]) -> list[np.ndarray | None]:
        """Returns the features of each name, None for those that nobody has added yet."""
        if any(name not in self._rows for name in names):
            self._look()
        return [self._rows.get(name) for name in names]

    def put(self, names: Sequence[bytes], rows: np.ndarray) -> None:
        """Adds features, (n, ...) float32, under n names."""
        self._write(np.frombuffer(b"".join(names), f"S{NAME_BYTES}"), rows)
        self._merge()

    def _merge(self) -> None:
        """Makes one file of the smallest ones where there are many. Of several processes one does it."""
        small = sorted((size, file) for size, file in self._sizes() if size < SMALL)
        if len(small) <= MOST_SMALL:
            return
        try:
            with FileLock(self._folder / ".lock", timeout=0):
                alike: dict[tuple[int, ...], list[tuple[Path, np.ndarray, np.ndarray]]] = defaultdict(list)
                total = 0
                for size, file in small:
                    arrays = self._arrays(file)
                    total += size
                    if arrays is not None and total <= MERGED:
                        alike[arrays[1].shape[1:]].append((file, *arrays))
                for files in alike.values():
                    if len(files) > 1:
                        names, rows = (np.concatenate([one[place] for one in files]) for place in (1, 2))
                        self._write(names, rows)
                        for file, *_ in files:
                            file.unlink(missing_ok=True)
        except Timeout:  # another process is at it
            return

    def _sizes(self) -> list[tuple[int, Path]]:
        """Returns the sizes of all files that no other process has just merged and removed."""
        found: list[tuple[int, Path]] = []
        for file in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                found.append((file.stat().st_size, file))
        return found

    def _write(self, names: np.ndarray, rows: np.ndarray) -> None:
        file = self._folder / f"{uuid.uuid4().hex}{SUFFIX}"
        save_arrays(file, {}, {"names": names, "rows": rows})
        self._open(file)

    def _look(self) -> None:
        """Opens the files that others have added, except those that they have merged into another one meanwhile."""
        gone = True
        while gone:
            gone = False
            for file in sorted(self._folder.glob(f"*{SUFFIX}")):
                if file.name not in self._seen:
                    gone = (not self._open(file) and not file.exists()) or gone

    def _open(self, file: Path) -> bool:
        arrays = self._arrays(file)
        if arrays is None:
            return False
        self._seen.add(file.name)
        raw = arrays[0].tobytes()
        for place, row in enumerate(arrays[1]):
            self._rows[raw[place * NAME_BYTES : (place + 1) * NAME_BYTES]] = row
        return True

    def _arrays(self, file: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the names and the rows of a file; None if it is damaged, or merged by another process."""
        try:
            arrays = open_arrays(file)[1]
            return arrays["names"], arrays["rows"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:  # its frames are computed again, and added to a new file
            if file.name not in self._seen:
                _log.warning("%s; its features are computed again, so the file can be deleted", error)
            self._seen.add(file.name)
            return None

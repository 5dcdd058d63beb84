"""Keeps features of single frames by name: a folder of small files that are added, and never changed.

Each file is whole or absent and has a checksum, so several runs may share a folder, and a kill costs at most the batch
at hand.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import ConfigError
from utils.flat_file import open_arrays, save_arrays

SUFFIX = ".features"
NAME_BYTES = 20  # of the hash that names a frame's features

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
        file = self._folder / f"{uuid.uuid4().hex}{SUFFIX}"
        save_arrays(file, {}, {"names": np.frombuffer(b"".join(names), f"S{NAME_BYTES}"), "rows": rows})
        self._open(file)

    def _look(self) -> None:
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            if file.name not in self._seen:
                self._open(file)

    def _open(self, file: Path) -> None:
        self._seen.add(file.name)
        try:
            arrays = open_arrays(file)[1]
            names, rows = arrays["names"], arrays["rows"]
        except (OSError, ValueError, KeyError) as error:  # its frames are computed again, and added to a new file
            _log.warning("%s; its features are computed again, so the file can be deleted", error)
            return
        raw = names.tobytes()
        for place, row in enumerate(rows):
            self._rows[raw[place * NAME_BYTES : (place + 1) * NAME_BYTES]] = row

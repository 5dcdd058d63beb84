"""Reads environment variables about remote files: such settings belong to a machine, not to an experiment.

DATA_CACHE: folder of the cache; by default `blocks` in the user's cache folder of this project.
DATA_CACHE_GB: how large the cache may become, 20 by default.
DATA_TIMEOUT: seconds that a read may take, with all that is tried again, 60 by default.
"""

from __future__ import annotations

import os
from pathlib import Path

from datasets.places.place import default_cache_folder
from utils.errors import ConfigError
from utils.system import above_zero

_DEFAULTS = {"DATA_CACHE_GB": 20.0, "DATA_TIMEOUT": 60.0}


def number_from(name: str) -> float:
    """Returns the number above 0 that a variable gives, or its default. Raises: ConfigError for anything else."""
    text = os.environ.get(name, "")
    if not text:
        return _DEFAULTS[name]
    number = above_zero(text)
    if number is None:
        raise ConfigError(f"{name}={text}: give a number above 0")
    return number


def block_folder() -> Path:
    """Returns the folder of the cache of blocks."""
    return Path(os.environ.get("DATA_CACHE") or default_cache_folder() / "blocks")

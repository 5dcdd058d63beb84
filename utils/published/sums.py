"""Finds the SHA-256 that a file of weights should have: in its name, or beside it as sha256sum writes it.

Formats do not suffice: safetensors and pickles have no checksum at all, and zip files have those of whoever wrote them.
"""

from __future__ import annotations

import re
from pathlib import Path

from utils.errors import CheckpointError
from utils.files import atomic_write

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.\w+$")  # resnet50-0676ba61.pth
BLOB = re.compile(r"([0-9a-f]{64})")  # the SHA-256 by which huggingface_hub names what its links lead to
MOST = 1 << 20  # characters, for thousands of files: whatever else lies there is not read
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # of sha256sum


def digits_in_name(name: str) -> str:
    """Returns the first digits of a published file's SHA-256, which its name ends with; "" if it does not."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else ""


def known_sum(path: Path) -> tuple[str, str]:
    """Returns the first digits of the SHA-256 that a file should have, and where they stand; "" twice if nowhere.

    Raises: CheckpointError for a file beside it that cannot be read.
    """
    blob = BLOB.fullmatch(path.resolve().name)
    if digits := digits_in_name(path.name) or (blob[1] if blob else ""):
        return digits, "its name"
    beside = _beside(path)
    text = ""
    try:
        if beside.is_file():
            with beside.open(encoding="utf-8") as file:
                text = file.read(MOST)
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{beside}: cannot be read: {error}") from None
    for line in text.splitlines():
        if (match := LINE.fullmatch(line)) and Path(match[2]).name == path.name:
            return match[1].lower(), beside.name
    return "", ""


def keep_sum(path: Path, digits: str) -> None:
    """Writes the SHA-256 of a file beside it, for `known_sum` and `sha256sum --check`."""
    with atomic_write(_beside(path), "w") as file:
        file.write(f"{digits}  {path.name}\n")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")

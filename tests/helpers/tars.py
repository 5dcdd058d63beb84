"""Writes tars of samples as WebDataset does: one file after the other, the members of a sample side by side."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

Sample = Mapping[str, bytes]  # by suffix: {"mp4": ..., "cls": b"3"}


def write_tar(path: Path, samples: Mapping[str, Sample] | Iterable[tuple[str, bytes]]) -> Path:
    """Writes samples by their name, or members one by one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = samples
    if isinstance(samples, Mapping):
        members = [(f"{name}.{kind}", data) for name, sample in samples.items() for kind, data in sample.items()]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path

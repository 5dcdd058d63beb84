"""Tests what benchmarks/stores.py says about stores; that it makes and reads all of them is shown on a short video."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import stores as bench
from tests.helpers.dumping import run_here
from tests.helpers.numbered import write_numbers


class Listed:
    """Has a length, as a dataset."""

    def __len__(self) -> int:
        return 1


def store(folder: Path, *, milliseconds: float, size: int, scan: float = 0.0) -> bench.Store:
    folder.mkdir()
    (folder / "a.mp4").write_bytes(bytes(size))
    (folder / "list.csv").write_bytes(b"not counted")
    made: Any = Listed()
    cpu = [milliseconds * bench.BATCH / 1000] * 3
    return bench.Store(folder, made, scan, lambda video, frame: np.zeros((256, 340, 3), np.uint8), cpu)


def test_large_data_sets_cost_what_seconds_and_clips_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("| TSM R50 8x224 | train | 500.0 | 14.4 |\n| TSM R50 8x224 | eval | 1693.4 |\n")
    monkeypatch.setattr(bench, "PAGE", page)
    found = {
        bench.PUBLISHED: store(tmp_path / "videos", milliseconds=80, size=500_000, scan=0.036),
        next(iter(bench.PACKED)): store(tmp_path / "h264", milliseconds=20, size=1_000_000),
    }
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in bench.on_paper(found, 10.0).splitlines()]
    (published,) = [row for row in rows if row and row[0] == "Kinetics-700, videos as published"]
    assert published[1:] == ["325 GB", "6.5", "650,317", "", "40.0"]  # 0.5 MB each, 36 ms each, 500 x 80 ms
    (packed,) = [row for row in rows if row and row[0].startswith("Kinetics-700, h264")]
    assert packed[1:] == ["650 GB", "", "650,317", "77,524", "10.0"]
    text = bench.report(found, dict.fromkeys(found, (1.5, 40.0)), 10.0, 0)
    (line,) = [line for line in text.splitlines() if line.startswith("| h264")]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["100", "1", "400", "4.00", "1.50", "40.0", ""]


@pytest.mark.whole
def test_every_store_is_made_and_compared_with_the_published_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run", "trade", "pack_videos"):
        monkeypatch.setattr(f"tools.dumping.{name}.run_jobs", run_here)
    monkeypatch.setattr(bench, "PIECE", 40)
    source = write_numbers(tmp_path / "source.mp4", "libx264", g="12")
    assert bench.write_published(tmp_path / "videos", [source, source], 3) == pytest.approx(3.2)
    found = bench.make_stores(tmp_path, dict(list(bench.PACKED.items())[:1]))
    bench.race(found, rounds=1)
    assert all(one.milliseconds > 0 and one.bytes for one in found.values())
    assert found[bench.PUBLISHED].scan > 0 and len(found[bench.FRAMES].files) == 80
    near = {name: bench.compare(one, tmp_path / "videos") for name, one in found.items()}
    assert near[bench.PUBLISHED] == (0, math.inf) and near[bench.FRAMES] == near[bench.PACK]
    assert all(0 < wrong < 3 and noise > 30 for name, (wrong, noise) in near.items() if name != bench.PUBLISHED)
    moved = found[bench.FRAMES].picture
    found[bench.FRAMES].picture = lambda video, frame: moved(video, max(frame - 1, 0))
    assert bench.compare(found[bench.FRAMES], tmp_path / "videos")[0] > 10, "another frame is noticed"

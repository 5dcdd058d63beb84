from __future__ import annotations

import pytest

from benchmarks import recompute


@pytest.mark.long
def test_a_row_has_the_memory_and_the_time_of_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    work = recompute.Work("small", "videomae_s", (8, 64, 64), 16, {"depth": 6})
    name, clips, kept, less, share, longer = recompute.row(work)
    assert (name, clips) == ("small", "16 x 8 x 64 x 64")
    assert 0 < int(less) < int(kept) and float(share) == pytest.approx(int(less) / int(kept), abs=0.01)
    assert float(longer) > 0

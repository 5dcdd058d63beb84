from __future__ import annotations

import pytest

from benchmarks import features


@pytest.mark.slow
def test_probes_of_frames_and_of_clips_are_timed_without_a_cache_with_an_empty_one_and_with_a_full_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert features.main(["--quick"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 6
    assert all(float(cell) > 0 for row in rows for cell in row.strip("| ").split("|")[2:])

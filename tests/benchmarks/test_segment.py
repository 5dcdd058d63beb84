from __future__ import annotations

import pytest

from benchmarks import segment
from tests.helpers.requirements import needs_program


@pytest.mark.slow
@needs_program("ffmpeg", install="apt-get install ffmpeg")
def test_memory_of_two_lengths_and_shares_of_the_time_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert segment.main(["--quick"]) == 0
    rows = [line.strip("| ").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    memory, speed = rows[1:3], rows[4:]
    assert all(0 < float(row[1]) <= float(row[2]) + 20 for row in memory)
    assert len(speed) == 2 * len(segment.WINDOWS)
    assert all(sum(float(cell.replace("%", "")) for cell in row[-3:]) == pytest.approx(100, abs=2) for row in speed)

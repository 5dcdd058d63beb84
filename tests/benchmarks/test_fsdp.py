from __future__ import annotations

import pytest

from benchmarks import fsdp
from tests.helpers.requirements import needs_shards


@pytest.mark.long
@pytest.mark.gloo
def test_two_processes_hold_half_of_it_each_and_both_engines_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    needs_shards()
    assert fsdp.main(["--quick", "--rounds", "1", "--processes", "2"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 ")]
    _, whole, half, *times = map(float, line.strip("|").split("|"))
    assert half == pytest.approx(whole / 2, abs=1) and all(value > 0 for value in times)

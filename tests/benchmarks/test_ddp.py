from __future__ import annotations

import pytest

from benchmarks import ddp
from utils.files import ROOT


def test_the_page_has_the_costs_that_the_command_prints() -> None:
    assert ddp.on_paper() in (ROOT / "docs" / "distributed.md").read_text()


@pytest.mark.long
@pytest.mark.gloo
def test_trainer_and_bare_loop_are_both_timed_in_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert ddp.main(["--quick", "--processes", "2"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 ")]
    assert all(float(cell) > 0 for cell in line.strip("|").split("|"))

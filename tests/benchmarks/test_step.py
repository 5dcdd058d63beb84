from __future__ import annotations

import pytest
import torch

from benchmarks import step
from benchmarks.step import as_published
from methods.tsm import TSM
from networks.temporal import TEMPORAL_MODULES
from utils.errors import UserError
from utils.run.flops import multiply_adds


def test_the_published_shift_that_ours_is_timed_against_computes_the_same() -> None:
    torch.manual_seed(0)
    model = TSM(backbone="resnet18", num_class=3, num_segments=4).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        ours = model(clips)
        torch.testing.assert_close(as_published(model)(clips), ours, rtol=1e-5, atol=1e-6)


@pytest.mark.whole
def test_a_modules_row_compares_its_time_with_its_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MODULES_BACKBONE", "resnet18")
    monkeypatch.setattr(step, "timed", lambda one, device, clock: 3.0 if "temporal" in str(one.model) else 2.0)
    row = step.measure_module("mvf", torch.device("cpu"), quick=True, train=False, rounds=3)
    assert row == ["mvf", "eval", "0.3", "1.50", "1.00", "1.50"] and len(row) == len(step.MODULES_HEAD)


def test_every_temporal_module_has_a_row() -> None:
    assert [*step.MODULES] == [*TEMPORAL_MODULES, "trn", "trn_multiscale", "tpn"]


@pytest.mark.whole
# one on each image network that is not the rule, and one for each place of a module
@pytest.mark.parametrize("name", ["tam", "tea", "st_adapter", "aim", "trn", "tpn"])
def test_the_network_of_a_row_takes_the_clips_that_it_is_timed_with(name: str) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = step.with_module(name, step.MODULES[name])
        bare = step.with_module(name, {})
        assert len({multiply_adds(one, (1, 3, 8, 112, 112)) for one in (network, bare)}) == 2


def test_a_part_of_a_table_is_never_written() -> None:
    with pytest.raises(UserError, match="--write with --only"):
        step.main(["--only", "tam", "--write"])


def test_of_one_table_alone_only_its_section_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(step, "measure_module", lambda name, *_, **__: [name] * len(step.MODULES_HEAD))
    monkeypatch.setattr(step, "write_section", lambda title, command, text: written.append((title, command)))
    assert step.main(["--device", "cpu", "--table", "modules", "--write"]) == 0
    assert written == [("Temporal modules on a CPU", "python -m benchmarks.step --table modules")]

"""The cost card: published figures hold, the document is the tool's output, and either parting is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from methods import METHODS
from networks import CLIP_NETWORKS, IMAGE_BACKBONES
from networks.clip.slowfast import BACKBONES
from tools import cost
from tools.exporting.cost import COLUMNS, DOCUMENT, count
from tools.exporting.cost_rows import ROWS, Row, all_rows
from utils.errors import UserError

FAST_ROW = next(row for row in ROWS if row.backbone == "mobilenetv2")


def _few_rows(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    monkeypatch.setattr("tools.exporting.cost.all_rows", lambda: iter(rows))


@pytest.mark.long
def test_every_published_figure_and_the_document_are_what_the_code_counts() -> None:
    assert cost.main(["--check"]) == 0


@pytest.mark.whole
def test_every_tenth_figure_and_all_names_of_the_document_are_what_the_code_counts() -> None:
    document = [[cell.strip() for cell in line.split("|")[1:-1]] for line in DOCUMENT.read_text().splitlines()]
    rows = list(all_rows())
    assert [cells[0] for cells in document if len(cells) == len(COLUMNS)][2:] == [row.model for row in rows]
    for row in rows[::10]:
        counted = count(row)
        assert not counted.mistakes() and counted.cells() in document


def test_every_registered_network_and_method_has_a_row() -> None:
    rows = {(row.method, row.backbone) for row in all_rows()}
    assert {("clip3d", name) for name in CLIP_NETWORKS} <= rows
    assert {("slowfast", name) for name in BACKBONES} <= rows
    assert {name for name in IMAGE_BACKBONES if name != "mobilenet_v2"} <= {name for _, name in rows}
    assert {"tsn", "tsm", "slowfast", "clip3d"} == {method for method, _ in rows} <= set(METHODS)


@pytest.mark.parametrize("wrong", [{"params": 2_418_585}, {"gmacs": "0.898"}])
def test_a_wrong_figure_fails_the_check_and_is_never_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: dict
) -> None:
    monkeypatch.setattr("tools.exporting.cost.DOCUMENT", tmp_path / "models.md")
    _few_rows(monkeypatch, replace(FAST_ROW, **wrong))
    assert cost.main(["--write"]) == 1
    assert not (tmp_path / "models.md").exists()
    assert "tsn mobilenetv2 (3, 224, 224): " in capsys.readouterr().err


@pytest.mark.whole
def test_an_edited_or_absent_document_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = tmp_path / "models.md"
    monkeypatch.setattr("tools.exporting.cost.DOCUMENT", document)
    _few_rows(monkeypatch, FAST_ROW)
    assert cost.main(["--check"]) == 1
    assert cost.main(["--write"]) == 0
    assert cost.main(["--check"]) == 0
    document.write_text(document.read_text().replace("2,418,584", "2,418,585"))
    assert cost.main(["--check"]) == 1


def test_rows_can_be_chosen_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _few_rows(monkeypatch, FAST_ROW, Row("clip3d", "r3d_18", (16, 112, 112)))
    assert cost.main(["mobilenet"]) == 0
    output = capsys.readouterr().out
    assert "tsn mobilenetv2" in output and "2,418,584 =" in output and "0.899 =" in output and "r3d_18" not in output
    with pytest.raises(UserError, match="no model is called resnet200"):
        cost.main(["resnet200"])

"""Every registered model is exported by the command that writes the table; all of them in `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from networks import CLIP_NETWORKS
from tests.tools.exporting.test_export import needs_onnx, old_torch
from tools import export_table
from tools.exporting import TOLERANCE
from tools.exporting import export_table as table
from tools.exporting.cost_rows import all_rows
from utils.errors import UserError

pytestmark = [*needs_onnx, old_torch]


def test_every_model_of_the_cost_card_comes_once_at_its_shortest_clip() -> None:
    found = {model.name: model for model in table.models()}
    assert len(found) == len(list(table.models())) and found.keys() == {row.model for row in all_rows()}
    assert {f"clip3d {name}" for name in CLIP_NETWORKS} <= found.keys()
    assert found["tsn resnet50"].size[0] == 1  # it has rows of 1, 3, 5, 8 and 25 frames


def test_the_committed_page_has_a_row_for_every_model_and_all_agree() -> None:
    lines = table.PAGE.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    names = [model.name for model in table.models()]
    assert [row[0] for row in rows] == names, "python -m tools.export_table NAME --write makes the row of a new model"
    assert table.PAGE.read_text() == table.page(rows)
    assert all(float(cell) <= TOLERANCE for row in rows for cell in row[3:5])


@pytest.mark.long
def test_a_model_gives_a_row_and_nothing_is_written_without_being_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tools.exporting.export_table.PAGE", tmp_path / "page.md")
    assert export_table.main(["tsn mobilenetv2"]) == 0
    name, clip, size, *differences, versions = capsys.readouterr().out.strip().split("  ")
    assert (name, clip) == ("tsn mobilenetv2", "3 x 64 x 64") and 5 < float(size) < 20
    assert all(0 <= float(value) <= 1e-4 for value in differences)
    assert not (tmp_path / "page.md").exists()
    assert f"| {name} | {clip} | {size} |" in table.page([[name, clip, size, *differences, versions]])


def test_after_a_model_that_does_not_export_the_others_are_tried_and_no_page_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compare(model: table.Model, folder: Path) -> list[str]:
        if model.name == "tsm resnet50":
            raise UserError("differs by 0.5")
        return [model.name]

    monkeypatch.setattr("tools.exporting.export_table.PAGE", tmp_path / "page.md")
    monkeypatch.setattr("tools.exporting.export_table.compare", compare)
    assert export_table.main(["--write"]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(list(table.models())) and "tsm resnet50: differs by 0.5" in printed.out
    assert printed.err == f"1 of {len(list(table.models()))} do not export: tsm resnet50\n"
    assert not (tmp_path / "page.md").exists()


def test_single_models_replace_their_rows_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [model.name for model in table.models()]
    whole = [[name, "1 x 2 x 3", "4.0", "5e-06", "0e+00", "1.0, 2.0, 3.0"] for name in names]
    monkeypatch.setattr("tools.exporting.export_table.PAGE", tmp_path / "page.md")
    monkeypatch.setattr(
        "tools.exporting.export_table.compare", lambda model, _: [model.name, "new", *whole[0][2:5], "4.0, 5.0, 6.0"]
    )
    table.PAGE.write_text(table.page(whole[1:]))  # as if the first model were new
    with pytest.raises(UserError, match=f"no row of {names[0]}"):
        export_table.main([names[1], "--write"])
    assert export_table.main([names[0], "--write"]) == 0
    assert table.PAGE.read_text() == table.page([[names[0], "new", *whole[0][2:5], "4.0, 5.0, 6.0"], *whole[1:]])


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match="no model is called resnet9000"):
        export_table.main(["resnet9000"])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # mvit_v2_s takes five minutes, most others half a minute
@pytest.mark.parametrize("model", list(table.models()), ids=lambda model: model.name)
def test_every_registered_model_exports_and_agrees_with_pytorch(model: table.Model, tmp_path: Path) -> None:
    assert table.compare(model, tmp_path)[0] == model.name

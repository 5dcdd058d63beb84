"""The matrix of temporal modules and image networks: what a proof notices, what is kept, and what the page says."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.build import build_method
from networks.image.backbones import IMAGE_BACKBONES
from networks.temporal import TEMPORAL_MODULES
from tests.helpers.requirements import ROOT, needs_package
from tools import matrix
from tools.exporting.export import exports_onnx
from tools.proving import LIKE, page, training
from tools.proving import cells as proofs
from tools.proving import matrix as command
from tools.proving import sources as source_files
from tools.proving.cells import MODULES, Cell, Facts, prove
from tools.proving.sources import digest, sources
from tools.proving.table import BACKBONES, cells
from utils.config.file import load_config
from utils.errors import UserError

GOOD = Facts(order=0.5, params=1000, gmacs=1.5, differences={".onnx": 1e-6, ".pt2": 0.0}, stream=1e-15)
BLIND = replace(GOOD, order=1e-15, stream=None, no_stream="no one-directional shift")
NONE = Facts(refused="temporal.name: no place")


def known(cell: Cell) -> Facts:
    return BLIND if cell.module == "tsn" else NONE if "vit" in cell.backbone.name else GOOD


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A matrix whose proofs cost nothing; the cells that were proved."""
    found: list[str] = []

    def prove(cell: Cell) -> Facts:
        found.append(cell.name)
        return known(cell)

    monkeypatch.setattr(command, "prove", prove)
    monkeypatch.setattr(command, "PACKAGES", ())
    monkeypatch.setattr(page, "PAGE", tmp_path / "matrix.md")
    return found


def run(tmp_path: Path, *arguments: str) -> int:
    return matrix.main([*arguments, "--kept", str(tmp_path / "cells.jsonl"), "--runs", str(tmp_path / "runs")])


def test_it_has_all_modules_of_the_table_but_adapters_and_a_dozen_image_networks() -> None:
    adapters = {"st_adapter", "aim"}
    assert {*MODULES} == {"tsn", *TEMPORAL_MODULES, "trn"} - adapters and len(BACKBONES) >= 12
    assert len(list(cells([]))) == len(MODULES) * len(BACKBONES)
    assert [cell.name for cell in cells(["tam", "tsm", "resnet18"])] == ["tsm resnet18", "tam resnet18"]
    with pytest.raises(UserError, match="resnet19: is in neither direction of the matrix; names: tsn, tsm"):
        list(cells(["resnet19"]))


def test_the_page_has_a_row_for_every_cell() -> None:
    names = {cell.name for cell in cells([])}
    assert set(page._stated()) == names, "python -m tools.matrix --write"


@pytest.mark.long
@needs_package("timm")
@needs_package("onnxruntime")
@pytest.mark.skipif(not exports_onnx(), reason="this torch is too old to export to ONNX")
def test_a_cell_is_what_the_page_says() -> None:
    (cell,) = cells(["tsm", "timm/vit_tiny_patch16_224"])
    facts = prove(cell)
    assert facts.mistakes(cell.module) == [] and page.differences([cell], {cell.name: facts}) == []


@pytest.mark.parametrize(
    ("module", "changed", "mistake"),
    [
        ("tsn", {"order": 1e-3}, r"sees the order of frames \(1e-03\), though it averages them"),
        ("tam", {"order": 1e-15}, r"is blind to the order of frames \(1e-15\)"),
        ("tam", {"order": 1e-7}, "is blind to the order of frames"),
        ("tam", {"unreached": ["head.bias"]}, "no gradient reaches head.bias"),
        ("tam", {"differences": {".onnx": "not written, it differs"}}, ".onnx: not written"),
        ("tam", {"stream": 1e-4}, "its stream is another network: 1e-04"),
    ],
)
def test_what_is_not_as_it_should_be_is_a_mistake(module: str, changed: dict[str, Any], mistake: str) -> None:
    assert replace(BLIND if module == "tsn" else GOOD).mistakes(module) == []
    (found,) = replace(BLIND if module == "tsn" else GOOD, **changed).mistakes(module)
    assert re.match(mistake, found)


def test_a_proof_notices_a_parameter_that_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cells(["tsn", "resnet18"])
    build = proofs.Cell.build

    def with_more(self: proofs.Cell, **more: Any) -> torch.nn.Module:
        method = build(self, **more)
        method.extra = torch.nn.Parameter(torch.ones(1))
        return method

    monkeypatch.setattr(proofs.Cell, "build", with_more)
    assert proofs._unreached(cell.build(), cell) == ["extra"]


@pytest.mark.parametrize(
    ("draws", "found"), [([["a"], ["a", "b"], []], []), ([["a", "b"], ["b"], ["b"], ["b"]], ["b"])]
)
def test_a_parameter_that_one_draw_of_weights_leaves_out_is_reached_by_another(
    draws: list[list[str]], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(draws)
    monkeypatch.setattr(proofs, "_without_gradient", lambda method, cell: next(left))
    monkeypatch.setattr(proofs.Cell, "build", lambda self, **more: None)
    (cell,) = cells(["tsn", "resnet18"])
    assert proofs._unreached(cell.build(), cell) == found
    assert not list(left)


def test_a_module_without_a_place_gives_the_frameworks_reason() -> None:
    (cell,) = cells(["gsf", "timm/convnext_atto"])
    pytest.importorskip("timm")
    assert prove(cell).refused.startswith("temporal.name: this module sits between a convolution and its norm")


def test_an_interrupted_run_goes_on_and_changed_code_begins_again(
    proved: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "tam", "tsm", "resnet18") == 0 and len(proved) == 2
    with (tmp_path / "cells.jsonl").open("a") as file:
        file.write('{"cell": "gsm resn')  # as a run that was killed leaves it
    assert run(tmp_path, "tam", "gsf", "resnet18") == 0
    assert proved == ["tsm resnet18", "tam resnet18", "gsf resnet18"]
    assert capsys.readouterr().out.splitlines()[-1] == "2/2  gsf resnet18: sees  all  1,000  1.500  1e-06  0e+00  yes"
    monkeypatch.setattr(command, "digest", lambda cell: "other")
    assert run(tmp_path, "tam", "resnet18") == 0 and proved[3:] == ["tam resnet18"]


@pytest.mark.whole
@pytest.mark.parametrize("names", [["gsm", "mobilenetv2"], ["tdn", "resnet18"]])
def test_a_cell_depends_on_the_code_that_its_network_is_made_of(names: list[str]) -> None:
    (cell,) = cells(names)
    kinds = {kind.__module__ for part in cell.build().modules() for kind in type(part).mro()}
    made_of = {f"{name.replace('.', '/')}.py" for name in kinds if name.split(".")[0] in ("methods", "networks")}
    assert TEMPORAL_MODULES[names[0]].__module__.replace(".", "/") + ".py" in made_of and made_of <= sources(cell)
    backbone = inspect.getsourcefile(inspect.unwrap(IMAGE_BACKBONES[names[1]]))
    also = {Path(backbone or "").relative_to(ROOT).as_posix(), "networks/temporal/insert.py", "utils/run/flops.py"}
    assert also <= sources(cell)


def test_the_code_of_tdn_and_of_the_neck_counts_where_it_runs() -> None:
    tdn, tam = next(cells(["tdn", "resnet18"])), next(cells(["tam", "resnet18"]))
    assert "networks/temporal/tdn.py" in sources(tdn) - sources(tam)
    assert "networks/temporal/tpn.py" not in sources(tdn) | sources(tam)


def test_a_change_leaves_the_cells_that_do_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gsf, tam, other = (next(cells(names)) for names in (["gsf", "resnet18"], ["tam", "resnet18"], ["gsf", "resnet50"]))
    before = [digest(cell) for cell in (gsf, tam, other)]
    code = source_files._code
    monkeypatch.setattr(source_files, "_code", lambda path: code(path) + ("+" if path.stem == "gate_shift" else ""))
    after = [digest(cell) for cell in (gsf, tam, other)]
    assert [new == old for new, old in zip(after, before, strict=True)] == [False, True, False]


def test_comments_and_docstrings_change_nothing(tmp_path: Path) -> None:
    file, same, other = (tmp_path / name for name in ("file.py", "same.py", "other.py"))
    file.write_text('"""A module."""\n\ndef double(x):\n    """Doubles."""\n    return 2 * x\n')
    same.write_text('"""Another text."""\ndef double(x):  # twice\n    return (2 *\n            x)\n')
    other.write_text("def double(x):\n    return 3 * x\n")
    assert source_files._code(file) == source_files._code(same) != source_files._code(other)


@pytest.mark.whole
def test_the_page_is_what_is_proved_and_a_difference_is_noticed(
    proved: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--check", "tam", "resnet18") == 1
    assert "has no row of tam resnet18" in capsys.readouterr().err
    assert run(tmp_path, "tam", "resnet18", "--write") == 0
    assert f"{len(list(cells([]))) - 1} cells are not proved yet" in capsys.readouterr().out
    assert "A question mark: the cell is not proved yet" in page.PAGE.read_text()
    assert run(tmp_path, "--check", "tam", "resnet18") == 0 and run(tmp_path, "--check", "tsm", "resnet18") == 1
    assert "tsm resnet18 has ? | ?" in capsys.readouterr().err
    assert run(tmp_path, "--write") == 0 and run(tmp_path, "--check") == 0
    assert "question mark" not in page.PAGE.read_text()
    text = page.PAGE.read_text()
    assert "| tam | sees | all | 1,000 | 1.500 | 1e-06 | 0e+00 | yes |" in text
    assert "* `tsn`: no stream: it has no one-directional shift" in text
    assert "`trn`: not built. temporal.name: no place" in text
    page.PAGE.write_text(
        text.replace("| tam | sees | all | 1,000 | 1.500 | 1e-06", "| tam | sees | all | 999 | 1.500 | 2e-06", 1)
    )
    capsys.readouterr()
    assert run(tmp_path, "--check", "tam", "resnet18") == 1
    assert "tam resnet18 has sees | all | 999" in capsys.readouterr().err
    page.PAGE.write_text(text.replace("1e-06", "2e-06"))
    assert run(tmp_path, "--check") == 0  # the rounding of another machine


def test_a_failed_proof_is_told_and_never_written(
    proved: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "prove", lambda cell: replace(GOOD, unreached=["w"]))
    assert run(tmp_path, "tam", "resnet18", "--write") == 1
    assert "error: tam resnet18: no gradient reaches w" in capsys.readouterr().err and not page.PAGE.exists()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lists = tmp_path / "small" / "lists"
    lists.mkdir(parents=True)
    for name in ("train.txt", "val.txt"):
        (lists / name).write_text("v 9 0\n")
    return lists / "train.txt"


def finish(folder: Path, top1: float) -> None:
    """What a run that has come to its end leaves."""
    records = [{"kind": "train", "step": 200, "time": 0.1}, {"kind": "val", "step": 200, "acc1": top1}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.whole
def test_training_runs_what_is_not_done_and_the_page_gets_the_accuracies(
    proved: list[str],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[list[str]] = []

    class Done:
        returncode = 0

    def start(command: list[str], check: bool) -> Done:
        ran.append(command)
        folder = Path(command[-3]).parent
        found = build_method(load_config(folder / "config.yaml").common.model)
        assert found.name in ("tsn_resnet18", "tsn_gsf_resnet18", "tsn_timm/convnext_atto")
        finish(folder, 12.5 * len(ran))
        return Done()

    monkeypatch.setattr(training.subprocess, "run", start)
    assert run(tmp_path, "tsn", "gsf", "resnet18", "timm/convnext_atto", "--train", str(source)) == 0
    folder = tmp_path / "runs" / "small" / "gsf_resnet18"
    assert ran[1] == [str(folder / "train.sh"), "local", "0"] and len(ran) == 3
    assert "gsf timm/convnext_atto: not trained: temporal.name: this module sits" in capsys.readouterr().out
    assert run(tmp_path, "gsf", "resnet18", "--train", str(source)) == 0
    assert "gsf resnet18: done, 25.00 %" in capsys.readouterr().out and len(ran) == 3
    (folder / "metrics.jsonl").unlink()
    assert run(tmp_path, "gsf", "resnet18", "--train", str(source), "--partition", "gpu", "--gpus", "2") == 0
    assert ran[3] == ["sbatch", str(folder / "train.sh"), "gpu", "2"]
    assert run(tmp_path, "--write") == 0
    assert "## Accuracy on small" in page.PAGE.read_text() and page._old_accuracies()["small"]["gsf resnet18"] == "50.0"
    for file in folder.iterdir():
        file.unlink()
    assert run(tmp_path, "--write") == 0  # what other machines have trained stays on the page
    assert page._old_accuracies()["small"]["gsf resnet18"] == "50.0"


def test_mistakes_of_a_training_are_one_line(proved: list[str], source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: no such list; a list to train on has val\.txt beside it"):
        run(tmp_path, "tsn", "resnet18", "--train", str(source.with_name("none.txt")))
    wide = LIKE.read_text()
    (tmp_path / "wide.yaml").write_text(wide.replace("input_size: 64", "input_size: [64, 96]"))
    with pytest.raises(UserError, match=r"wide\.yaml: augmentation\.input_size is \[height, width\]"):
        run(tmp_path, "tsn", "resnet18", "--train", str(source), "--like", str(tmp_path / "wide.yaml"))
    folder = tmp_path / "runs" / "small" / "tsn_resnet18"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("other")
    with pytest.raises(UserError, match="belongs to another training; remove"):
        run(tmp_path, "tsn", "resnet18", "--train", str(source))

"""The four "add one" examples of CONTRIBUTING.md, run as they stand: one file, one line in a table, a training."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

import datasets
import methods
import networks
from methods.tsn import TSN
from tests.helpers.experiment import make_experiment, run
from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import run_tool
from tests.methods.test_contract import _backward_reaches_everything, _build
from tests.tools.exporting.test_export import with_onnx
from tools.documenting import config_reference
from tools.exporting import cost, cost_rows, export_table

BLOCKS = {
    match[1]: match[2]
    for match in re.finditer(r"```python\n# (\S+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
}
MODEL = {"type": "tsn", "backbone": "plain", "num_segments": 2, "num_class": 2, "kwargs": {"width": 4}}


def defined(file: str, name: str) -> Any:
    namespace: dict[str, Any] = {"__name__": f"example_{name}"}
    exec(compile(BLOCKS[file], file, "exec"), namespace)
    return namespace[name]


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.IMAGE_BACKBONES, "plain", defined("networks/plain.py", "plain"))  # type: ignore[arg-type]


def test_the_page_has_all_four() -> None:
    assert set(BLOCKS) == {
        "methods/max_tsn.py", "networks/plain.py", "datasets/first_clip.py", "datasets/zip_store.py",
    }  # fmt: skip


def test_the_backbone_trains(tmp_path: Path) -> None:
    assert run(make_experiment(tmp_path, model=MODEL), "common.lr_scheduler.max_iter=2") == 0


def test_the_method_passes_the_contract_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "max_tsn", defined("methods/max_tsn.py", "MaxTSN"))  # type: ignore[arg-type]
    _backward_reaches_everything(*_build("max_tsn"))
    config = make_experiment(tmp_path, model=MODEL | {"type": "max_tsn"})
    assert run(config, "common.lr_scheduler.max_iter=2") == 0


def test_the_dataset_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class First(TSN):
        def __init__(self, *, backbone: str, num_class: int, dropout: float, kwargs: dict[str, Any]) -> None:
            super().__init__(backbone=backbone, num_class=num_class, dropout=dropout, kwargs=kwargs)
            self.clip = dataclasses.replace(self.clip, dataset="first")

    monkeypatch.setitem(datasets.DATASETS, "first", defined("datasets/first_clip.py", "FirstClip"))
    monkeypatch.setitem(methods.METHODS, "first", First)  # type: ignore[arg-type]
    model = {key: value for key, value in MODEL.items() if key != "num_segments"} | {"type": "first"}
    assert run(make_experiment(tmp_path, model=model), "common.lr_scheduler.max_iter=2") == 0


def test_the_store_trains_without_a_single_frame_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.STORES, "zip", defined("datasets/zip_store.py", "ZipStore"))
    config = make_experiment(tmp_path, model=MODEL)
    for folder in sorted((tmp_path / "frames").glob("*/*")):
        with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
            for frame in sorted(folder.iterdir()):
                archive.write(frame, frame.name)
                frame.unlink()
    named = ['common.data.frame_template="img_{:05d}.jpg"', "common.data.first_frame=1"]
    assert run(config, "common.data.store={type: zip}", *named, "common.lr_scheduler.max_iter=2") == 0


@pytest.mark.long
@with_onnx
def test_the_commands_that_are_named_renew_the_pages_that_list_a_method_and_a_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(methods.METHODS, "max_tsn", defined("methods/max_tsn.py", "MaxTSN"))  # type: ignore[arg-type]
    # counting and exporting all other networks takes minutes
    monkeypatch.setattr(cost_rows, "ROWS", [row for row in cost_rows.ROWS if row.backbone == "mobilenetv2"])
    rows = [row for row in cost_rows.all_rows() if row.backbone in ("plain", "mobilenetv2")]
    for module in ("cost", "export_table"):
        monkeypatch.setattr(f"tools.exporting.{module}.all_rows", lambda: iter(rows))
    pages = {config_reference: "PAGE", cost: "DOCUMENT", export_table: "PAGE"}
    for module, name in pages.items():
        page = Path(getattr(module, name))
        (tmp_path / page.name).write_text(page.read_text())
        monkeypatch.setattr(module, name, tmp_path / page.name)
    commands = re.findall(r"^python -m tools\.(\w+)( [^#\n]*)?", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(commands) == 3
    for tool, arguments in commands:
        run_tool(tool, *arguments.split())
    run_tool("config_reference", "--check")
    run_tool("cost", "--check")
    assert "max_tsn" in (tmp_path / "config.md").read_text()
    assert "tsn plain" in (tmp_path / "models.md").read_text()
    assert "\n| tsn plain | " in (tmp_path / "export_models.md").read_text()

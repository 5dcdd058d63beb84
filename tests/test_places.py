"""Folders and files that the code finds by its own place are where it looks: moving a module must not lose them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.helpers.requirements
import tools.check_docs
import tools.demo
import tools.documenting.blocks
import tools.importing.experiment
import tools.list_recipes
import utils.files
import utils.published.files
from anal_tools import page as html_page
from anal_tools import report_html, segment_page, video_page
from tools import docs_pictures
from tools.documenting import config_reference
from tools.exporting import cost, export_table
from tools.proving import page
from tools.serving import server

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "pretrained": utils.published.files.PRETRAINED,
    "exps": tools.list_recipes.EXPS,
    "exps/template/tsm_resnet50": tools.importing.experiment.SCRIPTS,
    "anal_tools/report_page": html_page.PARTS,
    "tools/serving/page": server.PAGE,
    "docs/images": docs_pictures.IMAGES,
    "tests/docs/setups": ROOT / tools.documenting.blocks.SETUPS,
}
FILES = {
    "docs/config.md": config_reference.PAGE,
    "docs/models.md": cost.DOCUMENT,
    "docs/export_models.md": export_table.PAGE,
    "docs/matrix.md": page.PAGE,
    "exps/template/tsm_resnet50/train.sh": tools.importing.experiment.SCRIPTS / "train.sh",
    "exps/template/tsm_resnet50/eval.sh": tools.importing.experiment.SCRIPTS / "eval.sh",
}


def test_the_root_is_the_folder_that_holds_main() -> None:
    assert utils.files.ROOT == tests.helpers.requirements.ROOT == ROOT
    assert (ROOT / "main.py").is_file() and (ROOT / "pyproject.toml").is_file()
    for module in (tools.demo, tools.check_docs, tools.importing.experiment):
        assert module.ROOT == ROOT


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_where_the_code_looks_for_it(name: str) -> None:
    assert FOLDERS[name] == ROOT / name and FOLDERS[name].is_dir() and any(FOLDERS[name].iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_where_the_code_looks_for_it(name: str) -> None:
    assert FILES[name] == ROOT / name and FILES[name].stat().st_size > 0


def test_every_part_of_the_pages_is_there() -> None:
    for name in ("page.html", "style.css", "page.js"):
        assert (server.PAGE / name).is_file()
    for name in (
        "page.html",
        "style.css",
        *(f"{script}.js" for script in (*report_html.SCRIPTS, *segment_page.SCRIPTS, *video_page.SCRIPTS)),
    ):
        assert (html_page.PARTS / name).is_file()

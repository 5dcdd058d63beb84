from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import config_reference
from tools.documenting.config_reference import page
from utils.errors import UserError


def test_the_committed_page_is_what_the_schema_gives() -> None:
    assert config_reference.main(["--check"]) == 0


def test_every_key_of_the_seed_is_on_the_page() -> None:
    text = page()
    for key in (
        "num_segments",
        "test_resize",
        "random_erasing",
        "mix_up",
        "val_dense",
        "warmup_lr",
        "label_smooth",
        "no_wd",
    ):
        assert f"| `{key}` |" in text


def test_every_key_has_a_meaning_and_a_source() -> None:
    rows = [line[2:-2].split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 90
    assert not [cells for cells in rows if len(cells) < 5 or not all(cell.strip() for cell in cells)]


def test_a_key_that_the_seed_sets_is_the_seeds_and_others_name_their_file() -> None:
    text = page()
    assert re.search(r"\| `warmup_lr` \|.*\| seed \|", text)
    assert re.search(r"\| `shift_div` \|.*channels move each way.*\| `methods/tsm.py` \|", text)


def test_an_old_page_is_an_error_that_says_how_to_renew_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.documenting.config_reference.PAGE", tmp_path / "config.md")
    (tmp_path / "config.md").write_text("old")
    with pytest.raises(UserError, match=r"run python -m tools\.config_reference"):
        config_reference.main(["--check"])

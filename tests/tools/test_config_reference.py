from __future__ import annotations

from pathlib import Path

import pytest

from tools import config_reference
from tools.documenting.config_reference import page
from utils.errors import UserError


def rows() -> dict[str, list[str]]:
    """The cells of each row of the page's tables by the row's key, which may have a star."""
    cells = [line[2:-2].split(" | ") for line in page().splitlines() if line.startswith("| `")]
    return {row[0]: row[1:] for row in cells}


def test_the_committed_page_is_what_the_schema_gives() -> None:
    assert config_reference.main(["--check"]) == 0


def test_every_key_has_a_type_a_default_and_a_meaning() -> None:
    found = [line[2:-2].split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(found) > 90
    assert not [cells for cells in found if len(cells) < 4 or not all(cell.strip() for cell in cells)]


def test_the_keys_of_the_original_project_have_a_star_and_others_have_none() -> None:
    found = rows()
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
        assert f"`{key}` *" in found and f"`{key}`" not in found
    assert "`shift_div`" in found and "`cut_mix`" in found


def test_an_argument_of_a_method_has_the_meaning_that_its_docstring_gives() -> None:
    assert "moves no channel, which is TSN" in page()
    assert "channels are fused, the rest passes" in page()  # an argument of a temporal module


def test_a_key_that_takes_a_name_lists_all_names() -> None:
    found = rows()
    assert "`mit_tsm`" in found["`preset`"][2] and "`vmz`" in found["`preset`"][2]
    assert "`memcached`" in found["`store`"][2] and "`video`" in found["`store`"][2]


def test_a_page_that_is_out_of_date_is_an_error_that_says_how_to_renew_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.documenting.config_reference.PAGE", tmp_path / "config.md")
    (tmp_path / "config.md").write_text("old")
    with pytest.raises(UserError, match=r"out of date; run python -m tools\.config_reference"):
        config_reference.main(["--check"])

"""The text of a new config says what it was made of."""

from __future__ import annotations

import pytest

from tools.importing.experiment import config_text
from tools.starting.configs import quoted
from utils.config.safe_yaml import read_yaml


@pytest.mark.parametrize("value", ["None", "null", "12", "True", "a: b", "Nones", None, [1, "None"]])
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    raw = {"common": {"key": value}}
    assert read_yaml(config_text(raw, "# a comment\n"))[0] == raw


@pytest.mark.parametrize("text", ["None", "null", "12", "a name", "folder/None"])
def test_a_text_in_a_config_of_the_first_day_stays_a_text(text: str) -> None:
    assert read_yaml(f"key: {quoted(text)}")[0] == {"key": text}

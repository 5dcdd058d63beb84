from __future__ import annotations

import pytest

from utils.config.build import build
from utils.errors import ConfigError


def part(*, width: int, name: str = "x", ratio: float = 0.5) -> tuple[int, str, float]:
    return width, name, ratio


TABLE = {"part": part}


def test_arguments_reach_the_constructor_and_defaults_stay_its_own() -> None:
    assert build(TABLE, "part", {"width": 3, "ratio": 1}, where="common.x") == (3, "x", 1.0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("prat", {}, r"^common\.x\.type: 'prat' is unknown; did you mean `part`\?$"),
        ("part", {"width": 1, "nmae": "y"}, r"^common\.x\.nmae: part does not take it; did you mean `name`\?$"),
        ("part", {"width": "1"}, r"^common\.x\.width: should be a valid integer, but is '1'$"),
        ("part", {"name": "y"}, r"^common\.x\.width: part needs it$"),
    ],
)
def test_a_wrong_name_argument_or_type_names_its_dotted_path(
    name: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(TABLE, name, arguments, where="common.x")


def test_what_the_program_adds_cannot_be_given_by_a_config() -> None:
    assert build(TABLE, "part", {"width": 3}, where="common.x", name="added") == (3, "added", 0.5)
    with pytest.raises(ConfigError, match=r"common\.x\.name: part does not take it; known names: ratio, width"):
        build(TABLE, "part", {"width": 3, "name": "mine"}, where="common.x", name="added")

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import PositiveInt

from utils.config.build import ArgumentError, build, call, checked, parameters_of
from utils.errors import ConfigError


def part(*, width: int, name: str = "x", ratio: float = 0.5) -> tuple[int, str, float]:
    return width, name, ratio


class Parent:
    @checked
    def __init__(self, *, width: PositiveInt, mode: Literal["fast", "slow"] = "slow") -> None:
        if width == 3 and mode == "fast":
            raise ValueError("width: 3 is too slow for fast")
        if width == 4:
            raise ValueError("no argument is named here")
        self.width, self.mode = width, mode


class Child(Parent):
    @checked
    def __init__(self, *, extra: bool | Literal["much"] = False, inner: dict[str, Any] | None = None, **parent: Any):
        super().__init__(**parent)
        self.inner = call(Parent, inner, "parent", "inner", mode="fast") if inner else None


TABLE = {"part": part, "child": Child}


def test_arguments_reach_the_constructor_and_defaults_stay_its_own() -> None:
    assert build(TABLE, "part", {"width": 3, "ratio": 1}, where="common.x") == (3, "x", 1.0)


def test_numbers_of_numpy_are_those_of_python_wherever_they_stand() -> None:
    assert build(TABLE, "part", {"width": np.int64(3), "ratio": np.float32(0.5)}, where="x") == (3, "x", 0.5)
    child = build(TABLE, "child", {"width": 5, "inner": {"width": np.int64(2)}}, where="x")
    assert (child.inner.width, type(child.inner.width)) == (2, int)
    with pytest.raises(ArgumentError, match=r"^x\.width: should be a valid integer, but is 1\.5"):
        build(TABLE, "part", {"width": np.float64(1.5)}, where="x")


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


def test_an_entry_that_a_tuple_lacks_is_no_missing_argument() -> None:
    def paired(pair: tuple[int, int]) -> None: ...

    with pytest.raises(ConfigError, match=r"^x\.pair: should have more entries, but is \(1,\)$"):
        build({"paired": paired}, "paired", {"pair": (1,)}, where="x")


def test_what_the_program_adds_cannot_be_given_by_a_config() -> None:
    assert build(TABLE, "part", {"width": 3}, where="common.x", name="added") == (3, "added", 0.5)
    with pytest.raises(ConfigError, match=r"common\.x\.name: part does not take it; known names: ratio, width"):
        build(TABLE, "part", {"width": 3, "name": "mine"}, where="common.x", name="added")


def test_arguments_that_go_to_the_parent_are_arguments_of_the_child() -> None:
    assert [*parameters_of(Child)] == ["extra", "inner", "width", "mode"]
    made = build(TABLE, "child", {"width": 2, "inner": {"width": 5}}, where="common.x")
    assert isinstance(made, Child) and made.inner is not None and (made.width, made.inner.width) == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 2, "mode": "fats"}, r"mode: should be 'fast' or 'slow', but is 'fats'"),
        ({"width": 0}, r"width: should be greater than 0, but is 0"),
        ({"width": 3, "mode": "fast"}, r"width: 3 is too slow for fast"),
        ({"width": 2, "extra": "more"}, r"extra: should be a valid boolean or 'much', but is 'more'"),
        ({"width": 2, "inner": {"width": 0}}, r"inner\.width: should be greater than 0, but is 0"),
        ({"width": 2, "inner": {"width": 3}}, r"inner\.width: 3 is too slow for fast"),
    ],
)
def test_a_wrong_value_is_named_by_its_path_in_a_config_and_by_its_argument_in_python(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^common\.x\.{message}$"):
        build(TABLE, "child", arguments, where="common.x")
    with pytest.raises(ValueError, match=f"^{message}$"):
        Child(**arguments)


def test_a_misspelt_argument_comes_before_a_missing_one() -> None:
    with pytest.raises(ConfigError, match=r"^common\.x\.widht: child does not take it; did you mean `width`\?$"):
        build(TABLE, "child", {"widht": 2}, where="common.x")
    with pytest.raises(TypeError, match="widht"):
        Child(width=1, widht=2)


def test_an_error_that_names_no_argument_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match=r"^no argument is named here$") as caught:
        build(TABLE, "child", {"width": 4}, where="common.x")
    assert not isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("no", r"False \(which is also what YAML makes of no and off\)"),
        (True, r"True \(which is also what YAML makes of yes and on\)"),
        ("tam", "'tam'"),
    ],
)
def test_a_value_that_should_be_a_mapping_is_shown_as_it_may_have_been_written(value: Any, shown: str) -> None:
    def takes(*, part: Mapping[str, Any] | None = None) -> None: ...

    with pytest.raises(ArgumentError, match=rf"^common.x.part: should be a mapping, but is {shown}$"):
        call(takes, {"part": value}, "it", "common.x")


def test_words_and_numbers_are_read_as_the_signature_needs_them() -> None:
    def takes(
        *, flag: bool = False, mode: Literal["on", "x"] = "x", name: str = "", share: float = 0.5
    ) -> tuple[Any, ...]:
        return flag, mode, name, share

    assert call(takes, {"flag": "off", "mode": "on", "name": "yes"}, "it", "common.x") == (False, "on", "yes", 0.5)
    for value in (float("inf"), float("nan")):
        with pytest.raises(ArgumentError, match=r"^common.x.share: should be a finite number"):
            call(takes, {"share": value}, "it", "common.x")

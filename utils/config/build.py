"""From a name and keyword arguments to an object: the one mechanism behind every table of parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from utils.config.file import nearest
from utils.errors import ConfigError

T = TypeVar("T")


def build(
    table: Mapping[str, Callable[..., T]], name: str, kwargs: Mapping[str, Any], /, *, where: str, **runtime: Any
) -> T:
    """Calls `table[name](**kwargs, **runtime)` after checking the name, the argument names and their types.

    where: dotted path of the section, for messages; the name itself stands at `{where}.type`.
    runtime: what the program adds; a config cannot give it.
    Raises: ConfigError that starts with the dotted path of the mistake and names what is accepted.
    """
    check_name(table, name, where=f"{where}.type")
    checked = check_arguments(table[name], kwargs, name=name, where=where, without=tuple(runtime))
    return table[name](**checked, **runtime)


def check_name(table: Collection[str], name: str, *, where: str) -> None:
    """Raises a ConfigError that names what is near, or what there is, unless `name` is in the table."""
    if name not in table:
        raise ConfigError(f"{where}: {name!r} is unknown{nearest(name, list(table))}")


def check_arguments(
    function: Callable[..., Any], kwargs: Mapping[str, Any], *, name: str, where: str, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`kwargs`, validated against the signature of `function`; unknown, missing and mistyped ones are ConfigErrors.

    without: parameters that are not for `kwargs` to give.
    """
    model = _arguments(function, without)
    try:
        checked = model.model_validate(dict(kwargs))
    except ValidationError as error:
        item = error.errors()[0]
        key = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            raise ConfigError(
                f"{where}.{key}: {name} does not take it{nearest(key, list(model.model_fields))}"
            ) from None
        if item["type"] == "missing":
            raise ConfigError(f"{where}.{key}: {name} needs it") from None
        message = item["msg"].removeprefix("Input should be ")
        raise ConfigError(f"{where}.{key}: should be {message}, but is {item['input']!r}") from None
    return {key: getattr(checked, key) for key in checked.model_fields_set}


@cache
def _arguments(function: Callable[..., Any], without: tuple[str, ...]) -> type[BaseModel]:
    """A schema with one field per parameter of `function`."""
    called = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(called, include_extras=True)
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if key in without or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[key] = (hints.get(key, Any), default)
    settings = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model("Arguments", __config__=settings, **fields)

"""Makes objects from a name and keyword arguments, and checks the arguments by signatures.

A signature says everything: names, types, choices (`Literal["bi", "uni"]`) and ranges (`PositiveInt`). The constructor
itself checks what depends on two arguments or on another network: it raises ValueError("alpha: 8 does not divide ...")
with the argument's name in front, and `build` puts the rest of the dotted path before it.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, ParamSpec, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator

from utils.config.file import nearest
from utils.config.words import MAPPINGS, as_needed, shown
from utils.errors import ConfigError

T = TypeVar("T")
P = ParamSpec("P")

_STARTS_WITH_A_NAME = re.compile(r"(\w+)[\w.]*: ")


class ArgumentError(ConfigError, ValueError, AssertionError):
    """Reports a wrong argument: as a ConfigError to those who run a config, as a ValueError to callers in Python.

    Code written for PyTorchVideo, which asserts its arguments, may catch it as an AssertionError.
    """


def build(
    table: Mapping[str, Callable[..., T]], name: str, kwargs: Mapping[str, Any], /, *, where: str, **runtime: Any
) -> T:
    """Calls `table[name](**kwargs, **runtime)` after checking the name and the arguments.

    where: dotted path of the section, for messages; the name itself stands at `{where}.type`.
    runtime: arguments that the program adds; a config cannot give them.
    Raises: ArgumentError that starts with the dotted path of the mistake and says what is accepted.
    """
    check_name(table, name, where=f"{where}.type")
    return call(table[name], kwargs, name, where, **runtime)


def call(function: Callable[..., T], kwargs: Mapping[str, Any], name: str, where: str, /, **runtime: Any) -> T:
    """Calls `function(**kwargs, **runtime)`; a mistake in `kwargs` gets the dotted path `where` in front.

    That includes each ValueError of the function that starts with the name of one of its arguments. Calls may nest: a
    network reports `depth`, its method makes it `kwargs.depth`, and `build` makes it `common.model.kwargs.depth`.

    name: how messages call the function.
    Raises: ArgumentError.
    """
    accepted = check_arguments(function, kwargs, name=name, where=where, without=tuple(runtime))
    try:
        return function(**accepted, **runtime)
    except ValueError as error:
        named = _STARTS_WITH_A_NAME.match(str(error))
        if named is None or named[1] in runtime or named[1] not in parameters_of(function):
            raise
        raise ArgumentError(f"{where}.{error}") from error


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function or an `__init__` so that every call from Python checks its arguments as well.

    `build` and `call` need no decorator. A wrong value is an ArgumentError; a wrong name is Python's own TypeError.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def check_and_call(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs).arguments
        known = _schema(function, ()).model_fields
        check_arguments(function, {key: given[key] for key in given if key in known}, name="", where="")
        return function(*args, **kwargs)

    return check_and_call


def check_name(table: Collection[str], name: str, *, where: str) -> None:
    """Raises an ArgumentError that names a near entry, or all entries, unless `name` is in the table."""
    if name not in table:
        raise ArgumentError(f"{where}: {name!r} is unknown{nearest(name, list(table))}")


def check_arguments(
    function: Callable[..., Any], kwargs: Mapping[str, Any], *, name: str, where: str, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns `kwargs` after checking them against the signature of `function`.

    name: how messages call the function. where: dotted path in front of the argument's name; "" leaves it out.
    without: parameters that are not for `kwargs` to give.
    Raises: ArgumentError for an unknown, missing or mistyped argument, or a value that is not accepted.
    """
    schema = _schema(function, without)
    try:
        accepted = schema.model_validate(dict(kwargs))
    except ValidationError as error:
        key, reason = _first_mistake(error, name, list(schema.model_fields))
        raise ArgumentError(f"{where}.{key}: {reason}" if where else f"{key}: {reason}") from None
    return {key: getattr(accepted, key) for key in accepted.model_fields_set}


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the named parameters, annotations resolved; a constructor's `**rest` stands for those of its parent."""
    constructors = [function]
    if inspect.isclass(function):
        constructors = [vars(kind)["__init__"] for kind in inspect.getmro(function) if "__init__" in vars(kind)]
    found: dict[str, inspect.Parameter] = {}
    for constructor in constructors:
        hints = get_type_hints(constructor, include_extras=True)
        parameters = inspect.signature(constructor).parameters.values()
        for parameter in parameters:
            if _is_named(parameter) and parameter.name != "self":
                found.setdefault(parameter.name, parameter.replace(annotation=hints.get(parameter.name, Any)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)


class _Arguments(BaseModel):
    """Holds the settings of all models that are made from signatures."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _read_words(cls, values: Any) -> Any:
        return as_needed(_plain(values), {name: field.annotation for name, field in cls.model_fields.items()})


def _plain(value: Any) -> Any:
    """Turns numbers of NumPy, which a strict check refuses, into Python's, in tuples, lists and mappings too."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    return {key: _plain(item) for key, item in value.items()} if type(value) is dict else value


@functools.cache
def _schema(function: Callable[..., Any], without: tuple[str, ...]) -> type[BaseModel]:
    """Returns a pydantic model with one field per parameter of `function`."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters_of(function).values()
        if parameter.name not in without
    }
    return create_model("Arguments", __base__=_Arguments, **fields)


def _first_mistake(error: ValidationError, name: str, known: list[str]) -> tuple[str, str]:
    """Returns the first wrong argument and what is wrong with it."""
    mistakes = error.errors()
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return key, f"{name} does not take it{nearest(key, known) if known else '; it takes no arguments'}"
    if first["type"] == "missing" and not _is_entry(first):
        return key, f"{name} needs it"
    # a value of several types, `bool | Literal["gaussian"]`, has one mistake for each of them
    of_it = [mistake for mistake in mistakes if mistake["loc"][:1] == first["loc"][:1]]
    reasons = [_reason(mistake) for mistake in of_it]
    text, *more = dict.fromkeys(re.sub(r"^\w+ should ", "should ", reason) for reason in reasons)
    text = " or ".join([text, *(reason.removeprefix("should be ") for reason in more)])
    return key, f"{text}, but is {shown(first['input'])}"


def _reason(mistake: Mapping[str, Any]) -> str:
    """Returns what pydantic says of a mistake, in the words of a config where it uses those of Python."""
    if _is_entry(mistake):
        return "should have more entries"
    return "should be a mapping" if mistake["type"] in MAPPINGS else str(mistake["msg"])


def _is_entry(mistake: Mapping[str, Any]) -> bool:
    """Returns whether an entry of a tuple is missing, not an argument by itself."""
    return mistake["type"] == "missing" and isinstance(mistake["loc"][-1], int)

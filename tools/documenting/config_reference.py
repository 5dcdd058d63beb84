"""Writes docs/config.md from the schema of the config and the signatures of the methods."""

from __future__ import annotations

import argparse
import collections.abc
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from datasets import STORES
from datasets.sampling.rules import SAMPLING
from methods import METHODS
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.module import OF_THE_PLACE
from utils.config.build import parameters_of
from utils.config.file import default_of, description_of
from utils.config.schema import Common
from utils.errors import UserError
from utils.files import ROOT, atomic_write
from utils.transforms.crops import TRAIN_CROPS
from utils.transforms.presets import PRESETS

PAGE = ROOT / "docs" / "config.md"
ORIGINAL = next(ROOT.glob("exps/douyin_exps/*/*/config.yaml"))
NAMES: Mapping[str, Iterable[str]] = {  # keys whose values are the names of a table
    "common.model.type": METHODS,
    "common.augmentation.preset": PRESETS,
    "common.augmentation.crop": TRAIN_CROPS,
    "common.data.sampling": SAMPLING,
    "common.data.store": [*STORES, "video"],
}
_SKIPPED = ("backbone", "num_class", "dropout", "kwargs")  # arguments of methods that stand in common.model's own table
_ABSENT = object()
_ARGUMENT = re.compile(r"((?:\w+, )*\w+): (.+)")
_HEAD = ["| key | type | default | meaning |", "|---|---|---|---|"]
INTRODUCTION = """\
# The config, key by key

Every key stands below the root key `common:`. A key whose default is *required* must be in the file; all others may be
left out. `python main.py --config FILE --dry-run` prints the value of each key that a run would use, and whether it
comes from the file, the command line or the default. On the command line a key is written with its dotted path:
`common.batch_size=8`. `None` is the value of a key that is not set: leave such a key out, or write `None` or `null`.

A star marks the keys of the original project, from which this project grew; they have kept their names and meanings.
`python -m tools.config_reference` writes this page from the schema in `utils/config/`.
"""


def page() -> str:
    """Returns the text of the page."""
    return "\n".join([INTRODUCTION, *_section(Common, "common"), *_methods(), *_temporal_modules()])


def _section(section: type[BaseModel], path: str) -> Iterator[str]:
    """Yields the lines of one section, then those of the sections in it."""
    inner: list[tuple[type[BaseModel], str]] = []
    yield f"## `{path}`\n"
    yield (inspect.getdoc(section) or "").replace("\n", " ") + "\n"
    yield from _HEAD
    for name, field in section.model_fields.items():
        kind, dotted = field.annotation, f"{path}.{name}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((kind, dotted))
            continue
        default = _ABSENT if field.is_required() else default_of(section, name)
        meaning = description_of(section, name)
        if dotted in NAMES:
            meaning += f". Names: {', '.join(f'`{value}`' for value in NAMES[dotted])}"
        yield _row(dotted, kind, default, meaning)
    yield ""
    for kind, dotted in inner:
        yield from _section(kind, dotted)


def _methods() -> Iterator[str]:
    """Yields the lines about the methods' own arguments, which a config gives in `common.model`."""
    yield "## Arguments of the methods\n"
    yield "These keys also stand in `common.model`. Each method takes its own.\n"
    first_names: dict[Any, str] = {}
    for name, method in METHODS.items():
        yield f"### `type: {name}`\n"
        if first_names.setdefault(method, name) != name:
            yield f"Another name of `{first_names[method]}`.\n"
            continue
        yield (inspect.getdoc(method) or "").split("\n")[0] + "\n"
        yield from _arguments(method, _SKIPPED)


def _arguments(kind: Any, skipped: Sequence[str]) -> Iterator[str]:
    """Yields the table of the arguments that a config gives to a class."""
    parameters = [one for one in parameters_of(kind).values() if one.name not in skipped]
    if not parameters:
        yield "It takes no arguments of its own.\n"
        return
    yield from _HEAD
    meanings = _meanings(kind)
    for parameter in parameters:
        default = _ABSENT if parameter.default is parameter.empty else parameter.default
        meaning = meanings.get(parameter.name, "").removesuffix(".")
        meaning = meaning[:1].upper() + meaning[1:]
        yield _row(f"common.model.{parameter.name}", parameter.annotation, default, meaning)
    yield ""


def _temporal_modules() -> Iterator[str]:
    """Yields the lines about the arguments of each temporal module."""
    yield "## `common.model.temporal`\n"
    yield (
        "A temporal module of tsn ([temporal.md](temporal.md)): `name`, one of the headings below; `stages`, prefixes\n"
        "of the parts of the image network that get it; and the arguments of the module.\n"
    )
    for name, kind in TEMPORAL_MODULES.items():
        yield f"### `{name}`\n"
        yield f"{(kind.__doc__ or '').splitlines()[0]}\n"
        yield from _arguments(kind, OF_THE_PLACE)


def _meanings(method: Any) -> dict[str, str]:
    """Returns what the docstrings of a method and of its base classes say about each argument (`name: text`)."""
    found: dict[str, str] = {}
    for kind in reversed(inspect.getmro(method) if inspect.isclass(method) else (method,)):
        names: list[str] = []
        for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
            if match := _ARGUMENT.fullmatch(line):
                names = match[1].split(", ")
                found |= dict.fromkeys(names, match[2])
            elif names and line.startswith(" "):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
            else:
                names = []
    return found


def _row(path: str, kind: Any, default: Any, meaning: str) -> str:
    star = " *" if _is_original(path) else ""
    value = "required" if default is _ABSENT else f"`{_plain(default)}`"
    return f"| `{path.split('.')[-1]}`{star} | {_type(kind)} | {value} | {meaning.replace('|', chr(92) + '|')} |"


def _is_original(path: str) -> bool:
    """Says whether the config of the original project sets a key."""
    value: Any = yaml.safe_load(ORIGINAL.read_text(encoding="utf-8"))
    for part in path.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value is not _ABSENT


def _type(kind: Any) -> str:
    """Returns a type in the words of somebody who writes YAML."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (list, collections.abc.Sequence):
        entry = _type(arguments[0])
        return f"list of {entry}s" if entry.isalpha() else f"list of {entry}"
    if origin is dict:
        return "mapping"
    if arguments:
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    words = {"int": "integer", "float": "number", "bool": "True or False", "str": "text", "EasyDict": "mapping"}
    name = getattr(kind, "__name__", str(kind))
    return words.get(name, "mapping" if name in ("Mapping", "Any") else name)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):  # which YAML writes as a list
        value = list(value)
    return str(dict(value)) if isinstance(value, dict) else str(value)


def run(args: argparse.Namespace) -> int:
    """Writes the page, or with --check compares it with the schema; returns the exit code."""
    if args.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            raise UserError(f"{PAGE}: out of date; run python -m tools.config_reference")
        return 0
    with atomic_write(PAGE, "w") as file:
        file.write(page())
    print(f"wrote {PAGE}")
    return 0

"""Writes docs/config.md, the reference of every config key, from the schema itself; --check only compares."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from pydantic import BaseModel

from methods import METHODS
from utils.cli import Parser, run_cli
from utils.config.build import parameters_of
from utils.config.file import default_of
from utils.config.schema import Common
from utils.errors import UserError
from utils.files import ROOT, atomic_write

PAGE = ROOT / "docs" / "config.md"
SEED = next(ROOT.glob("exps/douyin_exps/*/*/config.yaml"))
_ABSENT = object()
_ARGUMENT = re.compile(r"((?:\w+, )*\w+): (.+)")
INTRODUCTION = """\
# The config, key by key

`python -m tools.config_reference` writes this page from the schema in `utils/config/schema.py`. Every key stands below the
root `common:`. A key without a default is required. `python main.py --config FILE --dry-run` prints the value in force
of each key and whether the file, the command line or the default gave it; on the command line a key is written with its
dotted path, `common.batch_size=8`. Source is where a key comes from: `seed` where the experiment that this project grew
from sets it, in that meaning; else the file that defines it.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_section(Common, "common"), *_methods()])


def _section(section: type[BaseModel], path: str) -> Iterator[str]:
    inner: list[tuple[type[BaseModel], str]] = []
    yield f"## `{path}`\n"
    yield (inspect.getdoc(section) or "").replace("\n", " ") + "\n"
    yield "| key | type | default | meaning | source |"
    yield "|---|---|---|---|---|"
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((kind, f"{path}.{name}"))
            continue
        default = "required" if field.is_required() else f"`{_plain(default_of(section, name))}`"
        source = _source(section, f"{path}.{name}")
        yield f"| `{name}` | {_type(kind)} | {default} | {_cell(field.description or '')} | {source} |"
    yield ""
    for kind, dotted in inner:
        yield from _section(kind, dotted)


def _methods() -> Iterator[str]:
    yield "## Arguments of the methods\n"
    yield "They stand below `common.model`, beside the keys above.\n"
    for name, method in METHODS.items():
        yield f"### `type: {name}`\n"
        yield (inspect.getdoc(method) or "").split("\n")[0] + "\n"
        yield "| key | type | default | meaning | source |"
        yield "|---|---|---|---|---|"
        meanings = _meanings(method)
        for parameter in parameters_of(method).values():
            if parameter.name in ("backbone", "num_class", "dropout", "kwargs"):
                continue
            default = "required" if parameter.default is parameter.empty else f"`{_plain(parameter.default)}`"
            kind, meaning = (
                _type(parameter.annotation),
                _cell(meanings.get(parameter.name, "").removesuffix(".")),
            )
            source = _source(method, f"common.model.{parameter.name}")
            yield f"| `{parameter.name}` | {kind} | {default} | {meaning} | {source} |"
        yield ""


def _meanings(method: Any) -> dict[str, str]:
    """What the docstrings of a method and of those it derives from say about their arguments, `name: text`."""
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


def _source(owner: Any, path: str) -> str:
    """`seed` for a key that the seed's experiment sets, else the file of what takes it."""
    value: Any = yaml.safe_load(SEED.read_text(encoding="utf-8"))
    for part in path.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    if value is not _ABSENT:
        return "seed"
    return f"`{Path(inspect.getfile(owner)).resolve().relative_to(ROOT).as_posix()}`"


def _type(kind: Any) -> str:
    """A type as the file's author sees it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if arguments:
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    words = {"int": "integer", "float": "number", "bool": "True or False", "str": "text", "EasyDict": "mapping"}
    name = getattr(kind, "__name__", str(kind))
    return words.get(name, "mapping" if name in ("Mapping", "Any") else name)


def _plain(value: Any) -> str:
    return str(dict(value)) if isinstance(value, dict) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page, or with --check says whether it is what the schema gives."""
    parser = Parser(prog="tools.config_reference", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; an old page is an error")
    args = parser.parse_args(argv)
    if args.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            raise UserError(f"{PAGE} is not what the schema gives: run python -m tools.config_reference")
        return 0
    with atomic_write(PAGE, "w") as file:
        file.write(page())
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    run_cli(main)

"""From the text of a `config.yaml` to checked objects, and from a mistake in it to one line that names it."""

from __future__ import annotations

import contextlib
import copy
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from utils.config import ROOT_KEY
from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError

_PYSLOWFAST = {"TRAIN", "DATA", "MODEL", "SOLVER"}
COMMAND_LINE = -1  # the "line" of a value that an override set


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number (YAML 1.1 wants 1.0e-4) and refuses a key given twice."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class ConfigFile:
    """A loaded config: its values, where each was written, and the folder that receives the run's files."""

    path: Path
    common: Common
    raw: Mapping[str, Any]  # {"common": ...} as written, with overrides; what the checkpoint stores
    lines: Mapping[str, int]  # dotted path -> line, COMMAND_LINE for an override

    @property
    def folder(self) -> Path:
        """The experiment's folder: where the config lies."""
        return self.path.parent

    @contextlib.contextmanager
    def located(self) -> Iterator[None]:
        """Adds file and line to a ConfigError whose text starts with a dotted path, with or without the root key."""
        try:
            yield
        except ConfigError as error:
            key, colon, rest = str(error).partition(": ")
            if key.split(".")[0] in Common.model_fields:
                key = f"{ROOT_KEY}.{key}"
            if colon and key.split(".")[0] == ROOT_KEY:
                raise ConfigError(f"{_place(self.path, self.lines, key)}: {rest}") from None
            raise

    def explain(self) -> list[tuple[str, Any, str]]:
        """(dotted path, value in force, "default" or where it was set) for every key, in the schema's order."""
        return list(_explain(self.common, ROOT_KEY, self.lines, self.path))


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> ConfigFile:
    """Reads, overrides and checks a config.

    overrides: `common.batch_size=8`; the value is YAML. A key of a free mapping (`model.kwargs`) may be new.
    Raises: ConfigError with file, dotted path and line for anything that is wrong; several mistakes are told at once.
    """
    path = Path(path)
    if path.suffix == ".py":
        raise ConfigError(f"{path}: configs are YAML; a Python one is mmaction2's: docs/from_mmaction2.md has its keys")
    raw, lines = _read(path)
    for text in overrides:
        _override(raw, lines, text)
    if not isinstance(raw, dict) or not isinstance(raw.get(ROOT_KEY), dict):
        theirs = isinstance(raw, dict) and _PYSLOWFAST & {*raw}
        whose = "; it looks like PySlowFast's: docs/from_pyslowfast.md has its keys" if theirs else ""
        raise ConfigError(f"{path}: the root key must be `{ROOT_KEY}:`, a mapping with everything below it{whose}")
    if extra := sorted(set(raw) - {ROOT_KEY}):
        raise ConfigError(f"{_place(path, lines, extra[0])}: unknown key beside `{ROOT_KEY}:`; move it below")
    try:
        common = Common.model_validate(copy.deepcopy(raw[ROOT_KEY]))
    except ValidationError as error:
        raise ConfigError("; ".join(describe(error, Common, path, lines))) from None
    return ConfigFile(path=path.resolve(), common=common, raw=raw, lines=lines)


def describe(error: ValidationError, schema: type[BaseModel], path: Path, lines: Mapping[str, int]) -> list[str]:
    """One text per mistake: place, what is wrong, and the key that was probably meant."""
    texts: dict[str, str] = {}
    for item in error.errors():
        keys = _keys_of(item["loc"], schema)
        dotted = ".".join([ROOT_KEY, *keys])
        texts.setdefault(dotted, f"{_place(path, lines, dotted)}: {_reason(item, keys, schema)}")
    return list(texts.values())


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean `x`?`, or the list of what is known when nothing is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(sorted(known))}"


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`common.x: 1 -> 2` for every value that two raw configs do not share."""
    before, after = dict(_flat(old, "")), dict(_flat(new, ""))
    missing = "(absent)"
    return [
        f"{key}: {before.get(key, missing)} -> {after.get(key, missing)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, missing) != after.get(key, missing)
    ]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such config file; give --config exps/<dataset>/<experiment>/config.yaml"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; give {path / 'config.yaml'}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    lines: dict[str, int] = {}
    try:
        loader = _Loader(text)  # refuses control characters
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.reason} (#x{error.character:02x})") from None
    try:
        node = loader.get_single_node()
        if node is not None:
            _note_lines(node, "", lines, path)
        return (loader.construct_document(node) if node is not None else {}), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, prefix: str, lines: dict[str, int], path: Path) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        dotted = f"{prefix}.{key.value}" if prefix else str(key.value)
        line = key.start_mark.line + 1
        if dotted in lines:
            raise ConfigError(f"{path}:{line}: `{dotted}` is given twice, first on line {lines[dotted]}")
        lines[dotted] = line
        _note_lines(value, dotted, lines, path)


def stored_config(raw: Any, path: Path) -> Common:
    """The config that a checkpoint holds, checked. Raises: CheckpointError for weights alone, or a config of old."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get(ROOT_KEY), Mapping):
        raise CheckpointError(f"{path}: holds weights alone, no config that says which network they are of")
    try:
        return Common.model_validate(copy.deepcopy(raw[ROOT_KEY]))
    except ValidationError as error:
        raise CheckpointError("; ".join(describe(error, Common, path, {}))) from None


def _override(raw: dict[str, Any], lines: dict[str, int], text: str) -> None:
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or keys[0] != ROOT_KEY or len(keys) < 2:
        raise ConfigError(f"override {text!r}: write it as {ROOT_KEY}.<key>=<value>, for example common.batch_size=8")
    try:
        parsed = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r}: the value is not valid YAML: {error}") from None
    place = raw
    for key in keys[:-1]:
        if not isinstance(place, dict):
            break
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
    if not isinstance(place, dict):
        raise ConfigError(f"override {text!r}: {'.'.join(keys[:-1])} is a value, not a mapping")
    place[keys[-1]] = parsed
    lines[".".join(keys)] = COMMAND_LINE


def _place(path: Path, lines: Mapping[str, int], dotted: str) -> str:
    """`file:line: dotted`, with the line of the nearest key above when this one was not written."""
    keys = dotted.split(".")
    for end in range(len(keys), 0, -1):
        line = lines.get(".".join(keys[:end]))
        if line is not None:
            return f"{path} (command line): {dotted}" if line == COMMAND_LINE else f"{path}:{line}: {dotted}"
    return f"{path}: {dotted}"


def _keys_of(location: tuple[int | str, ...], schema: type[BaseModel]) -> list[str]:
    """Pydantic's location without the names of union members it inserts behind a field."""
    keys: list[str] = []
    section: type[BaseModel] | None = schema
    for part in location:
        if section is None:
            break
        keys.append(str(part))
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else None
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return keys


def _reason(item: Any, keys: Sequence[str], schema: type[BaseModel]) -> str:
    section: type[BaseModel] = schema
    for key in keys[:-1]:
        section = section.model_fields[key].annotation  # type: ignore[assignment]
    if item["type"] == "extra_forbidden":
        return f"unknown key{nearest(keys[-1], list(section.model_fields))}"
    if item["type"] == "missing":
        about = section.model_fields[keys[-1]].description
        others = [str(key) for key in item["input"] if key not in section.model_fields]
        near = difflib.get_close_matches(keys[-1], others, n=1, cutoff=0.6)
        hint = f"; is `{near[0]}` meant to be it?" if near else ""
        return "this key is required" + (f" ({about})" if about else "") + hint
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    message = item["msg"].removeprefix("Input should be ")
    return f"should be {message}, but is {item['input']!r}"


def _explain(section: BaseModel, prefix: str, lines: Mapping[str, int], path: Path) -> Iterator[tuple[str, Any, str]]:
    values = {name: getattr(section, name) for name in type(section).model_fields} | (section.model_extra or {})
    for name, value in values.items():
        dotted = f"{prefix}.{name}"
        if isinstance(value, BaseModel):
            yield from _explain(value, dotted, lines, path)
            continue
        line = lines.get(dotted)
        yield dotted, value, _origin(line, path)


def _origin(line: int | None, path: Path) -> str:
    if line is None:
        return "default"
    return "command line" if line == COMMAND_LINE else f"{path.name}:{line}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, dotted)
        else:
            yield dotted, value


def default_of(section: type[BaseModel], name: str) -> Any:
    """The default of a key, or None when it is required."""
    field = section.model_fields[name]
    value = field.get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value

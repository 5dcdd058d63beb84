"""Reads a `config.yaml` into checked objects, and turns each mistake in it into one line that names it."""

from __future__ import annotations

import contextlib
import copy
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from utils.config import ROOT_KEY
from utils.config.safe_yaml import read_yaml
from utils.config.schema import Common
from utils.config.words import MAPPINGS, shown
from utils.errors import CheckpointError, ConfigError
from utils.files import no_pipe

_PYSLOWFAST = {"TRAIN", "DATA", "MODEL", "SOLVER"}
_NAMES_A_PLACE = re.compile(r"[/\\~:]|\.\w+$")  # of paths, addresses and files
_NO_TEXTS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "null", "timestamp")}
COMMAND_LINE = -1  # stands for the line of a value that was set on the command line


MOST_NAMES = 150  # in a message; timm has more than a thousand networks
LARGEST = 2**31 - 1  # of whole numbers, so that none overflows
LARGEST_FLOAT = 1e9
LARGER = {f"{ROOT_KEY}.seed": 2**64 - 1}


@dataclass(frozen=True)
class ConfigFile:
    """Holds a loaded config.

    path: the file.
    common: its checked values.
    raw: {"common": ...} as written, with overrides; this is what a checkpoint stores.
    lines: line of each key by its dotted path, COMMAND_LINE for an override.
    """

    path: Path
    common: Common
    raw: Mapping[str, Any]
    lines: Mapping[str, int]

    @property
    def folder(self) -> Path:
        """Folder of the experiment, which holds the config and receives the files of the run."""
        return self.path.parent

    def for_processes(self, world_size: int) -> ConfigFile:
        """Returns the config as it is for a number of processes: with the batches that global_batch means."""
        with self.located():
            return replace(self, common=self.common.for_processes(world_size))

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
        """Returns (dotted path, value, "default" or where it was set) for every key, in the schema's order."""
        return list(_explain(self.common, ROOT_KEY, self.lines, self.path))


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> ConfigFile:
    """Reads a config, applies the overrides, and checks it.

    overrides: texts such as `common.batch_size=8`, whose values are YAML.
    Raises: ConfigError for anything that is wrong, with file, line and dotted path; it names all mistakes at once.
    """
    path = Path(path)
    if path.suffix == ".py":
        raise ConfigError(
            f"{path}: configs are YAML files; docs/from_mmaction2.md translates the keys of mmaction2's Python configs"
        )
    raw, lines = _read(path)
    for text in overrides:
        _override(raw, lines, text)
    if not isinstance(raw, dict) or not isinstance(raw.get(ROOT_KEY), dict):
        hint = ""
        if isinstance(raw, dict) and _PYSLOWFAST & {*raw}:
            hint = "; this looks like a config of PySlowFast, whose keys docs/from_pyslowfast.md translates"
        raise ConfigError(f"{path}: the root key must be `{ROOT_KEY}:`, with all other keys below it{hint}")
    if extra := sorted(map(str, set(raw) - {ROOT_KEY})):
        raise ConfigError(
            f"{_place(path, lines, extra[0])}: unknown key outside `{ROOT_KEY}:`; move it below `{ROOT_KEY}:`"
        )
    if wrong := "; ".join(f"{_place(path, lines, key)}: {reason}" for key, reason in _wrong_values(raw, "")):
        raise ConfigError(wrong)
    try:
        common = Common.model_validate(copy.deepcopy(raw[ROOT_KEY]))
    except ValidationError as error:
        raise ConfigError("; ".join(describe(error, Common, path, lines))) from None
    return ConfigFile(path=path.resolve(), common=common, raw=raw, lines=lines)


def describe(error: ValidationError, schema: type[BaseModel], path: Path, lines: Mapping[str, int]) -> list[str]:
    """Returns one text per mistake: where it is, what is wrong, and the key that was probably meant."""
    found: dict[tuple[str, ...], list[Any]] = {}  # a union has one error for each of its types
    for item in error.errors():
        found.setdefault(_keys_of(item["loc"], schema), []).append(item)
    return [
        f"{_place(path, lines, '.'.join([ROOT_KEY, *keys]))}: {_reason(items, keys, schema)}"
        for keys, items in found.items()
    ]


def nearest(name: str, known: Sequence[str]) -> str:
    """Returns `; did you mean `x`?`, or the known names if none is similar, to be put behind a message."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    if len(known) > MOST_NAMES:
        return f"; none of the {len(known)} known names is similar"
    return f"; known names: {', '.join(sorted(known))}"


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns `common.x: 1 -> 2` for every value in which two raw configs differ."""
    before, after = flat(old), flat(new)
    missing = "(absent)"
    return [
        f"{key}: {before.get(key, missing)} -> {after.get(key, missing)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, missing) != after.get(key, missing)
    ]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a nested mapping as plain values by their dotted paths."""
    return dict(_flat(plain(values), ""))


def plain(value: Any) -> Any:
    """Returns a value of a config as checkpoints keep it: plain mappings, and lists for tuples, at every depth."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = no_pipe(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such config file; give --config exps/<dataset>/<experiment>/config.yaml"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a folder; give {path / 'config.yaml'}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not UTF-8 text ({error.reason} at byte {error.start})") from None
    lines: dict[str, int] = {}
    try:
        value, node = read_yaml(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.reason} (#x{error.character:02x})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if node is None:
        return {}, lines
    _note_lines(node, "", lines, path)
    return value, lines


def _note_lines(node: yaml.Node, prefix: str, lines: dict[str, int], path: Path) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        dotted = f"{prefix}.{key.value}" if prefix else str(key.value)
        line = key.start_mark.line + 1
        if dotted in lines:
            raise ConfigError(f"{path}:{line}: `{dotted}` is given twice, first on line {lines[dotted]}")
        lines[dotted] = line
        if key.tag in _NO_TEXTS:  # messages name the value: True of `true:`, None of `~:`
            name = str(read_yaml(key.value)[0])
            lines.setdefault(f"{prefix}.{name}" if prefix else name, line)
        _note_lines(value, dotted, lines, path)


def stored_config(raw: Any, path: Path) -> Common:
    """Returns the checked config of a checkpoint.

    Raises: CheckpointError if the file holds only weights, or a config that is not valid any more.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get(ROOT_KEY), Mapping):
        raise CheckpointError(f"{path}: holds only weights, and no config that says which network they belong to")
    if wrong := "; ".join(f"{path}: {key}: {reason}" for key, reason in _wrong_values(raw, "")):
        raise CheckpointError(wrong)
    try:
        common = Common.model_validate(copy.deepcopy(raw[ROOT_KEY]))
    except ValidationError as error:
        raise CheckpointError("; ".join(describe(error, Common, path, {}))) from None
    except RecursionError:
        raise CheckpointError(f"{path}: its config is nested too deeply") from None
    for key, value in _texts({**(common.model.model_extra or {}), "kwargs": common.model.kwargs}, f"{ROOT_KEY}.model"):
        if _NAMES_A_PLACE.search(value):
            raise CheckpointError(
                f"{path}: the config in it has {key}: {value!r}, which names a file or an "
                "address; if you trust it, write the config into a file of your own and name that"
            )
    return common


def _texts(value: Any, dotted: str) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, text) for every text at any depth."""
    if isinstance(value, str):
        yield dotted, value
    elif isinstance(value, (Mapping, list, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(item, f"{dotted}.{key}")


def _override(raw: dict[str, Any], lines: dict[str, int], text: str) -> None:
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or keys[0] != ROOT_KEY or len(keys) < 2:
        raise ConfigError(f"override {text!r}: write it as {ROOT_KEY}.<key>=<value>, for example common.batch_size=8")
    try:
        parsed = read_yaml(value)[0]
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigError(f"override {text!r}: the value is not valid YAML: {reason}") from None
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
    dotted = ".".join(keys)
    replaced = [key for key in lines if key.startswith(f"{dotted}.")]
    lines.update(dict.fromkeys([*_paths(parsed, dotted), *replaced], COMMAND_LINE))


def _paths(value: Any, dotted: str) -> Iterator[str]:
    """Yields the dotted paths of a value and of all that it holds."""
    yield dotted
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _paths(inner, f"{dotted}.{key}")


def _wrong_values(value: Any, dotted: str) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, what is wrong) for keys that are no texts, numbers out of range, and texts with NUL."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = f"{dotted}.{key}" if dotted else str(key)
            if not isinstance(key, str):
                yield below, f"a key should be a text, but YAML reads {shown(key)}; put it in quotes"
            yield from _wrong_values(item, below)
    elif isinstance(value, list):
        for item in value:
            yield from _wrong_values(item, dotted)
    elif isinstance(value, str) and "\0" in value:
        yield dotted, f"contains the character NUL, which no name has: {value[:60]!r}"
    elif isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:  # nan is not less than anything
        yield dotted, f"should be a number up to {LARGEST_FLOAT:g}, but is {value}"
    elif isinstance(value, int) and abs(value) > LARGER.get(dotted, LARGEST):
        yield dotted, f"should be a whole number up to {LARGER.get(dotted, LARGEST)}, but is {str(value)[:30]}"


def _place(path: Path, lines: Mapping[str, int], dotted: str) -> str:
    """Returns `file:line: dotted`, with the line of the nearest parent if the key itself is not in the file."""
    keys = dotted.split(".")
    for end in range(len(keys), 0, -1):
        line = lines.get(".".join(keys[:end]))
        if line is not None:
            return f"{path} (command line): {dotted}" if line == COMMAND_LINE else f"{path}:{line}: {dotted}"
    return f"{path}: {dotted}"


def _keys_of(location: tuple[int | str, ...], schema: type[BaseModel]) -> tuple[str, ...]:
    """Returns the keys in pydantic's location, without the names of union members that it puts behind a field."""
    keys: list[str] = []
    section: type[BaseModel] | None = schema
    for part in location:
        if section is None:
            break
        keys.append(str(part))
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else None
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return tuple(keys)


def _reason(items: Sequence[Any], keys: Sequence[str], schema: type[BaseModel]) -> str:
    """Returns what is wrong with one key, from pydantic's errors about it."""
    item = items[0]
    section: type[BaseModel] = schema
    for key in keys[:-1]:
        section = section.model_fields[key].annotation  # type: ignore[assignment]
    if item["type"] == "extra_forbidden":
        return f"unknown key{nearest(keys[-1], list(section.model_fields))}"
    if item["type"] == "missing":
        description = description_of(section, keys[-1])
        others = [str(key) for key in item["input"] if key not in section.model_fields]
        near = difflib.get_close_matches(keys[-1], others, n=1, cutoff=0.6)
        hint = f"; is `{near[0]}` a misspelling of it?" if near else ""
        return "this key is required" + (f" ({description})" if description else "") + hint
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    value = item["input"]
    for other in items:
        if isinstance(value, list) and other["input"] is not value:  # a list may be given, with other values
            return (
                f"each value of a list should be {_wanted(other)}, but {shown(value)} contains {shown(other['input'])}"
            )
    wanted = dict.fromkeys(_wanted(other) for other in items if other["input"] is value)
    return f"should be {' or '.join(wanted)}, but is {shown(value)}"


def _wanted(item: Any) -> str:
    """Returns what one of pydantic's errors asks for: `a valid integer`."""
    if item["type"] in ("is_instance_of", "model_type", *MAPPINGS):
        return "a mapping"
    if item["type"] == "bool_type":
        return "True or False"
    if item["type"] == "too_short":
        return f"a list of at least {item['ctx']['min_length']} values"
    if item["type"] == "too_long":
        return f"a list of at most {item['ctx']['max_length']} values"
    return str(item["msg"]).removeprefix("Input should be ")


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


def description_of(section: type[BaseModel], name: str) -> str:
    """Returns the description of a key in one line, without the final period; "" if it has none."""
    return " ".join((section.model_fields[name].description or "").split()).removesuffix(".")


def default_of(section: type[BaseModel], name: str) -> Any:
    """Returns the default of a key, or None if the key is required."""
    field = section.model_fields[name]
    value = field.get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value

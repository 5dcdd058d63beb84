"""Finds and reads the class file of a data set, which gives every class index its name.

A class file has `index name` lines, counted from 0 (most projects) or from 1 (UCF-101's own file), or one name per
line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from datasets.lists.columns import composed
from datasets.places.place import Address
from utils.errors import ListError
from utils.files import no_pipe

FILE_NAMES = ("classInd.txt", "calssInd.txt")  # the original project spells it the second way
_INDEXED = re.compile(r"([0-9]{1,9})[\s,;:]+(\S.*)")
_INDEX_LAST = re.compile(r"(\S.*?)[\s,;:]+([0-9]{1,9})")


def find_class_file(source: str | os.PathLike[str], root: str | os.PathLike[str]) -> Path | None:
    """Finds the class file next to the list `source`, else in {root}/lists; returns None without one.

    Raises ListError if one folder has files of both spellings and they differ.
    """
    for folder in (Path(source).parent, Path(root) / "lists"):
        found = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
        if len(found) == 2 and read_class_file(found[0]) != read_class_file(found[1]):
            raise ListError(f"{found[0]} and {found[1]} differ; remove the one that is wrong")
        if found:
            return found[0]
    return None


@dataclass(frozen=True)
class Classes:
    """Holds the classes of an experiment, numbered once for all of its lists.

    names: the names by label.
    source: the class file, or the list whose class names were numbered in alphabetical order.
    first: the index of the first class in the class file, 0 or 1; None where only names are written.
    from_list: whether a list was numbered, because there is no class file.
    """

    names: list[str]
    source: Path | Address
    first: int | None = None
    from_list: bool = False

    def check(self, num_class: int | None) -> None:
        """Raises ListError for another number of classes than the config has."""
        if num_class is not None and len(self.names) != num_class:
            raise ListError(
                f"{self.source}: names {len(self.names)} classes, but model.num_class is {num_class}"
                + "; a class file (data.class_names) may name classes without videos" * self.from_list
            )


def find_classes(
    lists: Iterable[tuple[str | os.PathLike[str], str | os.PathLike[str]]],
    *,
    file: str | os.PathLike[str] | None = None,
) -> Classes | None:
    """Returns the classes in the class file of an experiment; None without one.

    lists: (source, root) of its lists. file: the class file; by default `find_class_file` looks for it at every list.

    Raises ListError if the class files of two lists differ, because a label would mean two classes.
    """
    if file is not None:
        if not Path(file).is_file():
            raise ListError(f"{file}: no such class file (data.class_names)")
        return read_classes(Path(file))
    files = [find_class_file(source, root) for source, root in lists]
    found = [read_classes(path) for path in dict.fromkeys(files) if path is not None]
    for other in found[1:]:
        if other.names != found[0].names:
            raise ListError(
                f"{found[0].source} and {other.source} differ, but an experiment has one numbering of its classes; "
                "choose one with data.class_names"
            )
    return found[0] if found else None


def read_class_file(file: Path) -> list[str]:
    """Returns the names in one class file, in the order of their indices. Raises ListError."""
    return read_classes(file).names


def read_classes(file: Path) -> Classes:
    """Reads one class file.

    Raises ListError with file and line for a missing or repeated index, a repeated name and a line of another form.
    """
    try:
        text = no_pipe(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ListError(f"{file}: is not UTF-8 text") from None
    except OSError as error:
        raise ListError(f"{file}: cannot be read ({error.strerror})") from None
    lines = [(number, composed(line.strip())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ListError(f"{file}: the class file is empty")
    indexed = [(number, match) for number, line in lines if (match := _INDEXED.fullmatch(line))]
    if len(indexed) == len(lines):
        entries = [(number, int(match[1]), match[2].strip().strip('"')) for number, match in indexed]
        return Classes(_by_index(file, entries), file, min(index for _, index, _ in entries))
    _refuse_index_last(file, lines)
    if len(indexed) > len(lines) // 2:  # a few plain names may begin with a number, such as "2 hand tool"
        others = {number for number, _ in indexed}
        number, line = next((number, line) for number, line in lines if number not in others)
        raise ListError(f"{file}:{number}: expected `index name` as on the other lines, found {line!r}")
    return Classes(_unique(file, [(number, name.strip('"')) for number, name in lines]), file)


def _by_index(file: Path, entries: list[tuple[int, int, str]]) -> list[str]:
    names: dict[int, tuple[int, str]] = {}
    for line, index, name in entries:
        if index in names:
            first_line, first_name = names[index]
            raise ListError(
                f"{file}:{line}: index {index} is {name!r} here and {first_name!r} on line {first_line}; "
                "every class needs its own index"
            )
        names[index] = (line, name)
    base = min(names)
    if base > 1:
        raise ListError(f"{file}: indices begin at {base}; they must begin at 0 or 1")
    for index in range(base, base + len(names)):
        if index not in names:
            raise ListError(
                f"{file}: index {index} has no name, but index {max(names)} has one; no index may be missing"
            )
    return _unique(file, [names[index] for index in sorted(names)])


def _unique(file: Path, names: list[tuple[int, str]]) -> list[str]:
    seen: dict[str, int] = {}
    for line, name in names:
        if name in seen:
            raise ListError(f"{file}:{line}: class {name!r} is already on line {seen[name]}")
        seen[name] = line
    return [name for _, name in names]


def _refuse_index_last(file: Path, lines: list[tuple[int, str]]) -> None:
    """Raises ListError for `name index` lines: a class called "windsurfing 2" looks the same, so nothing is guessed."""
    matches = [_INDEX_LAST.fullmatch(line) for _, line in lines]
    indices = sorted(int(match[2]) for match in matches if match)
    if len(lines) > 1 and indices in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        raise ListError(f"{file}: looks like `name index`; write `index name`, or only the names")

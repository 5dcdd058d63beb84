"""Opens a label file once: as JSON, as XML or as a table, whichever its content is.

A file from a stranger is only a file: XML with a DOCTYPE, which could define entities that grow without end or name
other files, is refused, and nothing in it is ever fetched.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from datasets.lists.columns import check_width, delimiter_of, normal_name
from datasets.lists.json_objects import each_once
from utils.errors import ListError
from utils.files import no_pipe

Row = dict[str, str]


class Document:
    """Holds the content of a label file. Its first character decides what it is, never its name.

    Raises ListError, naming the file, if it is missing, not UTF-8, JSON or XML that is damaged, or JSON in which a name
    comes twice in one object, of which only the last would count.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def text(self) -> str:
        """The text of the file."""
        try:
            data = no_pipe(self.path).read_bytes()
        except OSError as error:
            raise ListError(f"{self.path}: cannot be read: {error.strerror}") from None
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ListError(f"{self.path}: is UTF-16 text; save it as UTF-8")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ListError(f"{self.path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
        if "\0" in text:
            raise ListError(f"{self.path}: is not a text file")
        if not text.strip():
            raise ListError(f"{self.path}: is empty")
        return text

    @cached_property
    def json(self) -> Any:
        """The content of a JSON file; None if it is something else."""
        if self.text.lstrip()[:1] not in ("{", "["):
            return None
        try:
            return json.loads(self.text, object_pairs_hook=each_once(self.path))
        except (ValueError, RecursionError) as error:
            raise ListError(f"{self.path}: begins like JSON but cannot be read as such ({error})") from None

    @cached_property
    def xml(self) -> ElementTree.Element | None:
        """The root element of an XML file; None if it is something else."""
        if self.text.lstrip()[:1] != "<":
            return None
        parser = ElementTree.XMLParser(target=_NoDoctype(self.path))
        try:
            parser.feed(self.text)
            return parser.close()
        except (ElementTree.ParseError, RecursionError, ValueError) as error:
            raise ListError(f"{self.path}: begins like XML but cannot be read as such ({error})") from None

    @cached_property
    def lines(self) -> list[tuple[str, str]]:
        """The lines that are not blank, each with its "file:line"."""
        lines = enumerate(self.text.splitlines(), 1)
        return [(f"{self.path}:{number}", line.strip()) for number, line in lines if line.strip()]

    @cached_property
    def header(self) -> list[str]:
        """The columns of a table as written; empty for JSON, XML and text without commas, semicolons and tabs."""
        first = next(line for line in self.text.splitlines() if line.strip())
        if first.lstrip()[0] in "{[<" or not any(mark in first for mark in "\t,;"):
            return []
        try:
            return [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter_of(first)))]
        except csv.Error as error:
            raise ListError(f"{self.path}: its first line cannot be read as that of a table ({error})") from None

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns of a table in lower case, with _ between words."""
        return frozenset(map(normal_name, self.header))

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yields "file:line" and the cells of each row below the header. Raises ListError if their number differs."""
        lines = self.text.splitlines(keepends=True)
        first = next(place for place, line in enumerate(lines) if line.strip())
        reader = csv.reader(lines[first:], delimiter=delimiter_of(lines[first]))
        try:
            next(reader)
            for cells in reader:
                where = f"{self.path}:{first + reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                check_width(cells, self.header, least=len(self.header), where=where)
                yield where, [cell.strip() for cell in cells[: len(self.header)]]
        except csv.Error as error:
            raise ListError(f"{self.path}:{first + reader.line_num}: cannot be read as a table ({error})") from None

    def named_rows(self) -> Iterator[tuple[str, Row]]:
        """Yields "file:line" and the cells of each row by the normal names of their columns."""
        names = list(map(normal_name, self.header))
        for where, cells in self.rows():
            yield where, dict(zip(names, cells, strict=True))


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds the elements of a document that has no DOCTYPE."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def doctype(self, name: str, public: str | None, system: str | None) -> NoReturn:
        """Raises ListError before any entity of the DOCTYPE is read."""
        raise ListError(f"{self._path}: has a DOCTYPE ({name}), which label files have no need of; remove it")

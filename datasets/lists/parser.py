"""Parses the text of a list file into flat arrays, in blocks of some megabytes. Values are checked in records.py.

A line is `path num_frames label` (or `path label`). The last columns are numbers and everything before them is the
path, so a path may contain spaces, tabs and commas, which also separate the columns. Double quotes around a path are
removed. A last column called "labels" holds a set of classes, `path num_frames 3;7;12`, or `-` for the empty set (see
utils/scoring/label_sets.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import ListError
from utils.files import no_pipe
from utils.scoring.label_sets import NONE, SEPARATOR

COLUMNS = ("num_frames", "label")
OFFSET_COLUMNS = ("offset", *COLUMNS)  # of a span that begins after `offset` frames of its video
_BLOCK = 16 << 20
_MAX_DIGITS = 9
_TAB, _NEWLINE, _RETURN, _SPACE, _QUOTE, _COMMA, _MINUS, _ZERO = (ord(c) for c in '\t\n\r ",-0')
_PART, _NONE = ord(SEPARATOR), ord(NONE)
_SEPARATES = np.zeros(256, dtype=bool)
_SEPARATES[[_TAB, _NEWLINE, _RETURN, _SPACE, _COMMA]] = True


@dataclass(frozen=True)
class ParsedList:
    """Holds the n videos of a list as flat arrays.

    blob: uint8, the bytes of all paths, end to end.
    offsets: int64 (n + 1,), where each path begins in blob.
    numbers: int32 (n,) per column. For a column "labels" it has two arrays: "labels", the classes of all lines end to
        end, and "sizes" (n,), the number of classes on each line.
    lines: int32 (n,), the line number of each video.
    """

    blob: np.ndarray
    offsets: np.ndarray
    numbers: dict[str, np.ndarray]
    lines: np.ndarray


@dataclass(frozen=True)
class _Block:
    blob: np.ndarray
    lengths: np.ndarray
    numbers: dict[str, np.ndarray]
    lines: np.ndarray


def label_columns(columns: tuple[str, ...], *, multi_label: bool) -> tuple[str, ...]:
    """Returns `columns`, with "labels" (a set of classes) instead of "label" if `multi_label`."""
    return tuple("labels" if multi_label and name == "label" else name for name in columns)


def parse_list(source: Path, columns: tuple[str, ...] = COLUMNS) -> ParsedList:
    """Reads every line of `source`. Blank lines are skipped; CRLF line ends and a UTF-8 byte order mark are allowed.

    Raises ListError with file and line for the first line that is not a path followed by the numbers of `columns`, and
    for a list that is missing, empty or not text.
    """
    try:
        size = source.stat().st_size
        with no_pipe(source).open("rb") as file:
            # one allocation for all paths: memory pages that are never written cost nothing
            blob, used, blocks, line, rest = np.empty(size, np.uint8), 0, [], 1, b""
            first = True
            while data := file.read(_BLOCK):
                if first:
                    data, first = _without_mark(data, source), False
                data = rest + data
                cut = data.rfind(b"\n") + 1
                rest = data[cut:]
                block, line = _parse_block(data[:cut], line, source, columns)
                blob[used : used + len(block.blob)] = block.blob
                used += len(block.blob)
                blocks.append((block.lengths, block.numbers, block.lines))
            if rest:
                block, line = _parse_block(rest + b"\n", line, source, columns)
                blob[used : used + len(block.blob)] = block.blob
                used += len(block.blob)
                blocks.append((block.lengths, block.numbers, block.lines))
    except FileNotFoundError:
        raise ListError(f"{source}: no such list file; check train_source / val_source") from None
    except IsADirectoryError:
        raise ListError(f"{source}: is a folder, not a list file") from None
    except PermissionError:
        raise ListError(f"{source}: no permission to read this list file") from None
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}") from None
    count = sum(len(lengths) for lengths, _, _ in blocks)
    if count == 0:
        raise ListError(f"{source}: the list is empty; expected lines of `{_expected(columns)}`")
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.concatenate([lengths for lengths, _, _ in blocks]), out=offsets[1:])
    numbers = {name: np.concatenate([values[name] for _, values, _ in blocks]) for name in blocks[0][1]}
    return ParsedList(blob[:used], offsets, numbers, np.concatenate([lines for _, _, lines in blocks]))


def parse_text(data: bytes, line: int, source: Path, columns: tuple[str, ...] = COLUMNS) -> ParsedList:
    """Parses whole lines of text like `parse_list`; there may be no line.

    line: number of the first line of `data` in the file `source`, for messages.
    """
    block, _ = _parse_block(data.removesuffix(b"\n") + b"\n", line, source, columns)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(block.lengths)])
    return ParsedList(block.blob, offsets, block.numbers, block.lines)


def _parse_block(data: bytes, line: int, source: Path, columns: tuple[str, ...]) -> tuple[_Block, int]:
    """Parses whole lines into one block; also returns the number of the line after it."""
    text = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    inside = ~_SEPARATES[text]
    if not inside.any():
        empty = np.zeros(0, np.int64)
        nothing = np.zeros(0, np.int32)
        names = (*columns, "sizes") if "labels" in columns else columns
        return _Block(text[:0], empty, dict.fromkeys(names, nothing), nothing), line + len(newlines)
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # the block ends outside a token, with its newline
    edges = np.concatenate([[0], edges]) if inside[0] else edges
    starts, stops = edges[0::2], edges[1::2]

    past = np.searchsorted(starts, newlines)  # tokens before the end of each line
    first = np.concatenate([[0], past[:-1]])
    present = past > first
    past, first, lines = past[present], first[present], np.flatnonzero(present) + line
    bad = past - first < len(columns) + 1
    last_path = np.maximum(past - len(columns) - 1, first)
    path_start, path_stop = starts[first], stops[last_path]
    numbers = {}
    for column, name in enumerate(columns):
        token = np.maximum(past - len(columns) + column, first)
        if name == "labels":
            numbers[name], numbers["sizes"], fine = _parse_sets(text, starts[token], stops[token])
            quoted = text[stops[last_path] - 1] == _QUOTE
            _, counts_too = _parse_numbers(text, starts[last_path], stops[last_path])
            # refuse `path 300 3,7,12`: it would be read as a path of three words
            fine &= quoted | ~counts_too | (last_path == first) | (text[starts[token] - 1] != _COMMA)
        else:
            numbers[name], fine = _parse_numbers(text, starts[token], stops[token])
        bad |= ~fine
    if bad.any():
        worst = int(lines[np.argmax(bad)])
        content = data.split(b"\n", worst - line + 1)[worst - line]
        raise ListError(f"{source}:{worst}: {_explain(content, columns, header=worst == 1)}")

    quoted = (path_stop - path_start >= 2) & (text[path_start] == _QUOTE) & (text[path_stop - 1] == _QUOTE)
    path_start, path_stop = path_start + quoted, path_stop - quoted
    change = np.zeros(len(text) + 1, np.int8)
    change[path_start] += 1
    change[path_stop] -= 1
    blob = text[np.cumsum(change[:-1], dtype=np.int8).view(bool)]
    lengths = path_stop - path_start
    if quoted.any():
        blob, lengths = _undouble_quotes(blob, lengths, quoted)
    return _Block(blob, lengths, numbers, lines.astype(np.int32)), line + len(newlines)


def _parse_numbers(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parses the tokens text[start:stop], with or without quotes; returns int32 values and a mask of whole numbers."""
    start, stop = _unquoted(text, start, stop)
    negative = (text[np.minimum(start, len(text) - 1)] == _MINUS) & (stop > start)
    start = start + negative
    length = stop - start
    fine = (length >= 1) & (length <= _MAX_DIGITS)
    values = np.zeros(len(start), np.int64)
    for place in range(min(_MAX_DIGITS, int(length.max(initial=0)))):
        active = place < length
        digit = text[np.minimum(start + place, len(text) - 1)] - np.uint8(
            _ZERO
        )  # a character below "0" wraps around to a large number
        fine &= ~active | (digit <= 9)
        values = np.where(active & fine, values * 10 + digit, values)
    return np.where(negative, -values, values).astype(np.int32), fine


def _parse_sets(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parses tokens such as `3;7;12`.

    Returns the int32 numbers of all tokens end to end, the int32 number of them per token, and a mask of the tokens
    that are sets.
    """
    start, stop = _unquoted(text, start, stop)
    parts = np.flatnonzero(text == _PART)
    left, right = np.searchsorted(parts, start), np.searchsorted(parts, stop)
    none = (stop - start == 1) & (text[np.minimum(start, len(text) - 1)] == _NONE)
    sizes = np.where(none, 0, right - left + 1)
    token = np.repeat(np.arange(len(start)), sizes)
    place = np.arange(len(token)) - (np.cumsum(sizes) - sizes)[token]  # position of each number in its set
    edges = np.concatenate([[0], parts, [0]])  # edges[i] is the separator before parts[i]
    begin = np.where(place == 0, start[token], edges[left[token] + place] + 1)
    end = np.where(place == sizes[token] - 1, stop[token], edges[left[token] + place + 1])
    values, fine = _parse_numbers(text, begin, end)
    return values, sizes.astype(np.int32), np.bincount(token[~fine], minlength=len(start)) == 0


def _unquoted(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    quoted = (stop - start >= 2) & (text[start] == _QUOTE) & (text[stop - 1] == _QUOTE)
    return start + quoted, stop - quoted


def _undouble_quotes(blob: np.ndarray, lengths: np.ndarray, quoted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replaces two double quotes in a quoted path by one, as CSV does."""
    if not (blob == _QUOTE).any():
        return blob, lengths
    paths, data, at = [], blob.tobytes(), 0
    for length, unquote in zip(lengths.tolist(), quoted.tolist(), strict=True):
        path = data[at : at + length]
        paths.append(path.replace(b'""', b'"') if unquote else path)
        at += length
    return np.frombuffer(b"".join(paths), np.uint8), np.array([len(path) for path in paths], np.int64)


def _without_mark(data: bytes, source: Path) -> bytes:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ListError(f"{source}: is UTF-16 text; save it as UTF-8")
    if b"\0" in data[:4096]:
        raise ListError(f"{source}: is not a text file")
    if source.suffix.lower() == ".json" and data.lstrip()[:1] in (b"[", b"{"):
        raise ListError(f"{source}: is JSON, not a list; tools/make_lists.py --csv {source} makes lists of it")
    if b"\r" in data[:-1] and b"\n" not in data:  # data may end between a CR and its LF
        raise ListError(f"{source}: its lines end in CR alone; save it with LF or CRLF line ends")
    return data.removeprefix(b"\xef\xbb\xbf")


def _expected(columns: tuple[str, ...]) -> str:
    return " ".join(("path", *columns))


def _explain(content: bytes, columns: tuple[str, ...], *, header: bool) -> str:
    """Returns why a line is not a path followed by numbers, and what to do."""
    shown = os.fsdecode(content.strip()).encode("utf-8", "backslashreplace").decode()
    shown = shown if len(shown) <= 120 else shown[:117] + "..."
    tokens = [os.fsdecode(token).strip('"') for token in content.replace(b",", b" ").split()]
    wanted = f"expected `{_expected(columns)}`"
    digits = [_is_number(token) for token in tokens]
    if "labels" in columns and tokens:
        digits[-1] = all(map(_is_number, tokens[-1].split(SEPARATOR))) or tokens[-1] == NONE
    if header and not any(digits) and len(tokens) >= 2:
        return f"looks like a header ({shown!r}); delete this line ({wanted})"
    if len(tokens) < len(columns) + 1:
        if columns[0] == "num_frames" and len(columns) == 2 and len(tokens) == 2 and digits[1]:
            return (
                f"{wanted}, found 2 columns in {shown!r}; frame lists need the number of frames before the label "
                "(tools/make_lists.py writes such lists)"
            )
        return f"{wanted}, found only {len(tokens)} column{'s' * (len(tokens) != 1)} in {shown!r}"
    for name, token, fine in zip(columns, tokens[-len(columns) :], digits[-len(columns) :], strict=True):
        if not fine and name == "label" and SEPARATOR in token:
            return f"{token!r} is a set of classes in {shown!r}; such lists need common.multi_label: True"
        if not fine and name == "labels":
            return (
                f"labels {token!r} is neither whole numbers with {SEPARATOR!r} between them nor {NONE!r} in {shown!r}"
            )
        if not fine:
            return f"{name} {token!r} is not a whole number in {shown!r}; {wanted}"
    if "labels" in columns:
        return (
            f"a comma separates columns in {shown!r}; write several classes as 3{SEPARATOR}7{SEPARATOR}12, or put "
            "double quotes around a path that ends in a number"
        )
    return f"cannot read {shown!r}; {wanted}"


def _is_number(token: str) -> bool:
    """Returns whether `_parse_numbers` accepts the token."""
    digits = token.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS

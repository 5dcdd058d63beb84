"""Damages files the way strangers do: by chance, and where it hurts. The same seed damages the same way."""

from __future__ import annotations

import contextlib
import io
import pickletools
import random
import re
import struct
import zipfile
import zlib

LONGEST = 1 << 20  # bytes of a damaged file; longer ones test the disk
NUMBERS = ("0", "-1", "1e999", "nan", "2147483648", "4294967295", "99999999999", "9" * 5000, "0x10", "1_0", "٣", "true")
TEXT = (
    *(
        "'",
        '"',
        "\\",
        "\n",
        "\r",
        "\t",
        ",",
        ";",
        ":",
        "{",
        "[" * 2000,
        "(" * 300,
        "\0",
        "\x1b]0;x\x07",
        "\ufeff",
        "\u202e",
    ),
    *(
        "=1+1",
        "../../../etc/passwd",
        "/etc/passwd",
        "~",
        "%s%n",
        "{0.__class__}",
        "<script>",
        "None",
        "http://127.0.0.1:1/",
    ),
)
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63, 2**64 - 1)
_DIGITS = re.compile(rb"-?\d+(\.\d+)?")


def damaged(data: bytes, random_: random.Random, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Returns a damaged copy. tokens: what is worth writing into this kind of file."""
    if data[:4] == b"PK\x03\x04" and random_.random() < 0.6:
        with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, zlib.error, ValueError):
            return _inside_zip(data, random_, tokens)
    for _ in range(random_.choice((1, 1, 1, 2, 5))):
        data = random_.choice(DAMAGES)(data, random_, tokens)[:LONGEST]
    if data[:8] == b"\x89PNG\r\n\x1a\n" and random_.random() < 0.7:
        data = _with_sums(data)
    return data


def _inside_zip(data: bytes, random_: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    """Damages one member and writes the archive anew, so that its sums are right."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        members = {info: old.read(info) for info in old.infolist()}
        small = [info for info in members if info.file_size < 20_000]
        chosen = random_.choice(small or list(members))
        for info, content in members.items():
            if info is chosen:
                content = damaged(content, random_, tokens)
            new.writestr(zipfile.ZipInfo(info.filename), content, compress_type=info.compress_type)
    return written.getvalue()


def _with_sums(png: bytes) -> bytes:
    """Returns a PNG whose chunks have the right sums."""
    parts, place = [png[:8]], 8
    while place + 12 <= len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if place + 12 + length > len(png):
            break
        content = png[place + 4 : place + 8 + length]
        parts += [png[place : place + 4], content, struct.pack(">I", zlib.crc32(content))]
        place += 12 + length
    return b"".join(parts) + png[place:]


def _span(data: bytes, random_: random.Random) -> tuple[int, int]:
    start = random_.randrange(len(data) + 1)
    return start, min(len(data), start + random_.choice((1, 2, 4, 16, 100, 1000)))


def _flip(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    if not data:
        return data
    place = random_.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random_.randrange(8)]) + data[place + 1 :]


def _integer(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    width = random_.choice((1, 2, 4, 8))
    place, order = random_.randrange(len(data) + 1), random_.choice(("little", "big"))
    number = random_.choice(INTEGERS) % (1 << 8 * width)
    return data[:place] + number.to_bytes(width, order) + data[place + width :]  # type: ignore[arg-type]


def _cut(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    start, stop = _span(data, random_)
    return data[:start] + data[stop:]


def _end(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    return data[: random_.randrange(len(data) + 1)]


def _blank(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    start, stop = _span(data, random_)
    return data[:start] + bytes(stop - start) + data[stop:]


def _noise(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    start, stop = _span(data, random_)
    return data[:start] + random_.randbytes(stop - start) + data[stop:]


def _repeat(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    start, stop = _span(data, random_)
    return data[:stop] + data[start:stop] * random_.choice((1, 2, 50, 3000)) + data[stop:]


def _move(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    (start, stop), place = _span(data, random_), random_.randrange(len(data) + 1)
    return data[:place] + data[start:stop] + data[place:]


def _token(data: bytes, random_: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    token = random_.choice((*tokens, *tokens, *(text.encode() for text in TEXT)))
    start, stop = _span(data, random_)
    return data[:start] + token + data[random_.choice((start, stop)) :]


def _instruction(data: bytes, random_: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    """Puts a token between two instructions of a pickle, where it is obeyed; anywhere in another file."""
    places = []
    with contextlib.suppress(ValueError, IndexError, KeyError):  # a part of one is enough
        places += [place for _, _, place in pickletools.genops(data) if place is not None]
    if len(places) < 2 or not tokens:
        return _token(data, random_, tokens)
    place = random_.choice(places[1:])
    return data[:place] + random_.choice(tokens) + data[place:]


def _number(data: bytes, random_: random.Random, _: tuple[bytes, ...]) -> bytes:
    found = list(_DIGITS.finditer(data[: 1 << 16]))
    if not found:
        return data
    match = random_.choice(found)
    return data[: match.start()] + random_.choice(NUMBERS).encode() + data[match.end() :]


DAMAGES = (
    _flip,
    _flip,
    _integer,
    _integer,
    _cut,
    _end,
    _blank,
    _noise,
    _repeat,
    _move,
    _token,
    _token,
    _instruction,
    _instruction,
    _number,
    _number,
)

"""What a JPEG's bytes tell without being decoded (ITU-T T.81)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

JPEG, _END = b"\xff\xd8", b"\xff\xd9"
# markers of a frame header (SOF0..SOF15 without DHT, JPG and DAC)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)  # those whose pixels come row by row, in Huffman's code
_SCAN, _RESTARTS = 0xDA, 0xDD
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_EXIF = b"Exif\0\0"


class JpegHeader(NamedTuple):
    """What a JPEG says before its pixels, which begin at `scan`.

    height, width: as stored. height_at: where the height's two bytes are. block: rows that are coded together; 0 unless
    all blocks come in order, in one scan, in Huffman's code and without restart markers, so that decoding can end
    early. exif: whether there are Exif data, which may turn the picture.
    """

    height: int
    width: int
    components: int
    height_at: int
    scan: int
    block: int
    exif: bool

    @property
    def plain(self) -> bool:
        """Whether every decoder shows it as it is stored: of a known size, in RGB or grey, and not turned."""
        return self.height > 0 and self.width > 0 and self.components != 4 and not self.exif


def jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of a JPEG, without decoding; None if there is none."""
    if not data.startswith(JPEG):
        return None
    position, frame, restarts = 2, 0, False
    while position + 9 < len(data) and data[position] == 0xFF and data[position + 1] != _SCAN:
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:  # a fill byte is allowed before any marker
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_HEADERS:
            frame = position
        elif marker == _RESTARTS:
            restarts = True
        position += 2 + (data[position + 2] << 8 | data[position + 3])
    if not frame:
        return None
    height, width = data[frame + 5] << 8 | data[frame + 6], data[frame + 7] << 8 | data[frame + 8]
    components = data[frame + 9]
    together = position + 4 < len(data) and data[position + 4] == components
    block = 0
    if data[frame + 1] in _SEQUENTIAL and together and not restarts:
        factors = data[frame + 11 : frame + 11 + 3 * components : 3]  # of each component: across << 4 | down
        block = 8 * max((factor & 15 for factor in factors), default=0)
    exif = data.find(_EXIF, 0, position) >= 0
    return JpegHeader(height, width, components, frame + 5, position, block, exif)


def is_whole_jpeg(data: bytes) -> bool:
    """Whether a JPEG has its end: decoders fill what is missing without a word."""
    if data.endswith(_END):
        return True
    header = jpeg_header(data)  # behind it, so that a thumbnail's end is not taken for the picture's
    return header is not None and data.find(_END, header.scan) >= 0


def headers_of_one_size(frames: Sequence[bytes]) -> list[JpegHeader] | None:
    """The headers of JPEGs; None unless all are plain and of one size."""
    first = jpeg_header(frames[0])
    if first is None:
        return None
    known = frames[0][: first.scan + 5]  # with how many colours it has: one program writes the same again and again
    headers = [first if frame.startswith(known) else jpeg_header(frame) for frame in frames]
    alike = [header for header in headers if header is not None and header.plain and header[:2] == first[:2]]
    return alike if len(alike) == len(frames) else None


def with_fewer_rows(data: bytes, header: JpegHeader, rows: int) -> bytes:
    """A JPEG that is shorter by its header: the decoder stops when it has them all.

    Its end goes, or the decoder would find it too early and say so on stderr, as it does of any marker. One row more is
    kept, for colours of half the size are interpolated between rows. As it was, where that leaves out no block, or
    where more follows its end.
    """
    wanted, block = rows + 1, header.block
    if not block or -(-wanted // block) >= -(-header.height // block):
        return data
    if data.find(_END, header.scan) != len(data) - len(_END):
        return data
    return b"".join((data[: header.height_at], wanted.to_bytes(2, "big"), data[header.height_at + 2 : -len(_END)]))

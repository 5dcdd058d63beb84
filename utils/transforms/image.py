"""Decodes one encoded image to uint8 RGB, reads the header of a JPEG (ITU-T T.81), and resizes a picture fast.

OpenCV reads almost everything; Pillow reads what OpenCV gets wrong (CMYK). A damaged image is an error here, never a
half-grey picture: OpenCV silently fills in what a truncated file lacks, and what libjpeg complains about.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.errors import FrameError

# OpenCV < 4.11 has no flag that decodes to RGB directly, so the channels are swapped afterwards. It also does not say
# where the rows of a JPEG end too early and leaves whatever was in memory, so all rows are decoded there
_DECODES_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOR = cv2.IMREAD_COLOR_RGB if _DECODES_RGB else cv2.IMREAD_COLOR
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}

Size = tuple[int, int]  # height, width

MAX_PIXELS = 1 << 26  # of one picture, unless a config allows more: 8192 x 8192, 200 MB
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers SOF0..SOF15 without DHT, JPG and DAC
_SEQUENTIAL = (0xC0, 0xC1)  # frame headers of JPEGs whose pixels come row by row, in Huffman's code
_SCAN, _RESTARTS = 0xDA, 0xDD
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})  # markers that no length follows
_EXIF = b"Exif\0\0"
_STDERR = 2
# what libjpeg warns of where the pixels are wrong; its other warnings are about headers
_DAMAGE = re.compile(rb"^(?:Corrupt JPEG data: .*|Premature end of JPEG file|Inconsistent progression .*)\n?", re.M)
_in_this_thread = threading.local()  # `hears`: whether a block of hear_libjpeg is open


class UnreadableFrameError(FrameError):
    """Says that a frame cannot be decoded; `position` (0-based) in its clip lets the caller name the file."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class JpegHeader(NamedTuple):
    """Holds what a JPEG says before its pixels.

    height, width: size of the picture as it is stored.
    components: 1 for grey, 3 for colour, 4 for CMYK.
    height_at: position of the two bytes of the height.
    scan: position where the pixels begin.
    block: number of rows that are coded together; 0 unless all blocks come in order, in one scan, in Huffman's code and
        without restart markers, so that decoding can end early.
    exif: whether there is Exif data, which may rotate the picture.
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
        """True if every decoder shows the picture as it is stored: of a known size, in RGB or grey, and not rotated."""
        return self.height > 0 and self.width > 0 and self.components != 4 and not self.exif


def decode_frame(
    frames: Sequence[bytes],
    position: int,
    *,
    headers: Sequence[JpegHeader] | None = None,
    grey: bool = False,
    reduce: int = 1,
    rows: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decodes one frame of a clip by `decode_image`, or by `decode_grey`. headers: those of all its frames, if known.

    Raises: UnreadableFrameError with the position of the frame.
    """
    data = frames[position]
    try:
        if grey:
            return decode_grey(data, max_pixels=max_pixels)
        header = None if headers is None else headers[position]
        return decode_image(data, reduce=reduce, rows=rows, header=header, max_pixels=max_pixels)
    except ValueError as error:
        message = f"frame {position + 1} of {len(frames)}: not a readable image: {error}"
        raise UnreadableFrameError(message, position) from error


def decode_image(
    data: bytes,
    reduce: int = 1,
    *,
    rows: int | None = None,
    header: JpegHeader | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decodes JPEG, PNG or any other format that OpenCV knows to uint8 (H, W, 3), RGB.

    Grey, CMYK, palette and 16-bit images become RGB; the Exif orientation is applied.

    reduce: 2, 4 or 8 gives that fraction of the size (rounded up), averaged; a JPEG is averaged inside its inverse
        transform, which is faster.
    rows: number of rows of the stored picture that are needed, from the top. A JPEG may come without the others, which
        saves the time to decode them.
    header: header of the JPEG, if it is known already.
    max_pixels: height x width that is allowed. It is read from the header, before memory is taken.
    Raises: ValueError with the reason if the bytes are not an image, or a damaged or too large one.
    """
    is_jpeg = _check_complete(data)
    if is_jpeg and header is None:
        header = jpeg_header(data)
    _check_size(data, header if is_jpeg else None, max_pixels)
    if header is not None and header.components == 4:
        imdecode(data, _COLOR)  # only to hear about damage, which Pillow keeps to itself
        return _averaged(_decode_with_pillow(data), reduce)
    needed = data
    if rows is not None and header is not None and _DECODES_RGB:
        needed = _with_fewer_rows(data, header, rows)
    flags = _REDUCED[reduce] if is_jpeg and reduce > 1 else _COLOR
    try:
        image = imdecode(needed, flags)
    except ValueError:
        if needed is data:
            raise
        image = None
    if image is None and needed is not data:
        # either the shortened file ends within the decoder's look-ahead, or it is damaged: decode all of it
        return decode_image(data, reduce, header=header, max_pixels=max_pixels)
    if image is None:
        return _averaged(_decode_with_pillow(data), reduce)
    if flags != _COLOR or not _DECODES_RGB:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image if is_jpeg else _averaged(image, reduce)


def imdecode(data: bytes, flags: int) -> Any:
    """Decodes as cv2.imdecode does; returns None if the bytes are not an image that OpenCV knows.

    Raises: ValueError for what OpenCV refuses and, outside a block of `hear_libjpeg`, with libjpeg's complaint about a
        damaged JPEG.
    """
    if getattr(_in_this_thread, "hears", False):
        return _imdecode(data, flags)
    with hear_libjpeg() as complaints:
        image = _imdecode(data, flags)
    if complaints:
        raise ValueError(f"damaged JPEG, {len(data)} bytes: libjpeg says {complaints[0]!r}")
    return image


def _imdecode(data: bytes, flags: int) -> Any:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV: {error.err}, {len(data)} bytes") from error


@contextlib.contextmanager
def hear_libjpeg() -> Iterator[list[str]]:
    """Fills a list, when the block ends, with what libjpeg has complained about in the pictures decoded meanwhile.

    Stderr is a file in memory meanwhile, and what another thread or library prints there is passed on. This costs some
    system calls: decode all pictures of a clip in one block, and each on its own only if there was a complaint.
    """
    one_at_a_time, file = _in_place_of_stderr(os.getpid())
    complaints: list[str] = []
    with one_at_a_time:
        try:
            stderr = os.dup(_STDERR)
        except OSError:  # it is closed, and this takes its number
            stderr = os.open(os.devnull, os.O_WRONLY)
        os.dup2(file, _STDERR)
        _in_this_thread.hears = True
        try:
            yield complaints
        finally:
            _in_this_thread.hears = False
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            if size := os.lseek(file, 0, os.SEEK_CUR):
                text = os.pread(file, size, 0)
                os.ftruncate(file, 0)
                os.lseek(file, 0, os.SEEK_SET)
                complaints += [found[0].decode("ascii", "replace").strip() for found in _DAMAGE.finditer(text)]
                if rest := _DAMAGE.sub(b"", text):
                    os.write(_STDERR, rest)


@functools.lru_cache(1)
def _in_place_of_stderr(process: int) -> tuple[threading.Lock, int]:
    """Returns a file in memory and its lock, of this process: a fork shares neither."""
    if hasattr(os, "memfd_create"):
        return threading.Lock(), os.memfd_create("libjpeg")
    with tempfile.TemporaryFile() as file:
        return threading.Lock(), os.dup(file.fileno())


def decode_grey(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes one picture of optical flow to uint8 (H, W). Raises ValueError as `decode_image` does."""
    _check_size(data, jpeg_header(data) if _check_complete(data) else None, max_pixels)
    image = imdecode(data, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError(f"not a readable image ({len(data)} bytes)")
    return image


def _check_complete(data: bytes) -> bool:
    """Returns whether it is a JPEG. Raises ValueError for a JPEG or PNG that is cut off, and for empty data."""
    if not data:
        raise ValueError("0 bytes")
    if data.startswith(_JPEG):
        if not is_complete_jpeg(data):
            raise ValueError(f"truncated JPEG, {len(data)} bytes")
        return True
    if data.startswith(_PNG) and data.rfind(_PNG_END) < 0:
        raise ValueError(f"truncated PNG, {len(data)} bytes")
    return False


def _check_size(data: bytes, header: JpegHeader | None, max_pixels: int) -> None:
    """Raises ValueError for a picture with more pixels, and for one whose header does not say how many it has."""
    if header is not None:
        height, width = header.height, header.width
    elif data.startswith(_JPEG):
        raise ValueError(f"damaged JPEG, {len(data)} bytes: nothing in it says its size")
    elif data.startswith(_PNG):
        width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    else:
        try:
            with Image.open(io.BytesIO(data)) as image:  # reads no pixels
                width, height = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"not a readable image ({len(data)} bytes)") from error
    if height * width > max_pixels:
        raise ValueError(
            f"{width}x{height} pixels are more than the {max_pixels} of common.data.max_pixels, {len(data)} bytes"
        )


def _averaged(image: np.ndarray, reduce: int) -> np.ndarray:
    if reduce == 1:
        return image
    size = -(-image.shape[1] // reduce), -(-image.shape[0] // reduce)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))  # writable, as OpenCV's are
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable image ({len(data)} bytes)") from error


# --- headers of JPEGs ---


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Reads the header of a JPEG without decoding it; returns None if the data has none."""
    if not data.startswith(_JPEG):
        return None
    position, frame, restarts = 2, 0, False
    while position + 9 < len(data) and data[position] == 0xFF and data[position + 1] != _SCAN:
        marker = data[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # a fill byte is allowed before any marker
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


def headers_of_one_size(frames: Sequence[bytes]) -> list[JpegHeader] | None:
    """Reads the headers of JPEGs; returns None unless all are plain and of one size."""
    first = jpeg_header(frames[0])
    if first is None:
        return None
    known = frames[0][: first.scan + 5]  # up to the number of colours; one program writes the same header every time
    headers = [first if frame.startswith(known) else jpeg_header(frame) for frame in frames]
    alike = [header for header in headers if header is not None and header.plain and header[:2] == first[:2]]
    return alike if len(alike) == len(frames) else None


def is_complete_jpeg(data: bytes) -> bool:
    """Returns whether a JPEG has its end marker: decoders silently fill in what is missing."""
    if data.endswith(_JPEG_END):
        return True
    header = jpeg_header(data)  # looked for behind the header, where a thumbnail has an end marker of its own
    return header is not None and data.find(_JPEG_END, header.scan) >= 0


def _with_fewer_rows(data: bytes, header: JpegHeader, rows: int) -> bytes:
    """Returns a JPEG whose header asks for fewer rows, so that the decoder stops when it has them all.

    The end marker is removed, because the decoder would find it too early and complain on stderr, as it does about any
    marker. One row more is kept, because colours of half the size are interpolated between rows. The data is returned
    unchanged where no block would be left out, or where something follows its end.
    """
    wanted, block = rows + 1, header.block
    if not block or -(-wanted // block) >= -(-header.height // block):
        return data
    if data.find(_JPEG_END, header.scan) != len(data) - len(_JPEG_END):
        return data
    return b"".join((data[: header.height_at], wanted.to_bytes(2, "big"), data[header.height_at + 2 : -len(_JPEG_END)]))


# --- resizing ---


def quick_resize(image: np.ndarray, size: Size, *, average: bool, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes uint8 (H, W[, C]) to (height, width) by OpenCV's fastest code.

    It is for pictures that need not equal another project's: Intel's IPP, which OpenCV's builds for x86 contain,
    averages two to five times as fast as OpenCV's own code and interpolates a fifth faster, but its results may differ
    by one grey level, so OpenCV uses it only when asked to.

    average: for pictures that shrink; else pixels are interpolated bilinearly.
    """
    interpolation = cv2.INTER_AREA if average else cv2.INTER_LINEAR
    cv2.ipp.setUseIPP_NotExact(True)  # for this thread only
    try:
        return cv2.resize(image, size[::-1], dst=out, interpolation=interpolation)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)


def resize_auto(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes bilinearly; where both sides shrink to a half or less, which would skip pixels, it averages them.

    It uses the fastest code there is: a pixel may differ by one grey level from "linear", and between processors.
    """
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= 2 * size[0] and image.shape[1] >= 2 * size[1]
    return quick_resize(image, size, average=shrinks, out=out)

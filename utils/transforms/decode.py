"""One encoded image -> uint8 RGB. OpenCV reads almost everything; Pillow reads what OpenCV gets wrong (CMYK).

A damaged image is an error here, never a half-grey picture: OpenCV fills what a truncated file lacks without a word.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.errors import FrameError
from utils.transforms.jpeg import JPEG, JpegHeader, is_whole_jpeg, jpeg_header, with_fewer_rows

# OpenCV < 4.11 has no flag that decodes to RGB at once: the channels are swapped afterwards. Nor does it say where a
# JPEG's rows end too early, but leaves what lay in the memory: there all of them are decoded
_DECODES_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOR = cv2.IMREAD_COLOR_RGB if _DECODES_RGB else cv2.IMREAD_COLOR
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class UnreadableFrameError(FrameError):
    """A frame that cannot be decoded; `position` (0-based) in its clip lets the caller name the file."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


def decode_grey(data: bytes) -> np.ndarray:
    """Decodes one picture of optical flow to uint8 (H, W). Raises as decode_image."""
    _check_whole(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise ValueError(f"OpenCV: {error.err}, {len(data)} bytes") from error
    if image is None:
        raise ValueError(f"not a readable image ({len(data)} bytes)")
    return image


def decode_image(
    data: bytes, reduce: int = 1, *, rows: int | None = None, header: JpegHeader | None = None
) -> np.ndarray:
    """Decodes JPEG, PNG or whatever else OpenCV knows to uint8 (H, W, 3), RGB.

    Grey, CMYK, palette and 16-bit images become RGB; EXIF orientation is honoured. `reduce` 2, 4 or 8 gives that
    fraction of the size (rounded up), averaged; a JPEG is averaged inside its inverse transform, which is faster. Where
    only the first `rows` of the stored picture are needed, the others of a JPEG may be missing, which saves their time.
    header: of the JPEG, if it is known already.

    Raises ValueError with the reason if the bytes are no image or a damaged one.
    """
    is_jpeg = _check_whole(data)
    if is_jpeg and header is None:
        header = jpeg_header(data)
    if header is not None and header.components == 4:
        return _averaged(_decode_with_pillow(data), reduce)
    needed = data
    if rows is not None and header is not None and _DECODES_RGB:
        needed = with_fewer_rows(data, header, rows)
    flags = _REDUCED[reduce] if is_jpeg and reduce > 1 else _COLOR
    try:
        image = cv2.imdecode(np.frombuffer(needed, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV: {error.err}, {len(data)} bytes") from error
    if image is None and needed is not data:  # the decoder looks ahead, beyond the end of a tiny one; or it is damaged
        return decode_image(data, reduce, header=header)
    if image is None:
        return _averaged(_decode_with_pillow(data), reduce)
    if flags != _COLOR or not _DECODES_RGB:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image if is_jpeg else _averaged(image, reduce)


def _check_whole(data: bytes) -> bool:
    """Whether it is a JPEG. Raises ValueError for a JPEG or PNG that is cut off, and for no bytes at all."""
    if not data:
        raise ValueError("0 bytes")
    if data.startswith(JPEG):
        if not is_whole_jpeg(data):
            raise ValueError(f"truncated JPEG, {len(data)} bytes")
        return True
    if data.startswith(_PNG) and data.rfind(_PNG_END) < 0:
        raise ValueError(f"truncated PNG, {len(data)} bytes")
    return False


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

"""Worker side: encoded frames of one clip -> uint8 pixels, cut, resized and mirrored alike. One clip at a time.

Where to cut is decided in crops.py, how to decode in decode.py, which of them belong together in presets.py. Colour,
erasing and normalisation happen on the device (augment.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from utils.clip_spec import MODALITIES
from utils.transforms.crops import CropRule, Plan, Size
from utils.transforms.decode import UnreadableFrameError, decode_grey, decode_image
from utils.transforms.jpeg import headers_of_one_size
from utils.transforms.resize import quick_resize

# image (H, W, C), size, and memory of the result's shape and type that it may use (and then returns) or None
Resize = Callable[[np.ndarray, Size, np.ndarray | None], np.ndarray]
# position in the clip, 2 for half the size, how many rows are needed (None: all) -> frame (H, W, 3)
Read = Callable[[int, int, int | None], np.ndarray]


class CutClip:
    """Decodes and cuts clips by one rule.

    rule: chooses boxes, once per clip. size: of the output, one side or (height, width). interpolation: a name in
    INTERPOLATIONS. flip: probability that a training clip is mirrored as a whole. modality: a name in
    utils.clip_spec.MODALITIES; a mirrored field of optical flow also changes the sign of its x, which is 255 - x here.

    With "auto", JPEGs that shrink to a half or less are decoded at half their size, in half the time, and boxes begin
    and end on even pixels: within 1.5 grey levels on average of what the whole picture gives, in real frames. No
    published preset has "auto": they stay exact.
    """

    def __init__(
        self,
        rule: CropRule,
        size: int | Sequence[int],
        *,
        interpolation: str = "auto",
        flip: float = 0.0,
        modality: str = "rgb",
    ) -> None:
        self.rule = rule
        self.size: Size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.interpolation = interpolation
        self.flip = flip
        self.is_flow = modality == "flow"
        self.channels = MODALITIES[modality].channels
        self.num_crops = getattr(rule, "num_crops", 1)  # S, pieces that one clip becomes
        self.dtype = np.dtype(np.float32 if interpolation == "float" else np.uint8)

    def __call__(
        self, frames: Sequence[bytes], rng: np.random.Generator | None = None, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, bool]:
        """Decodes T encoded frames, or the 2 T pictures of T fields of optical flow (x and y in turn), and cuts them.

        Returns (crops, T, H, W, C), RGB or x and y, C-contiguous, uint8 (float32 in 0..255 with interpolation "float"),
        and whether the clip was mirrored. `rng` is the sample's generator; test rules need none and ignore it. `out` is
        memory of that shape and type to write into, instead of new memory.

        Raises UnreadableFrameError naming the position of the first frame that is no image.
        """
        if self.is_flow:
            return self._cut(len(frames) // 2, lambda position, *_: _decode_field(frames, position), None, rng, out)
        headers = headers_of_one_size(frames)
        if headers is None:
            return self._cut(len(frames), lambda position, *_: decode_frame(frames, position), None, rng, out)

        def read(position: int, reduce: int, rows: int | None) -> np.ndarray:
            return decode_frame(frames, position, reduce=reduce, rows=rows, header=headers[position])

        return self._cut(len(frames), read, headers[0][:2], rng, out)

    def apply(
        self,
        frames: np.ndarray | Sequence[np.ndarray],
        rng: np.random.Generator | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, bool]:
        """The same for frames that are already decoded: uint8 (T, H, W, C), or T arrays (H, W, C)."""
        return self._cut(len(frames), lambda position, *_: frames[position], None, rng, out)

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> tuple[Plan, bool]:
        """What happens to all frames of one clip, of this size, and whether they are mirrored."""
        plan = self.rule.plan(height, width, self.size, rng)
        return plan, rng is not None and self.flip > 0 and bool(rng.random() < self.flip)

    def room(self, *leading: int) -> Tensor | None:
        """Memory for clips, (*leading, H, W, C), of this output's size and type; nothing is written into it yet."""
        return empty_clips((*leading, *self.size, self.channels), self.dtype)

    def join(self, views: Sequence[np.ndarray], where: str, out: np.ndarray | None) -> np.ndarray:
        """The clips of one sample together: they lie in `out` already, memory that `room` gave."""
        assert out is not None
        return out

    def blank(self, num_views: int, num_frames: int, out: np.ndarray | None) -> np.ndarray:
        """Zeros in place of the clips of a sample that cannot be read."""
        assert out is not None
        out.fill(0)
        return out

    def _cut(
        self, num_frames: int, read: Read, size: Size | None, rng: np.random.Generator | None, out: np.ndarray | None
    ) -> tuple[np.ndarray, bool]:
        """size: of all frames, if it is known before they are read: only what is needed of them is read then."""
        first = read(0, 1, None) if size is None else None
        height, width = first.shape[:2] if first is not None else size or (0, 0)
        plan, flip = self.draw(height, width, rng)
        reduce, rows = 1, None
        if size is not None and self.interpolation == "auto" and _may_be_halved(plan, size):
            reduce, plan = 2, _halved(plan)
        shapes = [(-(-height // reduce), -(-width // reduce))]
        if size is not None and plan.box is not None and plan.before is None:
            rows = reduce * (plan.box[0] + plan.box[2])
            shapes.append((-(-(rows + 1) // reduce), shapes[0][1]))
        shape = (len(plan.crops), num_frames, *self.size, self.channels)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self.dtype} {shape}, not {out.dtype} {out.shape}")
        for position in range(num_frames):
            frame = first if position == 0 and first is not None else read(position, reduce, rows)
            if frame.shape[:2] not in shapes:
                frame = _fit(frame, shapes[0])
            self._write(frame, plan, flip, out[:, position])
        return out, flip

    def _write(self, frame: np.ndarray, plan: Plan, flip: bool, out: np.ndarray) -> None:
        """Cuts one frame into `out` (crops, H, W, C)."""
        resize = INTERPOLATIONS[self.interpolation]
        if plan.before is not None:
            frame = resize(frame, plan.before, None)
        if plan.box is not None:
            top, left, height, width = plan.box
            frame = frame[top : top + height, left : left + width]
        if plan.resize == self.size and len(plan.crops) == 1:  # nothing is cut off: resized to where it belongs
            crop = out[0]
            self._place(resize(frame, plan.resize, crop), crop, plan.mirrored[0] != flip)
            return
        frame = resize(frame, plan.resize, None)
        for crop, (top, left), mirrored in zip(out, plan.crops, plan.mirrored, strict=True):
            self._place(frame[top : top + crop.shape[0], left : left + crop.shape[1]], crop, mirrored != flip)

    def _place(self, piece: np.ndarray, crop: np.ndarray, mirrored: bool) -> None:
        """Copies one piece into the output, where it may lie already."""
        if mirrored:
            cv2.flip(piece, 1, dst=crop)
            if self.is_flow:
                np.subtract(255, crop[..., 0], out=crop[..., 0])
        elif piece is not crop:
            crop[...] = piece


def empty_clips(shape: Sequence[int], dtype: np.dtype, *, shared: bool | None = None) -> Tensor:
    """A tensor of this shape, not yet written, in memory that processes share or not: None shares in a loader's worker.

    What a worker makes elsewhere is copied there.
    """
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    if not (torch.utils.data.get_worker_info() is not None if shared is None else shared):
        return torch.empty(*shape, dtype=kind)
    size = math.prod(shape)
    storage = torch.UntypedStorage._new_shared(size * kind.itemsize)  # as torch's own default_collate does
    return torch.empty(0, dtype=kind).set_(storage, 0, (size,), (1,)).view(*shape)


def _may_be_halved(plan: Plan, size: Size) -> bool:
    """Whether what is resized shrinks to a half or less; whole frames only where no half pixel would be left over."""
    tall, wide = size if plan.box is None else plan.box[2:]
    shrinks = tall >= 2 * plan.resize[0] and wide >= 2 * plan.resize[1]
    return plan.before is None and shrinks and (plan.box is not None or not (tall % 2 or wide % 2))


def _halved(plan: Plan) -> Plan:
    """The same for frames of half the size; a box moves by at most one of their former pixels."""
    if plan.box is None:
        return plan
    top, left, height, width = (side // 2 for side in plan.box)
    return dataclasses.replace(plan, box=(top, left, height, width))


def _decode_field(frames: Sequence[bytes], position: int) -> np.ndarray:
    """uint8 (H, W, 2): x and y of one field of optical flow."""
    x, y = (_decoded(decode_grey, frames, 2 * position + axis) for axis in range(2))
    return np.dstack([x, y if y.shape == x.shape else _fit(y, x.shape)])


def decode_frame(frames: Sequence[bytes], position: int, **how: Any) -> np.ndarray:
    """One frame of a clip by `decode_image`. Raises UnreadableFrameError with its position."""
    return _decoded(decode_image, frames, position, **how)


def _decoded(decode: Callable[..., np.ndarray], frames: Sequence[bytes], position: int, **how: Any) -> np.ndarray:
    try:
        return decode(frames[position], **how)
    except ValueError as error:
        message = f"frame {position + 1} of {len(frames)}: not a readable image: {error}"
        raise UnreadableFrameError(message, position) from error


def _fit(frame: np.ndarray, size: Size) -> np.ndarray:
    """A frame of another size than the clip's first is brought to that size, so that one box fits all."""
    shrinks = size[0] < frame.shape[0] and size[1] < frame.shape[1]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_linear(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """OpenCV's bilinear on uint8, without antialiasing (mmaction2)."""
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def resize_auto(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Bilinear; where both sides shrink to a half or less, which would skip pixels, their average.

    By the fastest code at hand: a pixel may differ by one grey level from "linear", and from one processor to another.
    """
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= 2 * size[0] and image.shape[1] >= 2 * size[1]
    return quick_resize(image, size, average=shrinks, out=out)


def resize_pillow(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Pillow's bilinear, antialiased (MIT's TSM, tsn-pytorch)."""
    if image.shape[:2] == size:
        return image
    if image.shape[2] != 3:  # no kind of picture that Pillow has: channel by channel, as tsn-pytorch resizes flow
        return np.dstack([_pillow(channel, size) for channel in np.moveaxis(image, -1, 0)])
    return _pillow(image, size)


def _pillow(image: np.ndarray, size: Size) -> np.ndarray:
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_float(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """PyTorch's bilinear on float32 without antialiasing (PySlowFast, PyTorchVideo, VMZ); stays float32 in 0..255.

    OpenCV's float version rounds its coordinates differently, up to 1e-4 of the range.
    """
    pixels = image.astype(np.float32)
    if image.shape[:2] == size:
        return pixels
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # H,W,C -> 1,C,H,W, a view: stays channels-last
    resized = torch.nn.functional.interpolate(batch, size=size, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def resize_rounded(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """The same, rounded to uint8 (torchvision's video presets)."""
    return image if image.shape[:2] == size else np.rint(resize_float(image, size)).astype(np.uint8)


INTERPOLATIONS: dict[str, Resize] = {
    "auto": resize_auto,
    "linear": resize_linear,
    "pillow": resize_pillow,
    "float": resize_float,
    "rounded": resize_rounded,
}

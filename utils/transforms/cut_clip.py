"""Turns the frames of one clip into pixels, in a worker: decodes, cuts, resizes and mirrors all of them alike.

Where to cut is decided in crops.py, how to decode and resize in image.py, which settings belong together in
presets.py. Colour, erasing and normalisation happen on the device (augment.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from utils.clip_spec import MODALITIES
from utils.transforms.crops import CropRule, Plan, Size
from utils.transforms.image import MAX_PIXELS, UnreadableFrameError, decode_frame, headers_of_one_size, hear_libjpeg
from utils.transforms.resize import INTERPOLATIONS


class CutClip:
    """Decodes and cuts clips by one rule.

    rule: chooses boxes, once per clip.
    size: size of the output, one side or (height, width).
    interpolation: a name in resize.INTERPOLATIONS.
    flip: probability that a training clip is mirrored as a whole.
    modality: a name in utils.clip_spec.MODALITIES; a mirrored field of optical flow also changes the sign of its x,
        which is 255 - x here.
    max_pixels: height x width that a frame may have.

    It also has num_crops, the number of pieces that one clip becomes, and the `channels` and `dtype` of its output.

    With "auto", JPEGs that shrink to a half or less are decoded at half their size, in half the time, and boxes begin
    and end on even pixels: real frames differ by 1.5 grey levels on average from what the whole picture gives. No
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
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.rule = rule
        self.size: Size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.interpolation = interpolation
        self.flip = flip
        self.max_pixels = max_pixels
        self.is_flow = modality == "flow"
        self.channels = MODALITIES[modality].channels
        self.num_crops: int = getattr(rule, "num_crops", 1)
        self.dtype = np.dtype(np.float32 if interpolation == "float" else np.uint8)

    def __call__(
        self, frames: Sequence[bytes], rng: np.random.Generator | None = None, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, bool]:
        """Decodes and cuts T encoded frames, or the 2 T pictures of T fields of optical flow (x and y in turn).

        rng: the sample's generator; test rules do not use it.
        out: memory of the result's shape and type to write into, instead of new memory.

        Returns (crops, T, H, W, C), RGB or x and y, C-contiguous, uint8 (float32 in 0..255 with interpolation "float"),
        and whether the clip was mirrored.
        Raises: UnreadableFrameError with the position of the first frame that cannot be decoded.
        """
        count = len(frames) // 2 if self.is_flow else len(frames)
        crops = None
        with hear_libjpeg() as complaints:
            headers = None if self.is_flow else headers_of_one_size(frames)
            known = []
            if headers is None:
                decode = functools.partial(
                    _decode_field if self.is_flow else decode_frame, frames, max_pixels=self.max_pixels
                )
                known = [decode(0)]  # only decoding shows the size
                height, width = known[0].shape[:2]
                plan, flip = self.draw(height, width, rng)
                sizes = [(height, width)]
            else:
                height, width = headers[0][:2]
                plan, flip = self.draw(height, width, rng)
                reduce, rows = 1, None
                if self.interpolation == "auto" and _may_be_halved(plan, (height, width)):
                    reduce, plan = 2, _halved(plan)
                sizes = [(-(-height // reduce), -(-width // reduce))]
                if plan.box is not None and plan.before is None:  # what lies below the box is not decoded
                    rows = reduce * (plan.box[0] + plan.box[2])
                    sizes.append((-(-(rows + 1) // reduce), sizes[0][1]))
                decode = functools.partial(
                    decode_frame, frames, headers=headers, reduce=reduce, rows=rows, max_pixels=self.max_pixels
                )

            def cut(known: Sequence[np.ndarray]) -> np.ndarray:
                # decodes one by one, so that each is cut while it is in the processor's cache
                pictures = itertools.chain(known, map(decode, range(len(known), count)))
                return self.cut(pictures, plan, flip, out, num_frames=count, sizes=sizes)

            with contextlib.suppress(UnreadableFrameError):  # libjpeg may have complained about a frame before it
                crops = cut(known)
        if crops is None or complaints:  # about which frame? outside of the block each is heard on its own
            crops = cut([])
        return crops, flip

    def apply(
        self,
        frames: np.ndarray | Sequence[np.ndarray],
        rng: np.random.Generator | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, bool]:
        """Cuts frames, like a call, that are decoded already: uint8 (T, H, W, C), or T arrays (H, W, C)."""
        size = frames[0].shape[:2]
        plan, flip = self.draw(size[0], size[1], rng)
        return self.cut(frames, plan, flip, out, num_frames=len(frames), sizes=[size]), flip

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> tuple[Plan, bool]:
        """Returns what happens to all frames of one clip, of this size, and whether they are mirrored."""
        plan = self.rule.plan(height, width, self.size, rng)
        return plan, rng is not None and self.flip > 0 and bool(rng.random() < self.flip)

    def cut(
        self,
        pictures: Iterable[np.ndarray],
        plan: Plan,
        flip: bool,
        out: np.ndarray | None = None,
        *,
        num_frames: int,
        sizes: Sequence[Size],
    ) -> np.ndarray:
        """Carries out a plan on T = num_frames pictures (H, W, C); returns (crops, T, H, W, C), in `out` if given.

        sizes: sizes that the plan fits; a picture of another size is resized to the first of them.
        """
        shape = (len(plan.crops), num_frames, *self.size, self.channels)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self.dtype} {shape}, not {out.dtype} {out.shape}")
        resize = INTERPOLATIONS[self.interpolation]
        whole = plan.resize == self.size and len(plan.crops) == 1  # nothing is cut off after resizing
        for picture, place in zip(pictures, out.swapaxes(0, 1), strict=True):
            crops = list(place)
            frame = picture if picture.shape[:2] in sizes else _fit(picture, sizes[0])
            if plan.before is not None:
                frame = resize(frame, plan.before, None)
            if plan.box is not None:
                top, left, height, width = plan.box
                frame = frame[top : top + height, left : left + width]
            frame = resize(frame, plan.resize, crops[0] if whole else None)
            for crop, (top, left), mirrored in zip(crops, plan.crops, plan.mirrored, strict=True):
                piece = frame if whole else frame[top : top + self.size[0], left : left + self.size[1]]
                if mirrored != flip:
                    cv2.flip(piece, 1, dst=crop)
                    if self.is_flow:
                        np.subtract(255, crop[..., 0], out=crop[..., 0])
                elif piece is not crop:  # else it was resized to where it belongs
                    crop[...] = piece
        return out


def _may_be_halved(plan: Plan, size: Size) -> bool:
    """Returns whether what is resized shrinks to a half or less, and no half pixel is left over in whole frames."""
    tall, wide = size if plan.box is None else plan.box[2:]
    shrinks = tall >= 2 * plan.resize[0] and wide >= 2 * plan.resize[1]
    return plan.before is None and shrinks and (plan.box is not None or not (tall % 2 or wide % 2))


def _halved(plan: Plan) -> Plan:
    """Returns the plan for frames of half the size; a box moves by at most one pixel of the whole frame."""
    if plan.box is None:
        return plan
    top, left, height, width = (side // 2 for side in plan.box)
    return dataclasses.replace(plan, box=(top, left, height, width))


def _decode_field(frames: Sequence[bytes], position: int, *, max_pixels: int) -> np.ndarray:
    """Decodes x and y of one field of optical flow to uint8 (H, W, 2)."""
    x, y = (decode_frame(frames, 2 * position + axis, grey=True, max_pixels=max_pixels) for axis in range(2))
    return np.dstack([x, y if y.shape == x.shape else _fit(y, x.shape)])


def _fit(frame: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a frame whose size differs from that of the clip's first one, so that one box fits all."""
    shrinks = size[0] < frame.shape[0] and size[1] < frame.shape[1]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

"""Decodes JPEGs on the GPU, and cuts and resizes them there: `data.decode: cuda`.

Workers then only read, check and plan: what travels is the encoded frames of each clip with its plan. What a GPU does
not decode as they would (PNG, CMYK, pictures that Exif rotates) they decode themselves, so that both ways read the same
files and refuse the same ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from utils.transforms.crops import Plan, Size
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import decode_frame, decode_image, is_complete_jpeg, jpeg_header

DECODED = ("cpu", "cuda")  # where frames may be
COLOURS = "colours differ slightly, and scores may"  # between the two


@dataclass(frozen=True)
class EncodedClip:
    """One clip in time before it is decoded.

    frames: T JPEGs; uint8 (H, W, 3) where a worker had to decode one.
    plan: where to cut all of them.
    flip: whether the clip is mirrored.
    """

    frames: list[bytes | np.ndarray]
    plan: Plan
    flip: bool


@dataclass(frozen=True)
class EncodedSample:
    """The clips of one sample; empty if it cannot be read.

    name: list line and path, for messages.
    """

    name: str
    clips: list[EncodedClip] = field(default_factory=list)

    def add(self, frames: Sequence[bytes], transform: CutClip, rng: np.random.Generator | None) -> bool:
        """Plans the next clip as `transform` would cut it; returns whether it is mirrored.

        Raises: UnreadableFrameError for what a worker has to decode and cannot.
        """
        most = transform.max_pixels
        kept = [
            data if _is_for_gpu(data, most) else decode_frame(frames, place, max_pixels=most)
            for place, data in enumerate(frames)
        ]
        plan, flip = transform.draw(*_size(kept[0]), rng)
        self.clips.append(EncodedClip(kept, plan, flip))
        return flip

    def clear(self) -> None:
        """Forgets its clips, because one of them cannot be read."""
        self.clips.clear()


def _is_for_gpu(data: bytes, max_pixels: int) -> bool:
    """Returns whether a GPU decodes this JPEG as `decode_image` would."""
    header = jpeg_header(data)
    if header is None or not header.plain or header.height * header.width > max_pixels:
        return False
    return is_complete_jpeg(data)


def _size(frame: bytes | np.ndarray) -> Size:
    if isinstance(frame, np.ndarray):
        return frame.shape[0], frame.shape[1]
    header = jpeg_header(frame)
    assert header is not None
    return header.height, header.width


@dataclass(frozen=True)
class EncodedBatch:
    """The clips of N samples before they are decoded.

    samples: N of them.
    shape: (V, T, H, W, C) that the clips of a sample become.
    interpolation: a name in `resize.INTERPOLATIONS`.
    """

    samples: list[EncodedSample]
    shape: tuple[int, ...]
    interpolation: str

    def decode(self, device: torch.device) -> tuple[Tensor, list[str]]:
        """Returns the clips (N, V, C, T, H, W) on the device, and N faults, "" for a good sample.

        The memory is laid out N,V,T,H,W,C. The type is uint8, or float32 in 0..255 with interpolation "float". On a GPU
        this runs at the same time as the work that is queued there.
        """
        if device.type != "cuda":
            return self._decode(device)
        # nvJPEG's hardware writes at once and ignores what is queued on any stream: it may even overwrite memory that
        # queued work has still to read (pytorch/vision#9606). A separate stream has memory of its own, and nothing is
        # queued there after this wait, which does not delay the stream that trains.
        stream, user = _stream(device), torch.cuda.current_stream(device)
        stream.synchronize()
        with torch.cuda.stream(stream):
            clips, faults = self._decode(device)
        user.wait_stream(stream)
        clips.record_stream(user)
        return clips, faults

    def _decode(self, device: torch.device) -> tuple[Tensor, list[str]]:
        dtype = torch.float32 if self.interpolation == "float" else torch.uint8
        out = torch.zeros((len(self.samples), *self.shape), dtype=dtype, device=device)
        faults = [""] * len(self.samples)
        for number, (sample, clips) in enumerate(zip(self.samples, self._pictures(device), strict=True)):
            if isinstance(clips, str):
                faults[number] = clips
            elif clips:
                views = [
                    self._cut(pictures, clip.plan, clip.flip)
                    for pictures, clip in zip(clips, sample.clips, strict=True)
                ]
                out[number] = torch.cat(views)
        return out.permute(0, 1, 5, 2, 3, 4), faults

    def _pictures(self, device: torch.device) -> Iterator[list[list[Tensor]] | str]:
        """Yields for each sample the frames of its clips, uint8 (3, H, W) on the device, or why one is not readable."""
        frames = [frame for sample in self.samples for clip in sample.clips for frame in clip.frames]
        decoded = iter(_decode_jpegs([frame for frame in frames if isinstance(frame, bytes)], device))
        for sample in self.samples:
            clips: list[list[Tensor]] = []
            fault = ""
            for clip in sample.clips:
                found = [next(decoded) if isinstance(one, bytes) else _from_worker(one, device) for one in clip.frames]
                clips.append([one for one in found if isinstance(one, Tensor)])
                for position, picture in enumerate(found):
                    if isinstance(picture, str):
                        fault = fault or f"{sample.name}: frame {position + 1} of {len(found)}: {picture}"
            yield fault or clips

    def _cut(self, pictures: list[Tensor], plan: Plan, flip: bool) -> Tensor:
        """Carries out a plan as `CutClip.cut` does: T pictures (3, H, W) -> (crops, T, H, W, 3)."""
        size = pictures[0].shape[1:]
        # a frame of another size than the clip's first is brought to that size, so that one box fits all
        same = [one if one.shape[1:] == size else self._resize(one[None], size)[0] for one in pictures]
        frames = torch.stack([one.float() for one in same])
        if plan.before is not None:
            frames = self._resize(frames, plan.before)
        if plan.box is not None:
            top, left, height, width = plan.box
            frames = frames[..., top : top + height, left : left + width]
        frames = self._resize(frames, plan.resize)
        if self.interpolation != "float":
            frames = frames.round().clamp(0, 255).to(torch.uint8)
        height, width = self.shape[2:4]
        pieces = []
        for (top, left), mirrored in zip(plan.crops, plan.mirrored, strict=True):
            piece = frames[..., top : top + height, left : left + width]
            pieces.append(piece.flip(-1) if mirrored != flip else piece)
        return torch.stack(pieces).permute(0, 1, 3, 4, 2)

    def _resize(self, frames: Tensor, size: Sequence[int]) -> Tensor:
        """Resizes (T, 3, H, W) as the function of that name in `resize.INTERPOLATIONS` does; returns float32."""
        frames, (height, width) = frames.float(), size
        if frames.shape[2:] == (height, width):
            return frames
        if self.interpolation == "auto" and frames.shape[2] >= 2 * height and frames.shape[3] >= 2 * width:
            rows, columns = (
                _area_weights(one, other, frames.device)
                for one, other in zip(frames.shape[2:], (height, width), strict=True)
            )
            return rows @ frames @ columns.T
        antialias = self.interpolation == "pillow"
        return functional.interpolate(
            frames, (height, width), mode="bilinear", align_corners=False, antialias=antialias
        )


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _from_worker(frame: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1).to(device)


def _decode_jpegs(jpegs: Sequence[bytes], device: torch.device) -> list[Tensor | str]:
    """Returns uint8 (3, H, W) on the device for each JPEG, or the reason why it cannot be decoded."""
    if not jpegs:
        return []
    from torchvision.io import ImageReadMode, decode_jpeg  # here, because all tools that read lists import this module

    data = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in jpegs]
    try:
        return list(decode_jpeg(data, mode=ImageReadMode.RGB, device=device))
    except RuntimeError:  # one JPEG that the GPU refuses makes all of them fail
        return [_decode_on_cpu(one, device) for one in jpegs]


def _decode_on_cpu(jpeg: bytes, device: torch.device) -> Tensor | str:
    try:
        return _from_worker(decode_image(jpeg), device)
    except ValueError as error:
        return f"not a readable image: {error}"


def _area_weights(before: int, after: int, device: torch.device) -> Tensor:
    """Returns float32 (after, before): the share of each pixel in the average that becomes one of `after` pixels."""
    edges = torch.arange(after + 1, device=device) * (before / after)
    pixels = torch.arange(before, device=device)
    inside = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return inside.clamp(min=0) * (after / before)

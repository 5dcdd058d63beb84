"""JPEGs that travel encoded and are decoded, cut and resized on the GPU: `data.decode: cuda`.

Workers then only read, check and plan. What a GPU does not decode as they would (PNG, CMYK, pictures that EXIF turns)
they decode themselves, so that both ways read the same files and refuse the same ones.
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
from utils.transforms.cut_clip import CutClip, decode_frame
from utils.transforms.decode import decode_image
from utils.transforms.jpeg import is_whole_jpeg, jpeg_header

Frame = bytes | np.ndarray  # a JPEG, or uint8 (H, W, 3) where a worker had to decode it


@dataclass(frozen=True)
class CodedClips:
    """The views of one sample before they are pixels.

    num_views, num_frames: V and T. size, interpolation: of the pixels they become. frames: T for each clip in time;
    plans, flips: one for each; all empty for a sample that cannot be read. where: list line and path, for messages.
    """

    num_views: int
    num_frames: int
    size: Size
    interpolation: str
    frames: list[list[Frame]] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    flips: list[bool] = field(default_factory=list)
    where: str = ""


class CutEncodedClip(CutClip):
    """A `CutClip` that leaves decoding to `CodedBatch.decode`; draws, boxes and flips are the same."""

    def room(self, *leading: int) -> None:
        """No pixels yet, no room for them."""

    def __call__(  # type: ignore[override]
        self, frames: Sequence[bytes], rng: np.random.Generator | None = None, out: None = None
    ) -> tuple[CodedClips, bool]:
        """T encoded frames -> one clip in time, and whether it is mirrored. Raises UnreadableFrameError."""
        kept = [_jpeg(data) or decode_frame(frames, position) for position, data in enumerate(frames)]
        first = kept[0]
        height, width = first.shape[:2] if isinstance(first, np.ndarray) else _size(first)
        plan, flip = self.draw(height, width, rng)
        return CodedClips(len(plan.crops), len(kept), self.size, self.interpolation, [kept], [plan], [flip]), flip

    @classmethod
    def like(cls, transform: CutClip) -> CutEncodedClip:
        """With the rule of another."""
        return cls(transform.rule, transform.size, interpolation=transform.interpolation, flip=transform.flip)

    def join(self, views: Sequence[CodedClips], where: str, out: None = None) -> CodedClips:  # type: ignore[override]
        """The clips of one sample together."""
        return CodedClips(
            sum(view.num_views for view in views),
            views[0].num_frames,
            self.size,
            self.interpolation,
            [frames for view in views for frames in view.frames],
            [plan for view in views for plan in view.plans],
            [flip for view in views for flip in view.flips],
            where,
        )

    def blank(self, num_views: int, num_frames: int, out: None = None) -> CodedClips:  # type: ignore[override]
        """In place of a sample that cannot be read."""
        return CodedClips(num_views, num_frames, self.size, self.interpolation)


def _size(data: bytes) -> Size:
    header = jpeg_header(data)
    assert header is not None
    return header.height, header.width


def _jpeg(data: bytes) -> bytes | None:
    """The data, if a GPU decodes it as `decode_image` would."""
    header = jpeg_header(data)
    return data if header is not None and header.plain and is_whole_jpeg(data) else None


@dataclass(frozen=True)
class CodedBatch:
    """N samples of one data set."""

    samples: list[CodedClips]

    @property
    def size(self) -> Size:
        """Of the pixels, (height, width)."""
        return self.samples[0].size

    @property
    def interpolation(self) -> str:
        """A name in `transforms.INTERPOLATIONS`."""
        return self.samples[0].interpolation

    def decode(self, device: torch.device) -> tuple[Tensor, list[str]]:
        """(N, V, C, T, H, W) on the device, its memory as N,V,T,H,W,C, and N faults, "" for a good sample.

        uint8, or float32 in 0..255 with interpolation "float". On a GPU this runs beside the work that is queued there.
        """
        if device.type != "cuda":
            return self._decode(device)
        # nvJPEG's hardware writes at once, without regard to work that is queued on any stream: into memory that this
        # work has still to read, if it may have it (pytorch/vision#9606). A stream of our own has memory of its own,
        # and nothing is queued there after this wait, which does not concern the stream that trains.
        stream, user = _stream(device), torch.cuda.current_stream(device)
        stream.synchronize()
        with torch.cuda.stream(stream):
            clips, faults = self._decode(device)
        user.wait_stream(stream)
        clips.record_stream(user)
        return clips, faults

    def _decode(self, device: torch.device) -> tuple[Tensor, list[str]]:
        shape = len(self.samples), self.samples[0].num_views, self.samples[0].num_frames, *self.size, 3
        dtype = torch.float32 if self.interpolation == "float" else torch.uint8
        out, faults = torch.zeros(shape, dtype=dtype, device=device), [""] * len(self.samples)
        jpegs = [frame for frame in self._frames() if isinstance(frame, bytes)]
        pictures = iter(_decode_jpegs(jpegs, device))
        for number, sample in enumerate(self.samples):
            views, reasons = [], []
            for frames, plan, flip in zip(sample.frames, sample.plans, sample.flips, strict=True):
                clip = [next(pictures) if isinstance(frame, bytes) else _from_worker(frame, device) for frame in frames]
                reasons += [
                    f"frame {place + 1} of {len(clip)}: {one}" for place, one in enumerate(clip) if isinstance(one, str)
                ]
                if not reasons:
                    views.append(self._cut([one for one in clip if isinstance(one, Tensor)], plan, flip))
            if reasons:
                faults[number] = f"{sample.where}: {reasons[0]}"
            elif views:
                out[number] = torch.cat(views)
        return out.permute(0, 1, 5, 2, 3, 4), faults

    def _frames(self) -> Iterator[Frame]:
        for sample in self.samples:
            for frames in sample.frames:
                yield from frames

    def _cut(self, pictures: list[Tensor], plan: Plan, flip: bool) -> Tensor:
        """T pictures (3, H, W) -> (crops, T, H, W, 3)."""
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
        pieces = []
        for (top, left), mirrored in zip(plan.crops, plan.mirrored, strict=True):
            piece = frames[..., top : top + self.size[0], left : left + self.size[1]]
            pieces.append(piece.flip(-1) if mirrored != flip else piece)
        return torch.stack(pieces).permute(0, 1, 3, 4, 2)

    def _resize(self, frames: Tensor, size: Sequence[int]) -> Tensor:
        """(T, 3, H, W) by the interpolation of that name in `transforms.INTERPOLATIONS`, float32."""
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
    """uint8 (3, H, W) on the device for each, or why it cannot be decoded."""
    if not jpegs:
        return []
    from torchvision.io import ImageReadMode, decode_jpeg  # here, as all tools that read lists import this module

    data = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in jpegs]
    try:
        return list(decode_jpeg(data, mode=ImageReadMode.RGB, device=device))
    except RuntimeError:  # one that the GPU does not take spoils them all
        return [_decode_anyhow(one, device) for one in jpegs]


def _decode_anyhow(jpeg: bytes, device: torch.device) -> Tensor | str:
    try:
        return _from_worker(decode_image(jpeg), device)
    except ValueError as error:
        return f"not a readable image: {error}"


def _area_weights(before: int, after: int, device: torch.device) -> Tensor:
    """float32 (after, before): the share that each pixel has in the average that becomes one of `after` pixels."""
    edges = torch.arange(after + 1, device=device) * (before / after)
    pixels = torch.arange(before, device=device)
    inside = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return inside.clamp(min=0) * (after / before)

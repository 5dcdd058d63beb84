"""Draws, encodes and splits the videos of motion8, for tools/make_motion8.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from utils.errors import UserError
from utils.files import atomic_write, whole_folder

# (first, second): the second is the first played backwards. `left`: the picture moves to the left; `turn_left`: it
# turns against the clock.
PAIRS = (("left", "right"), ("up", "down"), ("zoom_in", "zoom_out"), ("turn_left", "turn_right"))
CLASSES = tuple(name for pair in PAIRS for name in pair)
NUM_FRAMES, SIDE, FPS = 32, 96, 25
TEXTURE_SIDE = 256
WAVELENGTHS = (16, 24), (24, 40)  # smallest and largest of the two layers of a texture, in pixels
# of the validation videos, so that some of them are mistaken: finer and coarser textures, slower and faster motion
UNSEEN_WAVELENGTHS = (10, 16), (20, 60)
UNSEEN_SPEEDS = 0.4, 1.8  # as multiples of the speed in training
DONE = "splits"  # written last, so a folder without it is not finished


@dataclass(frozen=True)
class Clip:
    """One drawn motion, which makes two videos.

    pair: the index into PAIRS.
    group: the number of the texture, unique over both splits.
    seed: the seed of the whole dataset.
    unseen: whether texture and speed come from the wider ranges of the validation videos.
    """

    pair: int
    group: int
    seed: int
    unseen: bool = False

    def video(self, member: int) -> str:
        """Returns the path of the forward (0) or backward (1) video, relative to the dataset."""
        name = PAIRS[self.pair][member]
        return f"{name}/v_{name}_g{self.group:04d}_c01.mp4"


def draw_texture(rng: np.random.Generator, *, unseen: bool = False) -> np.ndarray:
    """Draws a periodic, isotropic random texture, uint8 (TEXTURE_SIDE, TEXTURE_SIDE, 3), RGB.

    It is band-limited noise in two layers, each in two colours. It looks alike in every direction and at nearby scales,
    so that a picture does not show how it is going to move. The waves are longer than the motion within a segment.
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(TEXTURE_SIDE), np.fft.rfftfreq(TEXTURE_SIDE), indexing="ij"))
    picture = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE, 3), np.float32)
    for wavelength in rng.uniform(*(UNSEEN_WAVELENGTHS if unseen else WAVELENGTHS)):
        band = np.exp(-0.5 * (np.log2(np.maximum(frequency, 1e-6) * wavelength) / 0.35) ** 2)
        noise = np.fft.rfft2(rng.standard_normal((TEXTURE_SIDE, TEXTURE_SIDE)))
        layer = np.fft.irfft2(noise * band, s=(TEXTURE_SIDE, TEXTURE_SIDE))
        layer = np.tanh(layer / layer.std() * rng.uniform(0.7, 2.5))
        picture += layer[..., None].astype(np.float32) * rng.uniform(0.5, 1, 3).astype(np.float32)
    picture *= rng.uniform(45, 60) / picture.std()
    return np.clip(picture + rng.uniform(100, 155, 3), 0, 255).astype(np.uint8)


def render(clip: Clip) -> np.ndarray:
    """Renders the forward clip, uint8 (NUM_FRAMES, SIDE, SIDE, 3), RGB; reversed it is the second class of the pair.

    Position, angle and distance of the camera have the same distributions in the frames of every class: a clip that
    does not zoom, for example, has the distance of a random moment of a clip that does.
    """
    rng = np.random.default_rng([clip.seed, clip.group])
    texture = draw_texture(rng, unseen=clip.unseen)
    speed = np.exp(rng.uniform(*np.log(UNSEEN_SPEEDS))) if clip.unseen else 1.0
    x, y = rng.uniform(0, TEXTURE_SIDE, 2)
    steps = speed * (np.arange(NUM_FRAMES) - (NUM_FRAMES - 1) / 2)
    log_scales = rng.uniform(np.log(1.2), np.log(1.6)) + steps * rng.uniform(0.014, 0.024)
    angles = rng.uniform(0, 2 * np.pi) - steps * rng.uniform(0.020, 0.034)  # y points down: against the clock
    distances = -steps * rng.uniform(0.7, 1.3)  # pixels, to the left or upwards
    shifts = np.zeros((NUM_FRAMES, 2))
    if clip.pair < 2:
        shifts[:, clip.pair] = distances
    if clip.pair != 2:
        log_scales = np.full(NUM_FRAMES, rng.choice(log_scales))
    if clip.pair != 3:
        angles = np.full(NUM_FRAMES, rng.choice(angles))
    centre = (SIDE - 1) / 2
    frames = np.empty((NUM_FRAMES, SIDE, SIDE, 3), np.uint8)
    for frame, shift, log_scale, angle in zip(frames, shifts, log_scales, angles, strict=True):
        # screen = centre + shift + scale * R(angle) * (texture - (x, y)); warpAffine wants the way back
        cos, sin = np.cos(angle), np.sin(angle)
        inverse = np.array([[cos, sin], [-sin, cos]]) / np.exp(log_scale)
        offset = np.array([x, y]) - inverse @ (centre + shift)
        cv2.warpAffine(
            texture,
            np.column_stack([inverse, offset]),
            (SIDE, SIDE),
            dst=frame,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
    return frames


def encode(frames: np.ndarray, path: Path) -> None:
    """Writes frames (T, H, W, 3) uint8 RGB as MPEG-4 with one quantiser and no prediction between frames."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"g": "1", "qmin": "2", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def make_pair(root: Path, clip: Clip) -> None:
    """Writes the two videos of one drawn motion."""
    cv2.setNumThreads(0)
    frames = render(clip)
    encode(frames, root / clip.video(0))
    encode(frames[::-1], root / clip.video(1))


def write_splits(folder: Path, train: Sequence[Clip], val: Sequence[Clip]) -> None:
    """Writes classInd.txt, trainlist01.txt and testlist01.txt as in UCF-101: labels from 1, none in the test list."""
    folder.mkdir()
    with atomic_write(folder / "classInd.txt", "w") as file:
        file.writelines(f"{label} {name}\n" for label, name in enumerate(CLASSES, 1))
    with atomic_write(folder / "trainlist01.txt", "w") as file:
        file.writelines(f"{clip.video(m)} {2 * clip.pair + m + 1}\n" for clip in train for m in (0, 1))
    with atomic_write(folder / "testlist01.txt", "w") as file:
        file.writelines(f"{clip.video(m)}\n" for clip in val for m in (0, 1))


def plan(train: int, val: int, *, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Returns the clips of both splits; each texture is in one clip only."""
    clips = [
        Clip(pair=number % len(PAIRS), group=number + 1, seed=seed, unseen=number >= train // 2)
        for number in range((train + val) // 2)
    ]
    return clips[: train // 2], clips[train // 2 :]


def run(args: argparse.Namespace) -> int:
    """Makes the dataset; does nothing where it is there already. Returns the exit code."""
    for flag, number in (("--train", args.train), ("--val", args.val)):
        if number % len(CLASSES):
            raise UserError(f"{flag} {number} does not divide into {len(CLASSES)} classes")
    out: Path = args.out
    if (out / DONE).is_dir():
        print(f"{out} already exists; remove it to make it again")
        return 0
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not a finished motion8; give another folder or remove it")

    train, val = plan(args.train, args.val, seed=args.seed)
    with whole_folder(out) as building:
        for name in CLASSES:
            (building / name).mkdir()
        with ProcessPoolExecutor(args.workers) as pool:
            for _ in pool.map(make_pair, [building] * (len(train) + len(val)), train + val, chunksize=8):
                pass
        write_splits(building / DONE, train, val)
    print(
        f"wrote {args.train} training and {args.val} validation videos of {len(CLASSES)} classes to {out}\n"
        f"next: python tools/dump_frames.py {out} {out.parent} --size 72"
    )
    return 0

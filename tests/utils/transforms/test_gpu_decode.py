"""What travels encoded becomes the pixels that workers would have made; decoded on the CPU here, by the same code."""

from __future__ import annotations

import dataclasses
import io
import pickle
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from datasets.frame_dataset import collate
from tests.golden import fill
from tests.helpers.requirements import needs_gpu
from utils.errors import FrameError
from utils.training.batch import Batch, on_device
from utils.transforms.crops import TRAIN_CROPS, MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip
from utils.transforms.gpu_decode import EncodedBatch, EncodedSample
from utils.transforms.resize import INTERPOLATIONS

CPU = torch.device("cpu")
FRAMES = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in fill.make_frames(3, 120, 160)]


def coded(frame: np.ndarray, kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


JPEGS = [coded(frame, quality=95) for frame in FRAMES]
TURNED = Image.Exif()
TURNED[0x0112] = 6


def batch_of(clips: Sequence[np.ndarray | EncodedSample], transform: CutClip, num_frames: int = 3) -> Batch:
    """Samples 0, 1, ... of one clip in time each."""
    samples = [{"label": 1, "index": index, "augment": {}, "fault": ""} for index in range(len(clips))]
    waiting = [one for one in clips if isinstance(one, EncodedSample)]
    if not waiting:
        return collate(samples, torch.from_numpy(np.stack(clips)))
    shape = (transform.num_crops, num_frames, *transform.size, 3)
    batch = EncodedBatch(waiting, shape, transform.interpolation)
    return collate(samples, torch.empty(len(clips), 0, 0, 0, 0, 0), batch)


def encoded(frames: Sequence[bytes], transform: CutClip, seed: int = 0, name: str = "") -> EncodedSample:
    sample = EncodedSample(name)
    sample.add(frames, transform, np.random.default_rng(seed))
    return sample


def both(transform: CutClip, frames: list[bytes], seed: int = 0, device: torch.device = CPU) -> tuple[Batch, Batch]:
    """The batch of one sample as workers make it, and as the device makes it."""
    plain, flipped = transform(frames, np.random.default_rng(seed))
    sample = EncodedSample("")
    assert sample.add(frames, transform, np.random.default_rng(seed)) == flipped
    travelled = pickle.loads(pickle.dumps(batch_of([sample], transform, len(frames))))
    return batch_of([plain], transform), travelled.to(device)


def difference(one: Batch, other: Batch) -> np.ndarray:
    assert one.clips.shape == other.clips.shape and one.clips.dtype == other.clips.dtype
    assert other.clips.stride() == one.clips.stride(), "the memory is laid out as the device's side expects it"
    return np.abs(one.clips.float().numpy() - other.clips.float().cpu().numpy())


@pytest.mark.parametrize("rule", [*TRAIN_CROPS, "test"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_preset_gets_the_pixels_that_workers_make(interpolation: str, rule: str) -> None:
    crops = {"test": TestCrops(70, num_crops=10), "short_side": TRAIN_CROPS["short_side"]((70, 90))}
    chosen = crops[rule] if rule in crops else TRAIN_CROPS[rule]()
    transform = CutClip(chosen, 64, interpolation=interpolation, flip=0.5)
    for seed in range(3):
        apart = difference(*both(transform, JPEGS, seed))
        assert apart.mean() < 0.6 and np.percentile(apart, 99) <= 3, seed


@pytest.mark.parametrize("before", [None, 100])
def test_shrinking_to_less_than_half_averages(before: int | None) -> None:
    transform = CutClip(dataclasses.replace(MultiScale(), before=before), 24)
    whole = transform.apply([np.array(Image.open(io.BytesIO(data))) for data in JPEGS], np.random.default_rng(1))[0]
    _, device = both(transform, JPEGS, 1)
    assert difference(batch_of([whole], transform), device).mean() < 0.6


@pytest.mark.parametrize(
    "odd",
    [
        coded(FRAMES[1], "PNG"), coded(FRAMES[1], mode="L"), coded(FRAMES[1], mode="CMYK", quality=95),
        coded(FRAMES[1], exif=TURNED), coded(FRAMES[1], progressive=True), coded(cv2.resize(FRAMES[1], (90, 100))),
    ],
    ids=["png", "grey", "cmyk", "turned", "progressive", "size"],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1])
def test_odd_images_are_read_as_workers_read_them(odd: bytes, place: int) -> None:
    frames = list(JPEGS)
    frames[place] = odd
    workers, device = both(CutClip(TestCrops(70), 64), frames)
    assert difference(workers, device).mean() < 1 and device.faults == [""]


def test_what_only_decoding_shows_is_a_fault_that_names_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("image not supported")

    monkeypatch.setattr("torchvision.io.decode_jpeg", refuse)
    transform = CutClip(TestCrops(70), 64)
    header_only = JPEGS[0][: JPEGS[0].index(b"\xff\xda")] + b"\xff\xd9"
    read = [
        encoded([JPEGS[0], data], transform, name=f"list.txt:{line}: v{line}")
        for line, data in enumerate((JPEGS[1], header_only), 1)
    ]
    done = batch_of([*read, EncodedSample("unreadable")], transform, num_frames=2).to(CPU)
    assert done.faults[0] == "" and done.clips[0].any(), "what the GPU refuses is decoded on the CPU"
    assert done.faults[1].startswith("list.txt:2: v2: frame 2 of 2: not a readable image")
    assert not done.clips[1].any() and not done.clips[2].any() and done.encoded is None


def encoded_batches(taken: list[int], count: int = 4) -> Iterator[Batch]:
    transform = CutClip(MultiScale(), 64)
    for number in range(count):
        taken.append(number)
        yield dataclasses.replace(
            batch_of([encoded(JPEGS, transform, number)], transform), indices=torch.tensor([number])
        )


def test_batches_that_the_device_decodes_are_made_one_ahead_and_in_order() -> None:
    taken: list[int] = []
    pairs = on_device(encoded_batches(taken), CPU)
    order = []
    for number, (loaded, batch) in enumerate(pairs):
        deadline = time.monotonic() + 30
        while len(taken) < min(number + 2, 4) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(taken) == min(number + 2, 4), "the next one, and no more"
        assert loaded.encoded is not None and batch.encoded is None
        expected = loaded.to(CPU)
        assert torch.equal(batch.clips, expected.clips)
        order.append(int(loaded.indices))
    assert order == [0, 1, 2, 3] == taken


def test_what_goes_wrong_while_decoding_ahead_is_raised_at_its_batch() -> None:
    def broken() -> Iterator[Batch]:
        yield from encoded_batches([], 2)
        raise FrameError("the third")

    pairs = on_device(broken(), CPU)
    assert [int(next(pairs)[0].indices) for _ in range(2)] == [0, 1]
    with pytest.raises(FrameError, match="the third"):
        next(pairs)


@needs_gpu
@pytest.mark.parametrize("seed", range(3))
def test_a_gpu_decodes_as_workers_do(seed: int) -> None:
    colourful = [coded(frame, quality=95, subsampling=0) for frame in FRAMES]
    workers, device = both(CutClip(MultiScale(), 64, flip=0.5), colourful, seed, torch.device("cuda"))
    assert device.clips.device.type == "cuda" and difference(workers, device).mean() < 0.6


@needs_gpu
@pytest.mark.parametrize("seed", range(3))
def test_a_gpu_repeats_colours_that_pixels_share_where_workers_blend_them(seed: int) -> None:
    workers, device = both(CutClip(MultiScale(), 64, flip=0.5), JPEGS, seed, torch.device("cuda"))
    # to the last digit what libjpeg gives without its "fancy upsampling"; noise has more colour than any photograph
    assert difference(workers, device).mean() == pytest.approx([2.3918457, 2.4399958, 2.3778753][seed], abs=0.02)
    apart = workers.clips.float() - device.clips.float().cpu()
    assert torch.tensordot(apart, torch.tensor([0.299, 0.587, 0.114]), dims=([2], [0])).abs().mean() < 0.6


@needs_gpu
def test_decoding_on_a_gpu_leaves_memory_alone_that_queued_work_still_reads() -> None:
    transform = CutClip(MultiScale(), 64)
    sent = batch_of([encoded(JPEGS, transform, seed) for seed in range(8)], transform)
    for _ in range(20):
        blocks = [torch.full((3, 120, 160), 7, dtype=torch.uint8, device="cuda") for _ in range(8 * len(JPEGS))]
        torch.cuda._sleep(100_000_000)  # cycles, some 50 ms
        sums = [block.sum() for block in blocks]
        del blocks  # the next to ask for memory on this stream gets this one
        sent.to("cuda")
        assert {int(one) for one in sums} == {7 * 3 * 120 * 160}

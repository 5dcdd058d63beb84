from __future__ import annotations

import dataclasses
import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.golden import fill
from utils.config.schema import Common
from utils.errors import FrameError
from utils.transforms import image
from utils.transforms.build import make_transform
from utils.transforms.crops import TRAIN_CROPS, Box, CropRule, MultiScale, Plan, RandomResized, Size, TestCrops
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import UnreadableFrameError, decode_image
from utils.transforms.presets import PRESETS
from utils.transforms.resize import INTERPOLATIONS

FRAMES = fill.make_frames(4, 96, 128)


def png(frame: np.ndarray) -> bytes:
    return cv2.imencode(".png", frame[..., ::-1])[1].tobytes()


ENCODED = [png(frame) for frame in FRAMES]


class Whole:
    """A rule that keeps everything, or one box, to look at one step at a time."""

    def __init__(self, box: Box | None = None) -> None:
        self.box = box

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        return Plan(box=self.box, resize=size)


def test_encoded_and_decoded_frames_give_the_same_pixels() -> None:
    for name in sorted(TRAIN_CROPS):
        transform = CutClip(TRAIN_CROPS[name](), 64, flip=0.5)
        for seed in range(4):
            coded, flipped = transform(ENCODED, np.random.default_rng(seed))
            plain, flipped_too = transform.apply(FRAMES, np.random.default_rng(seed))
            np.testing.assert_array_equal(coded, plain)
            assert flipped == flipped_too


def test_the_output_is_rgb_contiguous_and_its_own_memory() -> None:
    clips, _ = CutClip(Whole(), FRAMES.shape[1:3])(ENCODED)
    assert clips.shape == (1, *FRAMES.shape) and clips.dtype == np.uint8 and clips.flags.c_contiguous
    np.testing.assert_array_equal(clips[0], FRAMES)
    clips[:] = 0
    assert FRAMES.any()


def test_clips_can_be_written_into_given_memory() -> None:
    batch = np.zeros((3, 2, 4, 64, 64, 3), np.uint8)
    for flip in (0.0, 1.0):
        for rule in (MultiScale(), TRAIN_CROPS["short_side"]((70, 80))):
            transform = CutClip(rule, 64, flip=flip)
            clips, _ = transform(ENCODED, np.random.default_rng(1), batch[1, 1:])
            np.testing.assert_array_equal(batch[1, 1:], transform(ENCODED, np.random.default_rng(1))[0])
            assert np.shares_memory(clips, batch) and not batch[[0, 2]].any() and not batch[1, 0].any()
    with pytest.raises(ValueError, match=r"out must be C-contiguous uint8 \(1, 4, 64, 64, 3\)"):
        transform(ENCODED, np.random.default_rng(1), batch[1])
    with pytest.raises(ValueError, match="out must be"):
        transform(ENCODED, np.random.default_rng(1), batch[1, :1].astype(np.float32))


def test_one_box_and_one_flip_for_all_frames_of_a_clip() -> None:
    still = np.repeat(FRAMES[:1], 4, axis=0)
    for name in sorted(TRAIN_CROPS):
        for seed in range(6):
            clips, _ = CutClip(TRAIN_CROPS[name](), 64, flip=0.5).apply(still, np.random.default_rng(seed))
            assert (clips[0] == clips[0, :1]).all(), name


def test_flips_happen_as_often_as_asked_and_are_reported_truly() -> None:
    rng = np.random.default_rng(0)
    transform = CutClip(MultiScale(scales=(1,), places=5), 48, flip=0.3)
    square = FRAMES[:1, :96, :96]
    mirrored = [CutClip(Whole(), 48).apply(square[:, :, ::-1])[0], CutClip(Whole(), 48).apply(square)[0]]
    flips = []
    for _ in range(300):
        clips, flipped = transform.apply(square, rng)
        np.testing.assert_array_equal(clips, mirrored[not flipped])
        flips.append(flipped)
    assert 0.2 < np.mean(flips) < 0.4
    assert not any(CutClip(MultiScale(), 48, flip=0.0).apply(square, rng)[1] for _ in range(50))


def test_flipping_twice_is_the_identity() -> None:
    always = CutClip(Whole(), FRAMES.shape[1:3], flip=1.0)
    rng = np.random.default_rng(0)
    once, flipped = always.apply(FRAMES, rng)
    np.testing.assert_array_equal(once[0], FRAMES[:, :, ::-1])
    np.testing.assert_array_equal(always.apply(once[0], rng)[0][0], FRAMES)
    assert flipped


def test_the_generator_alone_decides(rng: np.random.Generator) -> None:
    transform = CutClip(MultiScale(), 64, flip=0.5)
    first = transform.apply(FRAMES, np.random.default_rng([1, 2, 3]))[0]
    transform.apply(FRAMES, rng)
    np.testing.assert_array_equal(first, transform.apply(FRAMES, np.random.default_rng([1, 2, 3]))[0])
    assert any((first != transform.apply(FRAMES, np.random.default_rng([1, 2, n]))[0]).any() for n in range(4, 8))


def test_cropping_is_done_before_resizing() -> None:
    class Corner:
        def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
            return Plan(box=(8, 16, 40, 60), resize=size)

    clips, _ = CutClip(Corner(), 32, interpolation="linear").apply(FRAMES)
    expected = [cv2.resize(frame[8:48, 16:76], (32, 32), interpolation=cv2.INTER_LINEAR) for frame in FRAMES]
    np.testing.assert_array_equal(clips[0], expected)


def test_ten_crops_are_five_and_their_mirror_images() -> None:
    clips, flipped = CutClip(TestCrops(None, num_crops=10), 64)(ENCODED)
    assert clips.shape == (10, 4, 64, 64, 3) and not flipped
    np.testing.assert_array_equal(clips[1::2], clips[::2, :, :, ::-1])
    np.testing.assert_array_equal(clips[0, :], FRAMES[:, :64, :64])
    np.testing.assert_array_equal(clips[4, :], FRAMES[:, 32:, :64])
    np.testing.assert_array_equal(clips[8, :], FRAMES[:, 16:80, 32:96])


def test_frames_of_another_size_are_brought_to_the_size_of_the_first() -> None:
    odd = [ENCODED[0], png(cv2.resize(FRAMES[1], (64, 48))), png(cv2.resize(FRAMES[2], (300, 200))), ENCODED[3]]
    clips, _ = CutClip(Whole(), FRAMES.shape[1:3])(odd)
    np.testing.assert_array_equal(clips[0, 3], FRAMES[3])
    smooth = cv2.GaussianBlur(clips[0, 1], (0, 0), 3).astype(int)
    assert np.abs(smooth - cv2.GaussianBlur(FRAMES[1], (0, 0), 3)).mean() < 6, "still its own frame"
    listed, _ = CutClip(Whole(), FRAMES.shape[1:3]).apply([decode_image(data) for data in odd])
    np.testing.assert_array_equal(listed, clips)


def jpeg(frame: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


class Even:
    """Another rule on an even grid: what decoding at half size makes of it."""

    def __init__(self, rule: CropRule) -> None:
        self.rule, self.num_crops = rule, getattr(rule, "num_crops", 1)

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        plan = self.rule.plan(height, width, size, rng)
        if plan.box is None:
            return plan
        top, left, tall, wide = (side // 2 * 2 for side in plan.box)
        return dataclasses.replace(plan, box=(top, left, tall, wide))


LARGE = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in fill.make_frames(2, 270, 360)]
SHRINKING = {
    "boxes": MultiScale(scales=(1, 0.9)),
    "odd box": Whole(box=(31, 53, 225, 211)),
    "short side": TestCrops(128),
    "ten crops": TestCrops(120, num_crops=10),
}


@pytest.mark.parametrize("rule", SHRINKING.values(), ids=SHRINKING)
def test_jpegs_that_shrink_to_half_are_decoded_at_half_size_and_look_the_same(
    rule: CropRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def decode(data: bytes, reduce: int = 1, **known: Any) -> np.ndarray:
        asked.append(reduce)
        return decode_image(data, reduce, **known)

    monkeypatch.setattr(image, "decode_image", decode)
    coded = [jpeg(frame) for frame in LARGE]
    decoded = [decode_image(data) for data in coded]
    transform, on_even_grid = CutClip(rule, 100, flip=0.5), CutClip(Even(rule), 100, flip=0.5)
    for seed in range(6):
        half, flipped = transform(coded, np.random.default_rng(seed))
        whole, flipped_too = on_even_grid.apply(decoded, np.random.default_rng(seed))
        difference = half.astype(int) - whole
        assert flipped == flipped_too and half.shape == whole.shape
        assert np.abs(difference).mean() < 1.5 and abs(difference.mean()) < 0.2, seed
    assert set(asked) == {2} and len(asked) == 12
    asked.clear()
    for exact in ("linear", "pillow", "float", "rounded"):
        CutClip(rule, 100, interpolation=exact)(coded, np.random.default_rng(0))
    assert set(asked) == {1}, "what a published preset prescribes is done exactly"


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
def test_what_lies_below_the_box_is_not_decoded_and_does_not_matter(interpolation: str) -> None:
    coded = [jpeg(frame) for frame in LARGE]
    decoded = [decode_image(data) for data in coded]
    for rule in (MultiScale(), RandomResized(), Whole(box=(0, 3, 269, 350)), Whole(box=(1, 0, 17, 90))):
        transform = CutClip(rule, 180, interpolation=interpolation, flip=0.5)
        for seed in range(12):
            clips, flipped = transform(coded, np.random.default_rng(seed))
            whole, flipped_too = transform.apply(decoded, np.random.default_rng(seed))
            np.testing.assert_array_equal(clips, whole, err_msg=f"{rule} {seed}")
            assert flipped == flipped_too


def test_frames_of_other_sizes_are_decoded_whole_and_brought_to_the_size_of_the_first() -> None:
    rule = Whole(box=(10, 20, 100, 200))  # 111 rows of 270 are needed
    same_width = LARGE[1][:111]  # as tall as what is decoded of the others
    mixed = [LARGE[0], same_width, LARGE[1]]
    clips, _ = CutClip(rule, 90)([jpeg(frame) for frame in mixed])
    listed, _ = CutClip(rule, 90).apply([decode_image(jpeg(frame)) for frame in mixed])
    np.testing.assert_array_equal(clips, listed)


def test_a_picture_that_its_decoder_turns_is_brought_to_the_size_of_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "decode_image", lambda data, **_: np.ascontiguousarray(LARGE[0].swapaxes(0, 1)))
    clips, _ = CutClip(Whole(box=(10, 20, 100, 200)), 90)([jpeg(LARGE[0])])
    fitted = cv2.resize(np.ascontiguousarray(LARGE[0].swapaxes(0, 1)), (360, 270), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(clips, CutClip(Whole(box=(10, 20, 100, 200)), 90).apply([fitted])[0])


def test_what_cannot_be_halved_exactly_is_decoded_whole() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    for coded in (jpeg(LARGE[0][:-1]), jpeg(LARGE[0], exif=turned), png(LARGE[0])):
        clips, _ = CutClip(TestCrops(100), 90)([coded])
        np.testing.assert_array_equal(clips, CutClip(TestCrops(100), 90).apply([decode_image(coded)])[0])
    mixed = [jpeg(LARGE[0]), png(LARGE[0]), jpeg(cv2.resize(LARGE[0], (500, 300)))]
    clips = CutClip(TestCrops(100), 90)(mixed)[0][0].astype(int)
    assert np.abs(clips - clips[0]).mean() < 4


@pytest.mark.parametrize(
    ("bad", "reason"), [(b"", "0 bytes"), (ENCODED[0][:500], "truncated PNG"), (b"x" * 9, "9 bytes")]
)
@pytest.mark.parametrize("position", [0, 2])
def test_an_unreadable_frame_is_named_by_its_position(bad: bytes, reason: str, position: int) -> None:
    frames = list(ENCODED)
    frames[position] = bad
    with pytest.raises(FrameError, match=rf"frame {position + 1} of 4: not a readable image: .*{reason}") as caught:
        CutClip(Whole(), 32)(frames)
    assert isinstance(caught.value, UnreadableFrameError) and caught.value.position == position


def test_every_interpolation_keeps_flat_pictures_flat_and_whole_ones_whole() -> None:
    flat = np.full((50, 70, 3), (7, 130, 255), np.uint8)
    for name, resize in INTERPOLATIONS.items():
        for size in ((25, 35), (50, 70), (90, 33), (20, 20)):
            resized = resize(flat, size, None)
            assert resized.shape == (*size, 3) and resized.dtype == (np.float32 if name == "float" else np.uint8)
            np.testing.assert_allclose(resized, np.broadcast_to(flat[0, 0], resized.shape), atol=1e-4)
        np.testing.assert_array_equal(resize(FRAMES[0], (96, 128), None), FRAMES[0])


def test_interpolations_are_what_their_projects_use() -> None:
    frame, size = FRAMES[0], (40, 48)
    np.testing.assert_array_equal(
        INTERPOLATIONS["pillow"](frame, size, None), Image.fromarray(frame).resize((48, 40), Image.Resampling.BILINEAR)
    )
    np.testing.assert_array_equal(INTERPOLATIONS["linear"](frame, size, None), cv2.resize(frame, (48, 40)))
    for tall in (40, 90):  # a half of both sides or less; less than half of the height
        resized, how = INTERPOLATIONS["auto"](frame, (tall, 48), None), (cv2.INTER_AREA, cv2.INTER_LINEAR)[tall == 90]
        off_by = np.abs(resized.astype(int) - cv2.resize(frame, (48, tall), interpolation=how))
        assert off_by.max() <= 1
    rounded, exact = INTERPOLATIONS["rounded"](frame, size, None), INTERPOLATIONS["float"](frame, size, None)
    np.testing.assert_array_equal(rounded, np.rint(exact))


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
def test_a_mirrored_field_of_flow_changes_the_sign_of_x_and_of_nothing_else(interpolation: str) -> None:
    fields = np.ascontiguousarray(FRAMES[..., :2])
    whole = CutClip(Whole(), (48, 64), interpolation=interpolation, modality="flow").apply(fields)[0]
    mirroring = CutClip(Whole(), (48, 64), interpolation=interpolation, flip=1.0, modality="flow")
    mirrored, flipped = mirroring.apply(fields, np.random.default_rng(0))
    assert flipped
    np.testing.assert_array_equal(mirrored[..., 1], whole[..., ::-1, 1])
    np.testing.assert_array_equal(mirrored[..., 0], 255 - whole[..., ::-1, 0])
    ten, _ = CutClip(TestCrops(64, num_crops=10), 48, interpolation=interpolation, modality="flow").apply(fields)
    np.testing.assert_array_equal(ten[9][..., 0], 255 - ten[8][..., ::-1, 0])
    np.testing.assert_array_equal(ten[9][..., 1], ten[8][..., ::-1, 1])


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
def test_x_and_y_of_flow_are_cut_and_resized_as_grey_pictures_are(interpolation: str) -> None:
    encoded = [cv2.imencode(".png", frame[..., axis])[1].tobytes() for frame in FRAMES for axis in (0, 1)]
    for rule in (TRAIN_CROPS["multi_scale"](), TestCrops(64)):
        flow, _ = CutClip(rule, 48, interpolation=interpolation, modality="flow")(encoded, np.random.default_rng(3))
        rgb, _ = CutClip(rule, 48, interpolation=interpolation).apply(FRAMES, np.random.default_rng(3))
        assert flow.shape == (1, 4, 48, 48, 2) and flow.dtype == rgb.dtype
        # colours are resized each by itself, too; which way a half is rounded depends on how many there are, so does
        # the kernel that torch takes, whose sums differ by some of 255's last bits (torch 2.6 by 4e-4), and whether IPP
        # resizes or OpenCV
        np.testing.assert_allclose(flow, rgb[..., :2], atol=1 if interpolation in ("rounded", "auto") else 1e-3)


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_the_limit_of_pixels_of_a_config_reaches_every_frame(modality: str) -> None:
    schedule, data = {"base_lr": 0.1, "max_iter": 9}, {"max_pixels": 48 * 48 - 1}
    model = {"type": "tsn", "backbone": "resnet18", "num_segments": 1, "num_class": 2, "modality": modality}
    common = Common.model_validate(
        {"model": model, "lr_scheduler": schedule, "data": data, "augmentation": {"input_size": 32}}
    )
    cut = make_transform(common, PRESETS["tsn"], train=False)
    frame = jpeg(np.zeros((48, 48, 3), np.uint8))
    with pytest.raises(UnreadableFrameError, match=r"48x48 pixels are more than the 2303 of common.data.max_pixels"):
        cut([frame, frame])

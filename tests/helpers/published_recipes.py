"""What the source of each recipe does, as rows to test the folders of exps/ against; nothing is read from them here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tools.list_recipes import EXPS

SEED = EXPS / "douyin_exps/tsn_v5_mobilenet"
SCRIPTS = next(SEED.iterdir())
K400, SSV1, SSV2, UCF, HMDB = "kinetics400", "something_something_v1", "something_something_v2", "ucf101", "hmdb51"
DIVING = "diving48"
CLASSES = {K400: 400, SSV1: 174, SSV2: 174, UCF: 101, HMDB: 51, DIVING: 48}
DATA = {K400: "kin400", SSV1: "something_v1", SSV2: "something_v2", UCF: "ucf101", HMDB: "hmdb51", DIVING: DIVING}
TRAINING_VIDEOS = {K400: 240_436, SSV1: 86_017, SSV2: 168_913, UCF: 9_537, HMDB: 3_570, DIVING: 15_027}

Rate = Callable[[float], float]  # epochs of the source -> learning rate, as its code computes it


def steps(peak: float, *milestones: float) -> Rate:
    return lambda epoch: peak * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def mmengine_warm_up(after: Rate, epochs: int) -> Rate:
    """LinearLR from a tenth, once per epoch: its last value comes in its last epoch."""
    return lambda epoch: after(epoch) * min(1.0, 0.1 + 0.9 * math.floor(epoch) / (epochs - 1))


def pyslowfast_warm_up(after: Rate, epochs: float, start: float) -> Rate:
    return lambda epoch: start + (after(epochs) - start) * epoch / epochs if epoch < epochs else after(epoch)


def half_cosine(peak: float, epochs: float) -> Rate:
    return lambda epoch: peak * (1 + math.cos(math.pi * epoch / epochs)) / 2


def per_epoch(rate: Rate) -> Rate:
    return lambda epoch: rate(math.floor(epoch))


def mmengine_slowfast(epoch: float) -> float:
    return per_epoch(half_cosine(0.1, 256))(epoch) * min(1.0, 0.1 + 0.9 * epoch / 34)


def tin_mmaction2(epoch: float) -> float:
    """A line from a tenth over the first epoch, then a cosine over the other 39."""
    return pyslowfast_warm_up(lambda later: half_cosine(0.01, 39)(later - 1), 1, 0.001)(epoch)


def mmcv_line(after: Rate, epochs: float) -> Rate:
    """Times a line from a hundredth to 1."""
    return lambda epoch: after(epoch) * min(1.0, 0.01 + 0.99 * epoch / epochs)


def gsf(epoch: float) -> float:
    return pyslowfast_warm_up(lambda later: half_cosine(0.01, 50)(later - 10), 10, 0.001)(epoch)


def adapters(peak: float, warm_up: float, epochs: int) -> Rate:
    """A line from zero, then half a cosine down to zero."""
    return pyslowfast_warm_up(lambda epoch: half_cosine(peak, epochs - warm_up)(epoch - warm_up), warm_up, 0.0)


def uniformer_v2(peak: float, warm_up: float, epochs: int) -> Rate:
    """A line from 1e-6, then half a cosine back to it."""
    after = half_cosine(peak - 1e-6, epochs - warm_up)
    return pyslowfast_warm_up(lambda epoch: 1e-6 + after(epoch - warm_up), warm_up, 1e-6)


def videomae(peak: float, start: float, floor: float, epochs: int) -> Rate:
    """A line over five epochs, then half a cosine down to the floor."""
    return pyslowfast_warm_up(lambda epoch: floor + half_cosine(peak - floor, epochs - 5)(epoch - 5), 5, start)


class Recipe(NamedTuple):
    """What the source says: facts about one folder.

    length: in the source's epochs. passes: over our list in one of them. rate: by its epochs.
    """

    params: int
    batch: int
    length: float
    rate: Rate
    weight_decay: float
    clip: float | None = None
    nesterov: bool = False
    passes: float = 1.0
    adamw: bool = False
    layer_decay: float | None = None


def mit(params: int, batch: int, length: float, rate: Rate, weight_decay: float = 1e-4) -> Recipe:
    return Recipe(params, batch, length, rate, weight_decay, clip=20)


def pyslowfast(params: int, rate: Rate | None = None, length: float = 196, batch: int = 64) -> Recipe:
    rate = rate or pyslowfast_warm_up(half_cosine(0.1, 196), 34, 0.01)
    return Recipe(params, batch, length, rate, 1e-4, nesterov=True)


def reference(params: int, peak: float, batch: int) -> Recipe:
    """torchvision: five clips of a video in one epoch; a straight line over ten epochs from a thousandth."""
    line = pyslowfast_warm_up(steps(peak, 20, 30, 40), 10, peak / 1000)
    return Recipe(params, batch, 45, line, 1e-4, passes=5)


def mvit(params: int) -> Recipe:
    """PySlowFast: two clips of a video in one epoch, of which a step takes 16 videos."""
    after = half_cosine(1e-4 - 1e-6, 170)
    rate = pyslowfast_warm_up(lambda epoch: 1e-6 + after(epoch - 30), 30, 1e-6)
    return Recipe(params, 32, 200, rate, 0.05, clip=1.0, passes=2, adamw=True)


def swin(params: int, weight_decay: float) -> Recipe:
    """mmaction2: the cosine changes at each epoch, times a line from a tenth over 2.5 epochs."""

    def rate(epoch: float) -> float:
        return per_epoch(half_cosine(0.001, 30))(epoch) * min(1.0, 0.1 + 0.9 * epoch / 2.5)

    return Recipe(params, 64, 30, rate, weight_decay, adamw=True)


def vmz(params: int, batch: int, clips: int, length: int, every: int, peak: float, videos: int, wd: float) -> Recipe:
    """An epoch is a number of clips."""
    rate = steps(peak, *range(every, length, every))
    return Recipe(params, batch, length, rate, wd, nesterov=True, passes=clips // batch * batch / videos)


R50, R50_SS, R101_SS = 24_327_632, 23_864_558, 42_856_686
TSN_MM = Recipe(R50, 256, 100, steps(0.01, 40, 80), 1e-4, clip=40)
TSM_MM = Recipe(R50, 128, 50, mmengine_warm_up(steps(0.02, 25, 45), 5), 1e-4, clip=20)
TSM_MM_SS = TSM_MM._replace(params=R50_SS, weight_decay=5e-4)
MIT_SS = mit(R50_SS, 64, 50, steps(0.01, 20, 40), 5e-4)
TIN_MM = Recipe(23_895_566, 48, 40, tin_mmaction2, 5e-4, clip=20)
TRN_MM = Recipe(26_640_110, 128, 50, steps(0.002, 30, 45), 5e-4, clip=20)
TDN_SS = mit(24_382_606, 64, 60, steps(0.01, 30, 45, 55), 5e-4)
TPN_MM = Recipe(63_210_734, 64, 150, steps(0.01, 75, 125), 5e-4, clip=20, nesterov=True)
R21D_MM = Recipe(63_759_281, 64, 180, per_epoch(half_cosine(0.01, 180)), 1e-4, clip=40)
X3D = Recipe(3_794_322, 128, 300, pyslowfast_warm_up(half_cosine(0.1, 300), 35, 0.01), 5e-5, nesterov=True)
TIMESFORMER = Recipe(121_566_352, 8, 15, steps(0.005, 11, 14), 1e-4, nesterov=True)
VIDEOMAE = Recipe(86_534_800, 384, 75, videomae(7.5e-4, 1.5e-6, 1.5e-6, 75), 0.05, layer_decay=0.75)
SLOWFAST_MM = Recipe(34_479_288, 64, 256, mmengine_slowfast, 1e-4, clip=40)

RECIPES: dict[str, Recipe] = {
    "kinetics400/tsn_r50_5f_mit": mit(R50, 128, 50, steps(0.02, 20, 40)),
    "kinetics400/tsm_r50_8f_mit": mit(R50, 128, 50, steps(0.02, 20, 40)),
    "kinetics400/tsm_r50_16f_mit": mit(R50, 128, 50, steps(0.02, 20, 40)),
    "kinetics400/tsm_r50_8f_dense_mit": mit(R50, 64, 100, steps(0.01, 37.5, 75)),
    "kinetics400/tsm_r50_nl_8f_dense_mit": mit(31_686_096, 64, 100, steps(0.01, 37.5, 75)),
    "kinetics400/tsn_r50_3f_mmaction2": TSN_MM,
    "kinetics400/tsn_r50_5f_mmaction2": TSN_MM,
    "kinetics400/tsn_r50_8f_mmaction2": TSN_MM,
    "kinetics400/tsn_r101_8f_mmaction2": TSN_MM._replace(params=43_319_760),
    "kinetics400/tsm_r50_8f_mmaction2": TSM_MM,
    "kinetics400/tsm_r50_16f_mmaction2": TSM_MM,
    "kinetics400/tsm_r50_8f_dense_mmaction2": TSM_MM,
    "kinetics400/tsm_r50d_8f_paddlevideo": Recipe(
        24_346_864, 128, 80, pyslowfast_warm_up(half_cosine(0.01, 80), 10, 0.005), 1e-4, nesterov=True
    ),
    "kinetics400/tanet_r50_8f_dense_mmaction2": Recipe(25_590_320, 64, 100, steps(0.01, 50, 75, 90), 1e-4, clip=20),
    "kinetics400/tdn_r50_8f_mcg": mit(24_845_680, 128, 100, steps(0.02, 50, 75, 90)),
    "kinetics400/mvf_r50_8f_dense_mvfnet": Recipe(
        24_342_416,
        96,
        150,
        mmcv_line(steps(0.015, 90, 130), 25_070 * 96 / TRAINING_VIDEOS[K400]),
        1e-4,
        clip=40,
        nesterov=True,
    ),
    "kinetics400/tpn_slow_r50_8x8_mmaction2": TPN_MM._replace(params=71_800_272, weight_decay=1e-4, clip=40),
    "kinetics400/tsm_mobilenetv2_8f_mmaction2": Recipe(2_736_272, 128, 100, steps(0.02, 40, 80), 2e-5, clip=20),
    "kinetics400/slow_r50_4x16_pyslowfast": pyslowfast(32_454_096),
    "kinetics400/slow_r50_8x8_pyslowfast": pyslowfast(32_454_096),
    "kinetics400/i3d_r50_8x8_pyslowfast": pyslowfast(28_043_472),
    "kinetics400/c2d_r50_8x8_pyslowfast": pyslowfast(R50),
    "kinetics400/slowfast_r50_4x16_pyslowfast": pyslowfast(34_480_216),
    "kinetics400/slowfast_r50_8x8_pyslowfast": pyslowfast(34_566_488),
    "kinetics400/slowfast_r50_8x8_stepwise_pyslowfast": pyslowfast(
        34_566_488, pyslowfast_warm_up(steps(0.1, 94, 154, 196), 34, 0.01), 239
    ),
    "kinetics400/slowfast_r101_8x8_pytorchvideo": pyslowfast(62_826_968),
    "kinetics400/slowfast_r101_16x8_pytorchvideo": pyslowfast(53_774_808),
    "kinetics400/slowfast_r50_8x8_pytorchvideo": pyslowfast(
        34_566_488, pyslowfast_warm_up(half_cosine(0.8, 196), 34, 0.01), batch=512
    ),
    "kinetics400/r3d_r50_8x8_pytorchvideo_tutorial": Recipe(
        32_472_912, 32, 200, per_epoch(half_cosine(0.1, 200)), 1e-4
    ),
    "kinetics400/x3d_xs_4x12_pyslowfast": X3D,
    "kinetics400/x3d_s_13x6_pyslowfast": X3D,
    "kinetics400/x3d_m_16x5_pyslowfast": X3D,
    "kinetics400/x3d_l_16x5_pyslowfast": Recipe(
        6_153_432, 64, 256, pyslowfast_warm_up(half_cosine(0.05, 256), 35, 0.01), 5e-5, nesterov=True
    ),
    "kinetics400/mvit_b_16x4_pyslowfast": mvit(36_610_672),
    "kinetics400/mvit_b_32x3_pyslowfast": mvit(36_611_440),
    "kinetics400/mvit_v2_s_16x4_pyslowfast": mvit(34_537_744),
    "kinetics400/swin_t_32x2_mmaction2": swin(28_158_070, 0.02),
    "kinetics400/swin_s_32x2_mmaction2": swin(49_816_678, 0.02),
    "kinetics400/swin_b_32x2_mmaction2": swin(88_048_984, 0.05),
    "kinetics400/slowfast_r50_4x16_mmaction2": SLOWFAST_MM,
    "kinetics400/slowfast_r50_8x8_mmaction2": SLOWFAST_MM._replace(params=34_565_560),
    "kinetics400/r2plus1d_34_8x8_mmaction2": R21D_MM,
    "kinetics400/r2plus1d_34_32x2_mmaction2": R21D_MM,
    "kinetics400/ir_csn_152_32x2_mmaction2": Recipe(
        29_703_568, 96, 58, mmengine_warm_up(steps(5e-4, 32, 48), 16), 1e-4, clip=40
    ),
    "kinetics400/r3d_18_torchvision": reference(33_371_472, 0.64, 1536),
    "kinetics400/mc3_18_torchvision": reference(11_695_440, 0.64, 1536),
    "kinetics400/r2plus1d_18_torchvision": reference(31_505_325, 0.64, 1536),
    "kinetics400/s3d_torchvision": reference(8_320_048, 0.2, 768),
    "kinetics400/r2plus1d_18_8f_vmz": vmz(31_505_325, 64, 1_000_000, 35, 10, 0.02, TRAINING_VIDEOS[K400], 1e-4),
    "kinetics400/st_adapter_clip_b16_8x16": Recipe(93_217_168, 192, 12, adapters(7.5e-4, 2, 12), 0.01),
    "kinetics400/aim_clip_b16_8x16": Recipe(96_764_560, 64, 30, adapters(3e-4, 2.5, 30), 0.05),
    "something_something_v2/st_adapter_clip_b16_8f": Recipe(100_153_518, 256, 50, adapters(1e-3, 2, 50), 0.01),
    "kinetics400/timesformer_b_8x32_timesformer": TIMESFORMER,
    "something_something_v2/timesformer_b_8f_timesformer": TIMESFORMER._replace(params=121_392_558),
    "something_something_v2/vjepa2_l_16x4_vjepa2": Recipe(
        353_399_982, 256, 20, half_cosine(0.001, 20), 0.01, adamw=True
    ),
    "diving48/vjepa2_l_32x2_vjepa2": Recipe(353_270_832, 128, 100, half_cosine(0.001, 100), 0.8, adamw=True),
    "kinetics400/uniformerv2_b_8f_mmaction2": Recipe(
        114_552_208, 256, 5, uniformer_v2(2e-6, 1, 5), 0.05, clip=20, adamw=True
    ),
    "something_something_v2/uniformerv2_b_16f_uniformerv2": Recipe(
        162_992_814, 128, 22, uniformer_v2(4e-5, 5, 22), 0.05, clip=20, adamw=True
    ),
    "kinetics400/videomae_b_16x4_videomae": VIDEOMAE,
    "something_something_v2/videomae_b_16f_videomae": VIDEOMAE._replace(
        params=86_361_006, length=30, rate=videomae(7.5e-4, 1.5e-6, 1.5e-6, 30)
    ),
    "ucf101/videomae_b_16x4_videomae": VIDEOMAE._replace(
        params=86_304_869, batch=128, length=100, rate=videomae(2.5e-4, 5e-7, 5e-6, 100)
    ),
    "kinetics400/videomae_b_16x4_videomaev2": VIDEOMAE._replace(
        batch=512, length=90, rate=videomae(1.4e-3, 2e-8, 2e-6, 90)
    ),
    "hmdb51/videomae_g_16x2_videomaev2": VIDEOMAE._replace(
        params=1_011_682_611, batch=24, length=15, layer_decay=0.9, rate=videomae(4.6875e-5, 9.375e-10, 9.375e-8, 15)
    ),
    "kinetics400/hiera_b_16x4_hiera": VIDEOMAE._replace(params=51_092_560),
    "something_something_v1/tsm_r50_8f_mit": MIT_SS,
    "something_something_v1/tsm_r50_16f_mit": MIT_SS,
    "something_something_v1/tsm_r101_8f_mit": MIT_SS._replace(params=R101_SS),
    "something_something_v1/tanet_r50_8f_mmaction2": Recipe(25_127_246, 64, 50, steps(0.01, 30, 40, 45), 1e-3, clip=20),
    "something_something_v1/tdn_r50_8f_mcg": TDN_SS,
    "something_something_v1/tpn_tsm_r50_8f_mmaction2": TPN_MM,
    "something_something_v1/tea_res2net50_8f_tea": mit(24_456_280, 64, 50, steps(0.02, 30, 40, 45), 5e-4),
    "something_something_v1/tin_r50_8f_mmaction2": TIN_MM,
    "something_something_v1/trn_r50_8f_mmaction2": TRN_MM,
    "something_something_v1/trn_bninception_8f_trn_pytorch": mit(13_140_174, 64, 120, steps(0.001, 50, 100), 5e-4),
    "something_something_v1/gsf_r50_16f_gsf": mit(24_303_214, 32, 60, per_epoch(gsf), 5e-4),
    "something_something_v1/gsm_inceptionv3_8f_gsm": mit(22_207_586, 32, 60, per_epoch(gsf), 5e-4),
    "something_something_v2/tin_r50_8f_mmaction2": TIN_MM._replace(clip=40),
    "something_something_v2/trn_r50_8f_mmaction2": TRN_MM,
    "something_something_v2/tdn_r50_8f_mcg": TDN_SS,
    "something_something_v2/action_r50_8f_vsense": mit(28_082_378, 64, 50, steps(0.01, 31, 41, 46), 5e-4),
    "something_something_v2/tsm_r50_8f_mit": MIT_SS,
    "something_something_v2/tsm_r50_16f_mit": MIT_SS,
    "something_something_v2/tsm_r101_8f_mit": MIT_SS._replace(params=R101_SS),
    "something_something_v2/tsm_r50_8f_mmaction2": TSM_MM_SS,
    "something_something_v2/tsm_r50_16f_mmaction2": TSM_MM_SS,
    "something_something_v2/tsm_r101_8f_mmaction2": TSM_MM_SS._replace(params=R101_SS),
    "something_something_v2/tsn_r50_8f_mmaction2": Recipe(R50_SS, 256, 50, steps(0.01, 20, 40), 1e-4, clip=40),
    "something_something_v2/slowfast_r50_16x8_pyslowfast": Recipe(
        34_045_558, 16, 22, pyslowfast_warm_up(steps(0.03, 14, 18), 0.19, 0.0001), 1e-6, nesterov=True
    ),
    "ucf101/tsm_r50_8f_mit": mit(23_714_981, 64, 25, steps(0.001, 10, 20), 5e-4),
    "ucf101/tsn_bninception_3f_tsn_pytorch": mit(10_373_765, 128, 80, steps(0.001, 30, 60), 5e-4),
    "ucf101/tsn_r101_3f_tsn_pytorch": mit(42_707_109, 128, 80, steps(0.001, 30, 60), 5e-4),
    "ucf101/tsn_r101_3f_flow_tsn_pytorch": mit(42_729_061, 128, 340, steps(0.001, 190, 300), 5e-4),
    "ucf101/tsn_r101_7f_rgbdiff_tsn_pytorch": mit(42_744_741, 128, 180, steps(0.001, 80, 160), 5e-4)._replace(clip=40),
    "ucf101/tsn_r50_3f_mmaction2": Recipe(23_714_981, 256, 75, steps(0.00128), 5e-4, clip=40),
    "ucf101/c3d_16f_mmaction2": Recipe(78_409_573, 240, 45, steps(0.001, 20, 40), 5e-4, clip=40),
    "ucf101/r2plus1d_34_32f_vmz": vmz(63_543_788, 32, 100_000, 8, 2, 0.0008, TRAINING_VIDEOS[UCF], 5e-3),
    "hmdb51/tsm_r50_8f_mmaction2": Recipe(23_612_531, 96, 25, steps(0.0015, 10, 20), 1e-4, clip=20),
    "hmdb51/tsn_r50_8f_mmaction2": Recipe(23_612_531, 256, 50, steps(0.025, 20, 40), 1e-4, clip=40),
    "hmdb51/r2plus1d_34_32f_vmz": vmz(63_518_138, 32, 40_000, 8, 2, 0.0016, TRAINING_VIDEOS[HMDB], 5e-3),
}
MIT_GROUPS = {(1, 1), (1, 0), (5, 1), (10, 0)}  # ResNets have no bias but the classifier's

_each = pytest.mark.parametrize("name", RECIPES)


def every_recipe(function: Callable[..., None]) -> Callable[..., None]:
    """Runs a test for each recipe; `make quick` for the first."""
    return pytest.mark.alike(_each(function))

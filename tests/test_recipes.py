"""The recipes in exps/: each is complete, builds the published network, trains and tests as its source does."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchvision

from datasets import DATASETS
from datasets.assemble import check_pipelines, train_clip
from datasets.assemble import test_clip as clip_at_test
from datasets.sampling import get_rule
from methods.assemble import build_method, sync_bn_arguments
from methods.base import Method
from networks.freeze import freeze_bn
from tools.list_recipes import EXPS, find_recipes, read_header, renewed, table
from utils.config import Common
from utils.config_file import load_config
from utils.flops import multiply_adds
from utils.lr_scheduler import schedule
from utils.optim import make_optimizer, parameter_groups

SEED = EXPS / "douyin_exps/tsn_v5_mobilenet"
SCRIPTS = next(SEED.iterdir())
K400, SSV1, SSV2, UCF, HMDB = "kinetics400", "something_something_v1", "something_something_v2", "ucf101", "hmdb51"
CLASSES = {K400: 400, SSV1: 174, SSV2: 174, UCF: 101, HMDB: 51}
DATA = {K400: "kin400", SSV1: "something_v1", SSV2: "something_v2", UCF: "ucf101", HMDB: "hmdb51"}
TRAINING_VIDEOS = {K400: 240_436, SSV1: 86_017, SSV2: 168_913, UCF: 9_537, HMDB: 3_570}

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


def mit(params: int, batch: int, length: float, rate: Rate, weight_decay: float = 1e-4) -> Recipe:
    return Recipe(params, batch, length, rate, weight_decay, clip=20)


def pyslowfast(params: int, rate: Rate | None = None, length: float = 196, batch: int = 64) -> Recipe:
    rate = rate or pyslowfast_warm_up(half_cosine(0.1, 196), 34, 0.01)
    return Recipe(params, batch, length, rate, 1e-4, nesterov=True)


def reference(params: int, peak: float, batch: int) -> Recipe:
    """torchvision: five clips of a video in one epoch; a straight line over ten epochs from a thousandth."""
    line = pyslowfast_warm_up(steps(peak, 20, 30, 40), 10, peak / 1000)
    return Recipe(params, batch, 45, line, 1e-4, passes=5)


def vmz(params: int, batch: int, clips: int, length: int, every: int, peak: float, videos: int, wd: float) -> Recipe:
    """An epoch is a number of clips."""
    rate = steps(peak, *range(every, length, every))
    return Recipe(params, batch, length, rate, wd, nesterov=True, passes=clips // batch * batch / videos)


R50, R50_SS, R101_SS = 24_327_632, 23_864_558, 42_856_686
TSN_MM = Recipe(R50, 256, 100, steps(0.01, 40, 80), 1e-4, clip=40)
TSM_MM = Recipe(R50, 128, 50, mmengine_warm_up(steps(0.02, 25, 45), 5), 1e-4, clip=20)
TSM_MM_SS = TSM_MM._replace(params=R50_SS, weight_decay=5e-4)
MIT_SS = mit(R50_SS, 64, 50, steps(0.01, 20, 40), 5e-4)
R21D_MM = Recipe(63_759_281, 64, 180, per_epoch(half_cosine(0.01, 180)), 1e-4, clip=40)
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
    "something_something_v1/tsm_r50_8f_mit": MIT_SS,
    "something_something_v1/tsm_r50_16f_mit": MIT_SS,
    "something_something_v1/tsm_r101_8f_mit": MIT_SS._replace(params=R101_SS),
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
    "ucf101/tsn_r101_3f_tsn_pytorch": mit(42_707_109, 128, 80, steps(0.001, 30, 60), 5e-4),
    "ucf101/tsn_r50_3f_mmaction2": Recipe(23_714_981, 256, 75, steps(0.00128), 5e-4, clip=40),
    "ucf101/r2plus1d_34_32f_vmz": vmz(63_543_788, 32, 100_000, 8, 2, 0.0008, TRAINING_VIDEOS[UCF], 5e-3),
    "hmdb51/tsm_r50_8f_mmaction2": Recipe(23_612_531, 96, 25, steps(0.0015, 10, 20), 1e-4, clip=20),
    "hmdb51/tsn_r50_8f_mmaction2": Recipe(23_612_531, 256, 50, steps(0.025, 20, 40), 1e-4, clip=40),
    "hmdb51/r2plus1d_34_32f_vmz": vmz(63_518_138, 32, 40_000, 8, 2, 0.0016, TRAINING_VIDEOS[HMDB], 5e-3),
}
MIT_GROUPS = {(1, 1), (1, 0), (5, 1), (10, 0)}  # ResNets have no bias but the classifier's

every_recipe = pytest.mark.parametrize("name", RECIPES)


@functools.cache
def config(name: str) -> Common:
    return load_config(EXPS / name / "config.yaml").common


@functools.cache
def method(name: str) -> Method:
    with torch.device("meta"):
        return build_method(config(name).model).train()


def num_gpus(name: str) -> int:
    match = re.fullmatch(r"(\d+) videos a step, (\d+) GPUs? x (\d+);.*", read_header(yaml(name)).fields["Batch"])
    assert match is not None
    whole, gpus, each = (int(number) for number in match.groups())
    assert (whole, each) == (gpus * config(name).batch_size, config(name).batch_size)
    return gpus


def yaml(name: str) -> Path:
    return EXPS / name / "config.yaml"


def test_every_folder_of_the_datasets_is_a_recipe_with_a_row_here() -> None:
    found = {folder.relative_to(EXPS).as_posix() for folder in find_recipes(EXPS)}
    assert found == set(RECIPES)
    assert {
        path.parent.relative_to(EXPS).as_posix() for data in CLASSES for path in EXPS.glob(f"{data}/*/*.yaml")
    } == found


def test_the_readme_shows_what_the_headers_say() -> None:
    readme = EXPS / "README.md"
    assert renewed(readme, table(EXPS)) == readme.read_text(), "run python -m tools.list_recipes"


@every_recipe
def test_a_recipe_is_complete_in_itself_and_says_where_it_comes_from(name: str) -> None:
    header = read_header(yaml(name))
    assert header.commands == tuple(
        f"exps/{name}/{script}.sh PARTITION {num_gpus(name)}" for script in ("train", "eval")
    )
    assert list(header.fields) == ["Paper", "Batch", "Source", "Hardware", "Published", "Differs"]
    for script in ("train.sh", "eval.sh"):
        file = EXPS / name / script
        assert file.read_bytes() == (SCRIPTS / script).read_bytes() and file.stat().st_mode & 0o111
    written = load_config(yaml(name)).lines
    for key in ("augmentation.preset", "augmentation.input_size", "augmentation.test_resize", "augmentation.flip",
                "data.sampling", "test.num_clips", "test.num_crops", "test.sampling", "momentum", "weight_decay",
                "batch_size", "val_freq", "model.dropout", "model.pretrained"):  # fmt: skip
        assert f"common.{key}" in written, f"{key} is left to its default"


@every_recipe
def test_data_lie_where_the_tools_put_them(name: str) -> None:
    common, dataset = config(name), name.split("/")[0]
    root = f"data/{DATA[dataset]}"
    assert common.model.num_class == CLASSES[dataset]
    assert (common.train_root, common.train_source) == (root, f"{root}/lists/train.txt")
    assert (common.val_root, common.val_source) == (root, f"{root}/lists/val.txt")


@every_recipe
def test_the_network_has_the_published_number_of_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in method(name).parameters()) == RECIPES[name].params


@pytest.mark.parametrize(
    ("name", "size", "gmacs"),
    [("kinetics400/tsm_mobilenetv2_8f_mmaction2", (8, 224, 224), 2.400),
     ("kinetics400/mc3_18_torchvision", (16, 112, 112), 43.343),
     ("kinetics400/slow_r50_4x16_pyslowfast", (4, 256, 256), 27.262)],
)  # fmt: skip
def test_light_networks_cost_what_was_counted(name: str, size: tuple[int, int, int], gmacs: float) -> None:
    assert multiply_adds(method(name), (1, 3, *size)) / 1e9 == pytest.approx(gmacs, abs=5e-4)


@every_recipe
def test_frames_are_picked_and_cut_by_rules_that_fit_the_method(name: str) -> None:
    common, clip = config(name), method(name).clip
    check_pipelines(common, clip)
    for wanted, num_clips in (
        (train_clip(common, clip), None),
        (clip_at_test(common, clip), common.test.num_clips),
    ):
        rule = get_rule(wanted.sampling)
        assert wanted.sampling in DATASETS[wanted.dataset].rules
        rule.check(wanted.sampling, wanted.frame_stride, rule.num_clips if num_clips is None else num_clips)
        if num_clips is not None:
            frames = rule.test(300, wanted.num_frames, wanted.frame_stride, num_clips)
            assert frames.shape == (num_clips, wanted.num_frames) and frames.max() < 300
    sync_bn_arguments(common.model)


@every_recipe
def test_the_test_is_the_protocol_of_the_published_score(name: str) -> None:
    published, common = read_header(yaml(name)).fields["Published"], config(name)
    clips, crops = common.test.num_clips, common.crops
    frames = common.test.num_frames or method(name).clip.num_frames
    size = common.test.input_size or common.augmentation.input_size
    many = f"{crops} crop{'s' * (crops > 1)}" + (f" of {size}" if size != 224 else "")
    some = f"{clips} clip{'s' * (clips > 1)}"
    accepted = [
        f"{frames} frames x {many}",
        f"{frames} frames x {some} x {many}",
        f"{some} of {frames} frames x {many}",
        f"{some} x {many}",
        f"of {some}",  # VMZ tells no more
    ]
    if not published.startswith("none") and "from memory" not in published:
        assert any(re.search(rf"{re.escape(text)}(?! of)", published) for text in accepted)


@every_recipe
def test_the_learning_rate_is_the_sources_at_known_steps(name: str) -> None:
    recipe, common = RECIPES[name], config(name)
    videos = TRAINING_VIDEOS[name.split("/")[0]]
    batch = common.batch_size * num_gpus(name)
    assert batch == recipe.batch
    per_pass = videos / batch
    rates = schedule(common.lr_scheduler, per_pass)
    per_source_epoch = recipe.passes * per_pass
    assert len(rates) == pytest.approx(recipe.length * per_source_epoch, abs=1)
    for epoch in np.linspace(0, recipe.length, 97)[:-1]:
        step = round(epoch * per_source_epoch)
        # a step falls between epochs where the list is no multiple of the batch: its own place, not the epoch's
        place = step / per_source_epoch
        near = [recipe.rate(max(0.0, place + shift / per_source_epoch)) for shift in (-1, -1e-6, 1e-6, 1)]
        assert min(near) * (1 - 1e-3) <= rates[step] <= max(near) * (1 + 1e-3), f"epoch {epoch:.2f}, step {step}"


@every_recipe
def test_the_optimizer_is_the_sources(name: str) -> None:
    recipe, common = RECIPES[name], config(name)
    groups = parameter_groups(method(name), no_wd=common.no_wd, policy=common.policy, fc_lr5=common.fc_lr5)
    optimizer = make_optimizer(common, groups)
    assert isinstance(optimizer, torch.optim.SGD)
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.9, recipe.nesterov)}
    assert max(group["weight_decay"] for group in optimizer.param_groups) == pytest.approx(recipe.weight_decay)
    assert common.clip_gradient == recipe.clip
    multipliers = {(group.lr_mult, group.decay_mult) for group in groups}
    if "tsm_" in name or name.endswith("_5f_mit"):
        assert multipliers - {(2, 0)} == MIT_GROUPS  # biases of non-local blocks learn at twice the rate
    elif name.endswith("tsn_pytorch"):
        assert multipliers == {(1, 1), (1, 0), (2, 0)}
    elif name.endswith(("pyslowfast", "pytorchvideo")):
        assert multipliers == {(1, 1), (1, 0)} and common.no_wd == "norm"
    else:
        assert multipliers == {(1, 1)}


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("ucf101/tsm_r50_8f_mit", 52),
        ("ucf101/tsn_r101_3f_tsn_pytorch", 103),
        ("kinetics400/ir_csn_152_32x2_mmaction2", 155),
    ],
)
def test_batch_norm_is_frozen_where_the_source_freezes_it(name: str, frozen: int) -> None:
    common = config(name)
    assert common.partial_bn or common.frozen_bn
    with torch.device("meta"):
        model = build_method(common.model)
    assert freeze_bn(model, keep_first=not common.frozen_bn) == frozen
    assert sum(bool(config(other).partial_bn or config(other).frozen_bn) for other in RECIPES) == 3


def test_image_weights_carry_the_names_under_which_torchvision_publishes_them() -> None:
    wanted = {str(config(name).model.pretrained) for name in RECIPES}
    urls = [
        torchvision.models.get_model_weights(f"resnet{depth}")["IMAGENET1K_V2"].url.rsplit("/")[-1]
        for depth in (50, 101)
    ]
    assert {f"pretrained/{url}" for url in urls} <= wanted


def test_the_flip_of_something_something_exchanges_what_mirrors() -> None:
    for name in RECIPES:
        augmentation, mirrored = config(name).augmentation, "mmaction2" in name
        if name.startswith("something") and "tsn" not in name:
            assert augmentation.flip == (0.5 if mirrored else 0.0)
            assert bool(augmentation.flip_labels) == mirrored
            for one, other in augmentation.flip_labels.items():
                assert augmentation.flip_labels[other] == one
                swapped = {"left": "right", "right": "left"}
                assert other == " ".join(swapped.get(word, word) for word in str(one).split())


def test_a_header_is_read_up_to_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("# Set: a net.\n#   run me\n# Batch: 8\n#   a step; more\ncommon:\n# Source: not a field\n")
    header: Any = read_header(file)
    assert (header.title, header.commands) == ("Set: a net.", ("run me",))
    assert header.fields == {"Batch": "8 a step; more"}

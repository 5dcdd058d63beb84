"""The recipes in exps/: each is complete, builds the published network, trains and tests as its source does."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from datasets import DATASETS
from datasets.protocol import clip_protocol
from datasets.split import check_dataset
from methods.base import Method
from methods.build import build_method
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.protocols import sections
from networks.prepare import freeze_bn
from tests.helpers.published_recipes import (
    CLASSES,
    DATA,
    MIT_GROUPS,
    RECIPES,
    SCRIPTS,
    TRAINING_VIDEOS,
    every_recipe,
)
from tools.list_recipes import EXPS, find_recipes, read_header, renewed, table
from utils.config.file import load_config
from utils.config.schema import Common
from utils.published.registry import registry
from utils.run.flops import multiply_adds
from utils.training.optimizer import make_optimizer, parameter_groups
from utils.training.schedule import schedule


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


def test_a_config_that_was_read_can_be_read_again() -> None:
    """Reads each config again from its own values, as Recognizer.with_test does; what was filled in is no mistake."""
    for name in (*RECIPES, "motion8/probe_x3d_s"):  # the last is trained in one step
        assert Common.model_validate(config(name).model_dump(exclude_unset=True)) == config(name), name


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
    for train in (True, False):
        protocol = clip_protocol(common, clip, train=train)
        check_dataset(common, protocol)
        assert protocol.clip.sampling in DATASETS[protocol.clip.dataset].rules
    wanted, num_clips = protocol.clip, protocol.num_clips
    frames = protocol.rule.test(300, wanted.num_frames, wanted.frame_stride, num_clips)
    assert frames.shape == (num_clips, wanted.num_frames) and frames.max() < 300


@every_recipe
def test_the_test_is_the_protocol_of_the_published_score(name: str) -> None:
    published, common = read_header(yaml(name)).fields["Published"], config(name)
    clips, crops = common.test.num_clips, common.crops
    frames = common.test.num_frames or method(name).clip.num_frames
    size = common.test.input_size or common.augmentation.input_size
    windows = method(name).clip.segments
    many = f"{crops} crop{'s' * (crops > 1)}" + (f" of {size}" if size != 224 else "")
    some = f"{clips} clip{'s' * (clips > 1)}"
    accepted = [
        f"{frames} frames x {many}",
        f"{frames} frames x {some} x {many}",
        f"{some} of {frames} frames x {many}",
        f"{some} of {windows} windows of {frames // windows} frames x {many}",
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
    if re.search("/(st_adapter|aim)_", name):
        assert isinstance(optimizer, torch.optim.AdamW) and common.freeze == ["base"]
        assert common.weight_decay == recipe.weight_decay and common.save_weights == "trained"
        assert {(group.lr_mult, group.decay_mult) for group in groups} <= {(1, 1), (1, 0)}
        return
    if recipe.layer_decay is not None:
        assert isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["betas"] == (0.9, 0.999)
        assert (common.weight_decay, common.layer_decay, common.data.repeated) == (
            recipe.weight_decay,
            recipe.layer_decay,
            2,
        )
        assert {(group.lr_mult, group.decay_mult) for group in groups} == {(1, 1), (1, 0)}
        return
    if recipe.adamw:
        assert isinstance(optimizer, torch.optim.AdamW)
    else:
        assert isinstance(optimizer, torch.optim.SGD)
        assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.9, recipe.nesterov)}
    assert max(group["weight_decay"] for group in optimizer.param_groups) == pytest.approx(recipe.weight_decay)
    assert common.clip_gradient == recipe.clip
    multipliers = {(group.lr_mult, group.decay_mult) for group in groups}
    if re.search("/(tsm|tanet|tin|tea|action)_", name) or name.endswith("_5f_mit"):
        assert multipliers - {(2, 0)} == MIT_GROUPS  # biases of non-local blocks learn at twice the rate
    elif name.endswith("tsn_pytorch") or re.search("/(tdn|trn|gsm|gsf)_", name):
        first = {(5, 1)} if common.model.modality == "flow" else set()  # the first convolution comes from RGB
        assert multipliers == {(1, 1), (1, 0), (2, 0)} | first
    elif re.search("/(mvit|uniformerv2)_", name):
        assert multipliers == {(1, 1), (1, 0)} and common.no_wd is True
    elif "/swin_" in name:
        assert multipliers == {(1, 1), (1, 0)} and common.no_wd == "norm"
        assert common.lr_by_name == {"network": 0.1, "network.head": 1.0}
    elif name.endswith(("pyslowfast", "pytorchvideo")):
        assert multipliers == {(1, 1), (1, 0)} and common.no_wd == "norm"
    else:
        assert multipliers == {(1, 1)}


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("ucf101/tsm_r50_8f_mit", 52),
        ("ucf101/tsn_bninception_3f_tsn_pytorch", 68),
        ("ucf101/tsn_r101_3f_tsn_pytorch", 103),
        ("ucf101/tsn_r101_3f_flow_tsn_pytorch", 103),
        ("ucf101/tsn_r101_7f_rgbdiff_tsn_pytorch", 103),
        ("kinetics400/ir_csn_152_32x2_mmaction2", 155),
        ("something_something_v1/trn_r50_8f_mmaction2", 52),
        ("something_something_v1/trn_bninception_8f_trn_pytorch", 68),
        ("something_something_v2/trn_r50_8f_mmaction2", 52),
    ],
)
def test_batch_norm_is_frozen_where_the_source_freezes_it(name: str, frozen: int) -> None:
    common = config(name)
    assert common.partial_bn or common.frozen_bn
    with torch.device("meta"):
        model = build_method(common.model)
    assert freeze_bn(model, keep_first=not common.frozen_bn) == frozen
    assert sum(bool(config(other).partial_bn or config(other).frozen_bn) for other in RECIPES) == 9


def test_recipes_begin_with_weights_that_are_fetched_by_their_names() -> None:
    wanted = {text for name in RECIPES if isinstance(text := config(name).model.pretrained, str)}
    assert len(wanted) == 19 and wanted <= registry().keys()
    for depth in (50, 101):
        url = torchvision.models.get_model_weights(f"resnet{depth}")["IMAGENET1K_V2"].url
        assert registry()[f"imagenet1k/resnet{depth}_v2_torchvision"].url == url


def test_the_flip_of_something_something_exchanges_what_mirrors() -> None:
    for name in RECIPES:
        sources = ("mmaction2", "mcg", "gsm", "gsf", "trn_pytorch")
        augmentation, mirrored = config(name).augmentation, name.endswith(sources) and "/tin_" not in name
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


@pytest.mark.parametrize("name", [name for name in RECIPES if "/videomae" in name])
def test_a_videomae_is_tested_by_its_recipe_as_by_what_its_file_shows(name: str) -> None:
    common = config(name)
    described = Description(method="clip3d", backbone=common.model.backbone)
    described.arguments["num_class"] = common.model.num_class
    shown = {"model": common.model.model_dump(exclude_unset=True), "lr_scheduler": {"base_lr": 0.1, "max_iter": 1}}
    other = Common.model_validate(shown | {"batch_size": 2} | sections("VideoMAE", described))
    clip = method(name).clip
    assert clip_protocol(common, clip, train=False).as_dict() == clip_protocol(other, clip, train=False).as_dict()

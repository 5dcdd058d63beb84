"""Builds the method that a config describes: the one place where names in `common.model` become networks.

It needs no data and works on torch.device("meta") as well, so a dry run makes every check that a run makes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from methods import METHODS
from methods.base import Method
from networks.checkpoints.load import LoadReport, RawCheckpoint, find_image_weights, load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from networks.group_sync_bn import SYNC_BN, convert_group_sync_bn
from networks.prepare import freeze_all_but, freeze_base, freeze_bn, freeze_parts
from networks.recompute import recompute_blocks, recomputed_blocks
from utils.config.build import build, call, parameters_of
from utils.config.schema import ALL, BASE, SOLVES, Common
from utils.config.sections import Model
from utils.errors import CheckpointError, ConfigError
from utils.processes import session
from utils.processes.launch import expected_world_size
from utils.processes.sharded import refuse_unsharded
from utils.published.files import local_file, meant_names, named
from utils.published.libraries import TIMM, published_statistics
from utils.published.registry import Published, published_as
from utils.run.context import Run
from utils.training.blocks import blocks_of
from utils.training.precision import Precision
from utils.training.solver import solvable
from utils.transforms.build import make_augment
from utils.transforms.presets import find_preset

MEAN = "common.augmentation.mean"  # in front of the warning about pixels of another mean


def build_method(model: Model) -> Method:
    """Builds the method with its backbone and classifier, with random weights.

    Raises: ConfigError with the dotted path for an unknown name, argument, type or combination.
    """
    arguments: dict[str, Any] = {
        "backbone": model.backbone,
        "num_class": model.num_class,
        "dropout": model.dropout,
        "kwargs": {key: value for key, value in model.kwargs.items() if key not in SYNC_BN},
        **(model.model_extra or {}),
    }
    if model.modality != "rgb" or model.stack is not None:  # a method that sees only RGB does not have these arguments
        arguments |= {"modality": model.modality, "stack": model.stack}
    method = build(METHODS, model.type, arguments, where="common.model")
    method.kind = next(name for name, kind in METHODS.items() if kind is METHODS[model.type])  # some have two names
    return method


def build_for_file(model: Model, file: RawCheckpoint) -> Method:
    """Builds the method for a file's weights. Raises: CheckpointError if they do not fit, before it takes memory."""
    with torch.device("meta"):
        load_into(build_method(model), file, as_trained=False)
    return build_method(model)


def prepared_method(common: Common, *, world_size: int | None = None) -> tuple[Method, list[str]]:
    """Builds the method for training, with synchronised batch norms and frozen parts, and returns it with warnings.

    world_size: number of processes that the run will have; default: those that are connected now.
    Raises: ConfigError like build_method, also for batch norm groups and frozen parts that are not possible.
    """
    method = build_method(common.model)
    if common.data.feature_cache is not None and not method.frozen_part:
        raise ConfigError(
            f"common.data.feature_cache: the features of {method.name} change while it learns; a cache needs "
            "model.type: probe"
        )
    given = {key: common.model.kwargs[key] for key in SYNC_BN if key in common.model.kwargs}
    kwargs = "common.model.kwargs"
    warnings = call(convert_group_sync_bn, given, "batch norm", kwargs, module=method, world_size=world_size)
    if common.frozen_bn or common.partial_bn:
        with _errors_at("common.frozen_bn" if common.frozen_bn else "common.partial_bn"):
            freeze_bn(method, keep_first=not common.frozen_bn)
    with _errors_at("common.freeze"):
        if common.freeze == [ALL]:
            freeze_all_but(method, method.head_prefix.removesuffix("."))
        elif common.freeze == [BASE]:
            freeze_base(method, method.is_base)
        else:
            freeze_parts(method, common.freeze)
    _check_solvable(method, common)
    if common.activation_checkpointing:
        with _errors_at("common.activation_checkpointing"):
            if common.compile:
                raise ValueError("is untried with common.compile: set one of them to False")
            recompute_blocks(method)
    if common.fsdp:
        with _errors_at("common.fsdp"):
            _check_shards(method, common, world_size)
    return method, [f"{kwargs}.{warning}" for warning in warnings]


def _check_shards(method: Method, common: Common, world_size: int | None) -> None:
    """Raises: ValueError for a method that cannot be shared out over processes, or not with what else is asked for."""
    for key in ("compile", "channels_last"):
        if getattr(common, key):
            raise ValueError(f"does not go with common.{key}: set one of them to False")
    if method.frozen_part:
        raise ValueError(f"{method.name} has little that learns and could be shared out: set it to False")
    if (session.world_size() if world_size is None else world_size) > 1:
        on_cpu = common.device == "cpu" or not torch.cuda.is_available()
        refuse_unsharded(method, blocks_of(method).values(), on_cpu=on_cpu)


def _check_solvable(method: Method, common: Common) -> None:
    """Raises: ConfigError where `optimizer: LBFGS` could not find the best classifier, and for a sweep without it."""
    if not common.solves:
        if getattr(method, "sweep", None):
            raise ConfigError(f"common.model.sweep: several weight decays are tried with optimizer: {SOLVES}")
        return
    if common.model.dropout or not solvable(method, method.head_prefix):
        raise ConfigError(
            f"common.optimizer: {SOLVES} finds a linear classifier of a network that stays as it is: set model.type: "
            f"probe and model.head: linear or ordered, or freeze: [{ALL}] for another method, without dropout"
        )
    if expected_world_size() > 1:
        raise ConfigError(f"common.optimizer: {SOLVES} works in one process; start one")


@contextlib.contextmanager
def _errors_at(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def method_on_meta(common: Common) -> tuple[Method, list[str]]:
    """Builds the method as it trains, without memory, and so makes every check of `common.model`.

    Returns it with the warnings that a run would give about it.
    """
    try:
        with torch.device("meta"):
            method, warnings = prepared_method(common, world_size=expected_world_size())
    except RuntimeError as error:  # torch's, for layers of impossible sizes
        raise ConfigError(f"common.model: such a network cannot be built: {str(error).splitlines()[0]}") from None
    return method, warnings


def prepare_method(run: Run) -> tuple[Method, Precision]:
    """Builds the method of a run, with the same random weights in every process, and decides its arithmetic."""
    common, folder = run.common, run.folder
    torch.manual_seed(common.seed)
    method, warnings = prepared_method(common)
    for warning in warnings:
        folder.warn(warning)
    method.in_groups = bool(method.frozen_part)
    precision = Precision(common.amp, run.rank.device, run.args.static_loss_scale, model=method)
    if common.amp == "bf16" and precision.unsafe_in_bf16:
        folder.warn("bf16 on a CPU can give wrong gradients of convolutions over time: amp: auto avoids it")
    if common.amp != "off":
        folder.log(f"mixed precision: {precision.name}")
    learns, whole = (sum(map(torch.Tensor.numel, part)) for part in (_learning(method), method.parameters()))
    if learns < whole:
        folder.log(f"{learns:,} of {whole:,} parameters learn ({learns / whole:.1%})")
    if blocks := recomputed_blocks(method):
        folder.log(f"activation checkpointing of {len(blocks)} blocks: {', '.join(blocks)}")
    if common.fsdp and not run.args.evaluate:
        folder.log(f"fsdp: {len(blocks_of(method))} blocks and the rest, over {run.rank.world_size} process(es)")
    if run.args.static_loss_scale and precision.name != "fp16":
        folder.warn("--static-loss-scale does nothing without fp16")
    return method, precision


def _learning(method: Method) -> Iterator[torch.Tensor]:
    return (parameter for parameter in method.parameters() if parameter.requires_grad)


def method_defaults(model: Model) -> dict[str, Any]:
    """Returns the arguments that only this method has, by dotted path, with their defaults."""
    return {
        f"common.model.{name}": parameter.default
        for name, parameter in parameters_of(METHODS[model.type]).items()
        if name not in type(model).model_fields and parameter.default is not parameter.empty
    }


def about_frozen(method: Method, common: Common, given: str, file: RawCheckpoint, report: LoadReport) -> list[str]:
    """Returns warnings about a frozen network that was filled: what stays random, and pixels of another mean.

    given: the key and its value, or the argument, that names the file.
    report: of the loading.
    """
    if not _frozen(method, common):
        return []
    filled = {*report.matched}
    fixed = [name for name, entry in method.named_parameters() if not entry.requires_grad]
    left = [name for name in fixed if name not in filled and not name.startswith(method.head_prefix)]
    return _told(_left_random(given, left, image=not file.description.method), _other_statistics(method, common, file))


def frozen_random(method: Method, common: Common) -> str | None:
    """Returns a warning for a part that never learns and that no file fills; None for a method without one."""
    part = _frozen(method, common)
    if not part:
        return None
    return (
        f"common.model.pretrained: False leaves the frozen {part} its random weights, which tell a head "
        "little; set it to True or to a checkpoint, or start with --load-path"
    )


def _frozen(method: Method, common: Common) -> str:
    """Returns what of a method never learns, as messages call it; "" if all of it learns."""
    if common.freeze == [ALL]:
        return "network"
    return "image network" if common.freeze == [BASE] else method.frozen_part


def _told(*texts: str | None) -> list[str]:
    return [text for text in texts if text]


def _before_its_download(method: Method, common: Common, published: Published) -> list[str]:
    """Returns the warnings of about_frozen as far as the name of the weights tells them."""
    image = common.model.pretrained is True or published.task.startswith("image-")
    if not image or not _frozen(method, common):
        return []
    frozen = method if common.freeze == [ALL] or method.trunk is None else method.trunk
    names = [name for name, entry in frozen.named_parameters() if not entry.requires_grad]
    left = [name for name in names if frozen.starts_random(name)]
    random = _left_random(f"common.model.pretrained: {common.model.pretrained}", left, image=True)
    return _told(random, _statistics_of_images(method, common, published))


def _left_random(given: str, left: Sequence[str], *, image: bool) -> str | None:
    """Returns a warning for entries of a frozen network that a file leaves random; None if it fills all."""
    if not left:
        return None
    why = "no image network has them; name a checkpoint of the network itself" if image else "the file has none of them"
    return f"{given} leaves {len(left)} weights of the frozen network random, such as {left[0]}, because {why}"


def _statistics_of_images(method: Method, common: Common, published: Published | None) -> str | None:
    """Returns a warning where the pixels of a run have another mean than those of an image network's training."""
    known = published is not None and published.id.startswith(TIMM)
    name = published.id if published is not None and known else method.arch
    theirs = published_statistics(name)
    return None if theirs is None or method.clip.modality != "rgb" else _other_pixels(method, common, name, *theirs)


def _other_statistics(method: Method, common: Common, file: RawCheckpoint) -> str | None:
    """Returns a warning where a frozen network sees pixels of another mean than the file's was trained with."""
    if not file.description.method:
        return _statistics_of_images(method, common, published_as(file.path))
    stored = file.protocol
    usual = sections(file.layout, file.description).get("augmentation", {})
    mean, std, scale = find_preset(usual["preset"]).statistics("rgb") if usual else (None, None, 1.0)
    if usual.get("mean") or usual.get("std"):  # a config's own are of pixels in 0..1
        mean, std, scale = usual.get("mean"), usual.get("std"), 1.0
    if "preprocessing" in file.others:
        mean, std, scale = stored.get("mean"), stored.get("std"), stored.get("value_range", 1.0)
    if stored.get("modality", file.description.arguments.get("modality", "rgb")) != method.clip.modality:
        return None  # their values are of another kind
    try:
        theirs = [[value / scale for value in values] for values in (mean, std)]  # type: ignore[union-attr]
        return _other_pixels(method, common, file.path.name, *theirs)
    except (TypeError, ArithmeticError):  # the file does not say it
        return None


def _other_pixels(method: Method, common: Common, name: str, mean: Sequence[float], std: Sequence[float]) -> str | None:
    """Returns a warning where a run's mean and standard deviation, of pixels in 0..1, are not those of weights."""
    augment = make_augment(common, find_preset(common.augmentation.preset), method.clip, train=False)
    ours = [[round(value / augment.value_range, 3) for value in values] for values in (augment.mean, augment.std)]
    theirs = [[round(value, 3) for value in values] for values in (mean, std)]
    if ours == theirs:
        return None
    return (
        f"{MEAN}: {name} was trained with mean {theirs[0]} and std {theirs[1]}, and this run has "
        f"{ours[0]} and {ours[1]}; set augmentation.mean and augmentation.std"
    )


def about_pretrained(method: Method, common: Common) -> list[str]:
    """Returns which weights `pretrained` asks for that are not there, and what is wrong for a frozen network.

    Raises: CheckpointError for a file that is there and cannot be loaded.
    """
    where, model = "common.model.pretrained", common.model
    if not model.pretrained:
        return _told(frozen_random(method, common))
    if isinstance(model.pretrained, str):
        found = here(model.pretrained)
    else:
        try:
            found = find_image_weights(method.arch)
        except CheckpointError as error:
            return [f"{without_image_weights(error)}; a run ends here"]
    if not isinstance(found, Path):
        return [f"{where}: {not_here(found)}", *_before_its_download(method, common, found)]
    if not found.exists():
        return [f"{where}: {model.pretrained} does not exist{meant_names(str(model.pretrained))}"]
    file = load_checkpoint_file(found)
    report = load_into(method, file, new_head=isinstance(model.pretrained, str))
    return about_frozen(method, common, f"{where}: {model.pretrained}", file, report)


def without_image_weights(error: CheckpointError) -> str:
    """Returns the message for `pretrained: True` where no image weights can be had: why, and what to do."""
    return f"common.model.pretrained: True: {error}; or name a checkpoint of the network itself, or set it to False"


def here(name: str) -> Path | Published:
    """Returns the file of a path, or of a name of published weights; the weights if they are not downloaded yet."""
    published = named(name)
    return Path(name) if published is None else local_file(published) or published


def not_here(published: Published) -> str:
    """Returns what a dry run says of published weights that are not downloaded yet."""
    return f"{published.name} is not here yet: a run begins with its download from {published.url or published.hub}"

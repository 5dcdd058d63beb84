"""Fills a method with the weights that a run starts from, or that it evaluates."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from methods.base import Method
from methods.build import MEAN, about_frozen, about_pretrained, frozen_random, here, not_here, without_image_weights
from networks.checkpoints.file import base_entries, base_name
from networks.checkpoints.load import (
    LoadReport,
    RawCheckpoint,
    fetch_image_weights,
    load_checkpoint_file,
    load_into,
    other_scores,
)
from networks.prepare import to_channels_last
from networks.temporal.insert import layer_scale
from networks.temporal.module import TemporalModule
from utils.config.file import ConfigFile, plain
from utils.config.schema import Common
from utils.config.sections import Test
from utils.errors import CheckpointError, ConfigError
from utils.published.files import checkpoint_file, local_file, named
from utils.published.libraries import image_weights
from utils.published.registry import published_as
from utils.run import checkpoint, resume
from utils.run.context import Run
from utils.torch_file import hash_of
from utils.transforms.gpu_decode import COLOURS, DECODED

# what the `test` section of a config chooses: entry of a stored protocol -> key of `test`
CHOICES = {
    "num_clips": "num_clips",
    "num_crops": "num_crops",
    "sampling": "sampling",
    "num_frames": "num_frames",
    "size": "input_size",
    "resize": "input_size",
    "average": "average",
}
FAINT = 0.01  # a layer scale below it hides what a branch does; networks that have learned have larger ones
ALWAYS_CHOSEN = ("num_clips", "num_crops")  # more views of a video are other numbers, but never wrong ones


def about_network(
    method: Method, config: Mapping[str, Any], protocol: Mapping[str, Any], class_names: Sequence[str] | None
) -> dict[str, Any]:
    """Returns what a checkpoint says about its network: all that decides its scores, defaults included.

    config: as in ConfigFile.raw. protocol: that of an evaluation, as ClipProtocol.as_dict returns it.
    """
    return {
        "arch": method.name,
        "config": config,
        "settings": method.settings,
        "preprocessing": protocol,
        "class_names": class_names,
        **({"base": dict(method.base)} if method.base else {}),
    }


def fetch_weights(args: argparse.Namespace, config: ConfigFile, arch: str) -> None:
    """Fetches the published weights that a run will load, before its processes connect and would wait for each other.

    arch: the architecture of the image weights, as Method.arch has it.
    Raises: CheckpointError if they are not here and cannot be fetched.
    """
    pretrained = config.common.model.pretrained
    if args.load_path or args.fusion_list:
        for name in [args.load_path] if args.load_path else args.fusion_list:
            checkpoint_file(name)
    elif pretrained and not args.evaluate and (args.fresh or not checkpoint.has_any(config.folder)):
        if isinstance(pretrained, str):
            checkpoint_file(pretrained)
        else:
            _image_file(arch)


def about_weights(
    args: argparse.Namespace, config: ConfigFile, method: Method, protocol: Mapping[str, Any]
) -> list[str]:
    """Returns what is wrong with the weights that a run would start from or score, for --dry-run.

    It makes the checks of a run that need neither lists nor memory for the network.

    method: as it trains, on the meta device. protocol: that of the validation.
    Raises: UserError where the run would.
    """
    if args.fusion_list:  # of which methods.members says what is wrong, one by one
        return []
    found = None if args.evaluate or args.fresh else checkpoint.load_newest(config.folder)
    if found is not None:
        saved, path, warning = found
        resume.refuse_other_start(config.common, saved)
        try:
            report = _start_from(method, path, args, config.common, None, protocol, new_head=False)
        except CheckpointError as error:
            raise resume.misfit(error, path, []) from None
        return [*([warning] if warning else []), *report.warnings]
    if not args.evaluate and not args.load_path:
        return about_pretrained(method, config.common)
    path_or_name = here(args.load_path or str(checkpoint.find_best(config.folder)))
    if not isinstance(path_or_name, Path):
        return [f"--load-path: {not_here(path_or_name)}"]
    if args.evaluate:
        return score_from(method, path_or_name, args, config.common, None, protocol).warnings
    if args.recover:
        checkpoint.load_to_resume(path_or_name)
    return _start_from(method, path_or_name, args, config.common, None, protocol, new_head=args.new_head).warnings


def load_weights(method: Method, path: Path, run: Run, videos: Any) -> LoadReport:
    """Fills a method from a file of ours or of any published project, for an evaluation.

    videos: that will be scored, a datasets.split.Split. If the training validated by the same list, and this or what it
        names has changed since, that is a warning.
    """
    report = score_from(method, path, run.args, run.common, videos.class_names, videos.protocol.as_dict())
    run.decided["before"] = report.decoded
    theirs = report.lists.get(videos.name)
    if isinstance(theirs, Mapping):
        report.warnings += _changed_since(theirs, videos)
    _to_device(method, run)
    return report


def _changed_since(theirs: Mapping[str, Any], videos: Any) -> list[str]:
    """Returns how the list that a training validated by differs from the one that is scored, if it is the same file."""
    about = videos.about()  # of a long list this takes seconds
    if not about["digest"] or theirs.get("source") != about["source"]:
        return []
    files = {key: value for key, value in about["files"].items() if key != "times"}  # a copy has others
    changes = resume.changed_data({videos.name: theirs}, {videos.name: about | {"files": files}})
    return [f"since it was written, {change}" for change in changes]


def score_from(
    method: Method,
    path: Path,
    args: argparse.Namespace,
    common: Common,
    class_names: Sequence[str] | None,
    protocol: Mapping[str, Any],
) -> LoadReport:
    """Fills a method from a file as `fill_for_scoring` does, with what the command line allows."""
    file = load_checkpoint_file(path, trust_pickle=args.trust_pickle)
    strict = not args.not_strict
    scored = {**protocol, "decode": common.data.decode}
    return fill_for_scoring(method, file, scored, common.test, class_names=class_names, strict=strict)


def fill_for_scoring(
    method: Method,
    file: RawCheckpoint,
    protocol: Mapping[str, Any],
    test: Test,
    *,
    class_names: Sequence[str] | None = None,
    strict: bool = True,
) -> LoadReport:
    """Fills a method whose scores will be looked at, with all weights of a file or none.

    What `test` in the config chooses, such as the number of clips, is noted in the report.

    protocol: that of the scores, as ClipProtocol.as_dict returns it, with `decode`, where frames are decoded.
    strict: missing weights are an error, and so is another shift, mean or size than the network was trained for;
        otherwise they are warnings in the report.
    Raises: CheckpointError like load_into, and for a file without a classifier, whose scores would be random.
    """
    wrong, chosen = compare_protocol(file, protocol, test)
    if wrong and strict:
        raise CheckpointError(other_scores(file.path, wrong))
    report = load_into(method, file, class_names=class_names, strict=strict)
    if not any(key.startswith(method.head_prefix) for key in report.matched):
        raise CheckpointError(f"{file.path}: has no classifier for these classes, so its scores would be random")
    report.notes += [f"test protocol: {text}" for text in chosen]
    report.warnings += [f"{text}: scores will differ" for text in wrong]
    report.lists = lists if isinstance(lists := file.others.get("lists"), Mapping) else {}
    theirs, ours = file.protocol.get("decode"), protocol.get("decode", "cpu")
    if theirs in DECODED:
        report.decoded = str(theirs)
        if ours in DECODED and ours != theirs:  # auto decides later, and takes what the file has where it can
            report.warnings.append(f"decode is {theirs} in the file and {ours} here: {COLOURS}")
    return report


def compare_protocol(file: RawCheckpoint, protocol: Mapping[str, Any], test: Test) -> tuple[list[str], list[str]]:
    """Says how `protocol` differs from the one that a file was trained with: what is wrong, and what was chosen.

    A value is chosen if the `test` section of this config or of the file's names it. More or fewer views of a video
    always are: they change the numbers, but not what they mean.
    """
    theirs, ours = comparable(resume.read_keys(file.protocol)), comparable(resume.read_keys(protocol))
    named = {key for key in CHOICES.values() if getattr(test, key) is not None} | {*file.test}
    wrong: list[str] = []
    chosen: list[str] = []
    for key in sorted((ours.keys() & theirs.keys()) - {"decode"}):
        if ours[key] != theirs[key]:
            free = key in ALWAYS_CHOSEN or CHOICES.get(key) in named
            (chosen if free else wrong).append(f"{key} is {theirs[key]} in the file and {ours[key]} here")
    return wrong, chosen


def comparable(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a protocol with mean and std in 0..1, whatever range it gives them for."""
    values = plain(protocol)
    scale = values.pop("value_range", 1.0)
    for key in ("mean", "std"):
        with contextlib.suppress(TypeError, ArithmeticError, KeyError):  # not numbers: it will differ as it is
            values[key] = [round(value / scale, 6) for value in values[key]]
    return values


def load_starting_weights(
    method: Method, run: Run, class_names: Sequence[str] | None, protocol: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Fills a method before training: the experiment's own checkpoint, else --load-path, else `model.pretrained`.

    Adds the warnings that checkpoints have to keep to `run.notes`, and returns the checkpoint that training continues
    from, if any.

    protocol: that of the validation; how the weights were trained for another one is a warning.
    """
    args, folder = run.args, run.folder
    saved: dict[str, Any] | None = None
    report = LoadReport("random weights")
    found = None if resume.begins_anew(run) else checkpoint.load_newest(run.config.folder)
    if found is not None:
        saved, path, warning = found
        if warning:
            run.note(f"{warning}; continuing from {path}")
        changes = resume.tell_changes(run, saved)  # first, because they explain weights that do not fit
        resume.refuse_other_start(run.common, saved)
        try:
            report = _start_from(method, path, args, run.common, class_names, protocol, new_head=False)
        except CheckpointError as error:
            raise resume.misfit(error, path, changes) from None
        run.decided["before"] = resume.decoded(saved)
        for text in report.warnings:
            folder.warn(text)
        others = f"; --load-path {args.load_path} is not looked at" if args.load_path else ""
        folder.log(f"continuing from {path}, {saved['step']} steps done{others}")
    elif args.load_path:
        path = Path(args.load_path)
        report = _start_from(method, path, args, run.common, class_names, protocol, new_head=args.new_head)
        folder.log(report.summary())
        if args.recover:
            saved = checkpoint.load_to_resume(path)
            resume.tell_changes(run, saved)
            run.decided["before"] = resume.decoded(saved)
    elif run.common.model.pretrained:
        report = _start_from_pretrained(method, run.common)
        folder.log(report.summary())
    elif random := frozen_random(method, run.common):
        run.note(random)
    if saved is None and (faint := faint_module(method)):
        run.note(faint)
    run.notes[:] = dict.fromkeys([*(saved or {}).get("notes", []), *run.notes, *report.warnings])
    if run.common.save_weights == "trained":
        method.base = _base_of(method, run.common)
    _to_device(method, run)
    return saved


def _base_of(method: Method, common: Common) -> dict[str, Any]:
    """Returns what a checkpoint says of the frozen network that it does not hold.

    Raises: ConfigError if `model.pretrained` does not give this network as it is.
    """
    given = common.model.pretrained
    place = _image_file(method.arch) if given is True else checkpoint_file(str(given))
    published = published_as(place) if given is True else named(str(given))
    own = image_weights(method.arch) if given is True else None
    try:
        if published is not None:
            name = published.id
        else:  # the library's own file is found again by the name of the network
            name = "" if own is not None and local_file(own) == place else base_name(place)
    except ValueError:
        raise ConfigError(
            f"common.save_weights: trained: {place} has to lie in pretrained/, because a checkpoint names no files "
            "anywhere else; move it there, or set save_weights: all"
        ) from None
    state = {key: value for key, value in method.state_dict().items() if method.is_base(key)}
    entries = base_entries(load_checkpoint_file(place), [*state])
    digits = hash_of(state)
    if entries.keys() != state.keys() or hash_of(entries) != digits:
        raise ConfigError(
            f"common.save_weights: trained: {place} does not give the frozen {common.model.backbone} as it is here, so "
            f"a checkpoint without it could not be used; set it to all"
        )
    return {"network": common.model.backbone, "file": name, "hash": digits, "keys": [*state]}


def faint_module(method: Method) -> str | None:
    """Returns a warning for a temporal module whose branches a layer scale makes so faint that it begins unseen."""
    modules = [p for p in method.modules() if isinstance(p, TemporalModule) and p.spot != "transformer"]
    scale = layer_scale(method) if modules else None
    if scale is None or scale >= FAINT:
        return None
    return (
        f"common.model: the branches of {method.name} are scaled by {scale:.2g} (layer scale), so the temporal module "
        "in them begins nearly without effect; image weights (pretrained: True) may bring larger factors"
    )


def _start_from(
    method: Method,
    path: Path,
    args: argparse.Namespace,
    common: Common,
    class_names: Sequence[str] | None,
    protocol: Mapping[str, Any],
    *,
    new_head: bool,
) -> LoadReport:
    """Fills a method that will be trained, and validated by `protocol`: what differs from the file is a warning."""
    file = load_checkpoint_file(path, trust_pickle=args.trust_pickle)
    report = load_into(
        method,
        file,
        class_names=class_names,
        new_head=new_head,
        strict=not args.not_strict,
        as_trained=False,
    )
    frozen = about_frozen(method, common, f"{path}:", file, report)
    pixels = ("mean ", "std ") if any(text.startswith(MEAN) for text in frozen) else ()
    wrong = [text for text in compare_protocol(file, protocol, common.test)[0] if not text.startswith(pixels)]
    report.warnings += frozen + wrong
    return report


def _image_file(arch: str) -> Path:
    """Returns the file that `pretrained: True` takes, and fetches it if it is not here. Raises: CheckpointError."""
    try:
        return fetch_image_weights(arch)
    except CheckpointError as error:
        raise CheckpointError(without_image_weights(error)) from None


def _start_from_pretrained(method: Method, common: Common) -> LoadReport:
    """Fills a method with `model.pretrained`; what is wrong for a frozen network is a warning."""
    given = common.model.pretrained
    file = load_checkpoint_file(_image_file(method.arch) if given is True else str(given))
    report = load_into(method, file, new_head=given is not True)
    report.warnings += about_frozen(method, common, f"common.model.pretrained: {given}", file, report)
    return report


def _to_device(method: Method, run: Run) -> None:
    method.to(run.rank.device)
    if run.common.channels_last:
        to_channels_last(method)

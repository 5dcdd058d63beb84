"""Translates how a config of mmaction2 samples, crops and averages into sections of our configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.python_config import section

Sections = dict[str, dict[str, Any]]
CROPS = {"CenterCrop": 1, "ThreeCrop": 3, "TenCrop": 10}
TRAIN_PRESETS = {"RandomResizedCrop": "mmaction2_slowfast"}
PLACES = {"5": "mmaction2_tsn", "13": "mmaction2_tsm"}  # number of fixed crops of its MultiScaleCrop -> preset
SCALES = [1, 0.875, 0.75, 0.66]  # of these presets
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
WINDOW, POSITIONS = 64, 10  # of DenseSampleFrames: frames that its segments share, and windows of a test


@dataclass(frozen=True)
class Sampler:
    """Says how clips are taken from a video.

    rule: a name in datasets.sampling.rules.SAMPLING.
    places: number of frames, or of stacks, in a clip.
    length: frames at each place.
    stride: step from one frame of a place to the next.
    num_clips: clips of each video in a test.
    """

    rule: str
    places: int
    length: int = 1
    stride: int = 1
    num_clips: int = 1


def sampler_of(config: Mapping[str, Any], part: str) -> Sampler | None:
    """Returns the sampler of the pipeline `train` or `test`; None if it is missing or has unknown options."""
    steps = [step for step in _pipeline(config, part) if step["type"].endswith(("SampleFrames", "UniformSample"))]
    if not steps:
        return None
    step = steps[0]
    clips, length, stride = step.get("num_clips", 1), step.get("clip_len", 1), step.get("frame_interval", 1)
    positions = step.get("num_sample_positions", POSITIONS)
    if not all(isinstance(number, int) and number > 0 for number in (clips, length, stride, positions)):
        return None
    changed = {"target_fps", "keep_tail_frames", "temporal_jitter"} & {key for key, value in step.items() if value}
    if changed or step.get("out_of_bound_opt", "loop") != "loop":
        return None
    twice = bool(step.get("twice_sample"))
    match step["type"]:
        case "UniformSample" if not twice:
            return Sampler("mmaction2_uniform", length, length, 1, clips)
        case "DenseSampleFrames" if length == 1 and step.get("sample_range", WINDOW) == WINDOW and not twice:
            return Sampler("dense", clips, num_clips=positions)
        case "SampleFrames" if _takes_frames(config) and (length == 1 or _sees_flow(config)):
            return Sampler("twice", clips, length, 1, 2) if twice else Sampler("mmaction2_segments", clips, length)
        case "SampleFrames" if not twice and (clips == 1 or part == "test"):
            return Sampler("mmaction2_clip", length, length, stride, clips)
    return None


def protocol_of(
    config: Mapping[str, Any], description: Description, train: Sampler | None, test: Sampler | None
) -> Sections:
    """Returns `augmentation`, `data` and `test` as in the config, and adds a note for what cannot be followed."""
    sections: Sections = {"augmentation": _augmentation(config), "data": {}, "test": _views(config, description)}
    if train is not None:
        sections["data"]["sampling"] = "mmaction2_segments" if train.rule == "twice" else train.rule
    if test is None:
        description.notes.append("test.sampling: the test_pipeline in the file samples in a way that is unknown here")
        return sections
    views = sections["test"]
    views |= {"sampling": test.rule, "num_clips": test.num_clips}
    trained = description.arguments.get("clip_len") or description.arguments.get("num_segments")
    if description.method in ("tsn", "tsm") and test.places != trained:
        views["num_frames"] = test.places
    if train is not None and (train.length, train.stride) != (test.length, test.stride):
        description.notes.append(
            f"test.num_frames: the network was tested with {test.length} frames at stride {test.stride}, but trained "
            f"with {train.length} frames at stride {train.stride}; the config has the values of the training"
        )
    return sections


def _augmentation(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the training's augmentation, the test's resize, and mean and std if they are not ImageNet's."""
    found: dict[str, Any] = {}
    train, test = _pipeline(config, "train"), _pipeline(config, "test")
    for step in train:
        if step["type"] in TRAIN_PRESETS:
            found["preset"] = TRAIN_PRESETS[step["type"]]
        elif step["type"] == "MultiScaleCrop" and str(places := step.get("num_fixed_crops", 5)) in PLACES:
            found["preset"] = PLACES[str(places)]
            if step.get("scales", SCALES) != SCALES:
                found["scales"] = step["scales"]
        elif step["type"] == "Resize" and step.get("keep_ratio") is False and (size := _numbers(step.get("scale"), 2)):
            found["input_size"] = _size(size)
    for step in test:
        if step["type"] == "Resize" and (size := _numbers(step.get("scale"), 2)):
            short = max(size) if -1 in size else min(size)
            found["test_resize"] = size[::-1] if step.get("keep_ratio") is False else short  # [height, width]
    flips = [step for step in train if step["type"] == "Flip"]
    if train:
        ratio = flips[0].get("flip_ratio", 0.5) if flips else 0.0
        found |= {"flip": ratio} if isinstance(ratio, (int, float)) else {}
    if flips and isinstance(labels := flips[0].get("flip_label_map"), Mapping):
        found["flip_labels"] = dict(labels)
    return found | _statistics(config)


def _size(given: list[Any]) -> Any:
    """Returns a size (width, height) as our configs have it: the side of a square, or [height, width]."""
    return given[0] if given[0] == given[1] else given[::-1]


def _statistics(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns mean and std in 0..1, if they are given for RGB and differ from those of our presets."""
    norms = [step for step in _pipeline(config, "test") if step["type"] == "Normalize"]
    holder = norms[0] if norms else section(section(config, "model"), "data_preprocessor")
    mean, std = _numbers(holder.get("mean"), 3), _numbers(holder.get("std"), 3)
    if not mean or not std or (mean, std) == (MEAN, STD):
        return {}
    return {"mean": [round(value / 255, 9) for value in mean], "std": [round(value / 255, 9) for value in std]}


def _views(config: Mapping[str, Any], description: Description) -> dict[str, Any]:
    """Returns the crops of a test, and what is averaged over its views."""
    found: dict[str, Any] = {}
    for step in _pipeline(config, "test"):
        if step["type"] not in CROPS:
            continue
        if size := _numbers([size] * 2 if isinstance(size := step.get("crop_size"), int) else size, 2):
            found |= {"num_crops": CROPS[step["type"]], "input_size": _size(size)}
    model = section(config, "model")
    holders = (section(model, "cls_head"), section(model, "test_cfg"), section(config, "test_cfg"))
    average = next((holder["average_clips"] for holder in holders if holder.get("average_clips")), None)
    if average == "score":
        found["average"] = "logits"
    elif average not in ("prob", None):
        description.notes.append(f"test.average: the config in the file says {average}, which is unknown here")
    return found


def _numbers(value: Any, count: int) -> list[Any]:
    """Returns `value` if it is a list of `count` numbers, else an empty list."""
    found = value if isinstance(value, list) and len(value) == count else []
    return found if all(isinstance(number, (int, float)) for number in found) else []


def _takes_frames(config: Mapping[str, Any]) -> bool:
    return str(section(config, "model").get("type")).endswith("2D")


def _sees_flow(config: Mapping[str, Any]) -> bool:
    return section(section(config, "model"), "backbone").get("in_channels", 3) != 3


def _pipeline(config: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    """Returns the steps of `train` or `test`, each with its type without the name of a registry."""
    dataset: Any = section(config, f"{part}_dataloader") or section(section(config, "data"), part)  # mmengine; mmcv 0.x
    while isinstance(dataset, Mapping) and "pipeline" not in dataset:  # RepeatDataset, ConcatDataset
        several = dataset.get("datasets")
        dataset = dataset.get("dataset") or (several[0] if isinstance(several, list) and several else None)
    steps = dataset["pipeline"] if isinstance(dataset, Mapping) else config.get(f"{part}_pipeline")
    steps = steps if isinstance(steps, list) else []
    found = [step for step in steps if isinstance(step, Mapping) and isinstance(step.get("type"), str)]
    return [{**step, "type": step["type"].rpartition(".")[2]} for step in found]

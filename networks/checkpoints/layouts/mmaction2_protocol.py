"""How a config of mmaction2 takes clips from videos and pixels from frames, in the words of our configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from networks.checkpoints.layouts.base import Facts
from networks.checkpoints.layouts.python_config import section

Sections = dict[str, dict[str, Any]]
CROPS = {"CenterCrop": 1, "ThreeCrop": 3, "TenCrop": 10}
TRAIN_PRESETS = {"RandomResizedCrop": "mmaction2_slowfast"}
PLACES = {"5": "mmaction2_tsn", "13": "mmaction2_tsm"}  # fixed places of their MultiScaleCrop
SCALES = [1, 0.875, 0.75, 0.66]  # of these presets
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
WINDOW, POSITIONS = 64, 10  # of DenseSampleFrames: frames that its segments share, windows of a test


@dataclass(frozen=True)
class Sampler:
    """How clips are taken from a video.

    rule: of datasets.sampling.rules.SAMPLING, as a video is trained on or tested with.
    places: frames or stacks of a clip; length, stride: frames of each, from one to the next.
    num_clips: clips of a video, in a test.
    """

    rule: str
    places: int
    length: int = 1
    stride: int = 1
    num_clips: int = 1


def sampler_of(config: Mapping[str, Any], part: str) -> Sampler | None:
    """The sampler of a pipeline, `train` or `test`; None where it is missing or has options that are not known here."""
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


def protocol_of(config: Mapping[str, Any], facts: Facts, train: Sampler | None, test: Sampler | None) -> Sections:
    """What the config says of `augmentation`, `data` and `test`; a note for what cannot be followed."""
    sections: Sections = {"augmentation": _augmentation(config), "data": {}, "test": _views(config, facts)}
    if train is not None:
        sections["data"]["sampling"] = "mmaction2_segments" if train.rule == "twice" else train.rule
    if test is None:
        facts.notes.append("test.sampling: the test_pipeline in the file samples in a way that is not known here")
        return sections
    views = sections["test"]
    views |= {"sampling": test.rule, "num_clips": test.num_clips}
    trained = facts.arguments.get("clip_len") or facts.arguments.get("num_segments")
    if facts.method in ("tsn", "tsm") and test.places != trained:
        views["num_frames"] = test.places
    if train is not None and (train.length, train.stride) != (test.length, test.stride):
        facts.notes.append(
            f"test.num_frames: the file was tested with {test.length} frames {test.stride} apart, "
            f"not with {train.length} and {train.stride} as it was trained; the latter stand in the config"
        )
    return sections


def _augmentation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The training side, the test's resize, and the pixels' statistics where they are not ImageNet's."""
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
            found["input_size"] = size[0]
    for step in test:
        if step["type"] == "Resize" and (size := _numbers(step.get("scale"), 2)):
            short = max(size) if -1 in size else min(size)
            found["test_resize"] = size[::-1] if step.get("keep_ratio") is False else short  # theirs is width, height
    flips = [step for step in train if step["type"] == "Flip"]
    if train:
        ratio = flips[0].get("flip_ratio", 0.5) if flips else 0.0
        found |= {"flip": ratio} if isinstance(ratio, (int, float)) else {}
    if flips and isinstance(labels := flips[0].get("flip_label_map"), Mapping):
        found["flip_labels"] = dict(labels)
    return found | _statistics(config)


def _statistics(config: Mapping[str, Any]) -> dict[str, Any]:
    """mean and std in 0..1, where they are given for RGB and differ from what our presets have."""
    norms = [step for step in _pipeline(config, "test") if step["type"] == "Normalize"]
    holder = norms[0] if norms else section(section(config, "model"), "data_preprocessor")
    mean, std = _numbers(holder.get("mean"), 3), _numbers(holder.get("std"), 3)
    if not mean or not std or (mean, std) == (MEAN, STD):
        return {}
    return {"mean": [round(value / 255, 6) for value in mean], "std": [round(value / 255, 6) for value in std]}


def _views(config: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Crops of a test, and what is averaged over its views."""
    found: dict[str, Any] = {}
    for step in _pipeline(config, "test"):
        if step["type"] in CROPS and isinstance(size := step.get("crop_size"), int):
            found |= {"num_crops": CROPS[step["type"]], "input_size": size}
    model = section(config, "model")
    holders = (section(model, "cls_head"), section(model, "test_cfg"), section(config, "test_cfg"))
    average = next((holder["average_clips"] for holder in holders if holder.get("average_clips")), None)
    if average == "score":
        found["average"] = "logits"
    elif average not in ("prob", None):
        facts.notes.append(f"test.average: the config in the file says {average}, which is not known here")
    return found


def _numbers(value: Any, count: int) -> list[Any]:
    """The list of `count` numbers that `value` is; else an empty one."""
    found = value if isinstance(value, list) and len(value) == count else []
    return found if all(isinstance(number, (int, float)) for number in found) else []


def _takes_frames(config: Mapping[str, Any]) -> bool:
    return str(section(config, "model").get("type")).endswith("2D")


def _sees_flow(config: Mapping[str, Any]) -> bool:
    return section(section(config, "model"), "backbone").get("in_channels", 3) != 3


def _pipeline(config: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    """The steps of `train` or `test`, each with its type without the name of a registry."""
    dataset: Any = section(config, f"{part}_dataloader") or section(section(config, "data"), part)  # mmengine; mmcv 0.x
    while isinstance(dataset, Mapping) and "pipeline" not in dataset:  # RepeatDataset, ConcatDataset
        several = dataset.get("datasets")
        dataset = dataset.get("dataset") or (several[0] if isinstance(several, list) and several else None)
    steps = dataset["pipeline"] if isinstance(dataset, Mapping) else config.get(f"{part}_pipeline")
    steps = steps if isinstance(steps, list) else []
    found = [step for step in steps if isinstance(step, Mapping) and isinstance(step.get("type"), str)]
    return [{**step, "type": step["type"].rpartition(".")[2]} for step in found]

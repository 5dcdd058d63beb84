"""Decides what a clip is, how it is cut, how many views a video has, and how the scores of its views become one score.

`clip_protocol` is the only place that decides this. Training, validation, --evaluate, --dry-run, export and every tool
use the `ClipProtocol` that it returns.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from datasets.sampling.rules import Rule, get_rule
from datasets.videos.clip_times import SAMPLERS, VideoSampling
from utils.clip_spec import ClipSpec
from utils.config.build import call, parameters_of
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.scoring.task import SINGLE_LABEL, Task, task_of
from utils.transforms.augment import Augment
from utils.transforms.build import TEST_CROP, check_decode, check_feature_cache, make_augment, make_transform
from utils.transforms.crops import TRAIN_CROPS
from utils.transforms.cut_clip import CutClip
from utils.transforms.presets import find_preset


@dataclass(frozen=True)
class ClipProtocol:
    """Says how a video becomes views, and how their logits become the video's scores.

    clip: number of frames, stride, sampling rule and modality.
    transform: decodes the frames of a clip, cuts, resizes and mirrors them.
    augment: changes colours (in training) and normalises, on the device.
    num_clips: clips in time per sample; a training sample has one, or with the sampler "random_multi" several.
    train: whether clips are drawn at random.
    average: what is averaged over the views of a video, "scores" or "logits".
    task: whether a video has one class or a set of classes.
    batch_size: samples per step of one process.
    repeated: samples in a row that are of one video, and show the same frames of it.
    preset: name of the preset that the values come from.
    video_sampling: which seconds of encoded videos are shown; frames on the disk have no seconds.
    context: share of a span's length by which clips may reach outside of it.
    """

    clip: ClipSpec
    transform: CutClip
    augment: Augment
    num_clips: int = 1
    train: bool = False
    average: str = "scores"
    task: Task = SINGLE_LABEL
    batch_size: int = 1
    repeated: int = 1
    preset: str = "tsn"
    video_sampling: VideoSampling = field(default_factory=VideoSampling)
    context: float = 0.0

    @property
    def rule(self) -> Rule:
        """The rule that picks the frames of a clip."""
        return get_rule(self.clip.sampling)

    @property
    def num_views(self) -> int:
        """Views per video (V): clips in time x crops in space."""
        return self.num_clips * self.transform.num_crops

    def average_views(self, logits: Tensor) -> Tensor:
        """Returns the scores of videos, (..., K) in 0..1, from the logits of their views, (..., V, K)."""
        probabilities = self.task.probabilities
        return probabilities(logits).mean(-2) if self.average == "scores" else probabilities(logits.mean(-2))

    def as_dict(self) -> dict[str, Any]:
        """Returns all that decides a score, in plain values, for checkpoints and exported files."""
        return {
            "preset": self.preset,
            "channels": "x, y" if self.clip.modality == "flow" else "RGB",
            "modality": self.clip.modality,
            "stack": self.clip.stack,
            "mean": list(self.augment.mean),
            "std": list(self.augment.std),
            "value_range": self.augment.value_range,
            "resize": getattr(self.transform.rule, "resize", None),
            "size": list(self.transform.size),
            "interpolation": self.transform.interpolation,
            "num_frames": self.clip.num_frames,
            "frame_stride": self.clip.frame_stride,
            **({"segments": self.clip.segments} if self.clip.segments > 1 else {}),
            "sampling": self.clip.sampling,
            "num_clips": self.num_clips,
            "num_crops": self.transform.num_crops,
            "average": self.average,
            "scores": self.task.scores,
            "context": self.context,
            "video_sampling": {
                key: value
                for key, value in dataclasses.asdict(self.video_sampling).items()
                if value is not None and key != "clips_per_video"
            },
        }

    def __str__(self) -> str:
        height, width = self.transform.size
        near = self.video_sampling.near_key
        moved = "" if near is None else f" moved to key frames up to {near:g} s away"
        windows = f" in {self.clip.segments} windows" if self.clip.segments > 1 else ""
        clips, crops = self.num_clips, self.transform.num_crops
        return (
            f"{clips} clip{'s' * (clips != 1)} x {crops} crop{'s' * (crops != 1)}, "
            f"{self.clip.num_frames} x {height} x {width}{windows}, "
            f"{self.video_sampling.sampler or self.clip.sampling} sampling{moved}, {self.average} averaged"
        )


def clip_protocol(common: Common, clip: ClipSpec, *, train: bool) -> ClipProtocol:
    """Decides the protocol of a config for a method that asks for `clip`; needs no data.

    Raises: ConfigError for a rule, size, crop or number of clips that cannot be.
    """
    preset = find_preset(common.augmentation.preset)
    check_decode(common)
    check_feature_cache(common)
    clip = _training_clip(common, clip) if train else _test_clip(common, clip)
    rule, videos = get_rule(clip.sampling), _video_sampling(common, train=train)
    num_clips = _num_clips(common, rule, videos, train=train)
    rule.check(clip.sampling, clip, rule.num_clips if train else num_clips)
    if clip.num_frames % clip.segments:
        raise ConfigError(
            f"common.test.num_frames: {clip.num_frames} is no multiple of {clip.segments}, the windows of a clip "
            "(model.kwargs.segments)"
        )
    protocol = ClipProtocol(
        clip=clip,
        transform=make_transform(common, preset, train=train),
        augment=make_augment(common, preset, clip, train=train),
        num_clips=num_clips,
        train=train,
        average=common.test.average or preset.average,
        task=task_of(common),
        preset=common.augmentation.preset,
        video_sampling=videos,
        context=common.data.context,
    )
    # by default an evaluation step has as many views as a training step has clips
    views = common.test.batch_size or max(1, common.batch_size // protocol.num_views)
    repeated = common.data.repeated if train else 1
    size = common.batch_size * repeated if train else views
    return dataclasses.replace(protocol, batch_size=size, repeated=repeated)


def _video_sampling(common: Common, *, train: bool) -> VideoSampling:
    """Returns the arguments of data.store that say which seconds of encoded videos are shown."""
    store = common.data.store
    known = parameters_of(VideoSampling)
    given = {key: value for key, value in store.items() if key in known} if store.get("type") == "video" else {}
    videos = call(VideoSampling, given, "video", "common.data.store")
    if train:
        return videos
    videos = dataclasses.replace(videos, near_key=None)  # a score must not depend on how a file was encoded
    if videos.sampler in ("random", "random_multi"):  # nor change between runs
        return dataclasses.replace(videos, sampler="constant_clips_per_video")
    return videos


def check_used(common: Common) -> None:
    """Checks that no key about encoded videos would change nothing; configs of older checkpoints may have such keys.

    Raises: ConfigError for a key about frames beside a sampler, and for one of a sampler that would not read it.
    """
    videos = _video_sampling(common, train=True)
    if videos.sampler is not None:
        for key, rule in (("data.sampling", common.data.sampling), ("test.sampling", common.test.sampling)):
            if rule is not None:
                raise ConfigError(
                    f"common.{key}: {rule} chooses frames and data.store.sampler: {videos.sampler} seconds, so {rule} "
                    "would change nothing; leave one of them out"
                )
    for key, users in (("clip_seconds", SAMPLERS), ("stride", ("uniform",))):
        if getattr(videos, key) is not None and videos.sampler not in users:
            raise ConfigError(
                f"common.data.store.{key}: would change nothing with sampler: {videos.sampler}; leave it out, or set "
                f"data.store.sampler to {' or '.join(users)}"
            )


def _num_clips(common: Common, rule: Rule, videos: VideoSampling, *, train: bool) -> int:
    """Returns the number of clips of a sample.

    In testing: test.num_clips, else what the rule fixes (two with `twice`), else 1.
    """
    if train:
        return videos.clips_per_video if videos.sampler == "random_multi" else 1
    if videos.sampler == "uniform":
        if common.test.num_clips not in (None, 1):
            raise ConfigError(
                f"common.test.num_clips: is {common.test.num_clips}, but data.store.sampler: uniform makes every span "
                "a sample of its own, with a score of its own; leave it out, or take constant_clips_per_video"
            )
        return 1
    return common.test.num_clips or (rule.num_clips if rule.fixed_num_clips else 1)


def _training_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """Returns the training clip: data.sampling goes before the method's rule."""
    return _sampled(clip, common.data.sampling, "common.data.sampling")


def _test_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """Returns the test clip: test.sampling goes before data.sampling, test.num_frames before the method's frames."""
    clip = _sampled(_training_clip(common, clip), common.test.sampling, "common.test.sampling")
    return dataclasses.replace(clip, num_frames=common.test.num_frames or clip.num_frames)


def _sampled(clip: ClipSpec, rule: str | None, key: str) -> ClipSpec:
    """Returns `clip` with another sampling rule, if one is given."""
    if rule is None:
        return clip
    try:
        get_rule(rule)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return dataclasses.replace(clip, sampling=rule)


def values_in_force(train: ClipProtocol, val: ClipProtocol) -> dict[str, Any]:
    """Returns what the preset and the method decide where a config leaves a key open, by the key's dotted path.

    Mean and standard deviation are in 0..1, as a config has them.
    """
    rule, augment = train.transform.rule, train.augment
    values = {
        "model.stack": train.clip.stack,
        "augmentation.input_size": _as_given(train.transform.size),
        "augmentation.test_resize": getattr(val.transform.rule, "resize", None),
        "augmentation.crop": next((name for name, kind in TRAIN_CROPS.items() if isinstance(rule, kind)), TEST_CROP),
        "augmentation.scales": getattr(rule, "scales", None),
        "augmentation.mean": tuple(round(value / augment.value_range, 6) for value in augment.mean),
        "augmentation.std": tuple(round(value / augment.value_range, 6) for value in augment.std),
        **{f"data.{key}": "detected" for key in ("frame_template", "first_frame", "class_names")},
        "data.sampling": train.clip.sampling,
        "data.store": {"type": "disk"},
        "test.num_clips": val.num_clips,
        "test.num_crops": val.transform.num_crops,
        "test.sampling": val.clip.sampling,
        "test.num_frames": val.clip.num_frames,
        "test.input_size": _as_given(val.transform.size),
        "test.average": val.average,
        "test.batch_size": val.batch_size,
    }
    return {f"common.{key}": list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _as_given(size: tuple[int, int]) -> int | tuple[int, int]:
    """Returns a crop's size as a config has it: the side of a square, or height and width."""
    return size[0] if size[0] == size[1] else size

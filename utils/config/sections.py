"""Defines the sections of `config.yaml`, the mappings inside `common`: each key's type, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from easydict import EasyDict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic import model_validator as check

from utils.config.words import as_needed

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
MOST_STEPS = 10_000_000  # the learning rates of all steps lie in memory


def _easydict(value: Any) -> Any:
    return EasyDict(value) if isinstance(value, dict) else value


def _zero_if_false(value: Any) -> Any:
    return 0.0 if value is False or value is None else value


Pair = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]  # height, width
Free = Annotated[EasyDict, BeforeValidator(_easydict)]
Strength = Annotated[NonNegativeFloat, BeforeValidator(_zero_if_false)]  # a number, or False for "off"


class Section(BaseModel):
    """Holds one mapping of the file. Its fields are the keys; the text below each is its entry in docs/config.md."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    @check(mode="before")
    @classmethod
    def _read_words(cls, values: Any) -> Any:
        return as_needed(values, {name: field.annotation for name, field in cls.model_fields.items()})


class Model(Section):  # type: ignore[no-redef]  # the plugin's __init__ has a **kwargs of its own besides the field
    """Selects the method, its backbone and its classifier. Further keys are arguments of the method, listed below."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    type: str
    """The method, which decides what the network sees of a video and how it is classified."""
    backbone: str
    """Network inside the method: `resnet50`, `mobilenetv2` or `timm/NAME` for tsn, tsm, img and probe, `resnet50`
    or `resnet101` for slowfast, `slow_r50` or `r2plus1d_18` for clip3d; docs/models.md lists all. probe and segment
    take them all (docs/probe.md)."""
    num_class: PositiveInt
    """Number of classes, which is the width of the classifier."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability of dropping a feature in front of the classifier, 0 to below 1; 0: no dropout layer."""
    pretrained: bool | str = False
    """Weights to start from. True: the backbone's ImageNet file in `pretrained/`, whatever hash its name ends with, or
    else the one that torchvision or timm publishes (docs/weights.md); text: path of a checkpoint, or a name of
    `tools.weights`; False: random weights."""
    modality: Literal["rgb", "flow", "rgbdiff"] = "rgb"
    """Input of the network: RGB frames, optical flow (made by tools/dump_flow.py), or differences of consecutive RGB
    frames."""
    stack: PositiveInt | None = None
    """Number of consecutive flow fields or differences that form one input; None: 5 for tsn and tsm, 1 for clip3d. Only
    1 is possible for rgb, or 5 with `temporal: {name: tdn}`, which decides it."""
    kwargs: Free = Field(default_factory=EasyDict)
    """Arguments of the backbone's constructor, and those of synchronised batch norm: `bn_group_size`, `bn_sync_stats`
    and `bn_var_mode` (docs/distributed.md)."""


class Augmentation(Section):
    """Sets how decoded frames become what the network sees."""

    preset: str = "tsn"
    """Preprocessing of a published project: resize, crops, interpolation, mean and std, averaging of views; the other
    keys change single parts of it."""
    input_size: PositiveInt | Pair | None = None
    """Size of the crop in pixels, in training and testing: the side of a square, or `[height, width]`; None: the
    preset's."""
    test_resize: PositiveInt | list[PositiveInt] | None = None
    """Size in pixels that test frames are resized to before the crop: the short side, or `[height, width]`, which a
    crop needs that is not square; None: the preset's, in proportion to the crop (256 for 224)."""
    crop: str | None = None
    """Rule of the training crop, drawn once per clip; test: the centre crop of the test; None: the preset's."""
    scales: list[Positive] | None = None
    """Range of the training crop. multi_scale: factors of the short side; random_resized: smallest and largest share of
    the area; short_side: smallest and largest short side in pixels; fixed_resize: `[height, width]`; None: the
    preset's."""
    flip: Annotated[Probability, BeforeValidator(_zero_if_false)] = 0.5
    """Probability that a training clip is mirrored left to right; 0 or False: never."""
    flip_labels: dict[str | int, str | int] = {}
    """Classes that turn into each other when a clip is mirrored, by name or index, in both directions: `{left: right,
    right: left}`."""
    colorjitter: list[NonNegativeFloat] | None = Field(None, min_length=4, max_length=4)
    """`[brightness, contrast, saturation, hue]`, the largest change of each as torchvision's ColorJitter takes it; hue
    is at most 0.5; None: no change."""
    colorold: Strength | bool = 0.0
    """Standard deviation of PCA lighting noise (AlexNet); True: 0.1; 0 or False: none."""
    rand_augment: list[PositiveInt] | bool | str = False
    """RandAugment: `[operations per clip, magnitude 1 to 30]` of torchvision's table; True: `[2, 9]`; or timm's table,
    as timm writes it: `rand-m7-n4-mstd0.5-inc1`, which is 4 operations, each with a chance of a half, of magnitude 7 of
    10 with noise; False: none."""
    random_erasing: list[NonNegativeFloat] | None = Field(None, min_length=4, max_length=4)
    """`[probability, smallest area, largest area, smallest aspect ratio]` of an erased rectangle; areas are shares of
    the frame; None: nothing is erased."""
    erase_with: Literal["colour", "noise"] = "colour"
    """Filling of the erased rectangle: `colour`, one for all of it, its aspect ratio drawn evenly; `noise`, drawn for
    each pixel after normalisation, and the ratio's logarithm evenly, as in timm, PySlowFast and VideoMAE."""
    consistent: bool = True
    """True: colour and erasing are drawn once per clip; False: for each frame separately."""
    mix_up: Strength = 0.0
    """Alpha of mix-up, which blends two clips and their labels by a share from Beta(alpha, alpha); 0 or False: off."""
    cut_mix: Strength = 0.0
    """Alpha of cut-mix, which pastes a box of one clip into another, its area from Beta(alpha, alpha); 0 or
    False: off."""
    mean: list[float] | None = None
    """Mean of each channel, in 0..1: R, G, B, or x, y of optical flow; None: the preset's."""
    std: list[Positive] | None = None
    """Standard deviation of each channel, in the units of mean; None: the preset's."""


class Background(Section):
    """Adds background to lists of spans: parts of their videos that are in no span of the list (docs/data.md)."""

    per_span: Annotated[NonNegativeInt, Field(le=1000)] = 0
    """Pieces of background for each span, in training and in validation, each as long as the span; 0: none."""
    place: Literal["random", "hard"] = "random"
    """Where they are. random: anywhere in the video; hard: before or after the span, next to it."""
    label: str | None = None
    """Their class, a name of the class file; None: no class, which needs multi_label."""

    @check(mode="after")
    def _consistent(self) -> Background:
        if not self.per_span and self.model_dump(exclude_defaults=True):
            raise ValueError("needs per_span, the number of pieces for each span")
        return self


class Data(Section):
    """Sets how frames are named, chosen and stored."""

    frame_template: str | None = None
    """File name of a frame with a place for its number: `img_{:05d}.jpg`; None: detected."""
    first_frame: NonNegativeInt | None = None
    """Number in the file name of a video's first frame; None: detected."""
    class_names: str | None = None
    """Class file of both lists, one `index name` per line; None: classInd.txt (or calssInd.txt) next to one of them,
    else in `lists/` of its root folder."""
    sampling: str | None = None
    """Rule that chooses the frames of a clip; None: the method's, which is segments for tsn and tsm, clip for slowfast
    and clip3d."""
    group_regex: str | None = None
    """Finds in a video's name what it was cut from, as --group-regex of tools.make_lists does: videos of one group are
    held out together where optimizer: LBFGS chooses a weight decay; None: the groups of UCF-101's names."""
    repeated: Annotated[PositiveInt, Field(le=16)] = 1
    """Clips of each video in a training batch, of the same frames, each cut and coloured anew (repeated augmentation).
    batch_size, epochs and learning rates count videos, so a batch of 8 videos with 2 has 16 clips."""
    with_offset: bool = False
    """True: lines of lists are `path offset num_frames label`, spans that begin after `offset` frames of their video,
    as in mmaction2's lists of this name (docs/data.md)."""
    fps: Positive | None = None
    """Frames per second of folders of frames, for lists with seconds; None: as the manifest of their dump says, which
    goes first in any case."""
    context: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """Share of a span's length by which its clips may reach outside of it, on each side; 0: not at all."""
    background: Background = Background()
    store: Free = Field(default_factory=EasyDict)
    """Where the frames are, as a type with its arguments, for example `{type: memcached, servers: host:11211}`; empty:
    frames on disk. docs/data.md describes each."""
    shuffle_window: PositiveInt | None = None
    """Number of videos that are shuffled among each other where lists are tars, which are then read one by one,
    in an order that is shuffled, too; None: all videos together (docs/data.md)."""
    decode: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where JPEG frames and encoded videos are decoded and cropped: in the loader's workers (cpu), on the training GPU
    (cuda), or where the first batches take less time (auto); the log says which."""
    feature_cache: str | None = None
    """Folder of features of frames, clips or whole videos, which are then computed once, with `type: probe`
    (docs/probe.md) and `type: segment`, which needs it; None: every epoch anew."""
    max_pixels: PositiveInt = 1 << 26
    """Height x width that a frame may have; a larger one is unreadable, before memory is taken for it."""


class Test(Section):
    """Sets the views of a video in validation and evaluation, and how they become one score."""

    num_clips: PositiveInt | None = None
    """Clips in time per video; None: 1, or the number that the sampling rule fixes (2 for twice)."""
    num_crops: Literal[1, 3, 5, 10] | None = None
    """Crops in space per clip; None: 1, or 10 with val_dense."""
    sampling: str | None = None
    """Rule that chooses the frames of test clips; None: the rule of training, in its test form."""
    num_frames: PositiveInt | None = None
    """Frames per test clip, for example 25 as in TSN's paper; None: as many as in training."""
    input_size: PositiveInt | Pair | None = None
    """Size of the test crop in pixels, like augmentation.input_size, which None takes."""
    average: Literal["scores", "logits"] | None = None
    """What is averaged over the views of a video: scores (after softmax or sigmoid) or logits (before); None: the
    preset's, in most of them scores."""
    batch_size: PositiveInt | None = None
    """Videos per process and batch; None: batch_size divided by the number of views, at least 1."""


class Teacher(Section):
    """Names who teaches the network besides the labels, whose loss is added to theirs (docs/distillation.md)."""

    checkpoint: str | None = None
    """Path of a checkpoint of this project whose network sees the same clips in each step; None: no such teacher."""
    scores: str | None = None
    """Folder with the results of an evaluation of all training videos, or its reference_scores.npz; they are read once,
    so a step takes no longer; None: no such teacher."""
    weight: Positive = 1.0
    """Factor of the teacher's loss."""
    temperature: Positive = 1.0
    """What the logits of both are divided by; above 1, small scores of the teacher count for more. The loss is
    multiplied by its square, so that its gradients stay as large."""
    loss: Literal["kl", "symmetric"] = "kl"
    """Distance of both scores. kl: Kullback-Leibler divergence from the teacher's (Hinton et al. 2015); symmetric: its
    mean with that from the network's own, as in PP-TSM version 2 (mutual learning, Zhang et al. 2018)."""

    @check(mode="after")
    def _consistent(self) -> Teacher:
        if self.checkpoint is not None and self.scores is not None:
            raise ValueError("give either checkpoint or scores, not both")
        if not self.source and self.model_dump(exclude_defaults=True):
            raise ValueError("needs checkpoint or scores, which say who teaches")
        return self

    @property
    def source(self) -> str | None:
        """Returns the path of the teacher, None without one."""
        return self.checkpoint or self.scores


class Watch(Section):
    """Sets what `events/` shows besides curves, under the tags pictures/..., weights/... and gradients/..."""

    clips: NonNegativeInt = 4
    """Number of training clips shown as the network sees them, at the first step and with each validation; 0: none."""
    confusion: bool = True
    """True: shows the confusion matrix of each validation, with at most the 40 classes that have the most errors."""
    histograms: NonNegativeInt = 0
    """Steps between histograms of each weight and its gradient, of at most 10,000 values each; 0: none."""


class LRScheduler(Section):
    """Sets the learning rate of each iteration, which is one optimizer step: a warm-up, then a cosine or steps."""

    type: Literal["COSINE", "STEP"] = "COSINE"
    """What follows the warm-up: a cosine down to min_lr, or factors at lr_steps."""
    base_lr: Positive
    """Learning rate at the start of the warm-up; without a warm-up, the highest learning rate."""
    warmup_steps: NonNegativeInt = 0
    """Length of the warm-up in iterations; 0: no warm-up."""
    warmup_epochs: NonNegativeFloat | None = None
    """Length of the warm-up in epochs, in place of warmup_steps."""
    warmup_lr: Positive | None = None
    """Highest learning rate, reached at the end of the warm-up; a warm-up needs it."""
    min_lr: NonNegativeFloat = 0.0
    """Learning rate at the end of the cosine."""
    max_iter: Annotated[PositiveInt, Field(le=MOST_STEPS)] | None = None
    """Length of the training in iterations, at most 10 million, counted from 0 to max_iter - 1; give this or epochs."""
    epochs: Positive | None = None
    """Length of the training in passes over the training list; give this or max_iter."""
    lr_steps: list[PositiveInt] = []
    """STEP: iterations at which the learning rate changes, in ascending order."""
    lr_epochs: list[Positive] | None = None
    """STEP: the same in epochs, in place of lr_steps."""
    lr_mults: list[Positive] = []
    """STEP: factor at each of lr_steps. Factors accumulate: `[0.1, 0.1]` ends at a hundredth. Empty: 0.1 at each."""
    cosine_from: Literal["warmup", "start"] = "warmup"
    """Where the cosine begins: at the end of the warm-up (as in the original project), or at iteration 0, where the
    warm-up covers its beginning (PySlowFast)."""
    warmup: Literal["line", "factor", "constant"] = "line"
    """Form of the warm-up. line: straight from base_lr to the rate at its end; factor: the schedule, times a line from
    base_lr / warmup_lr to 1 (mmaction2); constant: base_lr until its end (torchvision)."""
    per_epoch: list[Literal["warmup", "schedule"]] = []
    """What changes only at the start of an epoch instead of at every iteration: `[warmup, schedule]`."""

    @check(mode="after")
    def _consistent(self) -> LRScheduler:
        if (self.max_iter is None) == (self.epochs is None):
            raise ValueError("give either max_iter or epochs")
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("give either warmup_steps or warmup_epochs, not both")
        if self.lr_steps and self.lr_epochs:
            raise ValueError("give either lr_steps or lr_epochs, not both")
        milestones = self.lr_epochs or self.lr_steps
        if self.type == "STEP" and not milestones:
            raise ValueError("type STEP needs lr_steps or lr_epochs")
        if sorted(milestones) != list(milestones):
            raise ValueError(f"lr_steps must be in ascending order, but is {list(milestones)}")
        if self.lr_mults and len(self.lr_mults) != len(milestones):
            raise ValueError(f"lr_mults has {len(self.lr_mults)} factors for {len(milestones)} lr_steps")
        if (self.warmup_steps or self.warmup_epochs) and self.warmup_lr is None:
            raise ValueError("a warm-up needs warmup_lr, the learning rate that it reaches")
        return self

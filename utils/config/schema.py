"""The shape of `config.yaml`: every key, its type, its default and what it means.

The seed's keys keep the seed's meaning. Swappable parts (methods, backbones, stores) take plain keyword arguments that
are checked against their constructors when they are built. Reading the file, lines and overrides: config_file.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from easydict import EasyDict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic import model_validator as check

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


def _easydict(value: Any) -> Any:
    return EasyDict(value) if isinstance(value, dict) else value


def _zero_if_false(value: Any) -> Any:
    return 0.0 if value is False or value is None else value


Free = Annotated[EasyDict, BeforeValidator(_easydict)]
Strength = Annotated[NonNegativeFloat, BeforeValidator(_zero_if_false)]  # a number, or False for "off"


class Section(BaseModel):
    """A mapping of the file whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class Model(Section):  # type: ignore[no-redef]  # the plugin's __init__ has a **kwargs of its own beside the field
    """`common.model`: the method, its backbone and its classifier; further keys are the method's own arguments."""

    model_config = ConfigDict(
        extra="allow", frozen=True, strict=True, arbitrary_types_allowed=True, protected_namespaces=()
    )

    type: str = Field(description="method: tsn, tsm, slowfast, clip3d (classify), img")
    backbone: str = Field(description="network below the method: mobilenetv2, resnet50, r3d_18, timm/<name>, ...")
    num_class: PositiveInt = Field(description="width of the classifier")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="probability in front of the classifier; 0 means no dropout module"
    )
    pretrained: bool | str = Field(
        False,
        description="True: the backbone's ImageNet file in pretrained/, under any hash; or a path to a checkpoint",
    )
    modality: Literal["rgb", "flow", "rgbdiff"] = Field(
        "rgb", description="input: RGB frames, optical flow (tools/dump_flow.py), or differences of RGB frames"
    )
    stack: PositiveInt | None = Field(
        None,
        description="consecutive flow fields or differences seen together; default 5 for tsn and tsm, 1 for clip3d",
    )
    kwargs: Free = Field(
        default_factory=EasyDict,
        description="keyword arguments of the backbone; bn_group_size, bn_sync_stats, bn_var_mode",
    )


class Augmentation(Section):
    """`common.augmentation`: from decoded frames to what the network sees."""

    preset: str = Field("tsn", description="preprocessing protocol: resize rule, crop, value range, mean and std")
    input_size: PositiveInt | None = Field(None, description="side of the square training and test crop; preset's")
    test_resize: PositiveInt | list[PositiveInt] | None = Field(
        None, description="short side before the test crop, or [height, width]; tsn: input_size * 256 // 224"
    )
    crop: str | None = Field(
        None, description="training crop, drawn once per clip: multi_scale, random_resized, short_side, fixed_resize"
    )
    scales: list[Positive] | None = Field(
        None, description="of the crop: factors of the short side, share of the area, range in pixels, or [h, w]"
    )
    flip: Annotated[Probability, BeforeValidator(_zero_if_false)] = Field(
        0.5, description="probability of a horizontal flip of the clip; False is off"
    )
    flip_labels: dict[str | int, str | int] = Field(
        {}, description="classes that mirror into each other, by name or index: {left: right, right: left}"
    )
    colorjitter: list[NonNegativeFloat] | None = Field(
        None, min_length=4, max_length=4, description="[brightness, contrast, saturation, hue]"
    )
    colorold: Strength | bool = Field(0.0, description="PCA lighting noise: its standard deviation; True is 0.1")
    rand_augment: list[PositiveInt] | bool = Field(
        False, description="RandAugment: [operations, magnitude in 1..30]; True is [2, 9]"
    )
    random_erasing: list[NonNegativeFloat] | None = Field(
        None, min_length=4, max_length=4, description="[probability, min area, max area, min aspect]"
    )
    consistent: bool = Field(True, description="colour and erasing drawn once per clip; False: for every frame anew")
    mix_up: Strength = Field(0.0, description="alpha of Beta(alpha, alpha); 0 or False is off")
    cut_mix: Strength = Field(0.0, description="alpha of Beta(alpha, alpha) for the box's area; 0 or False is off")
    mean: list[float] | None = Field(None, description="RGB mean in 0..1; default the preset's")
    std: list[Positive] | None = Field(None, description="RGB standard deviation in 0..1; default the preset's")


class Data(Section):
    """`common.data`: how frames are named, chosen and stored."""

    frame_template: str | None = Field(None, description="file name of a frame, img_{:05d}.jpg; default: detected")
    first_frame: NonNegativeInt | None = Field(None, description="number of the first file; default: detected")
    class_names: str | None = Field(None, description="class file; default classInd.txt or calssInd.txt by the list")
    sampling: str | None = Field(None, description="rule that picks training frames; default the method's")
    store: Free = Field(default_factory=EasyDict, description="where frames live: {type: disk}")
    decode: Literal["cpu", "cuda"] = Field(
        "cpu", description="where JPEG frames are decoded and cut: in the workers, or on the GPU that trains"
    )


class Test(Section):
    """`common.test`: the views of a video at validation and evaluation, and how they become one score."""

    num_clips: PositiveInt | None = Field(
        None, description="clips in time per video; default 1, or what the sampling rule fixes (2 with `twice`)"
    )
    num_crops: Literal[1, 3, 5, 10] | None = Field(None, description="crops in space; default 1, with val_dense 10")
    sampling: str | None = Field(None, description="rule that picks test frames; default the training rule's test form")
    num_frames: PositiveInt | None = Field(None, description="frames per clip if not the method's (TSN tests with 25)")
    input_size: PositiveInt | None = Field(None, description="side of the test crop; default augmentation.input_size")
    average: Literal["scores", "logits"] | None = Field(
        None, description="what is averaged over the views of a video; default the preset's, which is scores in most"
    )
    batch_size: PositiveInt | None = Field(None, description="videos per step; default batch_size / views, at least 1")


class Watch(Section):
    """`common.watch`: what `events/` shows besides curves, with tags pictures/..., weights/... and gradients/..."""

    clips: NonNegativeInt = Field(
        4, description="training clips as the network sees them, at the first step and every val_freq steps; 0 is off"
    )
    confusion: bool = Field(
        True, description="the confusion matrix of each validation, at most the 40 classes with the most errors"
    )
    histograms: NonNegativeInt = Field(
        0, description="steps between two histograms of each weight and its gradient, of 10000 values each; 0 is off"
    )


class LRScheduler(Section):
    """`common.lr_scheduler`: the learning rate of each iteration."""

    type: Literal["COSINE", "STEP"] = Field("COSINE", description="what follows the warm-up")
    base_lr: Positive = Field(description="start of the warm-up; the peak itself when warmup_steps is 0")
    warmup_steps: NonNegativeInt = Field(0, description="iterations from base_lr to warmup_lr, linearly")
    warmup_epochs: NonNegativeFloat | None = Field(None, description="the same in epochs, instead of warmup_steps")
    warmup_lr: Positive | None = Field(None, description="peak reached at the end of the warm-up")
    min_lr: NonNegativeFloat = Field(0.0, description="floor of the cosine")
    max_iter: PositiveInt | None = Field(None, description="iterations in all; the last step index is max_iter - 1")
    epochs: Positive | None = Field(None, description="length in passes over the training list, instead of max_iter")
    lr_steps: list[PositiveInt] = Field([], description="STEP: iterations at which the rate changes")
    lr_epochs: list[Positive] | None = Field(None, description="the same in epochs, instead of lr_steps")
    lr_mults: list[Positive] = Field([], description="STEP: factor at each of lr_steps, multiplied up; default 0.1")
    cosine_from: Literal["warmup", "start"] = Field(
        "warmup", description="the cosine starts after the warm-up (the seed), or at step 0 beneath it (PySlowFast)"
    )
    warmup: Literal["line", "factor", "constant"] = Field(
        "line",
        description="line: straight to the rate at its end; factor: the schedule, times a line "
        "from base_lr / warmup_lr to 1 (mmaction2); constant: base_lr until its end (torchvision)",
    )
    per_epoch: list[Literal["warmup", "schedule"]] = Field(
        [], description="what changes at the start of an epoch only, not at every iteration: [warmup, schedule]"
    )

    @check(mode="after")
    def _consistent(self) -> LRScheduler:
        if (self.max_iter is None) == (self.epochs is None):
            raise ValueError("give either max_iter or epochs")
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("give either warmup_steps or warmup_epochs")
        if self.lr_steps and self.lr_epochs:
            raise ValueError("give either lr_steps or lr_epochs")
        milestones = self.lr_epochs or self.lr_steps
        if self.type == "STEP" and not milestones:
            raise ValueError("type STEP needs lr_steps or lr_epochs")
        if sorted(milestones) != list(milestones):
            raise ValueError(f"lr_steps must not decrease, but is {list(milestones)}")
        if self.lr_mults and len(self.lr_mults) != len(milestones):
            raise ValueError(f"lr_mults has {len(self.lr_mults)} factors for {len(milestones)} lr_steps")
        if (self.warmup_steps or self.warmup_epochs) and self.warmup_lr is None:
            raise ValueError("a warm-up needs warmup_lr, the peak it reaches")
        return self


class Common(Section):
    """Everything below the root key `common`."""

    model: Model
    augmentation: Augmentation = Augmentation()
    data: Data = Data()
    test: Test = Test()
    watch: Watch = Watch()
    val_dense: bool = Field(False, description="True: ten crops (corners, centre and their mirrors), averaged")
    workers: NonNegativeInt = Field(3, description="loader processes per training process")
    batch_size: PositiveInt = Field(32, description="videos per training process (GPU) and step")
    accumulate: PositiveInt = Field(1, description="batches whose gradients add up to one step")
    lr_scheduler: LRScheduler
    optimizer: Literal["SGD", "ADAMW"] = Field("SGD", description="torch.optim's")
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.9, description="of SGD")
    weight_decay: NonNegativeFloat = Field(
        0.0001, description="as torch adds it: SGD to the gradient, AdamW to the weight"
    )
    nesterov: bool = Field(False, description="Nesterov's momentum")
    no_wd: bool | Literal["norm"] = Field(
        False, description="no weight decay for biases and for batch norm's weight and bias; norm: for the latter only"
    )
    policy: bool = Field(False, description="TSN's parameter groups: biases at twice the rate without decay, ...")
    fc_lr5: bool = Field(False, description="with policy: the classifier at five times the rate, its bias at ten (TSM)")
    partial_bn: bool = Field(False, description="freeze every batch norm but the first (TSN)")
    frozen_bn: bool = Field(False, description="freeze every batch norm")
    clip_gradient: Positive | None = Field(None, description="largest norm of the whole gradient")
    label_smooth: Annotated[Strength, Field(lt=1.0)] = Field(0.0, description="eps: target (1 - eps) onehot + eps / K")
    reference_batch: PositiveInt | None = Field(
        None,
        description="the learning rates are for so many videos a step, and scale linearly with the effective batch",
    )
    ema: Annotated[Strength, Field(lt=1.0)] = Field(
        0.0,
        description="decay of a moving average of the weights, which is then what is validated and saved as state_dict",
    )
    precise_bn: NonNegativeInt = Field(
        0, description="training batches over which batch norm's statistics are averaged anew before each validation"
    )
    freeze: list[str] = Field(
        [], description="beginnings of names, backbone.layer1: these parts stay as they were loaded"
    )
    lr_by_name: dict[str, NonNegativeFloat] = Field(
        {}, description="factors of the learning rate by beginnings of names, {backbone: 0.1}; the longest one counts"
    )
    class_weights: list[Positive] | Literal["balanced"] | None = Field(
        None, description="factor of each class's loss; balanced: inverse to its number of training videos, mean 1"
    )
    balanced_sampling: bool = Field(
        False, description="every class equally often: videos are drawn with replacement, rare classes more often"
    )
    multi_label: bool = Field(
        False,
        description="a video may show several classes or none: lists `path num_frames 3;7;12` (- for none), "
        "binary cross entropy, sigmoid scores, mAP",
    )
    compile: bool = Field(False, description="torch.compile the network, and colour jitter on a GPU")
    time_limit: Positive | None = Field(None, description="minutes after which training ends early with a checkpoint")
    amp: Literal["off", "auto", "bf16", "fp16"] = Field(
        "off", description="arithmetic of the forward and backward pass; auto: bf16 where the device computes in it"
    )
    channels_last: bool = Field(
        False, description="memory layout N,H,W,C (N,T,H,W,C): faster on CUDA, on CPUs for 2-D networks"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: CUDA where there is a GPU")
    seed: NonNegativeInt = Field(0, description="of every random choice of the run")
    deterministic: bool = Field(
        False, description="only algorithms that repeat to the bit on a GPU, an error where there is none; slower"
    )
    val_freq: PositiveInt = Field(250, description="validate after step i > 0 when i is a multiple")
    val_epochs: Positive | None = Field(None, description="the same in epochs, instead of val_freq")
    print_freq: PositiveInt = Field(10, description="a log line every so many steps, averaged over them")
    ckpt_freq: PositiveInt | None = Field(
        None, description="steps between checkpoints; the smaller of 500 and the steps between validations"
    )
    bad_frame_budget: NonNegativeInt = Field(
        0, description="videos that may be left out of training because a frame cannot be read; each is logged"
    )
    bad_loss_budget: NonNegativeInt = Field(
        0, description="steps that may be skipped because their loss is not finite; each is logged with its videos"
    )
    train_root: str = Field("/", description="folder in front of every path of train_source")
    train_source: str | None = Field(None, description="list file for training: path num_frames label")
    val_root: str = Field("/", description="folder in front of every path of val_source")
    val_source: str | None = Field(None, description="list file for validation")

    @check(mode="after")
    def _consistent(self) -> Common:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        if self.val_dense and self.test.num_crops not in (None, 10):
            raise ValueError(f"val_dense is ten crops, but test.num_crops is {self.test.num_crops}: give one of them")
        if isinstance(self.class_weights, list) and len(self.class_weights) != self.model.num_class:
            raise ValueError(f"class_weights has {len(self.class_weights)} factors for {self.model.num_class} classes")
        if self.val_epochs and "val_freq" in self.model_fields_set:
            raise ValueError("give either val_freq or val_epochs")
        if self.fc_lr5 and not self.policy:
            raise ValueError("fc_lr5 changes the groups of policy: set policy: True")
        places = (self.model.model_extra or {}, self.model.kwargs)
        if self.multi_label and any(place.get("position_average") == "scores" for place in places):
            raise ValueError(
                "model's position_average: scores averages a softmax, which multi_label has none of: set it to logits"
            )
        return self

    def validate_every(self, steps_per_epoch: float) -> int:
        """Steps between two validations."""
        return self.val_freq if self.val_epochs is None else max(1, round(self.val_epochs * steps_per_epoch))

    def effective_batch(self, world_size: int) -> int:
        """Videos per step over all processes."""
        return self.batch_size * self.accumulate * world_size

    def lr_scale(self, world_size: int) -> float:
        """Factor of the learning rates for this effective batch."""
        return self.effective_batch(world_size) / self.reference_batch if self.reference_batch else 1.0

    @property
    def crops(self) -> int:
        """Spatial crops per clip at test time."""
        return self.test.num_crops or (10 if self.val_dense else 1)

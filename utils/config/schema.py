"""Defines every key of `config.yaml`: its type, its default and its meaning.

The keys of the original project keep their names and meanings. Swappable parts (methods, backbones, stores) take plain
keyword arguments, which are checked against their constructors when they are built. file.py reads the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from easydict import EasyDict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic import model_validator as check

from utils.config.words import as_needed
from utils.errors import ConfigError

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
MOST_STEPS = 10_000_000  # the learning rates of all steps lie in memory


def _easydict(value: Any) -> Any:
    return EasyDict(value) if isinstance(value, dict) else value


def _zero_if_false(value: Any) -> Any:
    return 0.0 if value is False or value is None else value


def _off_if_false(value: Any) -> Any:
    return "off" if value is False else value  # in configs of checkpoints from when an unquoted `off` was read so


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
    """Network inside the method, for example `resnet50`, `mobilenetv2` or `timm/NAME` for tsn, tsm and img, `resnet50`
    or `resnet101` for slowfast, `slow_r50` or `r2plus1d_18` for clip3d; docs/models.md lists all."""
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
    1 is possible for rgb."""
    kwargs: Free = Field(default_factory=EasyDict)
    """Arguments of the backbone's constructor, and those of synchronised batch norm: `bn_group_size`, `bn_sync_stats`
    and `bn_var_mode` (docs/distributed.md)."""


class Augmentation(Section):
    """Sets how decoded frames become what the network sees."""

    preset: str = "tsn"
    """Preprocessing of a published project: resize, crops, interpolation, mean and std, averaging of views; the other
    keys change single parts of it."""
    input_size: PositiveInt | None = None
    """Height and width of the square crop in pixels, in training and testing; None: the preset's."""
    test_resize: PositiveInt | list[PositiveInt] | None = None
    """Size in pixels that test frames are resized to before the crop: the short side, or `[height, width]`; None: the
    preset's, in proportion to the crop (256 for 224)."""
    crop: str | None = None
    """Rule of the training crop, drawn once per clip; None: the preset's."""
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
    rand_augment: list[PositiveInt] | bool = False
    """RandAugment: `[operations per clip, magnitude 1 to 30]`; True: `[2, 9]`; False: none."""
    random_erasing: list[NonNegativeFloat] | None = Field(None, min_length=4, max_length=4)
    """`[probability, smallest area, largest area, smallest aspect ratio]` of an erased rectangle; areas are shares of
    the frame; None: nothing is erased."""
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
    store: Free = Field(default_factory=EasyDict)
    """Where the frames are, as a type with its arguments, for example `{type: memcached, servers: host:11211}`; empty:
    frames on disk. docs/data.md describes each."""
    decode: Literal["cpu", "cuda"] = "cpu"
    """Where JPEG frames are decoded and cropped: in the loader's workers, or on the training GPU."""
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
    input_size: PositiveInt | None = None
    """Height and width of the square test crop in pixels; None: augmentation.input_size."""
    average: Literal["scores", "logits"] | None = None
    """What is averaged over the views of a video: scores (after softmax or sigmoid) or logits (before); None: the
    preset's, in most of them scores."""
    batch_size: PositiveInt | None = None
    """Videos per process and batch; None: batch_size divided by the number of views, at least 1."""


class Watch(Section):
    """Sets what `events/` shows besides curves, under the tags pictures/..., weights/... and gradients/..."""

    clips: NonNegativeInt = 4
    """Number of training clips shown as the network sees them, at the first step and every val_freq steps; 0: none."""
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


class Common(Section):
    """Holds everything below the root key `common`."""

    model: Model
    augmentation: Augmentation = Augmentation()
    data: Data = Data()
    test: Test = Test()
    watch: Watch = Watch()
    val_dense: bool = False
    """True: ten test crops (four corners, the centre, and the mirror image of each), averaged."""
    workers: Annotated[NonNegativeInt, Field(le=1024)] = 3
    """Processes that load data, for each training process, at most 1024; 0: the training process loads its own."""
    batch_size: PositiveInt = 32
    """Videos per training process (GPU) and batch."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are added up for one optimizer step."""
    global_batch: PositiveInt | None = None
    """Videos per optimizer step over all processes. Each takes an equal share, in as few equal batches of at most
    batch_size as possible, so a run can go on in another number of processes; None: batch_size times accumulate times
    the number of processes."""
    lr_scheduler: LRScheduler
    optimizer: Literal["SGD", "ADAMW"] = "SGD"
    """Optimizer: SGD or AdamW of torch.optim."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of SGD, 0 to below 1."""
    weight_decay: NonNegativeFloat = 0.0001
    """Weight decay, which torch's SGD adds to the gradient and AdamW applies to the weight."""
    nesterov: bool = False
    """True: SGD with Nesterov momentum."""
    no_wd: bool | Literal["norm"] = False
    """True: no weight decay for biases and for the weight and bias of batch norm; norm: for batch norm only."""
    policy: bool = False
    """True: parameter groups of TSN. Biases learn at twice the rate without weight decay, norm layers do not decay,
    and the first convolution of a flow network learns at five times the rate. no_wd overrides it."""
    fc_lr5: bool = False
    """True, with policy: the weight of the classifier learns at five times the rate, its bias at ten (TSM)."""
    partial_bn: bool = False
    """True: freezes the statistics, weight and bias of every batch norm except the first (TSN)."""
    frozen_bn: bool = False
    """True: freezes the statistics, weight and bias of every batch norm."""
    clip_gradient: Positive | None = None
    """Largest L2 norm of the whole gradient; a larger one is scaled down to it; None: no limit."""
    label_smooth: Annotated[Strength, Field(lt=1.0)] = 0.0
    """Label smoothing eps, 0 to below 1: the target is (1 - eps) onehot + eps / K for K classes."""
    reference_batch: PositiveInt | None = None
    """Videos per step that the learning rates are meant for; the rates are multiplied by the actual number and divided
    by this one (linear scaling); None: rates as given."""
    ema: Annotated[Strength, Field(lt=1.0)] = 0.0
    """Decay of a moving average of the weights, for example 0.999; the average is what is validated and saved as
    state_dict; 0: off."""
    precise_bn: NonNegativeInt = 0
    """Training batches from which the statistics of batch norm are computed anew before each validation, except those
    of frozen ones; 0: off."""
    freeze: list[str] = []
    """Parts of the network that are not trained, by the first parts of their names: `[backbone.conv1,
    backbone.layer1]`."""
    lr_by_name: dict[str, NonNegativeFloat] = {}
    """Factors of the learning rate by the first parts of parameter names: `{backbone: 0.1}`; of several that match, the
    longest counts."""
    class_weights: list[Positive] | Literal["balanced"] | None = None
    """Factor of each class in the loss, a list of num_class numbers; balanced: inverse to the number of training videos
    of the class, 1 on average; None: all 1."""
    balanced_sampling: bool = False
    """True: draws training videos with replacement, so that all classes are equally frequent."""
    multi_label: bool = False
    """True: a video may show several classes or none. Lists have `path num_frames 3;7;12` (`-`: no class), the loss is
    binary cross entropy, scores are sigmoids, the metric is mAP."""
    compile: bool = False
    """True: applies torch.compile to the network, and to colour jitter on a GPU."""
    activation_checkpointing: bool = False
    """True: keeps only the inputs of blocks for the backward pass, which computes the rest again; not with compile."""
    time_limit: Positive | None = None
    """Minutes after which training writes a checkpoint and ends; the same command continues it."""
    amp: Annotated[Literal["off", "auto", "bf16", "fp16"], BeforeValidator(_off_if_false)] = "off"
    """Number format of the forward and backward pass: float32 (off), bf16, fp16 with loss scaling, or auto: bf16 where
    the device computes in it, else float32."""
    channels_last: bool = False
    """True: memory layout N,H,W,C (N,T,H,W,C for clips); faster on CUDA, and on CPUs for 2-D networks."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: on a CUDA GPU if there is one, else on the CPU."""
    seed: Annotated[NonNegativeInt, Field(lt=2**64)] = 0
    """Seed of every random number in the run, below 2 to the power of 64: initial weights, order of videos, crops,
    colours, mixing."""
    deterministic: bool = False
    """True: only GPU algorithms that give the same bits every time, which are slower; an operation without one ends the
    run with an error."""
    val_freq: PositiveInt = 250
    """Steps between validations. One runs after step i, counted from 0, when i is a positive multiple of this."""
    val_epochs: Positive | None = None
    """Passes over the training list between validations, in place of val_freq; may be a fraction."""
    print_freq: PositiveInt = 10
    """Steps between lines of the training log; their numbers are means over these steps."""
    ckpt_freq: PositiveInt | None = None
    """Steps between checkpoints; None: the steps between validations, at most 500."""
    bad_frame_budget: NonNegativeInt = 0
    """Number of unreadable videos that may be left out before the run ends with an error; each is logged."""
    bad_loss_budget: NonNegativeInt = 0
    """Number of steps with an infinite or NaN loss that may be skipped before the run ends with an error; each is
    logged with its videos."""
    train_root: str = "/"
    """Folder in front of every path in train_source."""
    train_source: str | None = None
    """List of training videos, one `path num_frames label` per line; training needs it."""
    val_root: str = "/"
    """Folder in front of every path in val_source."""
    val_source: str | None = None
    """List of validation videos, in the same form; None: training without validation."""

    @check(mode="after")
    def _consistent(self) -> Common:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        if self.val_dense and self.test.num_crops not in (None, 10):
            raise ValueError(
                f"val_dense means ten crops, but test.num_crops is {self.test.num_crops}: give only one of them"
            )
        if isinstance(self.class_weights, list) and len(self.class_weights) != self.model.num_class:
            raise ValueError(f"class_weights has {len(self.class_weights)} factors for {self.model.num_class} classes")
        if self.global_batch and "accumulate" in self.model_fields_set:
            raise ValueError("give either global_batch or accumulate, which follows from it, not both")
        if self.val_epochs and "val_freq" in self.model_fields_set:
            raise ValueError("give either val_freq or val_epochs, not both")
        if self.fc_lr5 and not self.policy:
            raise ValueError("fc_lr5 works on the parameter groups of policy: set policy: True as well")
        places = (self.model.model_extra or {}, self.model.kwargs)
        if self.multi_label and any(place.get("position_average") == "scores" for place in places):
            raise ValueError(
                "model.position_average: scores averages softmax scores, and multi_label has none: set it to logits"
            )
        return self

    def validate_every(self, steps_per_epoch: float) -> int:
        """Returns the number of steps between two validations."""
        return self.val_freq if self.val_epochs is None else max(1, round(self.val_epochs * steps_per_epoch))

    def for_processes(self, world_size: int) -> Common:
        """Returns these values with the batch_size and accumulate that global_batch means for a number of processes.

        Raises: ConfigError if the processes cannot have equal shares.
        """
        if self.global_batch is None:
            return self
        share, rest = divmod(self.global_batch, world_size)
        if rest:
            raise ConfigError(
                f"common.global_batch: {self.global_batch} videos are no equal shares for {world_size} processes; "
                "start a number of processes that divides it"
            )
        parts = next(n for n in range(-(-share // self.batch_size), share + 1) if share % n == 0)
        return self.model_copy(update={"batch_size": share // parts, "accumulate": parts})

    def effective_batch(self, world_size: int) -> int:
        """Returns the number of videos per step over all processes."""
        return self.global_batch or self.batch_size * self.accumulate * world_size

    def lr_scale(self, world_size: int) -> float:
        """Returns the factor of the learning rates for this effective batch."""
        return self.effective_batch(world_size) / self.reference_batch if self.reference_batch else 1.0

    @property
    def crops(self) -> int:
        """Number of spatial crops per clip at test time."""
        return self.test.num_crops or (10 if self.val_dense else 1)

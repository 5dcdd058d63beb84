"""Defines every key of `config.yaml`: its type, its default and its meaning. sections.py has those of inner mappings.

The keys of the original project keep their names and meanings. Swappable parts (methods, backbones, stores) take plain
keyword arguments, which are checked against their constructors when they are built. file.py reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic import model_validator as check

from utils.config.sections import (
    Augmentation,
    Data,
    LRScheduler,
    Model,
    Positive,
    Section,
    Strength,
    Teacher,
    Test,
    Watch,
)
from utils.errors import ConfigError


def _off_if_false(value: Any) -> Any:
    return "off" if value is False else value  # in configs of checkpoints from when an unquoted `off` was read so


SOLVES = "LBFGS"  # the optimizer that is done in a single step
ONE_STEP = {"base_lr": 1.0, "max_iter": 1}  # its lr_scheduler, which configs that were read before have
ALL = "all"  # of `freeze`: everything but the classifier
BASE = "base"  # of `freeze`: the image network without what a method adds to it
BETAS = [0.9, 0.999]  # by default, those of AdamW
SEGMENT = "segment"  # the method that sees whole videos
OF_STEPS = (  # keys that say how steps follow each other
    *("lr_scheduler", "momentum", "betas", "nesterov", "no_wd", "policy", "fc_lr5", "lr_by_name", "layer_decay"),
    *("clip_gradient", "ema", "teacher", "accumulate", "global_batch", "reference_batch", "balanced_sampling"),
    *("precise_bn", "bad_loss_budget", "val_freq", "val_epochs", "patience", "print_freq", "ckpt_freq"),
)
OF_CLIPS = (  # keys that say nothing about a method over whole videos
    *("multi_label", "label_smooth", "class_weights", "balanced_sampling", "precise_bn", "frozen_bn", "partial_bn"),
    *("fsdp", "activation_checkpointing", "compile"),
)


class Common(Section):
    """Holds everything below the root key `common`."""

    model: Model
    augmentation: Augmentation = Augmentation()
    data: Data = Data()
    test: Test = Test()
    teacher: Teacher = Teacher()
    watch: Watch = Watch()
    track: list[Literal["wandb", "mlflow", "trackio", "tensorboard"]] = []
    """Experiment trackers that get the numbers of `metrics.jsonl` as well, each an optional package (docs/report.md).
    tensorboard changes nothing: `events/` is always written for it."""
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
    optimizer: Literal["SGD", "ADAMW", "LBFGS"] = "SGD"
    """Optimizer: SGD or AdamW of torch.optim. LBFGS finds the best linear head of a probe in a single step, so it takes
    no lr_scheduler and no other key that is about steps (docs/probe.md)."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of SGD, 0 to below 1."""
    weight_decay: NonNegativeFloat = 0.0001
    """Weight decay, which torch's SGD adds to the gradient and AdamW applies to the weight. LBFGS standardises what the
    head sees before; try 0.01."""
    betas: list[Annotated[float, Field(ge=0.0, lt=1.0)]] = Field(BETAS, min_length=2, max_length=2)
    """Decays of AdamW's averages of the gradient and of its square."""
    nesterov: bool = False
    """True: SGD with Nesterov momentum."""
    no_wd: bool | Literal["norm"] = False
    """True: no weight decay for biases, for the weight and bias of norms, and for the class tokens and tables of video
    transformers; norm: for norms only."""
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
    backbone.layer1]`. `[all]`: everything but the classifier, and the network works as in evaluation. `[base]`: the
    image network of tsn and tsm, which works as in evaluation, and what `temporal` adds to it learns
    (docs/adapters.md)."""
    save_weights: Literal["all", "trained"] = "all"
    """Weights that checkpoints hold. trained: those that freeze: [base] lets learn, with the name and a hash of the
    weights of model.pretrained, without which such a checkpoint cannot be used."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Factor of the learning rate from one block to the block before it. The classifier learns at the full rate, the
    last block at this share of it, the one before at its square (BEiT, VideoMAE: 0.75); 1: all alike."""
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
    fsdp: bool = False
    """True: shares weights, gradients and optimizer memory out over the processes (torch's FSDP2), for networks too
    large for one GPU (docs/distributed.md); not with compile, channels_last and type: probe."""
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
    patience: PositiveInt | None = None
    """Validations in a row without a better one after which training ends early; None: it always runs to its end."""
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
    """Folder in front of every path in train_source, or an address such as s3://bucket/videos (docs/data.md)."""
    train_source: str | None = None
    """List of training videos, one `path num_frames label` per line, or tars of samples such as
    `data/train-{000..099}.tar`; training needs it."""
    val_root: str = "/"
    """Folder or address in front of every path in val_source."""
    val_source: str | None = None
    """List of validation videos, in the same form; None: training without validation."""

    @check(mode="before")
    @classmethod
    def _in_one_step(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("optimizer") != SOLVES:
            return values
        if given := [key for key in OF_STEPS if key in values and (key, values[key]) != ("lr_scheduler", ONE_STEP)]:
            raise ValueError(f"optimizer: {SOLVES} takes a single step and has no use for {', '.join(given)}")
        return {**values, "lr_scheduler": ONE_STEP}

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
        if self.patience and self.val_source is None:
            raise ValueError("patience counts validations, so it needs val_source")
        if self.save_weights == "trained" and (self.freeze != [BASE] or not self.model.pretrained or self.ema):
            raise ValueError("save_weights: trained needs freeze: [base] and model.pretrained, and no ema")
        if self.solves and self.data.repeated > 1:
            raise ValueError(f"data.repeated: optimizer: {SOLVES} sees each video once")
        if self.betas != BETAS and self.optimizer != "ADAMW":
            raise ValueError(f"betas are those of optimizer: ADAMW, and it is {self.optimizer}")
        if self.data.shuffle_window and self.balanced_sampling:
            raise ValueError("data.shuffle_window reads tars in order, and balanced_sampling draws from all videos")
        if self.fc_lr5 and not self.policy:
            raise ValueError("fc_lr5 works on the parameter groups of policy: set policy: True as well")
        if self.data.background.per_span and self.data.background.label is None and not self.multi_label:
            raise ValueError("data.background: with one class per video it needs a label, a class of the class file")
        self._check_segment()
        if self.multi_label and self.teacher.source:
            raise ValueError("teacher: teaches one class per video, so it does not go with multi_label")
        if self.teacher.scores and self.augmentation.flip_labels and self.augmentation.flip:
            raise ValueError(
                "teacher.scores: are of videos that are not mirrored, and augmentation.flip_labels gives mirrored "
                "clips another class: take teacher.checkpoint, or augmentation.flip: 0"
            )
        if self.teacher.checkpoint and self.data.feature_cache is not None:
            raise ValueError("teacher.checkpoint: its network needs clips, which data.feature_cache lacks: take scores")
        places = (self.model.model_extra or {}, self.model.kwargs)
        if self.multi_label and any(place.get("position_average") == "scores" for place in places):
            raise ValueError(
                "model.position_average: scores averages softmax scores, and multi_label has none: set it to logits"
            )
        return self

    def _check_segment(self) -> None:
        """Raises: ValueError for a method over whole videos with what is only for clips, or without what it needs."""
        if self.model.type != SEGMENT:
            return
        changes = [f"{key}: leave it out" for key in OF_CLIPS if key in self.model_fields_set and getattr(self, key)]
        changes += ["data.background: leave it out; what is in no span is background"] * self.data.background.per_span
        changes += ["data.context: leave it out"] if self.data.context else []
        changes += ["data.decode: cpu"] if self.data.decode != "cpu" else []
        if self.data.store.get("type") == "video":  # the others choose clips and how they are decoded
            changes += [f"data.store.{key}: leave it out" for key in self.data.store if key not in ("type", "cache")]
        changes += ["data.feature_cache: a folder"] if self.data.feature_cache is None else []
        changes += ["teacher: leave it out"] if self.teacher.source else []
        changes += ["test.num_clips: 1"] if self.test.num_clips not in (None, 1) else []
        changes += ["test.num_crops: 1"] if self.crops != 1 else []
        if changes:
            raise ValueError(f"model.type: {SEGMENT} sees the features of whole videos; set {'; '.join(changes)}")

    @property
    def solves(self) -> bool:
        """Returns whether the whole training is one step, which finds the best head."""
        return self.optimizer == SOLVES

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

"""Proves what one temporal module does in one image network, with random weights and small clips."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import fold_frames
from methods.frame_by_frame import FrameByFrame, obstacle
from methods.tsn import TSN
from networks.first_convolution import RGB
from networks.temporal import TEMPORAL_MODULES
from tools.exporting import SUFFIXES, TOLERANCE
from tools.exporting.export import Exportable, export, trace
from tools.exporting.random_weights import liven, stir
from utils.config.build import parameters_of
from utils.errors import UserError
from utils.run.flops import multiply_adds, num_parameters

PLAIN, RELATIONS = "tsn", "trn"  # no module, and a consensus of its own
# adapters are for vision transformers alone, whose tests try them
MODULES = (PLAIN, *(name for name, kind in TEMPORAL_MODULES.items() if kind.spot != "transformer"), RELATIONS)
CLASSES = 11
FRAMES = 4
STREAMED_FRAMES = 8
DRAWS = 4  # random networks, in one of which a gradient reaches each parameter
COSTED = (8, 224)  # frames and pixels of the clip whose multiply-adds are counted
EXACT = 1e-9  # float64 computes the same within this
SEEN = 1e-6  # an order of frames that a network sees moves its logits by more than this


@dataclass(frozen=True)
class Backbone:
    """An image network of the matrix.

    side: pixels of the clips that it is proved with.
    sized: whether its constructor takes the size of its frames, as vision transformers do.
    """

    name: str
    side: int = 64
    sized: bool = False

    def arguments(self, side: int) -> dict[str, Any]:
        """Returns what the method is built with, for frames of `side` pixels."""
        return {"backbone": self.name} | ({"kwargs": {"img_size": side}} if self.sized else {})


@dataclass(frozen=True)
class Facts:
    """Holds what was found out about a cell.

    refused: why the network cannot be built; then there is nothing else.
    order: how far another order of frames moves the logits, in float64, relative to their spread.
    unreached: names of parameters that no gradient reaches.
    differences: of the exported files from PyTorch, by suffix, or what went wrong.
    stream: how far a stream with `shift: uni` is from the offline network, like `order`; None if it cannot be one.
    no_stream: why not.
    """

    refused: str = ""
    order: float = 0.0
    unreached: list[str] = field(default_factory=list)
    params: int = 0
    gmacs: float = 0.0
    differences: dict[str, float | str] = field(default_factory=dict)
    stream: float | None = None
    no_stream: str = ""

    def mistakes(self, module: str) -> list[str]:
        """Returns what is not as it should be."""
        if self.refused:
            return []
        found = [f"{suffix}: {value}" for suffix, value in self.differences.items() if isinstance(value, str)]
        if self.unreached:
            found.append(f"no gradient reaches {', '.join(self.unreached)}")
        if module == PLAIN and self.order > EXACT:
            found.append(f"sees the order of frames ({self.order:.0e}), though it averages them")
        if module != PLAIN and self.order < SEEN:
            found.append(f"is blind to the order of frames ({self.order:.0e})")
        if self.stream is not None and self.stream > EXACT:
            found.append(f"its stream is another network: {self.stream:.0e}")
        return found


@dataclass(frozen=True)
class Cell:
    """One temporal module in one image network."""

    module: str
    backbone: Backbone

    @property
    def name(self) -> str:
        """The two names."""
        return f"{self.module} {self.backbone.name}"

    @property
    def channels(self) -> int:
        """The channels of one place of a clip."""
        return RGB * (TEMPORAL_MODULES[self.module].stack if self.module in TEMPORAL_MODULES else 1)

    def arguments(self, side: int, **more: Any) -> dict[str, Any]:
        """Returns what TSN is built with, for frames of `side` pixels. more: arguments of the module."""
        found = self.backbone.arguments(side)
        if self.module == RELATIONS:
            return found | {"consensus": "trn"}
        return found if self.module == PLAIN else found | {"temporal": {"name": self.module, **more}}

    def build(self, *, seed: int = 0, **more: Any) -> TSN:
        """Builds the network with random weights that hide nothing. Raises: ValueError if the module has no place."""
        torch.manual_seed(seed)
        side = self.backbone.side
        method = TSN(num_class=CLASSES, num_segments=FRAMES, **self.arguments(side, **more))
        stir(method)
        liven(method, torch.randn(2, self.channels, FRAMES, side, side))
        return method

    def clips(self, frames: int, *, batch: int = 1, seed: int = 1) -> Tensor:
        """Returns noise in the shape of clips."""
        generator = torch.Generator().manual_seed(seed)
        side = self.backbone.side
        return torch.randn(batch, self.channels, frames, side, side, generator=generator)


def prove(cell: Cell) -> Facts:
    """Builds the network of a cell and finds out all about it."""
    try:
        method = cell.build()
    except ValueError as error:
        return Facts(refused=str(error))
    unreached = _unreached(method, cell)
    method.eval().requires_grad_(False)
    params, gmacs = _cost(cell)
    stream, no_stream = _stream(method, cell)
    return Facts(
        order=_order(method, cell),
        unreached=unreached,
        params=params,
        gmacs=gmacs,
        stream=stream,
        no_stream=no_stream,
        differences=_exported(method, cell),
    )


def _unreached(method: TSN, cell: Cell) -> list[str]:
    """Returns the parameters that no gradient reaches, neither in this network nor with other random weights.

    A ReLU over a few numbers is now and then zero for every clip: chance, and no fault of the module.
    """
    missing = _without_gradient(method, cell)
    for seed in range(1, DRAWS):
        if not missing:
            break
        there = set(_without_gradient(cell.build(seed=seed), cell))
        missing = [name for name in missing if name in there]
    return missing


def _without_gradient(method: TSN, cell: Cell) -> list[str]:
    method.train()
    logits = method(cell.clips(FRAMES, batch=2))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    missing = [name for name, value in method.named_parameters() if value.grad is None or not value.grad.any()]
    method.zero_grad(set_to_none=True)
    return missing


@torch.no_grad()
def _order(method: TSN, cell: Cell) -> float:
    exact = copy.deepcopy(method).double()
    clips = cell.clips(FRAMES).double()
    logits = exact(clips)
    moved = [(exact(clips[:, :, order]) - logits).abs().max() for order in ([3, 2, 1, 0], [2, 0, 3, 1])]
    return float(max(moved) / logits.std())


@torch.no_grad()
def _stream(method: TSN, cell: Cell) -> tuple[float | None, str]:
    kind = TEMPORAL_MODULES.get(cell.module)
    if kind is None or "shift" not in parameters_of(kind):
        return None, obstacle(method)
    offline = cell.build(shift="uni").double().eval()
    online = FrameByFrame(offline)
    clips = cell.clips(STREAMED_FRAMES).double()
    mean = offline(clips)
    expected = offline.frame_logits(fold_frames(clips))
    state: tuple[Tensor, ...] = ()
    rows = []
    for frame in clips.unbind(2):
        logits, *following = online(frame, *state)
        state = tuple(following)
        rows.append(logits)
    found = torch.cat(rows)
    worst = max((found - expected).abs().max(), (found.mean(0) - mean[0]).abs().max())
    return float(worst / expected.std()), ""


def _exported(method: TSN, cell: Cell) -> dict[str, float | str]:
    """Returns the difference of each kind of file, or what went wrong."""

    def example(batch: int) -> tuple[Tensor, ...]:
        return (cell.clips(FRAMES, batch=batch),)

    network = Exportable(method, ("clips",), ("logits",), example, 1, {})
    found: dict[str, float | str] = {}
    try:
        program = trace(network)
    except UserError as error:
        return dict.fromkeys(SUFFIXES, str(error))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            try:
                found[suffix] = export(network, program, Path(folder) / f"model{suffix}", TOLERANCE)
            except UserError as error:
                found[suffix] = str(error).replace(f"{folder}/", "")
    return found


def _cost(cell: Cell) -> tuple[int, float]:
    frames, side = COSTED
    with torch.device("meta"):
        method = TSN(num_class=CLASSES, num_segments=frames, **cell.arguments(side))
        return num_parameters(method), multiply_adds(method, (1, cell.channels, frames, side, side)) / 1e9

"""Folds batch norms into the convolutions in front of them, for a network that does not train on.

A batch norm with fixed statistics multiplies each channel and adds to it. A convolution can do both with its own
weights, which saves a pass over the maps.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WITH_ACTIVATION = ("BatchNormAct2d", "BatchNormAct3d")  # timm's: a batch norm, then its children `drop` and `act`


class Folded(NamedTuple):
    """Holds a network for evaluation with folded batch norms.

    changed: names of the modules that answer something else now: folded convolutions, and modules that pass on what
        these answer.
    """

    network: nn.Module
    changed: frozenset[str]


def fold_batch_norms(model: nn.Module, *inputs: Tensor) -> Folded:
    """Returns a copy of a network in evaluation mode, in which batch norms are folded; the network stays as it is.

    The copy shares with it all but the folded weights; modules keep their names and hooks.

    inputs: what the network is called with; only their shapes and types matter.
    """
    found = foldable(model, *inputs)
    with torch.inference_mode(False), torch.no_grad():
        folded = _copy(model, lambda tensor: tensor)
        for one in found:
            _fold(folded.get_submodule(one.convolution), folded.get_submodule(one.norm))
    return Folded(folded, frozenset(name for one in found for name in one.modules))


class Foldable(NamedTuple):
    """Names a convolution, the batch norm that can be folded into it, and what passes on the convolution's answer."""

    convolution: str
    norm: str
    modules: tuple[str, ...]


def foldable(model: nn.Module, *inputs: Tensor) -> list[Foldable]:
    """Finds the batch norms of a network in evaluation mode that can be folded, whoever wrote its layers.

    A pass on the meta device, which computes nothing, shows what reads what. A batch norm is folded if nothing else
    reads what a convolution answers, and both run once.

    inputs: what the network is called with; only their shapes and types matter.
    """
    watched = _copy(model, lambda tensor: tensor.to("meta"))
    reads = _Reads(watched)
    with torch.inference_mode(False), torch.no_grad(), reads:
        watched(*(torch.empty_like(tensor, device="meta") for tensor in inputs))
    return [Foldable(one.convolution, one.norm, tuple(one.modules)) for one in reads.foldable()]


def _copy(model: nn.Module, moved: Callable[[Tensor], Tensor]) -> nn.Module:
    """Returns a copy of a network whose parameters and buffers are those that `moved` makes of them."""
    known: dict[int, Any] = {id(p): nn.Parameter(moved(p.detach()), requires_grad=False) for p in model.parameters()}
    known |= {id(buffer): moved(buffer) for buffer in model.buffers()}
    return copy.deepcopy(model, known)


def _fold(convolution: Any, norm: Any) -> None:
    """Gives a convolution the weights of both, and lets the norm pass on what it gets."""
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    rest = (norm.drop, norm.act) if type(norm).__name__ in WITH_ACTIVATION else ()

    def forward(x: Tensor) -> Tensor:
        for module in rest:
            x = module(x)
        return x

    norm.forward = forward  # wherever the module is referred to


@dataclass
class _Answer:
    """Describes the answer of one convolution, as far as the pass has gone.

    convolution, norm: names of the convolution and of the batch norm that reads its answer, "" for none.
    weight, mean: the tensors by which these two are known.
    reads: how often the answer was read.
    stays: whether `_fold` knows all that the norm's module does.
    modules: those that passed the answer on, the convolution included.
    """

    convolution: str
    weight: Tensor
    tensor: Tensor  # the answer itself, kept so that its id has one meaning
    norm: str = ""
    mean: Tensor | None = None
    normalised: Tensor | None = None
    reads: int = 0
    stays: bool = False
    modules: list[str] = field(default_factory=list)


class _Reads(TorchDispatchMode):
    """Watches a pass of a network on the meta device: which operation reads what a convolution answers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._convolutions: dict[int, str] = {}  # names by their weight
        self._norms: dict[int, str] = {}  # names by their running mean
        self._uses: Counter[int] = Counter()  # of these tensors; one that two modules share counts as used
        self._answers: dict[int, _Answer] = {}  # by their tensor; all are kept, so an id has one meaning
        for name, module in network.named_modules():
            if isinstance(module, CONVOLUTIONS):
                self._register(self._convolutions, module._parameters.get("weight"), name)
            elif isinstance(module, _BatchNorm):
                self._register(self._norms, module._buffers.get("running_mean"), name)
            module.register_forward_hook(self._note(name))

    def _register(self, table: dict[int, str], tensor: Tensor | None, name: str) -> None:
        if tensor is not None:
            self._uses[id(tensor)] += id(tensor) in table
            table[id(tensor)] = name

    def _note(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        """Returns a hook that notes what a module answers."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if (known := self._answers.get(id(output))) is not None:
                known.modules.append(name)
            for answer in self._answers.values():
                if answer.norm == name:  # an activation may have worked in place
                    unchanged = output is answer.normalised and getattr(output, "_version", 0) == 0
                    answer.stays = unchanged or type(module).__name__ in WITH_ACTIVATION

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and notes what it reads."""
        for read in tree_leaves((args, kwargs)):
            self._uses[id(read)] += 1
            if (known := self._answers.get(id(read))) is not None:
                known.reads += 1
        name = func.overloadpacket.__name__
        if name == "native_batch_norm" and not args[5]:  # torch would derive its shape in Python: half of the pass
            result: Any = (torch.empty_like(args[0]), args[3], args[4])
        else:
            result = func(*args, **(kwargs or {}))
        if name == "convolution" and id(args[1]) in self._convolutions:
            self._answers[id(result)] = _Answer(self._convolutions[id(args[1])], args[1], result)
        elif "batch_norm" in name and (known := self._answers.get(id(args[0]))) is not None:
            known.norm, known.mean, known.normalised = self._norms.get(id(args[3]), ""), args[3], result[0]
        return result

    def foldable(self) -> Iterator[_Answer]:
        """Yields the answers that a batch norm reads, and nothing else."""
        for answer in self._answers.values():
            once = self._uses[id(answer.weight)] == self._uses[id(answer.mean)] == answer.reads == 1
            if answer.norm and answer.stays and once:
                yield answer

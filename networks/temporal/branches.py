"""Finds where the residual branches of an image network begin, by one rule for all architectures, in a traced graph."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

JOINS = {operator.add, operator.iadd, torch.add, torch.cat, torch.concat, "add", "add_"}
WEIGHTED = (nn.Conv2d, nn.Linear)
LAYERS = (*WEIGHTED, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.MaxPool2d, nn.AvgPool2d)
STAGE = re.compile(r"(layer\d+)\.(\d+)\.")
DEEP = 23  # with this many blocks in layer3, only every second block is shifted (TSM's code, "n_round")


@dataclass(frozen=True)
class Branch:
    """Locates a residual branch.

    entry: path of the module that it begins with.
    block: path of the module that holds the branch and its shortcut; "" if there is no such module.
    inner: path of the second module of the kind of `entry`; "" if the branch has only one.
    end: path of the last convolution that a norm follows, or what the network's `branch_ends` names for this entry; ""
        if no norm follows any.
    """

    entry: str
    block: str
    inner: str = ""
    end: str = ""


def residual_branches(net: nn.Module, name: str) -> list[Branch]:
    """Returns the branches of a network in the order in which they run.

    Wherever forked paths meet again, in a sum or a concatenation, the path with the most convolutions and linear layers
    is the branch. It begins at its first convolution, or at its first norm in transformers, which have no convolution.
    A path that begins at the frames themselves (RepVGG's stem) does not count: there are no features to shift yet.
    In a network whose paths never fork (VGG), every convolution except the first is a branch of its own.

    name: how messages call the network.
    Raises: ValueError if the network cannot be traced or has no branch.
    """
    graph = Graph(net, name)
    own_ends = getattr(net, "branch_ends", {})
    found: dict[str, Branch] = {}
    for join in graph.joins():
        layers, block = graph.layers(join), graph.owner(join)
        if layers and (entry := layers[0]) not in found and not graph.reads_frames(entry):
            block = block if block and entry.startswith(f"{block}.") else ""
            end = own_ends.get(entry, "".join(graph.before_norms(layers)[-1:]))
            found[entry] = Branch(entry, block, "".join(layers[1:2]), end)
    branches = sorted(found.values(), key=lambda branch: graph.calls.index(branch.entry))
    if not branches:
        convolutions = [call for call in graph.calls if isinstance(graph.modules[call], nn.Conv2d)]
        branches = [Branch(call, "", end="".join(graph.before_norms([call]))) for call in convolutions[1:]]
    if not branches:
        raise ValueError(
            f"backbone: {name} has neither residual branches nor a second convolution, so there is no place for a "
            f"temporal shift; take another backbone, or tsn without a temporal module"
        )
    return branches


class Graph:
    """Holds the part of a traced network that depends on its input.

    calls: paths of the modules with parameters, in the order in which they run.
    """

    def __init__(self, net: nn.Module, name: str) -> None:
        self.modules = dict(net.named_modules())
        nodes = list(_trace(net, name).nodes)
        source = next(node for node in nodes if node.op == "placeholder")
        self.ancestors: dict[fx.Node, set[fx.Node]] = {source: {source}}  # of each node, itself included
        for node in nodes:
            known = [self.ancestors[one] for one in node.all_input_nodes if one in self.ancestors]
            if known:
                self.ancestors[node] = {node}.union(*known)
        self.calls = self._with_parameters(self.ancestors)

    def joins(self) -> list[fx.Node]:
        """Returns the sums and concatenations of at least two paths from the input."""
        functions = ("call_function", "call_method")
        return [n for n in self.ancestors if n.op in functions and n.target in JOINS and len(self._paths(n)) > 1]

    def layers(self, join: fx.Node) -> list[str]:
        """Returns the convolutions of the branch that ends in this join; all its modules if it has none."""
        ends = self._paths(join)
        paths = []
        for end in ends:
            shared = set[fx.Node]().union(*(self.ancestors[other] for other in ends if other is not end))
            paths.append(self._with_parameters(node for node in self.ancestors if node in self.ancestors[end] - shared))
        branch = max(paths, key=lambda calls: (len(self._kind(calls, WEIGHTED)), len(calls)))
        return self._kind(branch, nn.Conv2d) or branch

    def before_norms(self, calls: list[str]) -> list[str]:
        """Returns those of these convolutions that a batch norm follows directly."""
        nodes = [node for node in self.ancestors if node.op == "call_module" and node.target in calls]
        norm = nn.modules.batchnorm._BatchNorm
        return [
            str(node.target)
            for node in nodes
            if any(user.op == "call_module" and isinstance(self.modules[str(user.target)], norm) for user in node.users)
        ]

    def reads_frames(self, call: str) -> bool:
        """Tells whether this module is the first layer that the network's input meets."""
        node = next(node for node in self.ancestors if node.op == "call_module" and node.target == call)
        return self._with_parameters(self.ancestors[node]) == [call]

    def owner(self, node: fx.Node) -> str:
        """Returns the module whose forward holds the node; "" is the network itself."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return str(stack[-1][0]) if stack else ""

    def _paths(self, join: fx.Node) -> list[fx.Node]:
        return [node for node in join.all_input_nodes if node in self.ancestors]

    def _with_parameters(self, nodes: Iterable[fx.Node]) -> list[str]:
        calls = [str(node.target) for node in nodes if node.op == "call_module"]
        return [call for call in calls if next(self.modules[call].parameters(), None) is not None]

    def _kind(self, calls: list[str], kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
        return [call for call in calls if isinstance(self.modules[call], kind)]


def every_second_block(branches: list[Branch]) -> list[Branch]:
    """Keeps blocks 0, 2, 4, ... of each stage if layer3 of a ResNet has 23 or more blocks; else keeps all branches."""
    places = [STAGE.search(branch.entry) for branch in branches]
    blocks = {int(place[2]) for place in places if place and place[1] == "layer3"}
    if not blocks or max(blocks) + 1 < DEEP:
        return branches
    return [branch for branch, place in zip(branches, places, strict=True) if place is None or int(place[2]) % 2 == 0]


class _Tracer(fx.Tracer):
    """Treats layers of other projects that subclass torch's as one step, instead of tracing their arithmetic."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LAYERS) or super().is_leaf_module(m, module_qualified_name)


def _trace(net: nn.Module, name: str) -> fx.Graph:
    training = net.training
    try:
        return _Tracer().trace(net.eval())
    except Exception as error:  # networks with data-dependent Python make fx raise errors of many kinds
        raise ValueError(
            f"backbone: the graph of {name} cannot be traced, so the places for a temporal shift are unknown "
            f"({type(error).__name__}: {str(error).splitlines()[0]}); take another backbone, or tsn without a "
            f"temporal module"
        ) from error
    finally:
        net.train(training)

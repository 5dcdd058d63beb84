"""Reads YAML as values, in time and memory that follow from the length of the text."""

from __future__ import annotations

import re
from typing import Any

import yaml

EXPANDED = 10  # values that aliases may make of one character; real files stay far below 1


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number (YAML 1.1 wants 1.0e-4)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Returns the value of a document, and its node with the places of all parts; None for an empty text.

    Raises: yaml.YAMLError, also for numbers and dates that cannot be, for a text that is nested too deeply, and for
        aliases that make a long value of a short text.
    """
    loader = _Loader(text)  # refuses control characters
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        if _count(node, {}) > EXPANDED * len(text):
            problem = "its aliases (*name) stand for too many values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return loader.construct_document(node), node
    except ValueError as error:
        raise yaml.MarkedYAMLError(problem=str(error)) from None
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from None
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, float]) -> float:
    """Returns how many values a node stands for with every alias written out; infinite if it contains itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_count(part, known) for part in inner)
    return known[id(node)]

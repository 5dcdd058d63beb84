"""Reads YAML as values, in time and memory that follow from the length of the text."""

from __future__ import annotations

import re
from typing import Any

import yaml

EXPANDED = 10  # values that aliases may make of one character; real files stay far below 1


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.2, in which 1e-4 and 010 are the numbers that they look like, and on, off, yes and no are words.

    None is null, because docs/config.md calls a key that is not set so: as a text it would be the name of a file.
    utils/config/words.py makes True and False of the words where a key takes those.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it; those of YAML 1.1 are left out

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """Returns the value of a decimal, octal (0o17) or hexadecimal (0xff) number."""
        text = str(node.value)
        try:
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        except ValueError:  # Python reads at most 4300 digits
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(text)} digits", node.start_mark
            ) from None


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", "~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Returns the value of a document, and its node with the places of all parts; None for an empty text.

    Raises: yaml.YAMLError, also for a text that is nested too deeply, and for aliases that make a long value of a short
        text.
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

"""Reads on, off, yes and no as the key that has them needs it: as words, or as True and False."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

SPELLINGS = {
    form(word): truth
    for word, truth in {"on": True, "yes": True, "off": False, "no": False}.items()
    for form in (str.lower, str.capitalize, str.upper)
}
MAPPINGS = ("dict_type", "mapping_type")  # pydantic's names of the mistake of a value that should be a mapping


def as_needed(values: Any, annotations: Mapping[str, Any]) -> Any:
    """Returns a mapping with its words turned into True and False, except for keys that take words.

    YAML 1.1 turned all of them into True and False, YAML 1.2 none. annotations: type of each known key.
    """
    if not isinstance(values, Mapping):
        return values
    return {
        key: SPELLINGS[value] if _is_word(value) and key in annotations and not takes_words(annotations[key]) else value
        for key, value in values.items()
    }


def takes_words(annotation: Any) -> bool:
    """Returns whether a value of this type may be a word; where it may be True or False as well, a word means that."""
    kinds = list(_alternatives(annotation))
    return bool not in kinds and any(kind is str or isinstance(kind, str) for kind in kinds)


def shown(value: Any) -> str:
    """Returns a value as messages show it. Of True and False, nobody may have written these, so the words are named."""
    if not isinstance(value, bool):
        return repr(value)
    return f"{value} (which is also what YAML makes of {'yes and on' if value else 'no and off'})"


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value in SPELLINGS


def _alternatives(annotation: Any) -> list[Any]:
    """Returns the types of a union, and the values of its literals."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin is Literal:
        return list(get_args(annotation))
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]

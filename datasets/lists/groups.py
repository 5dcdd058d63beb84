"""Keeps videos together that were cut from one recording, and divides groups of videos into folds."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from utils.errors import UserError

UCF_GROUP = r"_g(\d+)_c\d+$"  # clips of one group were cut from one video


def group_names(
    names: Sequence[str], labels: Sequence[str], *, regex: str | None, key: str = "--group-regex"
) -> list[str]:
    """Returns the group of each video: the first parenthesis of `regex` (or its whole match) in the video's name.

    Without a regex the groups are UCF-101's _gNN_cNN within a class. A video that does not match is its own group.

    key: what messages call the regex.
    Raises: UserError for an invalid regex and for one that matches no video.
    """
    try:
        pattern = re.compile(regex or UCF_GROUP)
    except re.error as error:
        raise UserError(f"{key} {regex!r}: {error}") from error
    groups: list[str] = []
    matched = 0
    for number, (name, label) in enumerate(zip(names, labels, strict=True)):
        match = pattern.search(name)
        matched += match is not None
        if match is None:
            groups.append(f"single {number}")
        else:  # a regex of the user may stand for people or places, which occur in many classes
            groups.append(("" if regex else label + "/") + (match.group(1) if pattern.groups else match.group()))
    if regex and not matched:
        raise UserError(f"{key} {regex!r} matches no video, such as {names[0]!r}")
    return groups


def fold_split(labels: Sequence[Sequence[str]], groups: Sequence[str], *, folds: int, seed: int) -> list[int]:
    """Returns the fold of each video, 0 to folds - 1: about the same share of each class, and no group is in two.

    The same seed gives the same folds.

    labels: classes of each video; videos without any are divided like one more class.
    Raises: UserError for fewer groups than folds, and for a class that a fold would leave nothing to train on.
    """
    sets = [tuple(row) or ("",) for row in labels]
    members: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    if len(members) < folds:
        raise UserError(f"--folds {folds}: there are only {len(members)} videos, or groups of them; give fewer folds")
    total = Counter(label for row in sets for label in row)
    drawn = [sorted(members)[n] for n in np.random.default_rng(seed).permutation(len(members))]
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    where: dict[str, int] = {}
    for group in sorted(drawn, key=lambda name: -len(members[name])):  # the large ones while there is room
        counts = Counter(label for n in members[group] for label in sets[n])
        share = [sum(one[label] * count / total[label] for label, count in counts.items()) for one in held]
        where[group] = min(range(folds), key=lambda fold: (share[fold], held[fold].total(), fold))
        held[where[group]].update(counts)
    for label in sorted(total):
        if any(one[label] == total[label] for one in held):
            raise UserError(
                f"class {label!r} has one video or group of videos, so a fold would train without it; add videos to "
                "it, or leave the class out"
            )
    return [where[group] for group in groups]

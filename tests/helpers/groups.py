"""Makes classes of videos that come in groups, as clips that were cut from one recording do."""

from __future__ import annotations


def labels_and_groups(sizes: list[list[int]]) -> tuple[list[str], list[str]]:
    """The class and the group of each video. sizes: of each class, the videos of each of its groups."""
    labels = [f"c{c}" for c, groups in enumerate(sizes) for size in groups for _ in range(size)]
    groups = [f"c{c}/{g}" for c, counts in enumerate(sizes) for g, size in enumerate(counts) for _ in range(size)]
    return labels, groups

"""Checks the optical flow of the videos in a list: missing flow, gaps, x without y, and files that are not images."""

from __future__ import annotations

from datasets.lists.manifest import dumped_below
from datasets.stores.flow import DUMP, y_template
from datasets.stores.frame_names import FLOW_PAIRS
from tools.checking.disk import DROP, Folder, check_pictures, check_span, inspect_folders, most_common
from tools.checking.lists import DataSet


def check_flow(data: DataSet, *, template: str | None, first: int | None, decode: bool, workers: int) -> None:
    """Checks the flow of every line that has no fault so far; the frames themselves are not needed.

    template: of the x pictures; by default the most common one.
    first: number of the first field; by default the most common one.
    decode: decodes every field as well.
    """
    entries = data.without_fault()
    folders = inspect_folders(data, entries, decode=decode, workers=workers, flow=True)
    there = [folder for folder in folders.values() if folder is not None]
    x = template or most_common(name for folder in there for name in folder.numbers if name.startswith(_X))
    firsts = [folder.numbers[x][0] for folder in there if x in folder.numbers]
    first = most_common(firsts) if first is None else first
    found = [(entry, folders[data.roots[entry.split] / entry.path]) for entry in entries]
    manifests = {root: {dump.path: dump for dump in dumped_below(root)} for root in set(data.roots.values())}
    fewer = most_common(
        entry.length - len(folder.numbers[x])
        for entry, folder in found
        if folder and x in folder.numbers and entry.length
    )
    for entry, folder in found:
        where = data.roots[entry.split] / entry.path
        if folder is None:
            data.blame("missing_folder", entry, f"folder not found: {where}", fix=DROP, drop=True)
            continue
        if x is None or x not in folder.numbers:
            data.blame("no_flow", entry, f"{entry.path!r} has no optical flow; {DUMP}", fix=DROP, drop=True)
            continue
        fields = entry.length - (fewer or 0) if entry.length else len(folder.numbers[x])
        if message := _wrong_numbers(folder, x, int(first or 0), fields):
            data.blame("flow", entry, f"{entry.path!r} {message}; {DUMP}", fix=DROP, drop=True)
            continue
        dump = manifests[data.roots[entry.split]].get(entry.path)
        shown = check_span(data, entry, fields + 1, dump)  # fields lead from each frame to the next
        for name in (x, y_template(x)):
            check_pictures(data, entry, folder, name, shown)


_X = tuple(pair[0] for pair in FLOW_PAIRS)


def _wrong_numbers(folder: Folder, x: str, first: int, count: int) -> str:
    """Returns how the numbers of x or y differ from first, first + 1, ...; "" if they do not."""
    wanted = set(range(first, first + max(count, 0)))
    for name in (x, y_template(x)):
        has = set(folder.numbers.get(name, []))
        if missing := sorted(wanted - has):
            shown = ", ".join(name.format(number) for number in missing[:3]) + ", ..." * (len(missing) > 3)
            return f"lacks {len(missing)} of {len(wanted)} pictures of optical flow: {shown}"
        if len(has) > len(wanted):
            return f"has {len(has)} pictures {name}, but its frames give {len(wanted)} fields"
    return ""

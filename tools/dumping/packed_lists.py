"""Writes the lists of packed videos and their class files, and sees that they replace none that are not theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.lists.class_names import FILE_NAMES
from datasets.lists.manifest import Manifest
from datasets.places.place import is_address
from tools.dumping.video_lists import VideoList
from tools.dumping.video_shards import WholeTars
from utils.errors import UserError
from utils.files import atomic_write


def origins_of(
    lists: Sequence[VideoList], sources: Sequence[str], root: str | None, manifest: Manifest, out: Path
) -> dict[str, str]:
    """Returns by the name of each list of OUT which list it is of, in which root.

    sources: of `lists`. Raises UserError where a list would replace another one of its name.
    """
    old = manifest.header.get("lists")
    known = old if isinstance(old, dict) else {}
    inside = "" if root is None else f" in {_full(root)}"
    new = {one.name: f"{_full(source)}{inside}" for one, source in zip(lists, sources, strict=True)}
    for name, origin in new.items():
        if (out / "lists" / name).exists() and known.get(name, origin) != origin:
            raise UserError(
                f"{out / 'lists' / name}: is of {known[name]}, and would be replaced; rename the new list or give "
                "another OUT, or remove that file if its videos have only moved"
            )
    return {**known, **new}


def _full(source: str) -> str:
    return source if is_address(source) else str(Path(source).resolve())


def check_classes(lists: Sequence[VideoList], out: Path) -> None:
    """Raises UserError where a class file would number the classes of lists anew that OUT has from another run."""
    names = {*FILE_NAMES, *(one.name for one in lists)}
    other = next((path for path in sorted(out.glob("lists/*")) if path.name not in names), None)
    for name, path in class_files(lists).items():
        there = out / "lists" / name
        if other is not None and not (there.is_file() and there.read_bytes() == path.read_bytes()):
            raise UserError(
                f"{path} would number the classes of {other} anew, which was packed before; pack all lists of OUT "
                "again together, or give another OUT"
            )


def write_lists(lists: Sequence[VideoList], manifest: Manifest, out: Path) -> None:
    """Writes the lists of the videos that are packed, and says which lines are left out."""
    whole, members = WholeTars(out), dict[str, str]()
    for video, source in dict.fromkeys(video for listed in lists for video in listed.videos):
        line = manifest.videos.get(video, {})
        if line.get("status") == "ok" and whole.has(line["tar"]):
            members[source] = f"{line['tar']}/{line['member']}"
    (out / "lists").mkdir(exist_ok=True)
    for listed in lists:
        with atomic_write(out / "lists" / listed.name, "w", errors="surrogateescape", newline="") as file:
            file.write(listed.text(members))
        if left := sum(source not in members for _, source in listed.videos):
            print(
                f"lists/{listed.name}: {left} of {len(listed.videos)} lines are left out: their videos are not packed"
            )
    for name, path in class_files(lists).items():
        with atomic_write(out / "lists" / name) as file:
            file.write(path.read_bytes())


def class_files(lists: Sequence[VideoList]) -> dict[str, Path]:
    """Returns the class files of the lists by their names. Raises UserError if two of one name differ."""
    found: dict[str, Path] = {}
    for path in (one.classes for one in lists if one.classes is not None):
        other = found.setdefault(path.name, path)
        if other.read_bytes() != path.read_bytes():
            raise UserError(f"{other} and {path} differ, but an experiment has one numbering of its classes")
    return found

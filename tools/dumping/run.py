"""Dumps many videos into one dataset, as frames or as optical flow, and records them in the manifest.

Videos that are dumped already are left as they are.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from datasets.lists.manifest import Manifest, Part, part_name, parts_of
from tools.dumping.pool import WorkerDiedError, run_jobs
from tools.dumping.video import Job, OutOfReachError, SomeJob, failure
from utils.cli import Progress
from utils.errors import UserError
from utils.system import lock

MOST_NOTES = 50
LOCK = ".dump.lock"


@dataclass(frozen=True)
class Kind(Generic[SomeJob]):
    """Says how frames or fields of optical flow are dumped.

    work: does a job in a worker and returns its line of the manifest.
    trouble_with: (job, its line in the manifest) -> None if it is to be dumped, "" if it is done already, else the
        reason why it cannot be dumped.
    why: (job, its line) -> what went wrong, in words, for a line that failed or lacks some of its seconds.
    made: what `work` writes, in the plural and as a key of the line: "frames" or "fields".
    version: of what it writes with the same settings.
    """

    work: Callable[[SomeJob], dict[str, Any]]
    trouble_with: Callable[[SomeJob, dict[str, Any] | None], str | None]
    why: Callable[[SomeJob, dict[str, Any]], str]
    made: str
    version: int


@contextlib.contextmanager
def locked(out: Path, part: Part | None = None) -> Iterator[None]:
    """Locks a folder against a second dump; the lock ends with the process, even if it is killed.

    part: lock it against the same part, and against dumps of the whole; other parts may run.
    """
    with contextlib.ExitStack() as held:
        whole = held.enter_context((out / LOCK).open("a+"))
        if not lock(whole, shared=part is not None):
            raise UserError(f"another dump into {out} is running")
        if part is not None and not lock(held.enter_context((out / part_name(LOCK, part)).open("a+"))):
            raise UserError(f"another dump of part {part[0]}/{part[1]} into {out} is running")
        if part is None:  # and so no part is running
            for path in parts_of(out, LOCK).values():
                path.unlink()
        yield


def dump(
    jobs: Sequence[SomeJob], manifest: Manifest, kind: Kind[SomeJob], *, workers: int, overwrite: bool
) -> Counter[str]:
    """Dumps what is missing, adds it to the open manifest and closes it; returns how often each outcome occurred."""
    outcome: Counter[str] = Counter()
    todo: list[SomeJob] = []
    notes = 0
    try:
        with Progress(len(jobs), unit="videos") as progress:
            for job in jobs:
                trouble = kind.trouble_with(job, manifest.videos.get(job.video))
                if trouble and not overwrite:
                    outcome["failed"] += 1
                    progress.note(f"not dumped: {trouble}")
                elif trouble == "":
                    outcome["already dumped"] += 1
                else:
                    todo.append(job)
            progress.advance(len(jobs) - len(todo))
            for job, answer in run_jobs(kind.work, todo, workers=workers, started=_starter(manifest)):
                line = _line(job, answer)
                manifest.add({**line, "settings": job.settings.as_json(), "version": kind.version})
                outcome[line["status"]] += 1
                outcome[kind.made] += line.get(kind.made, 0)
                if line["status"] != "ok" or line.get("cut_short"):
                    notes += 1
                    if notes <= MOST_NOTES:
                        progress.note(f"{line['status']}: {kind.why(job, line)}")
                progress.advance(1, f"{outcome[kind.made]} {kind.made}, {outcome['failed']} failed")
            if notes > MOST_NOTES:
                progress.note(f"{notes - MOST_NOTES} more such videos; {manifest.path} says what is wrong with each")
        _remove_empty_classes(todo)
        manifest.close()
    finally:
        manifest.abandon()
    return outcome


def _remove_empty_classes(jobs: Sequence[Job]) -> None:
    """Removes the folders of classes without any dumped video: they would look like videos without frames."""
    for job in {job.target.parent: job for job in jobs}.values():
        for folder in job.target.parents:
            if folder.parent == job.out:  # frames/ itself
                break
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # not empty
                break


def summary(count: int, outcome: Counter[str], kind: Kind[Any]) -> str:
    """Returns in one line what a run did."""
    counts = sorted((item for item in outcome.items() if item[0] != kind.made), key=lambda item: item[0] != "ok")
    text = ", ".join(f"{number} {what}" for what, number in counts)
    return f"{count} videos: {text}; wrote {outcome[kind.made]} {kind.made}"


def _starter(manifest: Manifest) -> Callable[[Job], None]:
    def started(job: Job) -> None:
        manifest.add({"video": job.video, "status": "started", "settings": job.settings.as_json()})

    return started


def _line(job: Job, answer: Any) -> dict[str, Any]:
    """Returns the line of the manifest for a worker's answer. Raises: UserError if nothing more can be written."""
    if isinstance(answer, OutOfReachError):
        raise UserError(f"{answer}; nothing more can be written; run again when that is repaired")
    if isinstance(answer, Exception):
        kind = "" if isinstance(answer, WorkerDiedError) else f"{type(answer).__name__}: "
        return failure(job, f"{kind}{answer}")
    line: dict[str, Any] = answer
    return line

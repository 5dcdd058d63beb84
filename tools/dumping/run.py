"""A run that dumps many videos into one dataset, as frames or optical flow: what is there already, and the manifest."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from tools.dumping.pool import WorkerDiedError, run_jobs
from tools.dumping.video import Job, OutOfReachError, SomeJob, failure
from tools.listing.manifest import Manifest
from utils.cli import Progress
from utils.errors import UserError
from utils.system import lock

MOST_NOTES = 50


@dataclass(frozen=True)
class Kind(Generic[SomeJob]):
    """What is dumped.

    work: does a job in a worker and returns its line of the manifest. trouble_with: None: to be dumped, "": done
    already, otherwise what stands in the way, from the job and its line. why: a line that did not succeed, or not for
    all of its seconds, for people. made: what `work` writes, in the plural and as a key of the line.
    """

    work: Callable[[SomeJob], dict[str, Any]]
    trouble_with: Callable[[SomeJob, dict[str, Any] | None], str | None]
    why: Callable[[SomeJob, dict[str, Any]], str]
    made: str


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Refuses a second dump into the same folder; the lock of a killed one is gone with it."""
    with (out / ".dump.lock").open("w") as file:
        if not lock(file):
            raise UserError(f"another dump into {out} is running")
        yield


def dump(
    jobs: Sequence[SomeJob], manifest: Manifest, kind: Kind[SomeJob], *, workers: int, overwrite: bool
) -> Counter[str]:
    """Dumps what is missing, keeps the manifest, which is open, and closes it; counts the outcomes."""
    outcome: Counter[str] = Counter()
    todo: list[SomeJob] = []
    told = 0
    try:
        with Progress(len(jobs), unit="videos") as progress:
            for job in jobs:
                trouble = kind.trouble_with(job, manifest.videos.get(job.video))
                if trouble and not overwrite:
                    outcome["failed"] += 1
                    progress.note(f"not dumped: {trouble}")
                elif trouble == "":
                    outcome["there already"] += 1
                else:
                    todo.append(job)
            progress.advance(len(jobs) - len(todo))
            for job, answer in run_jobs(kind.work, todo, workers=workers, started=_starter(manifest)):
                line = _line(job, answer)
                manifest.add({**line, "settings": job.settings.as_json()})
                outcome[line["status"]] += 1
                outcome[kind.made] += line.get(kind.made, 0)
                if line["status"] != "ok" or line.get("cut_short"):
                    told += 1
                    if told <= MOST_NOTES:
                        progress.note(f"{line['status']}: {kind.why(job, line)}")
                progress.advance(1, f"{outcome[kind.made]} {kind.made}, {outcome['failed']} failed")
            if told > MOST_NOTES:
                progress.note(f"{told - MOST_NOTES} more such videos; {manifest.path} says of each what is wrong")
        _remove_empty_classes(todo)
        manifest.close()
    finally:
        manifest.abandon()
    return outcome


def _remove_empty_classes(jobs: Sequence[Job]) -> None:
    """Removes the folders of classes of which no video succeeded: they would look like a video without frames."""
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
    """What a run did, in one line."""
    told = sorted((item for item in outcome.items() if item[0] != kind.made), key=lambda item: item[0] != "ok")
    said = ", ".join(f"{number} {what}" for what, number in told)
    return f"{count} videos: {said}; wrote {outcome[kind.made]} {kind.made}"


def _starter(manifest: Manifest) -> Callable[[Job], None]:
    def started(job: Job) -> None:
        manifest.add({"video": job.video, "status": "started", "settings": job.settings.as_json()})

    return started


def _line(job: Job, answer: Any) -> dict[str, Any]:
    """The line of a job from what came back. Raises: UserError when no other job would fare better."""
    if isinstance(answer, OutOfReachError):
        raise UserError(f"{answer}; nothing more can be written, run again when that is mended")
    if isinstance(answer, Exception):
        kind = "" if isinstance(answer, WorkerDiedError) else f"{type(answer).__name__}: "
        return failure(job, f"{kind}{answer}")
    line: dict[str, Any] = answer
    return line

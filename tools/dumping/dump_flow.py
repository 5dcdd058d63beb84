"""Plans and dumps the optical flow of a whole dataset, for tools/dump_flow.py."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datasets.lists.manifest import FLOW_MANIFEST, Manifest
from datasets.stores.frame_names import FLOW_PREFIXES, list_frames
from tools.dumping.flow import FIRST_FIELD, FlowJob, FlowSettings, X, Y, dump_flow
from tools.dumping.run import Kind, dump, locked, summary
from tools.dumping.video import Job, Settings
from tools.listing.found import leaves, locate
from utils.errors import UserError
from utils.transforms.flow import needs

VERSION = 1  # changes when the same settings write something else


def plan(args: argparse.Namespace, dataset: Path, frames: Path) -> Iterator[FlowJob]:
    """Yields a job for every folder of frames. Raises: UserError if --from-videos asks for a video that is unknown."""
    settings = FlowSettings(args.algorithm, args.bound, args.step, args.quality)
    dumped = Manifest(dataset) if args.from_videos else None
    for folder in leaves(frames):
        video = folder.relative_to(dataset).as_posix()
        if dumped is None:
            yield make_job(dataset, video, settings)
            continue
        decoded = _decoded(dumped, video, dataset)
        job = make_job(dataset, video, settings, source=decoded.source, decoded=decoded)
        yield replace(job, sha256=str(dumped.videos[video].get("sha256") or ""))


def make_job(
    dataset: Path, video: str, settings: FlowSettings, *, source: Path | None = None, decoded: Job | None = None
) -> FlowJob:
    """Makes the job of one video, with the frames that its folder holds now."""
    folder = dataset / video
    job = FlowJob(source or folder, video, "", None, None, settings, dataset, keep_partial=False, decoded=decoded)
    series = [one for one in list_frames(folder) if not one.template.startswith(FLOW_PREFIXES)]
    return replace(job, **asdict(series[0])) if series else job


def _decoded(dumped: Manifest, video: str, dataset: Path) -> Job:
    """Returns the job that dumped the frames of a video, so that the same pictures can be decoded again."""
    known = dumped.videos.get(video)
    if known is None:
        raise UserError(f"{dumped.path}: does not say which video {video} was made from; leave out --from-videos")
    settings = Settings(**{**known["settings"], "size": tuple(known["settings"]["size"])})
    source, start, end = Path(known["source"]), known["start"], known["end"]
    return Job(source, video, known["label"], start, end, settings, dataset, keep_partial=True)


def trouble_with(job: FlowJob, known: dict[str, Any] | None) -> str | None:
    """Returns None for a video to dump, "" for one that is done, otherwise what is in the way, as a message."""
    if not (job.target / X.format(FIRST_FIELD)).exists():
        return None
    if known is None:
        return f"{job.target} has flow that was not made by this tool; --overwrite replaces it"
    if known["status"] != "ok" or known["settings"] != job.settings.as_json() or known.get("version", 1) != VERSION:
        return None
    if job.count != known["frames"]:
        return None  # its frames were dumped again
    last = FIRST_FIELD + known["fields"] - 1
    return "" if all((job.target / template.format(last)).exists() for template in (X, Y)) else None


def why(job: FlowJob, line: dict[str, Any]) -> str:
    """Returns what went wrong with a video."""
    return str(line["errors"][0])


KIND = Kind(work=dump_flow, trouble_with=trouble_with, why=why, made="fields", version=VERSION)


def check_settings(manifest: Manifest, settings: FlowSettings, dataset: Path) -> None:
    """Raises UserError if the dataset has flow of other settings or another version of it.

    A network could not tell these apart.
    """
    old, new = manifest.header, {"version": VERSION, **settings.as_json()}
    different = [key for key in new if old and old.get(key) != new[key]]
    if different:
        said = ", ".join(f"{key} {old.get(key)} (now {new[key]})" for key in different)
        raise UserError(f"the flow of {dataset} was dumped with {said}; --overwrite dumps all of it again")


def run(args: argparse.Namespace) -> int:
    """Dumps the flow and prints a summary; returns the exit code."""
    begin = time.monotonic()
    needs(args.algorithm)
    dataset, frames = locate(args.dataset)
    jobs = list(plan(args, dataset, frames))
    if not jobs:
        raise UserError(f"{frames}: no folders of frames in it; tools/dump_frames.py makes them from videos")
    with locked(dataset):
        manifest = Manifest(dataset, FLOW_MANIFEST)
        settings = jobs[0].settings
        if not args.overwrite:
            check_settings(manifest, settings, dataset)
        header = {"tool": "dump_flow", "version": VERSION, "templates": [X, Y], "first_field": FIRST_FIELD}
        manifest.open({**header, **settings.as_json()})
        outcome = dump(jobs, manifest, KIND, workers=args.workers, overwrite=args.overwrite)
    print(f"{summary(len(jobs), outcome, KIND)} in {time.monotonic() - begin:.1f} s")
    print("next: train on it with `common.model.modality: flow`, with the same lists (docs/flow.md)")
    return 1 if outcome["failed"] else 0

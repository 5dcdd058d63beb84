"""Continues a run from a checkpoint, and says what has changed since: the config, the lists, the classes.

A changed value takes effect. Where it cannot, the run ends and names the way that works.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config import ROOT_KEY
from utils.config.file import difference
from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError
from utils.processes import session
from utils.run.context import Run
from utils.training.trainer import Trainer

DERIVED = {f"{ROOT_KEY}.{key}" for key in ("batch_size", "accumulate", "test.batch_size")}  # from global_batch
PRETRAINED = f"{ROOT_KEY}.model.pretrained"
OTHER_PIXELS = {  # what is known of the files of a list -> what a change of it means
    "sizes": "some have another number of bytes, so videos were replaced or encoded again",
    "contents": "the pack has other frames of some videos",
    "pixels": "this version reads other pixels of some videos",
    "names": "frames of other names are read",
    "dumped": "some were dumped again, from another file or in another way",
    "first_frames": "the first frames of some have another number of bytes, so frames were made anew",
    "lengths": "some videos have another number of frames",
}


def begins_anew(run: Run) -> bool:
    """Returns whether --fresh is given, and no earlier attempt of this launch has trained here and done it already."""
    if not run.args.fresh:
        return False
    done: bool = session.gather_objects(run.folder.was_begun_by(run.about["launch"]))[0]  # one answer on a slow disk
    return not done


def tell_changes(run: Run, saved: Mapping[str, Any]) -> list[str]:
    """Warns of each value of the config that has changed since a checkpoint was written, and returns the changes."""
    before, now = _values(saved), run.about["values"]
    if before is None:  # written by another version, which kept what the file said only
        before, now = saved.get("config"), run.config.raw
    else:  # a default that an older version did not know is no change
        now = {key: value for key, value in now.items() if key in before or key in run.about["set"]}
    changes = difference(before, now) if isinstance(before, Mapping) else []
    if run.common.global_batch and _processes(saved) != run.rank.world_size:  # `restore` says what follows from that
        changes = [change for change in changes if change.partition(":")[0] not in DERIVED]
    for change in changes:
        run.note(f"after {saved['step']} steps the config has changed: {change}")
    return changes


def decoded(saved: Mapping[str, Any]) -> Any:
    """Returns where a checkpoint's frames were decoded, cpu or cuda; None if it does not say it."""
    return (saved.get("preprocessing") or {}).get("decode")


def read_keys(protocol: Any) -> dict[str, Any]:
    """Returns a stored protocol without a rule that a sampler of encoded videos leaves unread; {} of anything else."""
    values = dict(protocol) if isinstance(protocol, Mapping) else {}
    sampling = values.get("video_sampling")
    if isinstance(sampling, Mapping) and sampling.get("sampler") is not None:
        values.pop("sampling", None)
    return values


def refuse_other_start(common: Common, saved: Mapping[str, Any]) -> None:
    """Raises: ConfigError if a run that goes on would have begun with other weights by the config as it is now."""
    new = common.model.pretrained
    old = (_values(saved) or {}).get(PRETRAINED, new)
    if old != new:
        raise ConfigError(
            f"{PRETRAINED}: is {new} now, but the run here began with {old} and has done {saved['step']} steps; set it "
            "back to go on, or start again with --fresh"
        )


def misfit(error: CheckpointError, path: Path, changes: list[str]) -> CheckpointError:
    """Returns the error for weights of the run itself that do not fit its network any more."""
    why = f" since the config has changed ({'; '.join(changes)})" if changes else ""
    reason = str(error).removeprefix(f"{path}: ").partition("; to keep the body")[0]
    return CheckpointError(
        f"{path}: the run here cannot go on{why}: {reason}. To start a new run from these weights: --fresh --load-path "
        f"{path}, with --new-head for other classes; to start from none: --fresh"
    )


def restore(run: Run, trainer: Trainer, saved: Mapping[str, Any] | None, entries: Mapping[str, Any]) -> None:
    """Brings a trainer to where a checkpoint stopped; without one it stays at the beginning.

    With --fresh the files of an earlier run are set aside, once per launch, as nothing refuses the new run any more.

    entries: what the next checkpoint will say about the run.
    """
    if saved is not None:
        _go_on(run, trainer, saved, entries)
    session.barrier()  # every rank has loaded its weights, so the files may move now
    if begins_anew(run):
        if old := run.folder.set_aside():
            run.folder.log(f"--fresh: the files of the earlier run are now in {old}")
    elif run.args.fresh:
        launch = run.about["launch"]
        run.folder.log(f"--fresh: done by an earlier attempt of this launch ({launch}), which is continued")


def _go_on(run: Run, trainer: Trainer, saved: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    done = f"after {saved['step']} steps"
    for text in trainer.resume(saved):
        run.note(f"{done} {text}")
    theirs, ours = _processes(saved), run.rank.world_size
    if theirs is not None and theirs != ours:
        what = _videos_of_a_step(run, saved, theirs)
        run.note(f"{done} the number of processes has changed: {theirs} -> {ours}{what}")
    for change in _changed_programs(saved.get("run"), run.about):
        run.note(f"{done} {change}")
    for change in changed_data(saved.get("lists"), entries["lists"]):
        run.note(f"{done} {change}")
    theirs, ours = saved.get("teacher"), entries["teacher"]
    if "teacher" in saved and theirs != ours:
        run.note(f"{done} the teacher has changed: {_teacher(theirs)} -> {_teacher(ours)}")
    theirs, ours = saved.get("class_names"), entries["class_names"]
    if "class_names" in saved and (theirs is None) != (ours is None):
        counts = ["no class names" if names is None else f"{len(names)} class names" for names in (theirs, ours)]
        run.note(f"{done} the class file has changed: {counts[0]} -> {counts[1]}")
    state = trainer.state
    if state.best_step and _scored_otherwise(saved, entries):
        run.note(
            f"{done} other videos are scored, or in another way, so {state.best_prec1:.3f}, the best so far, cannot be "
            "compared: the next validation counts as the best"
        )
        state.forget_best()


def changed_data(theirs: Any, ours: Mapping[str, Any]) -> list[str]:
    """Returns how lists, and what lies where they say, differ from what a checkpoint keeps of lists of the same name.

    theirs, ours: by name, as datasets.split.Split.about describes them; theirs may be anything.
    """
    return [
        *(f"the {name} list has changed: {change}" for name, change in _changed_lists(theirs, ours).items()),
        *(f"what lies in {name}_root has been made anew: {change}" for name, change in _changed_frames(theirs, ours)),
        *(
            f"the files of the {name} list are not those of before: {change}"
            for name, change in _changed_files(theirs, ours)
        ),
    ]


def _values(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the values in force that a checkpoint keeps, by dotted path."""
    run = saved.get("run")
    values = run.get("values") if isinstance(run, Mapping) else None
    return values if isinstance(values, dict) else None


def _processes(saved: Mapping[str, Any]) -> int | None:
    """Returns how many processes wrote a checkpoint, None if it does not say."""
    run = saved.get("run")
    count = run.get("processes") if isinstance(run, Mapping) else None
    return count if isinstance(count, int) else None


def _videos_of_a_step(run: Run, saved: Mapping[str, Any], processes: int) -> str:
    """Returns what another number of processes means for the videos of a step."""
    now, common = run.common.effective_batch(run.rank.world_size), run.common
    values = _values(saved) or {}
    size, parts = (values.get(f"{ROOT_KEY}.{key}") for key in ("batch_size", "accumulate"))
    if not isinstance(size, int) or not isinstance(parts, int):  # written by another version
        return ", and with it the videos of a step"
    before = size * parts * processes
    if before != now:
        return f", and with it the videos of a step: {before} -> {now}; common.global_batch={before} would keep them"
    batches = f"{common.accumulate} batch(es) of {common.batch_size} in each process"
    return f"; a step has the same {now} videos in the same order, now {batches}"


def _teacher(about: Any) -> str:
    if not isinstance(about, Mapping):
        return "none"
    return f"{about.get('source')} (checksum {about.get('sum')})"


def _changed_programs(theirs: Any, ours: Mapping[str, Any]) -> list[str]:
    """Returns how the device, the code of the project and the libraries differ from those that wrote a checkpoint."""
    if not isinstance(theirs, Mapping):
        return []
    before = theirs.get("versions")
    changes = difference(before, ours["versions"]) if isinstance(before, Mapping) else []
    found = [f"another version runs: {change}" for change in changes if "(absent)" not in change]
    if theirs.get("device") not in (None, ours["device"]):
        found.append(f"the device has changed: {theirs['device']} -> {ours['device']}")
    if theirs.get("code") not in (None, ours["code"]):
        found.append(f"the code of the project has changed: digest {theirs['code']} -> {ours['code']}")
    return found


def _changed_lists(theirs: Any, ours: Mapping[str, Any]) -> dict[str, str]:
    """Returns how each list differs from the one of the same name that a checkpoint was trained with."""
    if not isinstance(theirs, Mapping):
        return {}
    changes = {}
    for name, new in ours.items():
        old = theirs.get(name)
        if isinstance(old, Mapping) and old.get("digest") == new["digest"] and old.get("videos") != new["videos"]:
            changes[name] = f"{old.get('videos')} -> {new['videos']} samples of the same videos"
        elif isinstance(old, Mapping) and old.get("digest") != new["digest"]:
            same = "as many videos, with other paths, labels or in another order"
            changes[name] = (
                same if old.get("videos") == new["videos"] else f"{old.get('videos')} -> {new['videos']} videos"
            )
    return changes


def _changed_frames(theirs: Any, ours: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns for each list how its frames or videos were made otherwise than those that a checkpoint was trained with.

    A manifest says that; where one is missing, nothing is known.
    """
    found: list[tuple[str, str]] = []
    for name, new in ours.items():
        old = theirs.get(name) if isinstance(theirs, Mapping) else None
        made = old.get("made") if isinstance(old, Mapping) else None
        if isinstance(made, Mapping) and made and new["made"]:
            found += [(name, change) for change in difference(made, new["made"])]
    return found


def _changed_files(theirs: Any, ours: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns for each list of the same videos how their files differ from those that a checkpoint was trained with.

    What is not known of both says nothing.
    """
    found: list[tuple[str, str]] = []
    for name, new in ours.items():
        old = theirs.get(name) if isinstance(theirs, Mapping) else None
        if not isinstance(old, Mapping) or old.get("digest") != new["digest"]:
            continue  # other videos have other files
        before = old.get("files")
        if isinstance(before, Mapping):
            found += [(name, change) for change in _other_files(before, new["files"])]
    return found


def _other_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns how the files of the same videos differ, which datasets.split.Split.about describes."""
    other = {key for key in now if key in before and before[key] != now[key]}
    shown = {key: f": {before[key]} -> {now[key]}" if key == "names" else "" for key in other}
    changes = [f"{text}{shown[key]}" for key, text in OTHER_PIXELS.items() if key in other]
    if changes or "times" not in other or "root" in other:  # a copy elsewhere may have other times
        return changes
    return ["they were written again, with as many bytes each; whether their pictures are others is not known"]


def _scored_otherwise(saved: Mapping[str, Any], entries: Mapping[str, Any]) -> bool:
    """Returns whether validations are not comparable: other videos, other views, another number."""
    scored = read_keys(entries["preprocessing"])
    if decoded(saved) is None:  # written by another version
        scored.pop("decode", None)
    if "preprocessing" in saved and read_keys(saved["preprocessing"]) != scored:
        return True
    theirs, ours = saved.get("lists"), entries["lists"]
    if not isinstance(theirs, Mapping):
        return False
    old, new = theirs.get("val"), ours.get("val")
    if not isinstance(old, Mapping) or not new:
        return bool(old != new)
    # another version may have kept less; without a manifest, nothing is known of how the frames were made
    known = [key for key in new if key in old and key != "files" and (key != "made" or (old[key] and new[key]))]
    before, now = old.get("files"), new.get("files", {})
    if isinstance(before, Mapping) and any(before.get(key, now[key]) != now[key] for key in OTHER_PIXELS if key in now):
        return True
    return any(old[key] != new[key] for key in known)

"""Says in plain words what the two heads of tools/start.py found, and how sure that is."""

from __future__ import annotations

from anal_tools.compare import LEVEL, Comparison, compare
from anal_tools.experiment import Experiment
from anal_tools.report_single import summary_data

CERTAIN, POSSIBLE, UNSEEN = "matters", "may matter", "no sign"


def accuracy_text(experiment: Experiment) -> str:
    """Returns the accuracy with its interval, and what guessing would reach: `85.4 % (95 % interval 72.8 to 92.8)`."""
    found = summary_data(experiment)
    chance = 100 / len(experiment.class_names)
    interval = f"95 % interval {found['low']:.1f} to {found['high']:.1f}"
    return f"{found['top1']:.1f} % of {found['videos']} videos right ({interval}; guessing: {chance:.1f} %)"


def order_matters(blind: Experiment, aware: Experiment) -> tuple[str, str]:
    """Returns CERTAIN, POSSIBLE or UNSEEN, and a sentence: whether the order of frames helps."""
    found = compare(blind, aware)
    if not found.fixed and not found.broken:
        return UNSEEN, "no sign that the order of frames matters: both heads have the same videos right"
    span = (
        f"{found.difference:+.1f} points (95 % interval {found.low:+.1f} to {found.high:+.1f}, {found.videos} videos)"
    )
    how = f"the head that knows the order differs by {span} from the one that does not"
    word = _word(found)
    said = {
        CERTAIN: "the order of frames matters for your classes",
        POSSIBLE: "the order of frames may matter for your classes, but this is on the border of chance",
        UNSEEN: "no sign that the order of frames matters for your classes",
    }[word]
    return word, f"{said}: {how}"


def advice(tested: Experiment, group_regex: str | None) -> str:
    """Returns what to look at before the result is believed."""
    if (tested.results.predicted != tested.results.labels).any():
        return "look at the wrong answers in the report first: often a label is wrong, or two classes are one"
    if group_regex is None:
        return (
            "not one answer is wrong: if several videos were cut from one recording, that is too good to be true; "
            "--group-regex keeps them together"
        )
    return "not one answer is wrong: see in the report whether the background alone shows the class"


def _word(found: Comparison) -> str:
    """Judges a difference as Comparison.verdict does: by the exact test and by the interval."""
    rare, above = found.exact_p < LEVEL, found.low > 0
    if found.difference <= 0 or not (rare or above):
        return UNSEEN
    return CERTAIN if rare and above else POSSIBLE

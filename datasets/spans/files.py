"""Reads label files of any format into one table, and writes a table as files of any format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets.lists.class_names import Classes
from datasets.spans.check import check, said
from datasets.spans.document import Document
from datasets.spans.format import Format, Videos, check_times
from datasets.spans.formats import FORMATS, find_format
from datasets.spans.names import folded, match_classes, one_spelling
from datasets.spans.reading import Fault, NoVideos, Reading, class_name
from datasets.spans.span import LabeledVideo, SpanTable, contradiction, counted, filled, in_order, without_suffix
from datasets.spans.video_files import VideoFiles
from utils.errors import ListError, UserError
from utils.files import atomic_write
from utils.plain_text import stays

_ID = re.compile(r"-[\w.-]+")  # ids of YouTube may begin with a hyphen, and such words compute nothing


@dataclass(frozen=True)
class Labels:
    """Holds what label files say.

    table: as --fix makes it, or as the files have it.
    faults: what is wrong with the files.
    notes: what they say otherwise than it is taken, or say and is not taken over.
    formats: the name of each file's format.
    """

    table: SpanTable
    faults: list[Fault]
    notes: list[str]
    formats: dict[Path, str]


def read_spans(
    paths: Sequence[Path],
    *,
    form: str | None = None,
    classes: Classes | None = None,
    videos: VideoFiles | None = None,
    fps: float | None = None,
) -> SpanTable:
    """Reads label files. The arguments are those of `read_labels`. Raises ListError for anything that is wrong."""
    labels = read_labels(paths, form=form, classes=classes, videos=videos, fps=fps)
    if labels.faults:
        more = f" (and {len(labels.faults) - 1} more faults)" if len(labels.faults) > 1 else ""
        raise ListError(f"{labels.faults[0].message}{more}; python -m tools.spans shows and mends them")
    return labels.table


def read_labels(
    paths: Sequence[Path],
    *,
    form: str | None = None,
    classes: Classes | None = None,
    videos: VideoFiles | None = None,
    fps: float | None = None,
) -> Labels:
    """Reads label files, also with faults.

    form: a name in FORMATS; by default the content of each file decides.
    classes: the names that labels are matched with; by default spellings are only made the same.
    videos: the videos; they give frame rates and durations, and each must be there.
    fps: frames per second where neither the file nor the video says it.

    Raises ListError for a file that cannot be read as a whole.
    """
    read = read_as_they_are(paths, form=form, videos=videos, fps=fps)
    if classes is None:
        table, changes = one_spelling(read.table)
        unknown: list[Fault] = []
    else:
        table, changes, unknown = match_classes(read.table, classes)
    table, wrong = check(table, videos)
    return Labels(table, [*read.faults, *unknown, *wrong], [*read.notes, *changes], read.formats)


def read_as_they_are(
    paths: Sequence[Path], *, form: str | None = None, videos: VideoFiles | None = None, fps: float | None = None
) -> Labels:
    """Reads label files and joins them, without checks of the spans and with all spellings of classes.

    The arguments and errors are those of `read_labels`.
    """
    faults: list[Fault] = []
    notes: list[str] = []
    read: list[tuple[Path, str, SpanTable]] = []
    for path in paths:
        document = Document(path)
        name = form or find_format(document)
        if not FORMATS[name].looks(document):
            raise ListError(f"{path}: is not of {FORMATS[name].title}; expected {FORMATS[name].marks}")
        reading = Reading(NoVideos() if videos is None else videos, fps, faults, notes)
        found = FORMATS[name].read(document, reading)
        read.append((path, name, found if videos is None else _by_file(found, videos)))
    table = _merged(read, faults, notes)
    return Labels(table, faults, notes, {path: name for path, name, _ in read})


def _by_file(table: SpanTable, files: VideoFiles) -> SpanTable:
    """Calls the videos that are there by their paths, so that two spellings of one are one video."""
    named = Videos()
    for video in table.videos:
        named.add(
            files.path(video.name) or video.name,
            list(video.spans),
            where=video.where,
            subset=video.subset,
            duration=video.duration,
            fps=video.fps,
            num_frames=video.num_frames,
        )
    return named.table(table.classes)


def _merged(read: list[tuple[Path, str, SpanTable]], faults: list[Fault], notes: list[str]) -> SpanTable:
    """Joins the tables of several files; a video in two of them must have the same labels in both."""
    if len(read) == 1:
        return read[0][2]
    videos: dict[str, tuple[LabeledVideo, Path, str]] = {}
    same = 0
    for path, name, table in read:
        for video in table.videos:
            key = without_suffix(video.name)
            before, source, form = videos.setdefault(key, (video, path, name))
            if before is video:
                continue
            if reason := _disagreement(before, video, both=FORMATS[name].adds_up and form == name):
                what = f"{source} and {path} disagree about {video.name}: {reason}"
                faults.append(Fault(f"{what}; leave out one of the files, or correct it"))
            elif FORMATS[name].adds_up and form == name:
                both = replace(filled(before, video), spans=in_order((*before.spans, *video.spans)))
                videos[key] = (both, source, form)
            else:
                videos[key] = (filled(before, video), source, form)
                same += 1
    if same:
        notes.append(f"in several files, with the same labels: {counted(same, 'video')}")
    names = list(dict.fromkeys(name for _, _, table in read for name in table.classes))
    ordered = all(list(table.classes) == sorted(table.classes) for _, _, table in read)
    found = sorted((video for video, _, _ in videos.values()), key=lambda video: video.name)
    return SpanTable(tuple(found), tuple(sorted(names) if ordered else names))


def _disagreement(one: LabeledVideo, other: LabeledVideo, *, both: bool) -> str:
    """Says how two entries of a video differ; "" if they do not. both: the spans of both count."""
    if reason := contradiction(one, other):
        return reason
    if both:
        return ""
    first, second = ({replace(span, label=folded(span.label)): span for span in video.spans} for video in (one, other))
    only = [span for key, span in (first | second).items() if (key in first) != (key in second)]
    if not only:
        return ""
    span = min(only, key=lambda span: (span.start, span.end, span.label))
    return f"{said(span)} is only in the {'first' if span in one.spans else 'second'}, {span.where}"


def write_spans(table: SpanTable, path: Path, name: str) -> list[Path]:
    """Writes a table in the format FORMATS[name]; returns the files. `texts_of` says more."""
    texts = texts_of(table, path, name)
    write_texts(texts)
    return list(texts)


def texts_of(table: SpanTable, path: Path, name: str) -> dict[Path, str]:
    """Returns the files of a table in the format FORMATS[name], none of which is written.

    Formats whose files are about one video, or one class, write a folder; for a single file `path` may be its name.

    Raises UserError for a table that the format cannot hold at all.
    """
    form = FORMATS[name]
    if "empty" not in form.holds:
        table = replace(table, videos=tuple(video for video in table.videos if video.spans))
    for label in sorted({span.label for span in table.spans}):
        if (read := class_name(label, f"class {label!r}")) != label:
            raise UserError(f"class {label!r}: would be read as {read!r}; rename it")
    if form.suffix == ".csv":
        for text in sorted({text for video in table.videos for text in (video.name, video.subset)} | {*table.classes}):
            if not stays(text) and not _ID.fullmatch(text):
                raise UserError(f"{text!r}: a spreadsheet would compute this name; rename it, or write another format")
    check_times(table, form)
    return {file: form.write(part) for file, part in _parts(table, path, form)}


def write_texts(texts: Mapping[Path, str]) -> None:
    """Writes files, and the folders that they are in. Raises UserError where something else is in their place."""
    file: Path | None = None
    try:
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file, "w", newline="\n") as out:
                out.write(text)
    except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; give another place") from None


def _parts(table: SpanTable, path: Path, form: Format) -> Iterable[tuple[Path, SpanTable]]:
    if form.parts is None:
        return [(path, table)]
    parts = list(form.parts(table))
    if not parts:
        raise UserError(f"{path}: there is no span that {form.title} could hold; nothing was written")
    if len(parts) == 1 and path.suffix.lower() == form.suffix:
        if form.named and path.stem != parts[0][0]:
            wanted = f"{parts[0][0]}{form.suffix}"
            raise UserError(f"{path}: only its name can say what is in it; call it {wanted}, or give a folder")
        return [(path, parts[0][1])]
    counts = Counter(name for name, _ in parts)
    if twice := next((name for name, number in counts.items() if number > 1), None):
        raise UserError(f"{path}: two videos would be written to {twice}{form.suffix}; rename one of them")
    return [(path / f"{name}{form.suffix}", part) for name, part in parts]

"""Reads and writes projects of VIA 3 (VGG Image Annotator): segments of time with an attribute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos
from datasets.spans.reading import Reading, both, entry
from datasets.spans.span import SpanTable
from utils.errors import ListError

_TEXT, _CHECKBOX, _SELECT = 1, 2, 4
_SEGMENT = "FILE1_Z2_XY0"  # VIA's word for attributes of a part of one file


def looks(document: Document) -> bool:
    """Says whether this is a project of VIA 3."""
    content = document.json
    return isinstance(content, Mapping) and {"project", "attribute", "file", "metadata", "view"} <= content.keys()


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the segments of all files.

    Raises ListError if segments have several attributes, of which only one can be the label.
    """
    content, videos = document.json, Videos()
    with entry(f"{document.path}"):
        names = {key: _name(file) for key, file in content["file"].items()}
        views = {key: [names[str(file)] for file in view["fid_list"]] for key, view in content["view"].items()}
        attributes = {key: one for key, one in content["attribute"].items() if one.get("anchor_id") == _SEGMENT}
        if len(attributes) > 1:
            shown = ", ".join(str(one["aname"]) for one in attributes.values())
            raise ListError(f"{document.path}: segments have several attributes ({shown}); keep the one with the label")
        classes = [str(name) for one in attributes.values() for name in one["options"].values()]
    for files in views.values():
        for name in files:
            videos.add(name, [], where=f"{document.path}")
    passed = 0
    for key, one in content["metadata"].items():
        where = f"{document.path}: segment {key}"
        with entry(where):
            if len(one["z"]) != 2 or one["xy"]:
                passed += 1
                continue
            (name,) = views[str(one["vid"])]
            start, end = both(one["z"])
            for label in _labels(one["av"], attributes, where):
                videos.add(name, reading.spans(start, end, label, where), where=where)
    if passed:
        reading.notes.append(f"{document.path}: {passed} regions and single moments are not read")
    return videos.table(classes)


def _name(file: Mapping[str, Any]) -> str:
    """Returns what VIA plays, or the name of the file where the browser chose it."""
    return str(file["fname"] if file.get("loc") == 1 or not file.get("src") else file["src"])


def _labels(values: Mapping[str, str], attributes: Mapping[str, Any], where: str) -> list[str]:
    found = []
    for key, attribute in attributes.items():
        value = values.get(key, "")
        if attribute["type"] == _TEXT:
            found += [value] if value else []
        else:
            chosen = value.split(",") if attribute["type"] == _CHECKBOX else [value]
            found += [str(attribute["options"][one]) for one in chosen if one]
    if not found:
        raise ListError(f"{where}: has no label; give it one in VIA, or remove it")
    return found


def write(table: SpanTable) -> str:
    """Returns a project with one view per video and one attribute, whose options are the classes."""
    options = {str(number): name for number, name in enumerate(table.classes)}
    numbers = {name: key for key, name in options.items()}
    keys = [str(number) for number in range(1, len(table.videos) + 1)]
    metadata = {
        f"{key}_{place:08d}": {
            "vid": key,
            "flg": 0,
            "z": [span.start, span.end],
            "xy": [],
            "av": {"1": numbers[span.label]},
        }
        for key, video in zip(keys, table.videos, strict=True)
        for place, span in enumerate(video.spans)
    }
    ends = {
        "file_content_align": "center",
        "file_metadata_editor_visible": True,
        "spatial_metadata_editor_visible": True,
    }
    project = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "spans",
            "creator": "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
            "created": 0,
            "vid_list": keys,
        },
        "config": {
            "file": {"loc_prefix": dict.fromkeys("1234", "")},
            "ui": ends | {"spatial_region_label_attribute_id": ""},
        },
        "attribute": {
            "1": {
                "aname": "label",
                "anchor_id": _SEGMENT,
                "type": _SELECT,
                "desc": "",
                "options": options,
                "default_option_id": "",
            }
        },
        "file": {
            key: {"fid": key, "fname": video.name, "type": 4, "loc": 3, "src": video.name}
            for key, video in zip(keys, table.videos, strict=True)
        },
        "metadata": metadata,
        "view": {key: {"fid_list": [key]} for key in keys},
    }
    return json.dumps(project) + "\n"


FORMAT = Format(
    title="VIA 3",
    marks="JSON with project, attribute, file, metadata and view",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"empty", "classes"}),
)

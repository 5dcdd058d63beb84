"""Lists published weights by name: address, licence and published numbers, read from checkpoints.jsonl.

Each line of that file is one entry. A key that is absent has the default of `Published`.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.errors import CheckpointError

FILE = Path(__file__).with_name("checkpoints.jsonl")
READABLE = ("now", "backbone")  # `support` of files that networks here can be filled from


@dataclass(frozen=True)
class Published:
    """Describes a file of published weights.

    id: the name by which commands and configs ask for it.
    source: the project that publishes it, or the library.
    backbone: its network; one that does not exist here has the source's own name.
    dataset: what its classifier was trained on.
    layout: project whose names its entries have.
    task: classification, multi-label, image-classification, image-encoder, pretraining or probe.
    modality: rgb or flow.
    support: "now" for networks over clips and images, "backbone" for timm's, "head" for a head that
        tools.convert_checkpoint joins to its encoder, "planned" if nothing reads it yet.
    url: the address of the file; "" if it is on the Hugging Face Hub, or if it can be had by hand only.
    hub: its repository on the Hub. page: the page from which it can be had by hand.
    file: its name, inside the repository if it is on the Hub; "" if the address or nobody says it.
    sha256: first digits of its SHA-256; "" if nobody publishes them.
    licence: of the weights or, where there is no such, of the repository; "" if nobody states one.
    commercial: "yes", "no", or "unclear" where the licence has terms of its own, or sources disagree.
    metrics: one mapping for each protocol: top1, top5, mAP, ..., frames, clips, crops, size, dataset if another.
    recipe: the experiment in exps/ for this network. relation: how near it is to what was published.
    mb: its size in 10^6 bytes, 0 if unknown; from the number of parameters where no size is published.
    notes: what its user should know.
    """

    id: str
    source: str
    backbone: str
    dataset: str
    layout: str
    task: str = "classification"
    modality: str = "rgb"
    support: str = "now"
    url: str = ""
    hub: str = ""
    page: str = ""
    file: str = ""
    sha256: str = ""
    licence: str = ""
    commercial: str = "yes"
    metrics: Sequence[Mapping[str, Any]] = ()
    recipe: str = ""
    relation: str = ""
    mb: float = 0.0
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """The file's name without folders, as it is published; "" if unknown."""
        return (self.file or self.url.partition("?")[0]).rpartition("/")[2]

    @property
    def cautions(self) -> list[str]:
        """Cautions about its licence, to be said before it is fetched and whenever it is used."""
        if not self.licence:
            return [f"{self.id}: nobody states a licence for these weights: ask their authors before you use them"]
        if self.commercial == "no":
            return [f"{self.id}: its licence, {self.licence}, forbids commercial use"]
        if self.commercial == "unclear":
            return [f"{self.id}: its licence is {self.licence}: read whether it allows what you want to do"]
        return []


@functools.cache
def registry() -> Mapping[str, Published]:
    """Returns all entries by name, in alphabetical order. Raises: CheckpointError for a name that is there twice."""
    entries: dict[str, Published] = {}
    with FILE.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            found = Published(**json.loads(line))
            if found.id in entries:
                raise CheckpointError(
                    f"{FILE}, line {number}: {found.id} is there twice; leave out one of the two lines"
                )
            entries[found.id] = found
    return entries


def entry(name: str) -> Published:
    """Returns the entry of a name. Raises: CheckpointError with the nearest names."""
    known = registry()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise CheckpointError(
            f"{name}: no published weights have this name{'; the nearest are ' if near else ''}{', '.join(near)}; "
            f"`python -m tools.weights WORD ...` lists those in which the words occur"
        )
    return known[name]


def published_as(path: Path) -> Published | None:
    """Returns the entry that a file has been published as, judged by its name and folders; None if it has none.

    Names that several entries share, such as model.safetensors, count only in the folders that fetched files lie in.
    """
    named = _by_file().get(path.name, [])
    if len(named) == 1 and not named[0].hub:
        return named[0]
    text = path.as_posix()
    for found in named:
        at_hub = found.hub and f"/models--{found.hub.replace('/', '--')}/" in text
        if at_hub or text.endswith(f"/{found.id}/{path.name}"):
            return found
    return None


def has_own_name(found: Published) -> bool:
    """Says whether the file's name alone tells which entry it is."""
    others = [one for one in _by_file().get(found.name, []) if one.id != found.id]
    return bool(found.name) and not found.hub and not others


@functools.cache
def _by_file() -> Mapping[str, list[Published]]:
    files: dict[str, list[Published]] = {}
    for found in registry().values():
        files.setdefault(found.name, []).append(found)
    return files


def search(
    words: Sequence[str] = (),
    *,
    dataset: str = "",
    network: str = "",
    licence: str = "",
    max_mb: float | None = None,
    unreadable: bool = False,
) -> list[Published]:
    """Returns the entries in which all words occur, in capitals or not.

    dataset, network, licence: parts of the entry's own words for these; "commercial" is every licence that allows it.
    max_mb: largest size in 10^6 bytes; entries of unknown size are left out.
    unreadable: also entries that no network here can be filled from yet.
    """
    found = []
    for one in registry().values():
        text = " ".join([one.id, one.backbone, one.dataset, one.licence, one.task, one.modality]).lower()
        if not (unreadable or one.support in READABLE) or not all(word.lower() in text for word in words):
            continue
        if dataset.lower() not in one.dataset or network.lower() not in f"{one.backbone} {one.id}".lower():
            continue
        if one.commercial != "yes" if licence == "commercial" else licence.lower() not in one.licence.lower():
            continue
        if max_mb is not None and not 0 < one.mb <= max_mb:
            continue
        found.append(one)
    return found


def counted(entries: Sequence[Published]) -> str:
    """Returns how many entries each data set has: `kinetics400 210, ucf101 11`."""
    counts = Counter(one.dataset for one in entries)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())

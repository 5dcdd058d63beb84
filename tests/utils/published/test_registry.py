"""The registry of published weights: every entry can be used as the commands use it, and is found by its words."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import TypeAdapter

from tests.helpers.requirements import ROOT
from tools.listing.weights import MARKS, SCORES
from utils.errors import CheckpointError
from utils.published import registry as module
from utils.published.registry import FILE, Published, counted, entry, has_own_name, published_as, registry, search

ENTRIES = list(registry().values())
PROTOCOL = {"dataset", "frames", "clips", "crops", "size", "protocol"}


def test_every_line_is_an_entry_of_the_right_types_and_states_no_default() -> None:
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    TypeAdapter(list[Published]).validate_python(rows, strict=False)
    defaults = {name: field.default for name, field in Published.__dataclass_fields__.items()}
    assert not [row["id"] for row in rows for key, value in row.items() if value in (defaults[key], None, [], "")]


def test_names_are_unique_in_order_and_no_paths() -> None:
    names = [json.loads(line)["id"] for line in FILE.read_text(encoding="utf-8").splitlines()]
    assert names == sorted(set(names)) and len(names) > 1000
    for name in names:
        assert re.fullmatch(r"[a-z0-9_-]+/[\w.-]+", name) and not name.endswith((".pth", ".pt", ".pkl", ".npz")), name


def test_every_file_has_exactly_one_place_and_protected_addresses() -> None:
    for found in ENTRIES:
        assert bool(found.url) + bool(found.hub) + bool(found.page) == 1, found.id
        address = urlsplit(found.url or found.page)
        unprotected = any("plain http" in note for note in found.notes)
        assert found.hub or (address.netloc and address.scheme == ("http" if unprotected else "https")), found.id
        assert not found.hub or re.fullmatch(r"[\w-]+/[\w.-]+", found.hub)
        assert found.name or found.page, found.id
        assert not urlsplit(found.url).netloc.endswith("dropbox.com") or found.url.endswith("dl=1"), found.id
        if found.sha256:
            assert re.fullmatch("[0-9a-f]{8,64}", found.sha256) and found.sha256 in found.name, found.id


def test_licences_and_scores_are_of_known_kinds() -> None:
    for found in ENTRIES:
        assert found.commercial in MARKS and (found.licence or found.commercial == "unclear"), found.id
        assert ("NC" in found.licence and "MIT" not in found.licence) <= (found.commercial == "no"), found.id
        assert bool(found.cautions) == (found.commercial != "yes"), found.id
        for protocol in found.metrics:
            scores = protocol.keys() - PROTOCOL
            assert scores and scores <= SCORES.keys(), found.id
            assert all(0 < protocol[score] <= 100 for score in scores), found.id
        assert found.support in ("now", "backbone", "head", "planned")


def test_recipes_exist_and_each_published_number_belongs_to_one_entry() -> None:
    for found in ENTRIES:
        assert bool(found.recipe) == bool(found.relation), found.id
        assert not found.recipe or (ROOT / "exps" / found.recipe / "config.yaml").is_file(), found.id
    published = [found.recipe for found in ENTRIES if found.relation == "published"]
    assert len(published) > 40 and len(set(published)) == len(published)


def test_files_of_the_network_of_one_recipe_are_of_one_size() -> None:
    sizes = defaultdict(list)
    for found in ENTRIES:
        if found.recipe and found.mb:
            sizes[found.recipe].append(found.mb)
    assert len(sizes) > 20
    assert not {recipe: known for recipe, known in sizes.items() if max(known) > 1.3 * min(known)}


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("kinetics400/tsm_r50_8f_mmaction", "kinetics400/tsm_r50_8f_mmaction2"),
        ("imagenet1k/resnet50_v1", "_torchvision"),
    ],
)
def test_an_unknown_name_names_the_nearest_ones(given: str, nearest: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^{given}: no published weights .* nearest are .*{nearest}"):
        entry(given)


def test_words_and_filters_narrow_the_list() -> None:
    def ids(*words: str, **filters: Any) -> set[str]:
        return {found.id for found in search(words, **filters)}

    assert "kinetics400/tsm_r50_8f_mit" in ids("TSM", "kinetics400", "mit")
    assert all("tsm" in name for name in ids(network="tsm")) and ids(network="tsm") >= ids("tsm", dataset="kinetics400")
    small = ids(max_mb=20)
    assert small and all(0 < registry()[name].mb <= 20 for name in small)
    assert all(registry()[name].commercial == "yes" for name in ids(licence="commercial"))
    assert ids(licence="cc-by-nc") and all(registry()[name].commercial != "yes" for name in ids(licence="cc-by-nc"))
    assert ids(unreadable=True) > ids() and ids("no such word") == set()
    assert counted(search(["tsm_r50_8f_mit"])) == "kinetics400 1, something_something_v1 1, something_something_v2 1"


def test_a_file_is_known_by_a_name_of_its_own_or_by_the_folder_it_was_fetched_into() -> None:
    tsm = entry("kinetics400/tsm_r50_8f_mit")
    assert has_own_name(tsm) and published_as(Path("/somewhere") / tsm.name) is tsm
    shared = entry("kinetics400/slowfast_r50_8x8_pytorchvideo")
    assert not has_own_name(shared) and published_as(Path("/somewhere") / shared.name) is None
    assert published_as(Path("/cache") / shared.id / shared.name) is shared
    timm = next(found for found in ENTRIES if found.hub)
    there = Path("/hub", f"models--{timm.hub.replace('/', '--')}", "snapshots", "abc", timm.name)
    assert published_as(there) is timm and published_as(Path("/hub") / timm.name) is None
    assert published_as(Path("ckpt_best.pth.tar")) is None


def test_a_file_that_the_registry_does_not_have_may_have_a_name_of_its_own() -> None:
    known: dict[str, Any] = {"source": "", "backbone": "", "dataset": "", "layout": ""}
    assert has_own_name(Published("library/net", **known, url="https://weights.example/net-01234567.pth"))
    taken = entry("kinetics400/tsm_r50_8f_mit")
    assert not has_own_name(Published("library/net", **known, url=f"https://weights.example/{taken.name}"))


def test_what_a_licence_forbids_or_leaves_open_is_said() -> None:
    known: dict[str, Any] = {"source": "", "backbone": "", "dataset": "", "layout": ""}
    free, forbidden = Published("a", **known, licence="MIT"), Published("b", **known, licence="X", commercial="no")
    own, silent = (
        Published("c", **known, licence="Y", commercial="unclear"),
        Published("d", **known, commercial="unclear"),
    )
    assert free.cautions == []
    assert forbidden.cautions == ["b: its licence, X, forbids commercial use"]
    assert "read whether it allows" in own.cautions[0] and "nobody states a licence" in silent.cautions[0]


def test_the_list_is_read_once() -> None:
    assert module.registry() is registry()


def test_a_name_that_is_there_twice_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FILE.read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "twice.jsonl").write_text(f"{first}\n{first}\n", encoding="utf-8")
    monkeypatch.setattr(module, "FILE", tmp_path / "twice.jsonl")
    with pytest.raises(CheckpointError, match=rf"line 2: {re.escape(ENTRIES[0].id)} is there twice"):
        registry.__wrapped__()

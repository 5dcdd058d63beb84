"""The structure of the project: who imports whom, no circles, and how long a file and a function may be."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.helpers.source import (
    OUR_NAMES,
    PLACES,
    Graph,
    circles,
    functions,
    import_graph,
    imports,
    modules,
    python_files,
    room,
    rooms,
)
from utils.files import ROOT

ALLOWED = {
    "utils": set(),
    "networks": {"utils"},
    "datasets": {"utils"},
    "methods": {"networks", "utils"},
    "vmz": {"methods", "networks", "utils"},
    "hubconf.py": {"vmz", "methods", "networks", "utils"},
    "main.py": {"methods", "networks", "datasets", "utils"},
    "anal_tools": {"methods", "networks", "datasets", "utils", "main"},
    "tools": {"methods", "networks", "datasets", "utils", "main", "anal_tools"},
    "benchmarks": {"methods", "networks", "datasets", "utils", "main", "anal_tools", "tools"},
}

ANY_FILE = "*"  # of the folder itself that is not named: a data set that somebody adds needs no line here

# the floors of a folder from the lowest up: a room imports from its own floor and from those below it
FLOORS = {
    "utils": (
        {"errors", "files", "flat_file", "torch_file", "clip_spec", "cli", "system", "plain_text", "console"}
        | {"npz", "segments", "pickle_containers"},
        {"plots", "published"},
        {"processes"},
        {"config"},
        {"transforms"},
        {"scoring", "loss"},
        {"training"},
        {"run"},
    ),
    "datasets": (
        {"places"},
        {"lists", "sampling"},
        {"stores", "videos"},
        {"spans"},
        {"protocol"},
        {
            *("frame_dataset", "video_dataset", "fake_dataset", "shared_clips", "loader"),
            *("memcached_dataset", "memcached_dataset_clip", "memcached_dataset_tsn"),
            *("labeled_videos", "clip_transforms", "cached_features", "windows", "whole_videos", "decoding"),
            *("listed_videos", ANY_FILE),
        },
        {"__init__"},  # the tables of datasets and stores
        {"split", "open"},
    ),
}
MOST_LINES = 400
MOST_LINES_OF_MAIN = 140
MOST_LINES_OF_A_FUNCTION = 70

FILES = modules(PLACES)


@cache
def graph() -> Graph:
    """Returns who imports whom in the whole project."""
    return import_graph(FILES)


def upward(graph: Graph, folder: str, floors: tuple[set[str], ...]) -> list[str]:
    """Returns each import of a folder that leads to a higher floor."""
    floor = {name: number for number, names in enumerate(floors) for name in names}
    lowest, highest = floor.get(ANY_FILE, 0), floor.get(ANY_FILE, len(floors))
    return [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in sorted(targets)
        if name.split(".")[0] == target.split(".")[0] == folder
        if floor.get(room(name), lowest) < floor.get(room(target), highest)
    ]


def test_every_folder_of_the_project_is_checked() -> None:
    assert set(PLACES) == set(ALLOWED)
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert with_code <= set(PLACES)


@pytest.mark.parametrize("place", ALLOWED)
def test_a_folder_imports_only_what_is_below_it(place: str) -> None:
    own = place.removesuffix(".py")
    for name, path in modules([place]).items():
        heads = {imported.split(".")[0] for imported in imports(path, name)}
        illegal = heads & OUR_NAMES - ALLOWED[place] - {own}
        assert not illegal, f"{path.relative_to(ROOT)} imports {sorted(illegal)}"


@pytest.mark.parametrize("folder", FLOORS)
def test_every_room_has_a_floor(folder: str) -> None:
    listed = set().union(*FLOORS[folder])
    found = set(rooms(graph(), folder)) | {"__init__"}
    added = {name for name in found - listed if ANY_FILE in listed and (ROOT / folder / f"{name}.py").is_file()}
    assert found - added == (listed | {"__init__"}) - {ANY_FILE}


def test_a_file_that_is_added_to_the_datasets_imports_what_is_below_the_tables() -> None:
    floors = FLOORS["datasets"]
    added = {"datasets.mine": {"datasets.frame_dataset", "datasets.stores.disk"}, "datasets": {"datasets.mine"}}
    assert not upward(added, "datasets", floors)
    wrong = {"datasets.mine": {"datasets.split"}, "datasets.stores.disk": {"datasets.mine"}}
    assert upward(wrong, "datasets", floors) == [
        "datasets.mine imports datasets.split",
        "datasets.stores.disk imports datasets.mine",
    ]


@pytest.mark.parametrize("folder", FLOORS)
def test_no_room_imports_from_a_higher_floor(folder: str) -> None:
    assert not (found := upward(graph(), folder, FLOORS[folder])), "\n".join(found)


def test_a_part_of_a_tool_imports_no_command() -> None:
    commands = {name for name, path in FILES.items() if path.parent == ROOT / "tools" and path.name != "__init__.py"}
    parts = [name for name in graph() if name.startswith("tools.") and name not in commands]
    found = {name: sorted(targets) for name in parts if (targets := graph()[name] & commands)}
    assert not found, found


def test_no_module_imports_itself_through_others() -> None:
    assert not (found := circles(import_graph(FILES, at_start=True))), found


def test_imports_inside_functions_hide_no_circle() -> None:
    assert not (found := circles(graph())), found


@pytest.mark.parametrize("folder", [place for place in PLACES if not place.endswith(".py")])
def test_no_room_imports_itself_through_others(folder: str) -> None:
    between = {name: targets - {"__init__"} for name, targets in rooms(graph(), folder).items() if name != "__init__"}
    assert not (found := circles(between)), found


@pytest.mark.parametrize("place", [*PLACES, pytest.param("tests", marks=pytest.mark.whole)])
def test_no_file_and_no_function_is_too_long(place: str) -> None:
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(place)}
    long = {str(path.relative_to(ROOT)): lines for path, lines in files.items() if lines > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines: {long}"
    long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": lines
        for path in files
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long, f"functions over {MOST_LINES_OF_A_FUNCTION} lines: {long}"


def test_main_can_be_read_in_five_minutes() -> None:
    lines = (ROOT / "main.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_MAIN, f"main.py has {len(lines)} lines"


# --- the checks themselves


def house(root: Path, **texts: str) -> Graph:
    """Writes a small project and returns its imports; `a__b` is the file a/b.py."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return import_graph(modules(["."], root))


def test_the_check_sees_every_kind_of_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("import a.b\nfrom c.d import e\ndef f():\n    import g as h, i\n    from . import j\n")
    assert imports(path, "pack.x") == {"a.b", "c.d.e", "g", "i", "pack.j"}
    assert imports(path, "pack.x", at_start=True) == {"a.b", "c.d.e"}
    inside = tmp_path / "__init__.py"
    inside.write_text("from .k import l\nfrom ..m import n\n")
    assert imports(inside, "pack.sub") == {"pack.sub.k.l", "pack.m.n"}


def test_an_arrow_to_a_higher_floor_is_found(tmp_path: Path) -> None:
    graph = house(
        tmp_path,
        utils__low="def f():\n    from utils.high.part import g\n",
        utils__high__part="from utils.low import f\nimport utils.odd\n",
        utils__odd="",
    )
    found = upward(graph, "utils", ({"low"}, {"high"}))
    assert found == ["utils.high.part imports utils.odd", "utils.low imports utils.high.part"]
    assert circles(rooms(graph, "utils")) == [["high", "low"]]


def test_circles_are_found_and_those_inside_functions_counted_apart(tmp_path: Path) -> None:
    graph = house(tmp_path, a="import b", b="import c", c="import a, d", d="import e", e="def f():\n    import d")
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
    at_start = import_graph(modules(["."], tmp_path), at_start=True)
    assert circles(at_start) == [["a", "b", "c"]]

"""The English of the code: first lines of docstrings stand alone, and no text uses the authors' private words.

These are cheap rules. A text that passes them can still be bad, but half sentences and known habits are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.helpers.source import PLACES, docstrings, prose, python_files
from utils.files import ROOT

# no sentence that stands alone begins with these, unless it is a question
HALF_A_SENTENCE = re.compile(
    r"(What|Which|Whether|Where|When|Who|Whose|Why|How|The same|As|Of|For|From|With|In|Like that|So|Nothing|None)\b"
)
# "Returns ...", but neither "Is ...", which needs its noun, nor a noun in the plural
VERB = re.compile(r"(?!(?:Is|Has|As|Frames|Seconds|Videos|Classes|Rows|Paths|Values|Arrays)\b)[A-Z][a-z]+s\b")
PAGES = ("docs/**/*.md", "exps/**/*.md", "data/README.md", "pretrained/README.md", "tests/README.md", "*.md")
PRIVATE_WORDS = {
    "upstream": r"\bupstream",
    "the seed (the original project)": r"\bthe\s+seed('s)?\b(?!\s+(of|and)\b)",
    "beside, without saying what": r"\bbeside(?=\s*([.,;:)]|$))",
    "for ever": r"\bfor\s+ever\b",
    "so many (that many)": r"\bso\s+many\b(?!\s+that\b)",
    "parted by": r"\bparted\s+by\b",
    "leave away": r"\b(leave|leaves|left|leaving)\s+away\b",
    "is none": r"\b(is|are|was|were)\s+none\b",
    "none of its own": r"\bnone\s+of\s+(its|their)\s+own\b",
    "told": r"\btold\b(?!\s+apart\b)",
}


def faults_of_first_lines(path: Path) -> Iterator[str]:
    """Yields `line: fault: first line` for each docstring whose first line is not a sentence of its own."""
    for docstring in docstrings(path):
        first = docstring.text.splitlines()[0]
        if match := HALF_A_SENTENCE.match(first):
            yield f"{docstring.line}: begins with {match[0]!r}: {first}"
        elif not first[0].isupper():
            yield f"{docstring.line}: does not begin with a capital letter: {first}"
        elif docstring.kind == "function" and not VERB.match(first):
            yield f"{docstring.line}: does not begin with a verb: {first}"
        elif not first.endswith((".", ":", "?", "!")):
            yield f"{docstring.line}: goes on in the next line: {first}"
        elif len(first.split()) < 3:
            yield f"{docstring.line}: says too little: {first}"


def private_words(texts: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Yields `line: word: context` for each private word in texts that begin at the given lines of a file."""
    for line, text in texts:
        for word, pattern in PRIVATE_WORDS.items():
            for match in re.finditer(pattern, text):
                context = text[max(match.start() - 30, 0) : match.end() + 30].replace("\n", " ")
                yield f"{line + text.count(chr(10), 0, match.start())}: {word}: ...{context}..."


# networks raise ValueErrors about their own arguments; methods/build.py puts the key of the config in front
CONFIG_KEY = re.compile(
    r"\bcommon\.[a-z]|\bmodel\.(?:type|pretrained|kwargs|dropout|num_class|modality|stack)\b"
    r"|\bpretrained: (?:True|False)|--load-path"
)


@pytest.mark.parametrize("place", PLACES)
def test_the_first_line_of_a_docstring_is_a_sentence_of_its_own(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{fault}" for path in python_files(place) for fault in faults_of_first_lines(path)
    ]
    assert not found, f"{len(found)} docstrings:\n" + "\n".join(found)


@pytest.mark.parametrize("place", PLACES)
def test_no_text_uses_private_words(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{fault}" for path in python_files(place) for fault in private_words(prose(path))
    ]
    assert not found, f"{len(found)} places:\n" + "\n".join(found)


def test_networks_name_no_key_of_the_config() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in python_files("networks")
        for line, text in prose(path)
        for match in CONFIG_KEY.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_the_examples_of_contributing_follow_the_rules(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    found = []
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.py"
        file.write_text(example)
        found += [f"example {number}, line {fault}" for fault in faults_of_first_lines(file)]
    assert not found, "\n".join(found)


def test_no_page_uses_private_words() -> None:
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)} - {ROOT / "CHANGELOG.md"}
    assert len(pages) > 20
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in sorted(pages)
        for fault in private_words([(1, path.read_text(encoding="utf-8"))])
    ]
    assert not found, f"{len(found)} places:\n" + "\n".join(found)


# --- the checks themselves


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("What a run writes.", "begins with 'What'"),
        ("The same for flow.", "begins with 'The same'"),
        ("As it is shaped.", "begins with 'As'"),
        ("(N, K) -> (N,).", "does not begin with a capital letter"),
        ("Task of a config.", "does not begin with a verb"),
        ("The table: each evaluation alone, then all together.", "does not begin with a verb"),
        ("Frames per second of a clip.", "does not begin with a verb"),
        ("Is the file object of a source.", "does not begin with a verb"),
        ("Returns the classes", "goes on in the next line"),
        ("Returns classes.", "says too little"),
        ("Returns the classes of a list.", ""),
        ("Assumes that the list is sorted.", ""),
    ],
)
def test_first_lines_are_judged(tmp_path: Path, first: str, fault: str) -> None:
    file = tmp_path / "x.py"
    file.write_text(f'def f():\n    """{first}\n\n    As for the rest: what may follow.\n    """\n')
    found = list(faults_of_first_lines(file))
    assert (found == []) if not fault else (len(found) == 1 and found[0].startswith(f"2: {fault}"))


def test_a_noun_phrase_is_enough_for_modules_classes_and_properties(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        '"""Losses of one kind."""\nclass A:\n    """Cross entropy per clip."""\n'
        '    @property\n    def width(self):\n        """Output width in pixels."""\n'
    )
    assert list(faults_of_first_lines(file)) == []


def test_private_words_are_found_in_strings_and_comments_and_not_in_names(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        '"""Reads lists.\n\nColumns are parted\nby spaces.\n"""\n'
        "told = beside = 1  # this goes on for\n# ever\n"
        "def f(n):\n"
        '    raise ValueError(f"{n} videos, but there is none; set "\n'
        '                     "it or leave away the key")\n'
        "# the seed of a generator, in the table beside it, so many that they cannot be told apart\n"
        "# the seed's flags\n"
    )
    assert sorted((fault.split(": ...")[0] for fault in private_words(prose(file))), key=len) == [
        "9: is none",
        "6: for ever",
        "3: parted by",
        "9: leave away",
        "11: the seed (the original project)",
    ]

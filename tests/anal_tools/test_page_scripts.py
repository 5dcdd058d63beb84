"""The scripts of a page share one scope, so no two of them may give something the same name."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from anal_tools import page, report_html, segment_page, video_page

NAMED = re.compile(r"^(?:const|let|function|class) (\w+)", re.MULTILINE)


@pytest.mark.parametrize("scripts", [report_html.SCRIPTS, segment_page.SCRIPTS, video_page.SCRIPTS], ids=" ".join)
def test_no_two_scripts_of_a_page_name_the_same(scripts: tuple[str, ...]) -> None:
    texts = [(page.PARTS / f"{name}.js").read_text("utf-8") for name in scripts]
    names = Counter(name for text in texts for name in NAMED.findall(text))
    assert names and max(names.values()) == 1, names.most_common(3)

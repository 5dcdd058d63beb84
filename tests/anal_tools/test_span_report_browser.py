"""The report of a list of spans in a real browser, offline: its sections draw without complaint and fit any screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools.report import main
from tests.helpers.browser import Seen, browser_test, opened, serious_violations
from tests.helpers.segments import made_up, make_span_results, write_files

pytestmark = browser_test


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    make_span_results(folder / "exp", np.random.default_rng(0))
    _, answer = write_files(folder, *made_up(np.random.default_rng(0)))
    main(["-e", str(folder / "exp"), "--segments", str(answer)])
    return folder / "exp/analysis/report.html"


@pytest.fixture(params=[{"width": 1400}, {"width": 390, "color_scheme": "dark"}], ids=["wide", "narrow and dark"])
def seen(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Seen]:
    with opened(browser, file.as_uri(), offline=True, **request.param) as shown:
        shown.page.wait_for_selector("body[data-ready]")
        yield shown


def test_sections_of_spans_and_segments_are_drawn_fit_and_are_accessible(seen: Seen) -> None:
    page = seen.page
    headings = page.locator("h2:visible").all_inner_texts()
    at = headings.index("Timelines")
    assert headings[at : at + 4] == ["Timelines", "Spans", "Segments: summary", "Segments: timelines"]
    worst = page.locator("#timelines .timelines > li").first
    assert "films/film_5.mp4" in worst.inner_text() and "1 of 2 true spans found, 1 false answer" in worst.inner_text()
    assert worst.locator(".lane .truth.missed").count() == 1
    assert page.locator("#segment-borders .js-plotly-plot").count() == 2
    assert "throw <b>" in page.locator("#spans tbody").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_violations(page) == []


def test_the_filter_of_timelines_keeps_what_matches(seen: Seen) -> None:
    page = seen.page
    page.locator("#timelines input[type=search]").fill("film_3")
    assert page.locator("#timelines .timelines > li").count() == 1
    assert page.locator("#segment-timelines .timelines > li").count() == 5

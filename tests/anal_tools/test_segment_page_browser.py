"""The page of segments in a real browser, offline: it draws without complaint, filters, and fits narrow screens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.browser import Seen, browser_test, opened, serious_violations
from tests.helpers.run_tool import run_tool
from tests.helpers.segments import made_up, write_files

pytestmark = browser_test


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segments")
    files = write_files(folder, *made_up(np.random.default_rng(0)))
    run_tool("score_segments", *files, "--background", "nothing", "--page", folder / "page.html")
    return folder / "page.html"


@pytest.fixture(params=[{"width": 1400}, {"width": 390, "color_scheme": "dark"}], ids=["wide", "narrow and dark"])
def seen(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Seen]:
    with opened(browser, file.as_uri(), offline=True, **request.param) as shown:
        shown.page.wait_for_selector("body[data-ready]")
        yield shown


def test_every_section_is_drawn_fits_and_is_accessible(seen: Seen) -> None:
    page = seen.page
    assert page.locator("h2:visible").all_inner_texts() == [
        *("Notes", "Summary", "Timelines", "False answers by kind", "Borders", "Precision and recall"),
        *("Classes", "Videos"),
    ]
    assert page.locator(".js-plotly-plot").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "throw <b>" in page.locator("#segment-classes tbody").inner_text()
    assert (
        "is chosen for all classes together: the one with the best F1."
        in page.locator("#segment-timelines").inner_text()
    )
    assert "overlaps no segment by 0.1 or more" in page.locator("#segment-kinds").inner_text()
    assert serious_violations(page) == []


def test_the_slider_hides_answers_and_misses_what_they_found(seen: Seen) -> None:
    page = seen.page
    slider = page.locator("#segment-timelines input[type=range]")

    def counts() -> tuple[int, int]:
        return page.locator(".lane .answer").count(), page.locator(".lane .truth.missed").count()

    slider.focus()
    page.keyboard.press("Home")
    answers, missed = counts()
    page.keyboard.press("End")
    fewer, more = counts()
    assert fewer < answers and more > missed
    page.locator("#segment-timelines input[type=search]").fill("film_3")
    assert page.locator(".timelines > li").count() == 1

"""The page of a video and its segments in a real browser: the video plays, keys and clicks move it, and it fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anal_tools.video_page import PageVideo, address, render
from tests.helpers.browser import Seen, browser_test, opened, serious_violations
from tests.helpers.make_video import make_video

pytestmark = browser_test
CLASSES = ["<script>alert(1)</script>", "跑步"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, page = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("page") / "page.html"
    film = make_video(folder / "film #1.mp4", frames=240, fps=12)
    curve = [[float(second), second % 2] for second in range(20)]
    first = PageVideo(film.name, address(film, page), 20, [(2, 6, 0, 0.9), (4, 9, 1, 0.8)], {0: curve, 1: curve})
    others = [PageVideo("frames", address(folder, page), 10, [], {}), PageVideo("gone", "gone.mp4", 10, [], {})]
    page.write_text(render([first, *others], CLASSES, title="Segments: films"), encoding="utf-8")
    return page


@pytest.fixture(params=[{"width": 1400}, {"width": 390, "color_scheme": "dark"}], ids=["wide", "narrow and dark"])
def seen(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Seen]:
    with opened(browser, file.as_uri(), offline=True, **request.param) as shown:
        shown.page.wait_for_selector("body[data-ready]")
        shown.page.wait_for_function("document.querySelector('video').readyState > 0")
        yield shown


def now(page: Any) -> float:
    """Returns where the video is, in seconds."""
    return float(page.evaluate("document.querySelector('video').currentTime"))


def test_keys_and_clicks_move_the_video(seen: Seen) -> None:
    page = seen.page
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert now(page) == 9
    page.locator("i.segment").first.click()
    assert now(page) == 2
    page.get_by_role("button", name="0:04.0").click()
    assert now(page) == 4
    assert page.locator("#inside li").all_inner_texts() == [f"{CLASSES[0]} 0.90", f"{CLASSES[1]} 0.80"]
    page.locator("#player").click(position={"x": 5, "y": 5})
    page.keyboard.press(" ")
    page.wait_for_function("!document.querySelector('video').paused && document.querySelector('video').currentTime > 4")
    page.keyboard.press(" ")
    assert page.evaluate("document.querySelector('video').paused")


def test_it_fits_and_is_accessible(seen: Seen) -> None:
    assert serious_violations(seen.page) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_no_browser_plays_is_said(browser: Any, file: Path) -> None:
    with opened(browser, file.as_uri(), offline=True) as shown:
        page = shown.page
        page.get_by_label("Video shown").select_option("1")
        assert "A folder of frames, which no browser plays." in page.inner_text("#player")
        assert "No segment was found in this video." in page.inner_text("#player")
        page.get_by_label("Video shown").select_option("2")
        page.wait_for_selector("text=This browser cannot play gone.mp4")
        shown.complaints.clear()  # the file is missing on purpose

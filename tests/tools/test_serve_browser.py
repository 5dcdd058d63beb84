"""The page of `tools.predict --serve` in a real browser: drop a video, see its scores, by mouse and by keyboard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import Seen, browser_test, opened, serious_violations
from tests.helpers.make_video import make_audio, make_video
from tests.helpers.trained import CLASSES, write_checkpoint
from tools.inference import load
from tools.serving.server import PageServer

pytestmark = browser_test
NAME = "<img src=x onerror=alert(1)>.mp4"
FAILED_REQUEST = "Failed to load resource"  # how a browser logs an answer such as 422


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    root = tmp_path_factory.mktemp("serve")
    recognizer = load(write_checkpoint(root, class_names=CLASSES), device="cpu")
    (root / "uploads").mkdir()
    with PageServer("127.0.0.1", 0, recognizer, limit=1 << 20, folder=root / "uploads") as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=40, fps=10)
    return made.rename(made.with_name(NAME))


@pytest.fixture
def seen(browser: Any, server: PageServer) -> Iterator[Seen]:
    with opened(browser, server.url, width=1100) as shown:
        yield shown
    assert [url for url in shown.requests if not url.startswith((server.url, "blob:", "data:"))] == []


def choose(page: Any, file: Path) -> None:
    page.get_by_label("Drop a video here").set_input_files(file)


def finish(page: Any) -> None:
    page.get_by_text("Done.", exact=True).wait_for(timeout=60_000)


def test_a_video_gets_classes_a_chart_and_a_table(seen: Seen, server: PageServer, video: Path) -> None:
    page = seen.page
    choose(page, video)
    finish(page)
    names = page.locator("#top tr td:first-child").all_inner_texts()
    assert sorted(names) == sorted(CLASSES)  # <script> is a name like any other
    scores = [float(text) for text in page.locator("#top td.number").all_inner_texts()]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=0.01)
    shares = "(bars) => bars.map((one) => parseFloat(one.style.getPropertyValue('--share')) / 100)"
    assert page.locator("#top .share i").evaluate_all(shares) == pytest.approx(scores, abs=0.001)
    assert page.locator("#summary").inner_text().startswith(f"{NAME}: 4.0 s")
    assert page.evaluate("document.getElementById('chart').data.length") == len(CLASSES)
    assert page.locator("#chart .legend text").count() == len(CLASSES)
    assert page.locator("#spans tr").count() >= 1
    assert page.evaluate("document.activeElement.id") == "top-title"
    page.wait_for_selector("#video:not([hidden])")
    assert list(server.folder.iterdir()) == []


def test_a_video_is_dropped_and_sought_in(seen: Seen, video: Path) -> None:
    page = seen.page
    page.get_by_label("Seconds per window").fill("1")
    handle = page.evaluate_handle(
        """async ([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "video/mp4" }));
            return transfer;
        }""",
        [NAME, list(video.read_bytes())],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": handle})
    finish(page)
    assert page.evaluate("shown.answer.windows.start") == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert page.locator("#summary").inner_text().endswith("mean over 7 windows.")
    page.wait_for_selector("#video:not([hidden])")
    page.evaluate("seek(2.5)")
    assert page.evaluate("document.getElementById('video').currentTime") == 2.5
    first = page.locator("#spans button").first
    first.focus()
    first.press("Enter")
    assert page.evaluate("document.getElementById('video').currentTime") == 0
    formulas = "{windows: {start: [0], end: [1], best: ['=1+1']}, lines: [{name: '@x', scores: [-0.5]}]}"
    assert page.evaluate(f"asCsv({formulas})") == "start,end,best,'@x\n0,1,'=1+1,-0.5\n"
    rows = page.evaluate("asCsv(shown.answer)").splitlines()
    assert len(rows) == 8 and rows[0].startswith("start,end,best,") and '"jump, then fall"' in rows[0]


def test_what_cannot_be_looked_at_is_told_and_the_next_video_works(seen: Seen, video: Path, tmp_path: Path) -> None:
    page, alert = seen.page, seen.page.get_by_role("alert")
    (tmp_path / "a.mp4").write_text("no video")
    (tmp_path / "large.mp4").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "empty.mp4").touch()
    make_audio(tmp_path / "sound.mp4")
    for name, message in (
        ("a.mp4", "a.mp4: cannot be read as a video ("),
        ("large.mp4", "The video is larger than 1 MB."),
        ("empty.mp4", "The file is empty."),
        ("sound.mp4", "sound.mp4: has no video stream"),
    ):
        choose(page, tmp_path / name)
        alert.filter(has_text=message).wait_for()
        assert not page.locator("#answer").is_visible()
    choose(page, video)
    finish(page)
    assert not alert.is_visible()
    assert all(FAILED_REQUEST in text for text in seen.complaints) and len(seen.complaints) == 2
    seen.complaints.clear()


def test_a_video_waits_for_its_turn_and_can_be_stopped(seen: Seen, server: PageServer, video: Path) -> None:
    page = seen.page
    with server.queue.ticket():
        choose(page, video)
        page.get_by_text("Waiting: 1 video is before this one.").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped.").wait_for()
    assert not page.locator("#progress").is_visible()
    page.get_by_role("button", name="Look at it").click()
    finish(page)


def test_axe_finds_no_serious_violation_before_and_after(seen: Seen, video: Path) -> None:
    for step in ("before", "after"):
        if step == "after":
            choose(seen.page, video)
            finish(seen.page)
        assert serious_violations(seen.page) == []


def test_the_page_is_dark_where_the_system_is(browser: Any, server: PageServer, video: Path) -> None:
    paper = "[getComputedStyle(document.body).backgroundColor, document.getElementById('chart').layout?.paper_bgcolor]"
    with opened(browser, server.url, color_scheme="dark") as dark:
        choose(dark.page, video)
        finish(dark.page)
        assert serious_violations(dark.page) == []
        page, chart = dark.page.evaluate(paper)
        assert page == "rgb(16, 22, 29)" and chart == "#10161d"
        dark.page.emulate_media(color_scheme="light")
        dark.page.wait_for_function(f"() => ({paper})[1] === '#ffffff'")
        assert dark.page.evaluate(paper)[0] == "rgb(255, 255, 255)"


def test_every_control_is_reached_by_tab(seen: Seen, video: Path) -> None:
    page = seen.page
    choose(page, video)
    finish(page)
    page.evaluate(
        "document.addEventListener('focusin', (e) => { window.reached = (window.reached ?? new Set()).add(e.target); })"
    )
    count = page.evaluate(
        "Array.from(document.querySelectorAll('a[href], button, input, video, [tabindex=\"0\"]'))"
        ".filter((one) => one.checkVisibility() && !one.disabled).length"
    )
    for _ in range(count + 12):  # the player has buttons of its own
        page.keyboard.press("Tab")
    assert page.evaluate("window.reached.size") >= count - 1

"""The report in a real browser, offline: it draws without complaint, sorts, filters, zooms, and works by keyboard."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools import analyze, report
from anal_tools.compare import compare
from anal_tools.experiment import open_experiment
from tests.helpers.browser import Seen, browser_test, opened, serious_violations
from tests.helpers.results import STRANGE, make_config, make_data, make_history, make_results
from utils.scoring.result_files import read_results, write_results

pytestmark = browser_test
NAMES = [*STRANGE, "never seen"]


@contextmanager
def report_page(browser: Any, file: Path, **context: Any) -> Iterator[Seen]:
    """Offline, as somebody opens the file from a disk."""
    with opened(browser, file.as_uri(), offline=True, **context) as seen:
        seen.page.wait_for_selector("body[data-ready]")
        yield seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments on the same 120 videos, with frames, curves and a config; a page of one and one of both."""
    root = tmp_path_factory.mktemp("report")
    for name, seed, rate in (("one", 0, 0.01), ("two", 5, 0.02)):
        labels = make_results(root / name, STRANGE, videos=120, seed=seed, sharpness=1.0 + seed / 3)
        results = read_results(root / name)
        assert results.scores is not None
        wide = np.pad(results.scores, ((0, 0), (0, 1)))  # a class that no video belongs to
        write_results(root / name, paths=results.paths, labels=labels, scores=wide, class_names=NAMES, protocol="p")
        schedule = {"type": "COSINE", "base_lr": rate, "max_iter": 200}
        make_config(root / name, root / "data", len(NAMES), lr_scheduler=schedule)
        make_history(root / name)
    make_data(root / "data", results.paths, labels)
    analyze.main(["-e", str(root / "one")])
    report.main(["-e", str(root / "one")])
    report.main(["-e", str(root / "one"), str(root / "two")])
    return root


@pytest.fixture
def seen(browser: Any, folder: Path) -> Iterator[Seen]:
    with report_page(browser, folder / "one/analysis/report.html") as shown:
        yield shown


@pytest.fixture
def both(browser: Any, folder: Path) -> Iterator[Seen]:
    with report_page(browser, folder / "one/analysis/comparison.html") as shown:
        yield shown


def column(page: Any, section: str, number: int) -> list[str]:
    texts: list[str] = page.locator(f"#{section} tbody tr td:nth-child({number})").all_inner_texts()
    return texts


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def status(page: Any) -> str:
    text: str = page.locator("#videos [role=status]").inner_text()
    return text


def test_every_section_is_drawn_without_complaint_or_request(seen: Seen) -> None:
    page = seen.page
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    headings = page.locator("h2:visible").all_inner_texts()
    assert headings == [
        *("Summary", "Learning curves", "Protocol and config", "Confusion matrix", "Most confused pairs"),
        *("Accuracy per class", "Top errors", "Right answers", "Calibration", "Videos"),
    ]
    assert page.locator("#curves .js-plotly-plot").count() == 4
    assert page.locator("#calibration .js-plotly-plot").count() == 2
    assert page.locator("#matrix .js-plotly-plot").count() == 1
    pictures = page.locator("#errors img.strip")
    assert pictures.count() == page.locator("#errors .cards > li").count() > 0
    assert pictures.first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_frames_move_when_they_are_clicked_until_they_are_clicked_again(seen: Seen) -> None:
    page = seen.page
    play = page.locator("#right button.play").first
    play.dispatch_event("click")
    moving = play.locator(".moving")
    assert moving.bounding_box()["width"] < play.locator("img").bounding_box()["width"] / 4
    places = {moving.evaluate("one => one.style.backgroundPositionX")}
    page.wait_for_function(
        "place => document.querySelector('#right .moving').style.backgroundPositionX !== place", arg=places.pop()
    )
    play.dispatch_event("click")
    assert play.locator(".moving").count() == 0


def test_totals_equal_the_csv(seen: Seen, folder: Path) -> None:
    page = seen.page
    rows = rows_of(folder / "one/analysis/per_class.csv")
    assert column(page, "classes", 2) == [row[1] for row in rows]
    assert column(page, "classes", 3) == [row[2] for row in rows]
    assert column(page, "classes", 4) == [row[3] for row in rows]
    shown = [text.removesuffix(" %") for text in column(page, "classes", 5)]
    assert shown == [f"{float(row[4]):.1f}" if row[4] else "–" for row in rows]
    matrix = [[int(cell) for cell in row[1:]] for row in rows_of(folder / "one/analysis/confusion.csv")]
    assert page.evaluate("Array.from(countMatrix(current))") == [cell for row in matrix for cell in row]
    assert column(page, "summary", 2) == [str(sum(map(sum, matrix)))] == [str(sum(int(row[2]) for row in rows))]
    assert column(page, "summary", 3) == [str(sum(matrix[i][i] for i in range(len(matrix))))]


def test_tables_sort_by_every_heading_and_back(seen: Seen) -> None:
    page = seen.page
    heading = page.locator("#classes thead th", has=page.get_by_role("button", name="Accuracy"))
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    values = [float(text.removesuffix(" %")) for text in column(page, "classes", 5) if text != "–"]
    assert values == sorted(values, reverse=True) and column(page, "classes", 5)[-1] == "–"
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text.removesuffix(" %")) for text in column(page, "classes", 5)[:-1]] == values[::-1]
    assert page.locator("#classes th[aria-sort=ascending]").count() == 1


def test_filters_keep_what_matches(seen: Seen) -> None:
    page = seen.page
    page.get_by_label("Filter: Classes").fill("跑")
    assert column(page, "classes", 2) == ["跑步"]
    page.get_by_label("Filter: Classes").fill("")
    assert len(column(page, "classes", 2)) == len(NAMES)
    page.get_by_label("Filter: top errors").fill("never matches anything")
    assert page.locator("#errors .cards > li").count() == 0
    page.get_by_label("Result", exact=True).select_option("wrong")
    wrong = page.evaluate("current.truth.filter((_, row) => !isRight(current, row)).length")
    assert status(page) == f"{wrong} rows"
    assert set(column(page, "videos", 4)) == {"wrong"}


def test_a_cell_of_the_matrix_leads_to_its_videos(seen: Seen, folder: Path) -> None:
    page = seen.page
    confusion = open_experiment(folder / "one").confusion
    truth, answer = (int(i) for i in np.argwhere(confusion * (1 - np.eye(len(NAMES))) > 0)[0])
    page.locator("#matrix").scroll_into_view_if_needed()
    box = page.locator("#matrix .nsewdrag").bounding_box()
    cell = box["width"] / len(NAMES), box["height"] / len(NAMES)
    at = box["x"] + cell[0] * (answer + 0.5), box["y"] + cell[1] * (truth + 0.5)
    page.mouse.move(*at)
    page.mouse.click(*at)
    page.wait_for_function("document.activeElement.id === 'videos-title'")
    assert status(page) == f"{confusion[truth, answer]} row" + ("s" if confusion[truth, answer] > 1 else "")
    assert set(column(page, "videos", 2)) == {NAMES[truth]} and set(column(page, "videos", 3)) == {NAMES[answer]}


def test_the_matrix_works_by_keyboard(seen: Seen, folder: Path) -> None:
    page = seen.page
    confusion = open_experiment(folder / "one").confusion
    area = page.locator("#matrix-area")
    area.focus()
    for key in ("ArrowDown", "ArrowRight"):
        area.press(key)
    said = page.locator("#matrix-readout").inner_text()
    assert f"truth {NAMES[1]}, predicted {NAMES[1]}: {confusion[1, 1]} of 20 videos" in said  # a class may be "right"
    area.press("ArrowRight")
    said = page.locator("#matrix-readout").inner_text()
    assert f"truth {NAMES[1]}, predicted {NAMES[2]}: {confusion[1, 2]} of 20 videos" in said
    size = "matrix.plot.layout.xaxis.range[1] - matrix.plot.layout.xaxis.range[0]"
    area.press("+")
    assert page.evaluate(size) == 4
    area.press("0")
    assert page.evaluate(size) == len(NAMES)
    area.press("Enter")
    assert page.evaluate("document.activeElement.id") == "videos-title"
    assert page.get_by_label("Truth", exact=True).input_value() == "1"
    assert page.get_by_label("Predicted", exact=True).input_value() == "2"


def test_the_matrix_sorts_cuts_and_zooms(seen: Seen, folder: Path) -> None:
    page = seen.page
    experiment = open_experiment(folder / "one")
    shares = np.diagonal(experiment.confusion)[:-1] / 20
    page.get_by_label("Sort classes by").select_option("accuracy")
    assert page.evaluate("matrix.shown") == [*np.argsort(shares, kind="stable").tolist(), len(NAMES) - 1]
    for order in ("name", "errors", "videos", "similar"):
        page.get_by_label("Sort classes by").select_option(order)
        assert sorted(page.evaluate("matrix.shown")) == list(range(len(NAMES)))
    page.get_by_label("Only classes whose name contains").fill("script")
    assert page.evaluate("matrix.shown") == [2]
    page.get_by_label("Only classes whose name contains").fill("no such class")
    assert page.locator("#matrix-readout").inner_text() == "No class has such a name."
    page.get_by_label("Only classes whose name contains").fill("")
    page.get_by_label("errors only").check()
    assert page.evaluate("matrix.plot.data[0].z.every((row, i) => row[i] === null)")
    page.get_by_role("button", name="Zoom in").click()
    assert page.evaluate("ranges().every(([from, to]) => to - from === 4)")
    page.get_by_role("button", name="Whole matrix").click()
    page.locator("#matrix").scroll_into_view_if_needed()
    box = page.locator("#matrix .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_function(f"ranges()[0][1] - ranges()[0][0] < {len(NAMES) * 0.6}")


def test_strange_names_are_only_text(seen: Seen) -> None:
    page = seen.page
    assert "<script>alert('x')</script>" in column(page, "classes", 2)
    assert page.locator("main script, main b:not(.bar b)").count() == 0
    ticks = page.locator("#matrix .xtick text, #matrix .xaxislayer-above text").all_text_contents()
    assert any("<script>" in text for text in ticks)
    assert page.locator("#classes bdi").count() >= len(NAMES)  # right-to-left names keep to themselves


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(browser: Any, folder: Path, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    with report_page(browser, folder / "one/analysis/comparison.html", color_scheme=scheme) as both:
        assert serious_violations(both.page) == []


def test_charts_follow_a_change_between_light_and_dark(seen: Seen) -> None:
    page = seen.page
    read = "[document.querySelector('#curves .js-plotly-plot').layout.font.color, matrix.plot.layout.plot_bgcolor]"
    light = page.evaluate(read)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({read})[0] !== '{light[0]}'")
    assert all(dark != bright for dark, bright in zip(page.evaluate(read), light, strict=True))
    assert page.locator("#curves .js-plotly-plot").count() == 4 and page.locator("#matrix .js-plotly-plot").count() == 1


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(browser: Any, folder: Path, width: int) -> None:
    with report_page(browser, folder / "one/analysis/comparison.html", width=width) as both:
        assert both.page.evaluate("document.documentElement.scrollWidth") <= width
        assert both.page.locator("h1").bounding_box()["y"] >= 8
        tables = [both.page.locator("#comparison .scroll").first]  # right or wrong in both
        tables += [both.page.locator("#summary .scroll").first] if width > 1000 else []  # the experiments
        assert all(table.evaluate("(box) => box.scrollWidth <= box.clientWidth") for table in tables)


def test_the_first_errors_are_shown_and_all_when_asked(seen: Seen) -> None:
    page = seen.page
    cards = page.locator("#errors .cards > li")
    total = page.evaluate("current.errors.length")
    assert total > 24 and cards.count() == 24
    page.get_by_role("button", name=f"Show all {total}").press("Enter")
    assert cards.count() == total
    assert page.evaluate("document.activeElement === document.querySelectorAll('#errors .cards > li')[24]")


def test_the_tiles_are_those_of_the_experiment_on_show(both: Seen) -> None:
    page = both.page
    for place in range(2):
        page.get_by_label("Experiment shown in detail").select_option(str(place))
        assert page.locator(".tiles dd").first.inner_text() == column(page, "summary", 4)[place]


def test_every_control_is_reached_by_tab_and_nothing_traps_it(seen: Seen) -> None:
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.evaluate(
        "document.addEventListener('focusin', (e) => { window.reached = (window.reached ?? new Set()).add(e.target); })"
    )
    count = page.evaluate(
        "Array.from(document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]'))"
        ".filter((one) => one.checkVisibility() && !one.disabled).length"
    )
    for _ in range(count + 5):
        page.keyboard.press("Tab")
    assert page.evaluate("window.reached.size") >= count - 1


def test_tables_are_saved_as_csv(seen: Seen) -> None:
    with seen.page.expect_download() as download:
        seen.page.locator("#pairs").get_by_role("button", name="Save as CSV").click()
    rows = rows_of(Path(download.value.path()))
    assert sum(int(row[2]) for row in rows) == seen.page.evaluate(
        "current.truth.filter((_, row) => !isRight(current, row)).length"
    )


def test_a_comparison_shows_test_config_and_flips(both: Seen, folder: Path) -> None:
    page = both.page
    result = compare(open_experiment(folder / "one"), open_experiment(folder / "two"))
    text = page.locator("#comparison").inner_text()
    p = f"{result.exact_p:.4f}" if result.exact_p >= 1e-4 else f"{result.exact_p:.1e}"
    assert "McNemar" in text and (f"p = {p}" in text or result.exact_p < 1e-4)
    assert "common.lr_scheduler.base_lr" in text and "0.02" in text
    assert f"Changed videos: {result.only_second} fixed, {result.only_first} broken" in text
    over = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
    page.set_viewport_size({"width": 1400, "height": 900})
    assert page.locator("#comparison .scroll").evaluate_all(over) == []
    table = page.locator("#comparison table").first.locator("tbody td").all_inner_texts()
    assert table == [str(n) for n in (result.both, result.only_first, result.only_second, result.neither)]


def test_another_experiment_is_shown_in_detail(both: Seen, folder: Path) -> None:
    page = both.page
    results = read_results(folder / "two")
    page.get_by_label("Experiment shown in detail").select_option("1")
    right = sum(int(text) for text in column(page, "classes", 4))
    assert right == int((results.predicted == results.labels).sum())
    assert page.locator("#config p").first.inner_text().startswith(f"Folder {folder / 'two'}")


@pytest.mark.parametrize(
    ("names", "videos"), [(["a", "b"], 1), (["only"], 3), ([f"class {i}" for i in range(400)], 800)]
)
def test_few_and_many_classes_draw(browser: Any, tmp_path: Path, names: list[str], videos: int) -> None:
    make_results(tmp_path, names, videos=videos)
    if names == ["a", "b"]:
        make_history(tmp_path, steps=1)
    report.main(["-e", str(tmp_path)])
    with report_page(browser, tmp_path / "analysis/report.html") as shown:
        assert shown.page.locator("#matrix .js-plotly-plot").count() == 1
        why = "the training had a single step" if names == ["a", "b"] else "no metrics.jsonl"
        assert why in shown.page.locator("#curves").inner_text()
        assert ("Top-5" in shown.page.locator("#summary").inner_text()) == (len(names) == 400)
        if len(names) == 400:
            shown.page.get_by_label("Classes shown").select_option("50")
            shown.page.get_by_label("Sort classes by").select_option("similar")
            assert shown.page.evaluate("matrix.shown.length") == 50


def test_notes_come_first_as_headings_and_lists(browser: Any, tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    (tmp_path / "notes.txt").write_text("# Chosen\n5 folds: <b>few</b> videos\n8 frames\n# Next\nlook\n")
    report.main(["-e", str(tmp_path), "--notes", str(tmp_path / "notes.txt"), "-o", str(tmp_path / "page.html")])
    with report_page(browser, tmp_path / "page.html") as seen:
        assert seen.page.locator("section").first.get_attribute("id") == "notes"
        assert seen.page.locator("#notes h3").all_text_contents() == ["Chosen", "Next"]
        assert seen.page.locator("#notes li").all_text_contents() == ["5 folds: <b>few</b> videos", "8 frames", "look"]
        assert not serious_violations(seen.page)

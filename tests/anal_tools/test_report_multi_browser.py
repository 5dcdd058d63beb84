"""The report of videos with several classes each in a real browser: drawn without complaint, sorted, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools import analyze, report
from anal_tools.compare_multi import compare_precision
from anal_tools.experiment import open_experiment
from tests.anal_tools.test_report_browser import column, report_page, rows_of, status
from tests.helpers.browser import Seen, browser_test, serious_violations
from tests.helpers.results import STRANGE, make_config, make_data, make_sets
from utils.scoring.label_sets import labels_to_text
from utils.scoring.result_files import read_results, write_results

pytestmark = browser_test
NAMES = [*STRANGE, "never seen"]
HISTORY = """{"kind": "train", "step": 0, "loss": 0.7, "hit1": 20.0, "hit5": 60.0, "lr": 0.01, "time": 0.5, "data": 0.1}
{"kind": "val", "step": 50, "loss": 0.5, "mAP": 40.0, "hit1": 50.0, "hit5": 90.0}
{"kind": "val", "step": 100, "loss": 0.4, "mAP": 60.0, "hit1": 70.0, "hit5": 95.0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments on the same 60 videos, one of unknown truth, with frames; a page of one and one of both."""
    root = tmp_path_factory.mktemp("report")
    for name, seed in (("one", 0), ("two", 5)):
        labels = make_sets(root / name, NAMES, seed=seed, sharpness=1.5 + seed / 5)
        labels[:, -1], labels[3] = 0, -1
        results = read_results(root / name)
        kept = {"paths": results.paths, "scores": results.scores, "class_names": NAMES, "protocol": "p"}
        write_results(root / name, labels=labels, **kept)
        schedule = {"type": "COSINE", "base_lr": 0.01 + seed, "max_iter": 200}
        make_config(root / name, root / "data", len(NAMES), multi_label=True, lr_scheduler=schedule)
        (root / name / "metrics.jsonl").write_text(HISTORY)
    make_data(root / "data", results.paths, np.array([labels_to_text(np.flatnonzero(row > 0)) for row in labels]))
    analyze.main(["-e", str(root / "one")])
    report.main(["-e", str(root / "one")])
    report.main(["-e", str(root / "one"), str(root / "two")])
    return root


@pytest.fixture
def seen(browser: Any, folder: Path) -> Iterator[Seen]:
    with report_page(browser, folder / "one/analysis/report.html") as shown:
        yield shown


def test_every_section_is_drawn_and_totals_equal_the_csv(seen: Seen, folder: Path) -> None:
    page = seen.page
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.locator("h2:visible").all_inner_texts() == [
        *("Summary", "Learning curves", "Protocol and config", "Average precision per class", "Precision and recall"),
        *("Worst videos", "Classes together", "Calibration", "Videos"),
    ]
    charts = {name: page.locator(f"#{name} .js-plotly-plot").count() for name in ("curves", "answers", "calibration")}
    assert charts == {"curves": 4, "answers": 2, "calibration": 2}
    assert page.locator("#errors img.strip").count() == page.locator("#errors .cards > li").count() == 24
    rows = rows_of(folder / "one/analysis/per_class.csv")
    for number, place in ((2, 1), (3, 2), (9, 5)):  # names, positives, answers
        assert column(page, "classes", number) == [row[place] for row in rows]
    for number, place in ((4, 3), (10, 6), (11, 7)):  # AP, precision, recall
        shown = [text.removesuffix(" %") for text in column(page, "classes", number)]
        assert shown == [f"{float(row[place]):.1f}" if row[place] else "–" for row in rows]
    assert page.locator("main script").count() == 0


def test_classes_are_sorted_and_the_threshold_moved_by_keyboard(seen: Seen) -> None:
    page = seen.page
    heading = page.locator("#classes thead th", has=page.get_by_role("button", name="AP", exact=True))
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    values = [float(text.removesuffix(" %")) for text in column(page, "classes", 4)[:-1]]
    assert values == sorted(values, reverse=True) and column(page, "classes", 4)[-1] == "–"
    slider, before = page.get_by_label("A class counts as predicted from a score of"), column(page, "classes", 9)
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == page.locator("#classes output").inner_text() == "55 %"
    fewer = column(page, "classes", 9)
    assert fewer != before and all(int(few) <= int(many) for few, many in zip(fewer, before, strict=True))
    assert [float(text.removesuffix(" %")) for text in column(page, "classes", 4)[:-1]] == values


def test_a_class_and_a_pair_lead_to_their_videos(seen: Seen) -> None:
    page = seen.page
    page.locator("#classes").get_by_role("button", name=NAMES[3]).press("Enter")
    assert page.evaluate("document.activeElement.id") == "videos-title"
    assert status(page) == f"{page.evaluate('current.per_class[3][0]')} rows"
    shown, answered, count = (column(page, "together", number)[0] for number in (1, 2, 3))
    page.locator("#together tbody button").first.press("Enter")
    assert status(page) == f"{count} row" + ("s" if count != "1" else "")
    assert all(shown in text for text in column(page, "videos", 2))
    assert all(answered in text for text in column(page, "videos", 3))
    page.get_by_label("Shows", exact=True).select_option("")
    page.get_by_label("Predicted", exact=True).select_option("")
    page.get_by_label("Result", exact=True).select_option("none")
    assert column(page, "videos", 2) == ["(no label)"] and column(page, "videos", 4) == ["–"]
    page.get_by_label("Charts of").select_option("2")
    assert page.locator("#calibration .js-plotly-plot").count() == 2


def test_a_comparison_shows_differences_and_the_other_experiment(browser: Any, folder: Path) -> None:
    result = compare_precision(open_experiment(folder / "one"), open_experiment(folder / "two"))
    with report_page(browser, folder / "one/analysis/comparison.html") as both:
        text = both.page.locator("#comparison").inner_text()
        assert f"{result.mean:+.2f} points of mAP" in text and "common.lr_scheduler.base_lr" in text
        assert f"Changed answers: {result.fixed} fixed, {result.broken} broken" in text
        points = [float(one) for one in column(both.page, "comparison", 5) if one[0] in "+-"]
        assert points[: len(STRANGE)] == pytest.approx(sorted((result.after - result.before)[:-1])[::-1], abs=0.01)
        both.page.get_by_label("Experiment shown in detail").select_option("1")
        assert both.page.locator(".tiles dd").first.inner_text() == column(both.page, "summary", 4)[1]


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_a_phone(
    browser: Any,
    folder: Path,
    dark: bool,
) -> None:
    scheme = "dark" if dark else "light"
    with report_page(browser, folder / "one/analysis/comparison.html", color_scheme=scheme, width=360) as both:
        assert serious_violations(both.page) == []  # opens all details
        assert both.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_charts_follow_a_change_between_light_and_dark(seen: Seen) -> None:
    page = seen.page
    read = "Array.from(document.querySelectorAll('.js-plotly-plot'), (plot) => plot.layout.font.color)"
    light = page.evaluate(read)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({read})[0] !== '{light[0]}'")
    assert len(light) == len(page.evaluate(read)) == 8 and not set(light) & set(page.evaluate(read))

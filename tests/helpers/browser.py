"""A real headless Chromium for tests: the fixture `browser`, and pages with all that they complained about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.helpers.requirements import needs_package, needs_program

browser_test = [
    pytest.mark.browser,
    needs_program("chromium", install="apt-get install chromium"),
    needs_package("playwright"),
    needs_package("axe_playwright_python", "pip install axe-playwright-python"),
]


@dataclass
class Seen:
    """A page and everything it complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for one module's tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def opened(browser: Any, url: str, *, width: int = 1200, **context: Any) -> Iterator[Seen]:
    """A new page at `url`; fails at the end if it complained. context: of playwright's new_context."""
    own = browser.new_context(viewport={"width": width, "height": 900}, **context)
    seen = Seen(own.new_page())
    seen.page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("dialog", lambda dialog: (seen.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(url)
    yield seen
    own.close()
    assert seen.complaints == []


def serious_violations(page: Any) -> list[tuple[str, str, list[str]]]:
    """What axe finds that keeps people out: (impact, rule, the first elements), with all details opened."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    violations = Axe().run(page).response["violations"]
    found = [(one["impact"], one["id"], [node["html"][:120] for node in one["nodes"][:2]]) for one in violations]
    return [one for one in found if one[0] in ("serious", "critical")]

"""A headless Chromium, and the pages that it shows."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # pyright: ignore[reportMissingTypeStubs]  it has none
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.patience import PATIENCE

# Nothing of the browser itself may go to the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE_MS = PATIENCE * 1_000
_SERIOUS = ("serious", "critical")
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Where the browser is, if there is one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def launched() -> Generator[Browser]:
    """The browser, running. A test is skipped where there is none.

    A fixture of it has the scope of a module: Playwright runs an event loop on the thread of the tests, and no async
    test could run beside it.
    """
    path = chromium()
    if path is None:
        pytest.skip(f"no Chromium: none of {', '.join(_NAMES)} is on PATH, and CHROMIUM names none")
    with sync_playwright() as playwright:
        expect.set_options(timeout=_PATIENCE_MS)
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=_PATIENCE_MS)
        yield started
        started.close()


def new_page(browser: Browser, **options: Any) -> Page:
    """A page in a context of its own, which waits as long as other tests do."""
    page = browser.new_page(**options)
    page.set_default_timeout(_PATIENCE_MS)
    return page


@dataclass
class Visit:
    """A page, and what its console said."""

    page: Page
    base: str
    said: list[str] = field(default_factory=list[str])

    def go(self, path: str) -> None:
        """Open a page of the dashboard and wait until it stands, with all that its rows load afterwards."""
        # Another hash loads no document. The page before it must not pass for the new one until that is drawn.
        self.page.evaluate("document.querySelector('main')?.setAttribute('aria-busy', 'true')")
        self.page.goto(f"{self.base}/dashboard#/{path}")
        self.stands()

    def stands(self) -> None:
        """Wait until the page is drawn, and no row waits for anything."""
        self.page.wait_for_selector("main:not([aria-busy]) h1")
        self.page.wait_for_function("() => ![...document.querySelectorAll('.slot')].some(e => e.textContent === '…')")


Start = Callable[..., Visit]
"""Opens a page on the server of that base address; see `visits` for what else it takes."""


@contextmanager
def visits(browser: Browser) -> Generator[Start]:
    """Opens pages, and in the end closes them and holds that their consoles stayed clean."""
    opened: list[Visit] = []

    def start(base: str, *, width: int = 1280, **more: Any) -> Visit:
        options: dict[str, Any] = {"viewport": {"width": width, "height": 800}, **more}
        page = new_page(browser, **options)
        started = Visit(page, base)
        page.on("console", lambda message: started.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: started.said.append(str(error)))
        page.on("requestfailed", lambda request: _note_failure(started, request.url, request.failure))
        opened.append(started)
        return started

    yield start
    for visit in opened:
        visit.page.context.close()
    assert [line for visit in opened for line in visit.said] == []


def _note_failure(visit: Visit, url: str, failure: str | None) -> None:
    # What a page no longer needs when it is left is given up by the browser.
    if failure != "net::ERR_ABORTED":
        visit.said.append(f"{url}: {failure}")


def seen(page: Page, selector: str) -> list[str]:
    """The texts of all elements that fit."""
    return page.locator(selector).all_inner_texts()


def faults(page: Page) -> list[str]:
    """What axe finds serious or critical, light and dark. It is brought in from outside the page, past its policy."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[Any] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    return [
        f"{element['id']}: {element['nodes'][0]['html'][:200]}" for element in found if element["impact"] in _SERIOUS
    ]


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

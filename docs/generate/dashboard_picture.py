"""Draws docs/images/dashboard.png, a campaign's page: `python -m docs.generate.dashboard_picture`."""

import tempfile
from datetime import UTC, datetime

from playwright.sync_api import Page, ViewportSize, sync_playwright

from bench import postgres
from docs.generate.regions import PAGES
from tests.support.browser import ARGUMENTS, chromium
from tests.support.dashboard import fill
from tests.support.processes import http_server

_PEOPLE = 1_200
_SIZE: ViewportSize = {"width": 1280, "height": 1236}
_SHARPNESS = 1.5


def main() -> None:
    """Fill a database of its own, serve it, and take the picture."""
    with postgres.database() as database, tempfile.TemporaryDirectory(prefix="sales-picture-") as home:
        scene = fill(database, people=_PEOPLE, now=datetime.now(UTC))
        url = database.engine.url.render_as_string(hide_password=False)
        with http_server(url, "--home", home) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            page = browser.new_page(viewport=_SIZE, device_scale_factor=_SHARPNESS, color_scheme="light")
            _take(page, f"{base}/dashboard#/campaigns/{scene.running}")
            browser.close()


def _take(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("main:not([aria-busy]) h1")
    page.screenshot(path=PAGES / "images" / "dashboard.png")


if __name__ == "__main__":
    main()

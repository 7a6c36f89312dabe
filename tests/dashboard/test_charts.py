"""The charts by themselves, of numbers that no campaign has on an ordinary day."""

from collections.abc import Callable, Generator
from datetime import date, timedelta
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from db.domain.metrics import COUNTERS, intervals, rates
from tests.dashboard.conftest import new_page

Draw = Callable[..., Locator]
Totals = dict[str, int]

_FROM = date(2026, 1, 5)


@pytest.fixture
def page(browser: Browser) -> Generator[Page]:
    web = resources.files("mcp_server.web")
    opened = new_page(browser, viewport={"width": 375, "height": 800})
    opened.set_content(f"<style>{(web / 'charts.css').read_text('utf-8')}</style><main></main>")
    names = "window.charts = { funnel, variants, cohorts };"
    opened.add_script_tag(type="module", content=(web / "charts.js").read_text("utf-8") + names)
    opened.wait_for_function("() => 'charts' in window")  # a module runs when it likes
    yield opened
    opened.close()


@pytest.fixture
def draw(page: Page) -> Draw:
    """Draws a chart of groups (key -> totals), and holds that nothing in it is no number, and that it fits a phone."""

    def drawn(chart: str, groups: dict[str, Totals], **options: Any) -> Locator:
        rows = [
            {"key": key, "totals": totals, "rates": rates(totals), "intervals": intervals(totals)}
            for key, totals in groups.items()
        ]
        metrics = {"groups": rows, "totals": totals_of(), "rates": rates(totals_of()), "comparison": None}
        page.evaluate(
            "([chart, ...given]) => document.querySelector('main').replaceChildren(charts[chart](...given))",
            [chart, metrics, options],
        )
        html = page.locator("main").inner_html()
        assert not [word for word in ("NaN", "Infinity", "undefined", "null", "Invalid") if word in html]
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        return page.locator("main")

    return drawn


def totals_of(**counts: int) -> Totals:
    return dict.fromkeys(COUNTERS, 0) | counts


@pytest.mark.parametrize(
    ("days", "columns"),
    [([0], 1), ([0, 91], 92), ([0, 92], 14), ([0, 399], 58), ([0, 1, 3_000], 143), ([-20_000, 0, 60_000], 182)],
)
def test_each_day_has_its_place_however_long_a_campaign_lasts(draw: Draw, days: list[int], columns: int) -> None:
    chart = draw("cohorts", {str(_FROM + timedelta(days=day)): totals_of(sent=day % 7 + 1) for day in days})
    shown = chart.locator("g[data-day]")
    sent = [int(each or "") for each in shown.evaluate_all("all => all.map(one => one.dataset.sent)")]
    assert (len(sent), sum(sent)) == (columns, sum(day % 7 + 1 for day in days))


def test_days_have_their_year_where_there_are_several(draw: Draw) -> None:
    chart = draw("cohorts", {"2025-12-01": totals_of(sent=1), "2026-02-01": totals_of(sent=1)})
    assert chart.locator(".sa-plot .sa-axis").last.text_content() == "1 Feb 2026"


def test_a_hundred_steps_have_a_panel_each(draw: Draw) -> None:
    steps = {str(number): totals_of(sent=10**9, delivered=10**9, opened=1) for number in range(1, 101)}
    chart = draw("funnel", steps, steps={"1": {"channel": "email", "title": "x" * 998}})
    assert chart.locator(".sa-panel").count() == 100


@pytest.mark.parametrize("chart", ["funnel", "variants", "cohorts"])
def test_where_nothing_was_sent_the_chart_says_so(draw: Draw, chart: str) -> None:
    assert draw(chart, {}).locator(".sa-nothing").count() == 1


def test_a_variant_without_a_number_stands_beside_one_that_has_some(draw: Draw) -> None:
    groups = {"A": totals_of(sent=3, delivered=3, opened=3, replied=1), "B": totals_of(), "": totals_of(sent=1)}
    panel = draw("variants", groups).locator('[data-rate="open_rate"]')
    assert panel.locator(".sa-value").all_text_contents() == ["100\u00a0%", "no data"]

"""The charts by themselves, of numbers that no campaign has on an ordinary day."""

from collections.abc import Callable, Generator
from datetime import date, timedelta
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from db.domain.metrics import COUNTERS, intervals, rates
from db.domain.states import Channel
from tests.support.browser import new_page

Draw = Callable[..., Locator]
MAIL = Channel.EMAIL
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
    """Draws a chart of groups (key -> totals), and checks that it holds no NaN and fits a phone."""

    def drawn(chart: str, groups: dict[str, Totals], channels: dict[str, str] | None = None, **options: Any) -> Locator:
        rows = [
            {"key": key, "totals": totals, "rates": rates(totals, MAIL), "intervals": intervals(totals, MAIL)}
            | {"channel": (channels or {}).get(key, "email")}
            for key, totals in groups.items()
        ]
        metrics = {"groups": rows, "totals": totals_of(), "rates": rates(totals_of(), MAIL), "comparison": None}
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
    sent = [int(shown_value or "") for shown_value in shown.evaluate_all("all => all.map(one => one.dataset.sent)")]
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


def test_shares_name_what_they_are_of_and_agree_with_the_rates(draw: Draw) -> None:
    totals = totals_of(sent=200, delivered=100, opened=50, clicked=25, replied=10)
    panel = draw("funnel", {"1": totals}).locator(".sa-panel")
    values = [" ".join(text.split()) for text in panel.locator(".sa-value").all_text_contents()]
    assert values == [
        "200",
        "100 50.0 % of sent",
        "50 50.0 % of delivered",
        "25 25.0 % of delivered",
        "10 10.0 % of delivered",
    ]
    assert rates(totals, MAIL)["reply_rate"] == 0.1


def test_a_linkedin_step_is_drawn_as_one_by_its_channel(draw: Draw) -> None:
    panel = draw("funnel", {"1": totals_of(sent=4)}, channels={"1": "linkedin"}).locator(".sa-panel")
    assert panel.locator("g[data-stage]").evaluate_all("all => all.map(one => one.dataset.stage)") == [
        "sent",
        "accepted",
        "replied",
    ]


def test_a_send_that_was_rejected_is_not_told_as_nothing(draw: Draw) -> None:
    panel = draw("funnel", {"1": totals_of(failed=3)}).locator(".sa-panel")
    assert panel.locator(".sa-losses").text_content() == "3 failed"


@pytest.mark.parametrize(
    ("opened", "text"),
    [(0, "0\u00a0%"), (1, "<\u00a00.01\u00a0%"), (99_999, ">\u00a099.9\u00a0%"), (100_000, "100\u00a0%")],
)
def test_rounding_makes_neither_all_nor_nothing_of_what_is_not(draw: Draw, opened: int, text: str) -> None:
    groups = {"1": totals_of(sent=100_000, delivered=100_000, opened=opened)}
    shown = draw("funnel", groups).locator('[data-stage="opened"] .sa-value').text_content()
    assert shown is not None
    assert shown.endswith(f"{text} of delivered")


def test_a_variant_may_be_called_none(draw: Draw) -> None:
    groups = {name: totals_of(sent=3, delivered=3, opened=1) for name in ("None", "B")}
    panel = draw("variants", groups).locator('[data-rate="open_rate"]')
    assert panel.locator("[data-variant]").evaluate_all("all => all.map(one => one.dataset.variant)") == ["None", "B"]

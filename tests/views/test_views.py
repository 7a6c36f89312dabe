"""The views in a real browser, in a host that speaks the protocol and passes what the real server answers."""

from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # pyright: ignore[reportMissingTypeStubs]  it has none
from playwright.sync_api import expect

from db.domain.metrics import COUNTERS, rates
from db.domain.states import Channel
from mcp_server import __version__
from tests.support.dashboard import HOSTILE
from tests.support.views import Answer, Backend, Show, Shown

_SERIOUS = ("serious", "critical")


def faults(at: Shown) -> list[str]:
    """What axe finds serious or critical inside the view."""
    at.evaluate(AXE_SCRIPT)
    found: list[Any] = at.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:200]}"
        for violation in found
        if violation["impact"] in _SERIOUS
    ]


def text_of(at: Shown) -> str:
    return at.view.locator("main").inner_text()


def colour(at: Shown, name: str) -> str:
    return at.evaluate(f"getComputedStyle(document.body).{name}")


def test_the_hands_are_shaken_as_the_protocol_says(show: Show) -> None:
    at = show("get_metrics")
    (hello,) = at.received("ui/initialize")
    assert hello["jsonrpc"] == "2.0"
    assert hello["params"] == {
        "protocolVersion": "2026-01-26",
        "appInfo": {"name": "get_metrics", "version": __version__},
        "appCapabilities": {"availableDisplayModes": ["inline"]},
    }
    methods = [message["method"] for message in at.page.evaluate("host.received")]
    assert methods[:2] == ["ui/initialize", "ui/notifications/initialized"]
    assert "Waiting for the answer" in text_of(at)
    assert at.answer_to("ping")["result"] == at.answer_to("ui/resource-teardown")["result"] == {}
    assert at.answer_to("unheard/of")["error"]["code"] == -32601


def test_the_metrics_show_what_the_tool_answered(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    answer = at.answered(campaign_id=str(backend.scene.running))
    for name in ("delivered", "opened", "replied", "bounced"):
        number = at.view.locator(f'[data-figure="{name}"] dd').inner_text()
        assert number.replace(",", "") == str(answer["totals"][name])  # without a rate, which would mix both channels
    first = at.view.locator("[data-figure]")
    for index, channel in enumerate(answer["channels"]):
        assert first.nth(index).get_attribute("data-figure") == f"reply_rate_{channel['key']}"
        shown = first.nth(index).locator("dd").inner_text().split()[0]
        assert float(shown) == pytest.approx(channel["rates"]["reply_rate"] * 100, abs=0.06)
    assert answer["totals"]["sent"] > 0
    enrolled = at.view.locator('[data-figure="enrolled"] dd')
    assert int(enrolled.inner_text()) == answer["enrolled"]
    for funnel, channel in zip(at.view.locator(".sa-funnel").all(), answer["channels"], strict=True):
        bars = funnel.locator("g[data-stage]").all()
        stages = {bar.get_attribute("data-stage"): int(bar.get_attribute("data-value") or "") for bar in bars}
        assert stages == {stage: channel["totals"][stage] for stage in stages}
        assert "replied" in stages


@pytest.mark.parametrize(("channel", "whole"), [("email", "delivered"), ("linkedin", "sent")])
def test_the_reply_rate_of_one_channel_stands_first_with_what_it_is_of(show: Show, channel: str, whole: str) -> None:
    totals = {**dict.fromkeys(COUNTERS, 0), "sent": 40, whole: 40, "replied": 4}
    answer: Answer = {
        "campaign_id": str(uuid4()), "enrolled": 40, "enrollment_status": {"active": 40}, "totals": totals,
        "rates": rates(totals, Channel(channel)), "groups": [],
    }  # fmt: skip
    at = show("get_metrics")
    at.give({"content": [], "structuredContent": answer})
    first = at.view.locator("[data-figure]").first
    assert (first.get_attribute("data-figure"), first.inner_text().split("\n")[0]) == ("reply_rate", "Reply rate")
    assert first.locator("dd").inner_text().replace("\u00a0", " ").split("\n") == ["10.0 %", f"of {whole}"]


def test_another_grouping_is_asked_of_the_server_and_drawn(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    given = {"campaign_id": str(backend.scene.running), "since": "2020-01-01"}
    at.answered(**given)
    for name, found in (
        ("Step", ".sa-funnel .sa-panel"),
        ("Variant", "[data-variant]"),
        ("Channel", ".sa-funnel"),
        ("Day", "g[data-day]"),
    ):
        button = at.view.get_by_role("button", name=name)
        button.focus()
        at.page.keyboard.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(button).to_be_focused()
        assert at.view.locator("button[aria-pressed=true]").count() == 1
        arguments = {**given, "group_by": name.lower()}
        assert at.calls[-1] == {"name": "get_metrics", "arguments": arguments}
        answer = backend.call("get_metrics", arguments)["structuredContent"]
        if name != "Day":
            assert at.view.locator(found).count() >= len(answer["groups"]) > 1
        assert at.view.locator(found).count() >= len(answer["groups"])
        assert faults(at) == [], name
        assert at.evaluate("document.documentElement.scrollWidth <= innerWidth")
    columns = at.view.locator("g[data-day]").all()
    days = {column.get_attribute("data-day"): int(column.get_attribute("data-sent") or "") for column in columns}
    sent = {group["key"]: group["totals"]["sent"] for group in answer["groups"]}
    assert {day: count for day, count in days.items() if count} == sent


def test_a_refused_call_leaves_what_was_shown_and_says_why(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    at.answered(campaign_id=str(backend.scene.running))
    bars = at.view.locator("g[data-stage]").count()
    refusal = {"error": {"code": -1, "message": "<b>Not now</b>"}}
    at.page.evaluate("refusal => { host.take = function ({ id }) { this.send({ id, ...refusal }); }; }", refusal)
    at.view.get_by_role("button", name="Day").click()
    expect(at.view.get_by_role("alert")).to_have_text("<b>Not now</b>")
    assert at.view.locator("g[data-stage]").count() == bars
    expect(at.view.get_by_role("button", name="Total")).to_have_attribute("aria-pressed", "true")


def test_without_a_way_to_the_server_there_is_nothing_to_press(show: Show, backend: Backend) -> None:
    at = show("get_metrics", capabilities={})
    at.answered(campaign_id=str(backend.scene.running), group_by="variant")
    assert at.view.locator("[data-variant]").count() > 1
    assert at.view.get_by_role("button").count() == 0


@pytest.mark.parametrize("state", ["running", "draft"])
def test_what_is_due_is_explained_and_asked_again(show: Show, backend: Backend, state: str) -> None:
    at = show("explain_due")
    given = {"campaign_id": str(getattr(backend.scene, state))}
    answer = at.answered(**given)
    assert [hold["detail"] for hold in answer["holds"]] == at.view.locator(".sa-detail").all_inner_texts()
    assert ("Due now" in text_of(at)) is answer["due"]
    times = [time.get_attribute("datetime") for time in at.view.locator(".sa-until time").all()]
    assert times == [hold["until"] for hold in answer["holds"] if "until" in hold]
    assert faults(at) == []
    at.view.get_by_role("button", name="Refresh").click()
    expect(at.view.locator("main")).not_to_have_attribute("aria-busy", "true")
    assert at.calls == [{"name": "explain_due", "arguments": given}]


def test_a_step_that_waits_says_until_when(show: Show) -> None:
    at = show("explain_due")
    until = "2031-11-02T09:00:00Z"
    hold = {"reason": "step_delay", "detail": "The step waits for its delay.", "until": until}
    at.give({"content": [], "structuredContent": {"due": False, "next_at": until, "holds": [hold]}})
    assert at.view.locator(".sa-until time").get_attribute("datetime") == until
    assert "Waiting" in text_of(at)


def test_the_theme_and_the_colours_of_the_host_are_followed(show: Show, backend: Backend) -> None:
    at = show("get_metrics", context={"theme": "dark"})
    at.answered(campaign_id=str(backend.scene.running))
    dark = colour(at, "backgroundColor")
    assert faults(at) == []
    at.notify("host-context-changed", theme="light")
    assert at.evaluate("document.documentElement.dataset.theme") == "light"
    assert colour(at, "backgroundColor") not in (dark, "rgb(1, 2, 3)")
    at.notify("host-context-changed", styles={"variables": {"--color-background-primary": "rgb(1, 2, 3)"}})
    assert colour(at, "backgroundColor") != "rgb(1, 2, 3)", "a ground without a text may hide ours"
    variables = {"--color-text-primary": "rgb(250, 250, 250)", "--font-sans": "monospace", "color": "red"}
    at.notify("host-context-changed", styles={"variables": variables})
    assert colour(at, "backgroundColor") == "rgb(1, 2, 3)"
    assert colour(at, "color") == "rgb(250, 250, 250)"
    assert at.evaluate("getComputedStyle(document.querySelector('main')).fontFamily") == "monospace"


@pytest.mark.parametrize("width", [320, 720])
def test_the_host_is_told_how_high_the_view_is(show: Show, backend: Backend, width: int) -> None:
    at = show("get_metrics", width=width)
    at.answered(campaign_id=str(backend.scene.running), group_by="step")
    at.page.wait_for_function("""() => {
        const sizes = host.received.filter(one => one.method === 'ui/notifications/size-changed');
        return sizes.length > 1 && sizes.at(-1).params.height > 300;
    }""")
    height = at.received("ui/notifications/size-changed")[-1]["params"]["height"]
    assert height == at.evaluate("Math.ceil(document.documentElement.getBoundingClientRect().height)")
    assert at.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_hostile_stays_text(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    answer = backend.call("get_metrics", {"campaign_id": str(backend.scene.running), "group_by": "variant"})
    for group in answer["structuredContent"]["groups"]:
        group["key"] = HOSTILE + group["key"]
    for group_by in ("variant", "step", "channel"):
        at.give(answer, group_by=group_by)
        assert HOSTILE in (at.view.locator("main").text_content() or ""), group_by
    hold = {"reason": HOSTILE, "detail": HOSTILE}
    other = show("explain_due")
    other.give({"content": [], "structuredContent": {"due": False, "holds": [hold]}})
    failed = show("explain_due")
    failed.give({"content": [{"type": "text", "text": HOSTILE}], "isError": True})
    expect(failed.view.get_by_role("alert")).to_have_text(HOSTILE)
    for view in (at, other, failed):
        assert view.view.locator("main img, main script, main style, main iframe").count() == 0
        assert view.evaluate("document.title") != "owned"


def test_a_failed_call_a_cancelled_one_and_a_useless_answer_say_so(show: Show, backend: Backend) -> None:
    failed = show("get_metrics")
    failed.give(backend.call("get_metrics", {"campaign_id": str(backend.scene.hostile_enrollment)}))
    expect(failed.view.get_by_role("alert")).to_contain_text("list_campaigns")
    cancelled = show("get_metrics")
    cancelled.notify("tool-cancelled", reason="user action")
    expect(cancelled.view.get_by_role("status")).to_have_text("The call was cancelled: user action")
    useless: list[Shown] = []
    answers: list[Answer] = [{"content": []}, {"content": [], "structuredContent": {"unheard": "of"}}]
    for answer in answers:
        useless.append(show("get_metrics"))
        useless[-1].give(answer)
        expect(useless[-1].view.get_by_role("alert")).to_contain_text("can't be shown")
    for view in (failed, cancelled, *useless):
        assert view.view.locator("main[aria-busy]").count() == 0


def test_a_host_that_passes_the_text_alone_is_served_too(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    result = backend.call("get_metrics", {"campaign_id": str(backend.scene.running)})
    sent = result.pop("structuredContent")["totals"]["sent"]
    at.give(result)
    by_channel = at.view.locator('g[data-stage="sent"]')
    expect(by_channel).to_have_count(2)
    assert sum(int(stage.get_attribute("data-value") or 0) for stage in by_channel.all()) == sent


def test_messages_of_other_windows_are_ignored(show: Show, backend: Backend) -> None:
    at = show("get_metrics")
    forged = {"jsonrpc": "2.0", "method": "ui/notifications/tool-cancelled", "params": {"reason": "forged"}}
    at.page.frames[1].evaluate("message => window.postMessage(message, '*')", forged)
    old = {**forged, "jsonrpc": "1.0"}
    for noise in ("text", None, old, {"jsonrpc": "2.0", "id": 99}):
        at.page.evaluate("noise => host.frame.contentWindow.postMessage(noise, '*')", noise)
    at.notify("unheard-of")
    expect(at.view.get_by_role("status")).to_have_text("Waiting for the answer …")
    at.answered(campaign_id=str(backend.scene.running))

"""The dashboard in a real browser: what it shows is right, harmless, reachable by keyboard, and legible to all."""

import re
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from db.domain.metrics import GroupBy
from db.local.store import LocalStore
from db.postgres.database import Database
from db.services.ops import tickets
from db.services.reports import metrics, overview
from db.services.reports.metrics import Report
from mcp_server.http.sessions import link
from tests.support.browser import Start, Visit, faults, fits, seen
from tests.support.dashboard import HOSTILE, LONG, RIGHT_TO_LEFT, Site
from tests.support.databases import empty
from tests.support.patience import PATIENCE
from tests.support.processes import TOKEN, http_server

PAGES = ("campaigns", "due", "inbox", "events", "orphans", "jobs", "suppressions", "health")
WIDTHS = {"desk": 1280, "tablet": 1000, "phone": 375}


@pytest.mark.parametrize("look", WIDTHS)
def test_every_page_is_accessible_fits_its_screen_and_leaves_the_console_clean(
    site: Site, visit: Start, look: str
) -> None:
    width = WIDTHS[look]
    at = visit(site.base, width=width)
    one = f"campaigns/{site.scene.running}"
    for path in (*PAGES, one, f"campaigns/{site.scene.hostile}", f"enrollments/{site.scene.hostile_enrollment}"):
        at.go(path)
        assert faults(at.page) == [], path
        assert fits(at.page), path
        if look == "phone":
            at.page.set_viewport_size({"width": 320, "height": 640})
            assert fits(at.page), path
            at.page.set_viewport_size({"width": width, "height": 800})


def report(site: Site, by: GroupBy) -> Report:
    return site.database.run(
        "report",
        lambda session: metrics.report(session, campaign_id=site.scene.running, group_by=by, since=None, until=None),
    )


def test_the_funnel_shows_the_counts_of_get_metrics(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    stages = {1: "sent delivered opened clicked replied", 2: "sent accepted replied"}
    for number, group in enumerate(report(site, GroupBy.STEP).groups):
        panel = at.page.locator(".sa-funnel .sa-panel").nth(number)
        bars = panel.locator("g[data-stage]")
        shown = {bar.get_attribute("data-stage"): int(bar.get_attribute("data-value") or "") for bar in bars.all()}
        wanted = stages.get(int(group.key), stages[1]).split()
        assert shown == {stage: group.totals[stage] for stage in wanted}
        label = panel.locator("svg").get_attribute("aria-label") or ""
        assert f"sent {group.totals['sent']}" in label
        width = bars.nth(1).locator("rect").nth(1).get_attribute("width") or "0%"
        second = wanted[1]
        assert float(width.rstrip("%")) == pytest.approx(100 * group.totals[second] / group.totals["sent"], abs=1)


def test_the_reply_rates_stand_before_all_other_figures(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    first, second = (text.replace("\u00a0", " ") for text in seen(at.page, ".tile")[:2])
    email, linkedin = (group.rates["reply_rate"] for group in report(site, GroupBy.CHANNEL).groups)
    assert first.startswith("Reply rate, email")
    assert second.startswith("Reply rate, LinkedIn")
    for rate, whole, shown in ((email, "delivered", first), (linkedin, "sent", second)):
        said, _, of = shown.partition("\n")[2].partition(" % ")
        assert (float(said) / 100, of) == (pytest.approx(rate, abs=0.0006), f"of {whole}")


def test_variants_stand_where_their_rates_and_intervals_are(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    groups = {group.key: group for group in report(site, GroupBy.VARIANT).groups if group.key}
    panel = at.page.locator('.sa-variants [data-rate="open_rate"]')
    top = float((panel.locator(".sa-axis").last.text_content() or "").replace("%", "")) / 100
    for name, group in groups.items():
        lane = panel.locator(f'[data-variant="{name}"]')
        rate, interval = group.rates["open_rate"], group.intervals["open_rate"]
        assert rate is not None
        assert interval is not None
        assert float(lane.get_attribute("data-value") or "") == rate
        whisker = lane.locator("line").first
        ends = [float((whisker.get_attribute(end) or "").rstrip("%")) / 100 * top for end in ("x1", "x2")]
        assert ends == pytest.approx(list(interval), abs=0.001)


def test_cohort_days_show_what_was_sent_on_each(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    columns = at.page.locator(".sa-cohorts g[data-day]").all()
    shown = {column.get_attribute("data-day"): int(column.get_attribute("data-sent") or "") for column in columns}
    sent = {group.key: group.totals["sent"] for group in report(site, GroupBy.DAY).groups}
    assert {day: count for day, count in shown.items() if count} == sent
    assert len(shown) > len(sent), "days without a step have a place too"


def test_each_chart_has_its_numbers_as_a_table(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    for chart, by in (("funnel", GroupBy.STEP), ("cohorts", GroupBy.DAY)):
        at.page.locator(f".sa-{chart} summary").click()
        rows = at.page.locator(f".sa-{chart} tbody tr")
        sent = [int(row.locator("td").first.inner_text().replace(",", "")) for row in rows.all()]
        assert [count for count in sent if count] == [group.totals["sent"] for group in report(site, by).groups]


def test_campaigns_show_their_state_progress_and_what_comes_next(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("campaigns")
    row = at.page.get_by_role("row").filter(has_text="Partners in Iberia")
    assert "Draft" in row.inner_text()
    assert "not started" in row.inner_text()
    running = at.page.get_by_role("row").filter(has_text="Support leads, autumn")
    statuses = report(site, GroupBy.TOTAL).enrollment_status
    label = running.locator(".progress svg").get_attribute("aria-label") or ""
    assert {part.split()[1]: int(part.split()[0]) for part in label.split(", ")} == {
        str(status): count for status, count in statuses.items() if count
    }
    untouched = at.page.locator(".progress").filter(has_text="0 of ").filter(has_not_text=re.compile(r"\d0 of "))
    assert untouched.count() > 0
    assert untouched.locator("rect").count() == 0, "nobody is done, so the bar is empty"
    ended = {status: n for status, n in statuses.items() if n and status not in ("active", "enrolled", "paused")}
    bar = running.locator(".progress rect").all()
    assert {part.get_attribute("class"): float((part.get_attribute("width") or "").rstrip("%")) for part in bar} == {
        f"status-{status}": pytest.approx(100 * n / sum(statuses.values())) for status, n in ended.items()
    }
    at.page.get_by_label("State").select_option("draft")
    expect(at.page.locator("tbody tr")).to_have_count(1)
    at.page.get_by_label("State").select_option("")
    at.page.get_by_label("Name or id starts with").fill("support")
    expect(at.page.locator("tbody tr")).to_have_count(1)
    at.page.get_by_label("Name or id starts with").fill("nobody's")
    expect(at.page.get_by_text("No campaign fits")).to_be_visible()


def test_a_draft_says_nothing_of_variants_that_were_not_sent_yet(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.draft}")
    assert "Nothing was sent yet" in at.page.locator("main").inner_text()
    assert at.page.get_by_text("Variants").count() == 0


def show_everybody(at: Visit) -> None:
    """Press the button under the queue until nobody is left."""
    rows, more = at.page.locator("tbody tr"), at.page.get_by_role("button", name="Show more people")
    while more.is_visible():
        before = rows.count()
        more.press("Enter")
        expect(rows).not_to_have_count(before)
        expect(at.page.locator("#announcer")).to_have_text(f"{rows.count() - before} more people")


def test_the_queue_says_who_comes_next_and_what_each_waits_for(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("due")
    first = at.page.locator("tbody tr")
    expect(first).to_have_count(20)
    assert all("step" in text for text in seen(at.page, ".sa-state"))
    expect(at.page.get_by_role("button", name="Show more people")).to_be_visible()
    show_everybody(at)
    expect(at.page.get_by_role("table", name="Queue")).to_be_focused()
    at.stands()
    people = seen(at.page, "tbody tr td:first-child")
    assert len(people) == len(set(people))


def test_what_the_queue_says_is_what_explain_due_answers(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    (row,) = site.database.run(
        "first", lambda session: overview.waiting(session, campaign_id=site.scene.running, limit=1, cursor=None).rows
    )
    asked = {"enrollment_id": str(row.enrollment_id)}
    explained = httpx.get(f"{site.base}/dashboard/api/explain", params=asked, timeout=PATIENCE).json()
    shown = at.page.get_by_role("table", name="Queue").locator("tbody tr").first
    assert [hold["reason"] for hold in explained["holds"]] == [
        element.get_attribute("data-reason") for element in shown.locator("[data-reason]").all()
    ]
    assert all(hold["detail"] in shown.inner_text() for hold in explained["holds"])
    assert ("Due now" in shown.inner_text()) is explained["due"]


def test_jobs_show_how_far_they_are(site: Site, visit: Start) -> None:
    store = LocalStore.open(site.home, synchronous="NORMAL")
    try:
        store.jobs.create(type="import", parameters={}, now=site.now)
        claimed = store.jobs.claim(worker_id="w", lease_seconds=3600, now=site.now)
        assert claimed is not None
        store.jobs.create(type="discovery", parameters={}, now=site.now)
        done = {"rows_done": 250, "rows_total": 1000}
        store.jobs.heartbeat(claimed.id, claimed.lease_token, progress=done, now=site.now)
    finally:
        store.close()
    at = visit(site.base)
    at.go("jobs")
    row = at.page.get_by_role("row").filter(has_text=claimed.id)
    assert "250 of 1,000" in row.inner_text()
    assert row.get_by_role("progressbar").evaluate("bar => bar.position") == 0.25
    at.page.get_by_label("State").select_option("processing")
    expect(at.page.locator("tbody tr")).to_have_count(1)


def test_health_shows_the_figures_of_get_health(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("health")
    told = httpx.get(f"{site.base}/dashboard/api/health", timeout=PATIENCE).json()
    shown = dict(zip(seen(at.page, ".tile dt"), seen(at.page, ".tile dd"), strict=True))
    assert shown["Database"] == "Ok"
    assert shown["Orphans waiting"] == str(told["orphans_waiting"]) == "1"
    assert shown["Connections in use"].endswith(f" of {told['pool']['limit']}")
    facts = dict(zip(seen(at.page, ".facts dt"), seen(at.page, ".facts dd"), strict=True))
    assert {name.title(): str(count) for name, count in told["jobs"].items()}.items() <= facts.items()


def test_an_orphan_says_why_it_waits_and_an_address_why_it_is_never_written_to(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("orphans")
    (orphan,) = httpx.get(f"{site.base}/dashboard/api/orphans", timeout=PATIENCE).json()["orphans"]
    row = at.page.locator("tbody tr")
    assert [row.locator(f'[data-name="{name}"]').inner_text() for name in ("State", "Provider", "Why it waits")] == [
        "Waiting", "demo", orphan["reason"],
    ]  # fmt: skip
    at.page.get_by_label("State").select_option("expired")
    expect(at.page.get_by_text("Every event fits")).to_be_visible()
    at.go("suppressions")
    row = at.page.locator("tbody tr").filter(has_text="no-thanks@example.com")
    assert [row.locator(f'[data-name="{name}"]').inner_text() for name in ("Reason", "Until")] == ["Manual", "for good"]
    at.page.get_by_label("Reason").select_option("unsubscribed")
    expect(row).to_have_count(0)
    at.page.get_by_label("Reason").select_option("")
    at.page.get_by_label("Address contains").fill("no-thanks")
    expect(at.page.locator("tbody tr")).to_have_count(1)


def test_hostile_names_stay_text(site: Site, visit: Start) -> None:
    at = visit(site.base)
    names = (HOSTILE, RIGHT_TO_LEFT, LONG[:150])
    for path in ("campaigns", "due", f"campaigns/{site.scene.hostile}", "orphans", "suppressions", "events"):
        at.go(path)
        show_everybody(at)
        text = at.page.locator("main").inner_text()
        assert any(name in text for name in names), path
        assert at.page.locator("main img, main script, main style, main iframe").count() == 0
        assert "owned" not in at.page.title() or HOSTILE[:40] in at.page.title()
    # A mark that turns the text around ends with the element that holds it.
    at.go("due")
    show_everybody(at)
    isolated = at.page.locator("bdi", has_text=RIGHT_TO_LEFT).first
    assert isolated.evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"


WRITTEN = text("""
    WITH made AS (
        INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, action_id, subject, occurred_at)
        SELECT gen_random_uuid(), 'out', channel, instance_id, enrollment_id, id, :words, now()
        FROM campaign_actions WHERE enrollment_id = :enrollment AND step_number = 1 RETURNING id
    )
    INSERT INTO message_bodies (message_id, body) SELECT id, :words FROM made
""")


def test_a_step_shows_the_words_that_were_handed_out_as_text(site: Site, visit: Start) -> None:
    with site.database.transaction("words") as session:
        session.execute(WRITTEN, {"enrollment": site.scene.hostile_enrollment, "words": HOSTILE + RIGHT_TO_LEFT})
    at = visit(site.base)
    at.go(f"enrollments/{site.scene.hostile_enrollment}")
    row = at.page.get_by_role("table", name="Steps").get_by_role("row").filter(has_text="1, email")
    assert row.locator("summary").inner_text() == HOSTILE + RIGHT_TO_LEFT
    row.locator("summary").click()
    assert row.locator("pre").text_content() == HOSTILE + RIGHT_TO_LEFT
    assert at.page.locator("main img").count() == 0
    assert faults(at.page) == []
    assert fits(at.page)


def test_it_is_used_with_the_keyboard_alone(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("campaigns")
    focused = "document.activeElement.textContent"
    at.page.keyboard.press("Tab")
    assert at.page.evaluate(focused) == "Skip to the content"
    at.page.keyboard.press("Enter")
    assert at.page.evaluate("document.activeElement.id") == "main"
    at.page.get_by_role("link", name="Due").focus()
    at.page.keyboard.press("Enter")
    expect(at.page.get_by_role("heading", name="Due", level=1)).to_be_focused()
    expect(at.page.get_by_role("link", name="Due")).to_have_attribute("aria-current", "page")
    assert at.page.locator("nav [aria-current]").count() == 1
    assert at.page.title().startswith("Due")
    at.page.go_back()
    expect(at.page.get_by_role("heading", name="Campaigns")).to_be_focused()


def test_on_a_phone_the_menu_opens_and_closes(site: Site, visit: Start) -> None:
    at = visit(site.base, width=375)
    at.go("campaigns")
    menu = at.page.get_by_role("button", name="Menu")
    expect(at.page.get_by_role("link", name="Health")).to_be_hidden()
    menu.click()
    at.page.get_by_role("link", name="Health").click()
    expect(at.page.get_by_role("heading", name="Health")).to_be_visible()
    expect(menu).to_have_attribute("aria-expanded", "false")
    menu.click()
    at.page.keyboard.press("Escape")
    expect(menu).to_be_focused()


def test_a_browser_is_signed_in_by_a_link_once_and_signs_out(
    site: Site, postgres: str, visit: Start, tmp_path: Path
) -> None:
    key = site.database.run("key", tickets.make_key)
    with http_server(postgres, "--home", str(tmp_path), SALES_AUTOMATION_TOKEN=TOKEN) as base:
        at, other = visit(base), visit(base)
        at.page.goto(f"{base}/dashboard")
        expect(at.page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert f"sales-automation-mcp dashboard --url {base}" in at.page.locator("main").inner_text()
        assert faults(at.page) == []
        at.said.clear()  # the browser notes each refusal
        address = link(base, key, datetime.now(UTC))
        at.page.goto(address)
        at.stands()
        assert at.page.url == f"{base}/dashboard"
        expect(at.page.get_by_text("Support leads, autumn")).to_be_visible()
        assert at.page.evaluate("document.cookie") == ""
        other.page.goto(address)
        expect(other.page.get_by_role("heading", name="This link does not sign in")).to_be_visible()
        assert faults(other.page) == []
        other.said.clear()
        at.page.get_by_role("button", name="Sign out").click()
        expect(at.page.get_by_role("heading", name="Sign in")).to_be_visible()
        at.said.clear()


def test_a_page_that_does_not_exist_says_so(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("nowhere")
    expect(at.page.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_server_without_data_says_what_to_do_next(
    migrated: Database, postgres: str, visit: Start, tmp_path: Path
) -> None:
    empty(migrated)
    with http_server(postgres, "--home", str(tmp_path), "--read-only", "--toolsets", "cache") as base:
        at = visit(base)
        for path, text in (
            ("campaigns", "create_campaign"),
            ("due", "start_campaign"),
            ("events", "record_event"),
            ("inbox", "Nobody waits for an answer"),
            ("orphans", "Every event fits"),
            ("jobs", "create_job"),
            ("suppressions", "suppress"),
            ("health", "No call yet"),
        ):
            at.go(path)
            assert text in at.page.locator("main").inner_text(), path
        assert faults(at.page) == []

"""The list of events in a real browser: it follows what happens, and leaves nothing out."""

from datetime import timedelta

from playwright.sync_api import Page, expect

from db.domain.events import EventType
from db.services.reports import overview
from tests.support.browser import Start, seen
from tests.support.campaigns import record
from tests.support.dashboard import Site, event


def test_new_events_appear_by_themselves_and_wait_while_paused(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("events")
    expect(at.page.get_by_text("Live", exact=True)).to_be_visible()
    before = at.page.locator(".feed li").count()
    happen(site, EventType.CLICKED, 1)
    expect(at.page.locator(".feed li")).to_have_count(before + 1)
    expect(at.page.locator(".feed li").first).to_contain_text("Clicked")
    at.page.get_by_role("button", name="Pause").click()
    happen(site, EventType.REPLIED, 2)
    expect(at.page.get_by_role("button", name="Resume (1)")).to_be_visible()
    assert at.page.locator(".feed li").count() == before + 1
    at.page.get_by_role("button", name="Resume (1)").click()
    expect(at.page.locator(".feed li").first).to_contain_text("Replied")
    at.page.get_by_label("Kind").select_option("clicked")
    assert set(seen(at.page, ".feed li:visible .badge")) == {"Clicked"}


def happen(site: Site, kind: EventType, seconds: int, times: int = 1) -> None:
    one = event(kind, site.scene.hostile_enrollment, 1, site.now + timedelta(seconds=seconds))
    record(site.database, *[one] * times)


def be_seen(page: Page, *, is_seen: bool) -> None:
    """Bring the tab to the front, or put it behind another."""
    page.evaluate(
        "isHidden => { Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        not is_seen,
    )


def test_more_than_a_page_of_events_behind_ones_back_leaves_no_gap(site: Site, visit: Start) -> None:
    at, beside = visit(site.base), visit(site.base)
    for happened in (at, beside):
        happened.go("events")
        expect(happened.page.get_by_text("Live", exact=True)).to_be_visible()
    be_seen(at.page, is_seen=False)
    happen(site, EventType.OPENED, 3, times=80)
    wanted = site.database.run("look", lambda session: overview.latest(session, limit=100))
    # What another page has been told is no longer new to the server: who comes back must read it.
    expect(beside.page.locator(".feed li").first).to_have_attribute("data-id", str(wanted[0].id))
    be_seen(at.page, is_seen=True)
    lines = at.page.locator(".feed li")
    expect(lines.first).to_have_attribute("data-id", str(wanted[0].id))
    for count in (50, 100):
        expect(lines).to_have_count(count)
        shown = lines.evaluate_all("all => all.map(one => one.dataset.id)")
        assert shown == [str(happened.id) for happened in wanted[:count]]
        at.page.get_by_role("button", name="Show older events").click()


def test_a_paused_list_of_one_campaign_holds_still_and_counts_its_own_events(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"campaigns/{site.scene.running}")
    expect(at.page.get_by_text("Live", exact=True)).to_be_visible()
    before = at.page.locator(".feed li").evaluate_all("all => all.map(one => one.dataset.id)")
    at.page.get_by_role("button", name="Pause").click()
    (other,) = site.database.run(
        "first", lambda session: overview.waiting(session, campaign_id=site.scene.running, limit=1, cursor=None).rows
    )
    happen(site, EventType.CLICKED, 4)
    record(site.database, event(EventType.OPENED, other.enrollment_id, 1, site.now))
    expect(at.page.get_by_role("button", name="Resume (1)")).to_be_visible()
    for is_seen in (False, True):
        be_seen(at.page, is_seen=is_seen)
    expect(at.page.get_by_text("Live", exact=True)).to_be_visible()
    assert at.page.locator(".feed li").evaluate_all("all => all.map(one => one.dataset.id)") == before
    at.page.get_by_role("button", name="Resume (1)").click()
    expect(at.page.locator(".feed li")).to_have_count(len(before) + 1)

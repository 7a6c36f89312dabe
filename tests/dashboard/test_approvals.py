"""The queue of drafts in a real browser: a person decides with the keyboard, and sees what they decide on."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from playwright.sync_api import expect

from db.models import ActionDraft
from db.services.consent import drafts
from db.services.ops import tickets
from mcp_server.http.sessions import link
from tests.support.browser import Start, Visit, faults, fits
from tests.support.dashboard import HOSTILE, Site
from tests.support.drafts import asking, statuses, write
from tests.support.steps import run_sql

LONG = "word" * 3_000


@pytest.fixture
def queue(site: Site) -> list[ActionDraft]:
    """Four drafts, the oldest first; the third is hostile."""
    run_sql(site.database, "DELETE FROM action_drafts")
    _, people = asking(site.database, people=4, start_at=site.now - timedelta(hours=1))
    bodies = ["Hello Bob, the first", "The second", f"{HOSTILE} \u202egnp.exe {LONG}", "The fourth"]
    return [write(site.database, one, body, now=site.now) for one, body in zip(people, bodies, strict=True)]


def signed_in(site: Site, visit: Start) -> Visit:
    key = site.database.run("key", tickets.make_key)
    at = visit(site.base)
    at.page.goto(link(site.base, key, datetime.now(UTC)))
    at.go("approvals")
    return at


def of(queue: list[ActionDraft], at: Visit) -> list[int]:
    """Which of the drafts the page shows, in its order."""
    ids = [str(draft.id) for draft in queue]
    return [ids.index(item.get_attribute("data-id") or "") for item in at.page.locator(".queue > li").all()]


def test_a_person_goes_through_the_queue_with_four_keys(site: Site, queue: list[ActionDraft], visit: Start) -> None:
    at = signed_in(site, visit)
    assert of(queue, at) == [0, 1, 2, 3]
    keys = at.page.keyboard
    item = at.page.locator(".queue > li")
    keys.press("j")
    expect(item.nth(0)).to_be_focused()
    expect(item.nth(0)).to_contain_text("it greets Bob")
    keys.press("j")
    keys.press("k")
    keys.press("j")
    expect(item.nth(1)).to_be_focused()
    keys.press("a")
    expect(item).to_have_count(3)
    expect(at.page.locator(f'[data-id="{queue[2].id}"]')).to_be_focused()
    keys.press("k")
    keys.press("r")
    reason = at.page.get_by_label("What is wrong with it")
    expect(reason).to_be_focused()
    keys.type("jark")  # letters, where somebody types
    keys.press("Escape")
    expect(item.nth(0)).to_be_focused()
    keys.press("r")
    expect(reason).to_have_value("jark")
    at.page.get_by_label("Then").select_option("skip")
    at.page.get_by_role("button", name="Reject it").click()
    expect(item).to_have_count(2)
    expect(at.page.locator("#announcer")).to_contain_text("Rejected")
    found = [statuses(site.database, draft.enrollment_id)[0][1] for draft in queue]
    assert found == ["rejected", "approved", "waiting", "waiting"]


def test_a_draft_shows_its_words_as_text_whole_and_in_every_width(
    site: Site, queue: list[ActionDraft], visit: Start
) -> None:
    at = signed_in(site, visit)
    hostile = at.page.locator(f'[data-id="{queue[2].id}"]')
    assert HOSTILE in hostile.locator("pre").inner_text()
    assert LONG in hostile.locator("pre").inner_text()
    expect(hostile).to_contain_text("characters that nobody sees")
    assert "owned" not in at.page.title()
    assert hostile.locator("img").count() == 0
    assert fits(at.page)
    assert faults(at.page) == []
    at.page.set_viewport_size({"width": 360, "height": 700})
    assert fits(at.page)


def test_what_was_changed_meanwhile_is_not_approved(site: Site, queue: list[ActionDraft], visit: Start) -> None:
    at = signed_in(site, visit)
    words = {"step_number": None, "subject": None, "body": "Other words"}
    edit = partial(drafts.write, enrollment_id=queue[0].enrollment_id, **words, now=site.now, public_url=None)
    site.database.run("edit", edit)
    at.page.keyboard.press("j")
    at.page.keyboard.press("a")
    first = at.page.locator(f'[data-id="{queue[0].id}"]')
    expect(first).to_contain_text("Not approved. The draft is stale")
    assert [status for _, status in statuses(site.database, queue[0].enrollment_id)] == ["stale", "waiting"]


def test_who_may_not_decide_is_shown_the_way_in_and_no_buttons(
    site: Site, queue: list[ActionDraft], visit: Start
) -> None:
    at = visit(site.base)
    at.go("approvals")
    expect(at.page.get_by_role("note")).to_contain_text("sales-automation-mcp dashboard")
    assert at.page.get_by_role("button", name="Approve").count() == 0
    at.page.keyboard.press("j")
    at.page.keyboard.press("a")
    assert faults(at.page) == []
    assert {statuses(site.database, draft.enrollment_id)[0][1] for draft in queue} == {"waiting"}


def test_an_empty_queue_says_when_something_stands_there(site: Site, visit: Start) -> None:
    run_sql(site.database, "DELETE FROM action_drafts")
    at = signed_in(site, visit)
    expect(at.page.get_by_text("Nothing waits")).to_be_visible()

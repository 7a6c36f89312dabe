"""Mails of which nobody knows whether they went out, in a real browser: a person finds them and says what became of
them; who may not approve sees them, and no button."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from db.services.ops import tickets
from db.services.outgoing.mails import QueuedMail
from mcp_server.http.sessions import link
from tests.support.browser import Start, Visit, faults, fits
from tests.support.dashboard import Site
from tests.support.outbox import unknown_mail
from tests.support.replying import new_talk
from tests.support.steps import run_sql


@pytest.fixture(scope="module")
def mail(site: Site) -> QueuedMail:
    return unknown_mail(site.database)


def found(at: Visit) -> None:
    """Opens the thread of the mail from the inbox."""
    at.go("inbox")
    at.page.get_by_label("State").select_option("delivery_unknown")
    at.page.get_by_role("link", name="eve@example.com").click()
    expect(at.page.locator(".mail").get_by_text("Nobody knows whether it went out")).to_be_visible()


def test_who_may_not_approve_finds_it_and_settles_nothing(site: Site, mail: QueuedMail, visit: Start) -> None:
    at = visit(site.base)
    found(at)
    expect(at.page.locator(".mail").get_by_role("button")).to_have_count(0)
    assert faults(at.page) == []


def test_a_person_says_that_it_was_sent(site: Site, mail: QueuedMail, visit: Start) -> None:
    at = visit(site.base)
    at.page.goto(link(site.base, site.database.run("key", tickets.make_key), datetime.now(UTC)))
    found(at)
    assert faults(at.page) == []
    assert fits(at.page)
    at.page.get_by_role("button", name="It was sent").click()
    expect(at.page.locator(".mail-head strong")).to_have_text("Sent")
    expect(at.page.locator(".mail").get_by_role("button")).to_have_count(0)
    at.go("inbox")
    at.page.get_by_label("State").select_option("delivery_unknown")
    expect(at.page.get_by_text("Every mail is settled")).to_be_visible()
    assert run_sql(site.database, f"SELECT status FROM messages WHERE id = '{mail.message_id}'").scalar() == "sent"


def test_a_person_withdraws_a_reply_that_has_not_gone_out(site: Site, visit: Start) -> None:
    talk = new_talk(site.database, ["sam@example.com"])
    talk.queued("Tuesday at ten?")
    at = visit(site.base)
    at.go(f"threads/{talk.thread_id}")
    expect(at.page.get_by_text("Tuesday at ten?")).to_be_visible()
    expect(at.page.locator(".mail").get_by_role("button")).to_have_count(0)
    at.page.goto(link(site.base, site.database.run("key", tickets.make_key), datetime.now(UTC)))
    at.go(f"threads/{talk.thread_id}")
    at.page.get_by_role("button", name="Withdraw this reply").click()
    expect(at.page.locator(".mail").get_by_role("button")).to_have_count(0)
    assert faults(at.page) == []
    assert talk.statuses() == [("not_sent", "A person withdrew it.")]

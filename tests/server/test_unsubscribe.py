"""The page on which people unsubscribe, by real HTTP: a POST is enough, a GET changes nothing, forged links fail."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx2 as httpx
import pytest
from mcp.client import Client
from pydantic import ValidationError
from sqlalchemy import text

from db.postgres.database import Database
from db.services.texts import unsubscribe_links
from db.services.texts.unsubscribe_links import Link
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import assert_counters_are_exact
from tests.support.patience import PATIENCE
from tests.support.processes import TOKEN, http_server
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

PUBLIC = "https://mail.example.com"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
KEY = b"k" * 32
STEP = {"step_number": 1, "subject": "Hello", "body": "To stop this: {{ unsubscribe_url }}"}


async def mailed(app: App, people: int = 1) -> list[dict[str, Any]]:
    """The actions of a campaign whose first email has gone out to `people`, who are in a second campaign as well."""
    async with Client(build_server(app)) as client:
        template = await call(client, "create_template", name="T", type="email", email_steps=[STEP])
        campaigns: list[str] = []
        for _ in range(2):
            made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
            campaigns.append(made["campaign"]["id"])
            await call(client, "start_campaign", campaign_id=campaigns[-1])
            contacts = [{"email": f"person{number}@example.com"} for number in range(people)]
            await call(client, "enroll_contacts", campaign_id=campaigns[-1], contacts=contacts)
        claimed = await call(client, "claim_due_actions", campaign_id=campaigns[0], limit=people)
        for action in claimed["actions"]:
            await call(
                client,
                "complete_action",
                action_id=action["action_id"],
                lease_token=action["lease_token"],
                outcome="sent",
            )
        return claimed["actions"]


def path_of(action: dict[str, Any]) -> str:
    link: str = action["headers"]["List-Unsubscribe"]
    assert link.startswith(f"<{PUBLIC}/unsubscribe/")
    assert link.endswith(">")
    return link[1 + len(PUBLIC) : -1]


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(public_url=f"{PUBLIC}/")


@pytest.fixture
def base(database_url: str, app: App) -> Generator[str]:
    """A server that asks everybody else for a token."""
    with http_server(database_url, SALES_AUTOMATION_PUBLIC_URL=PUBLIC, SALES_AUTOMATION_TOKEN=TOKEN) as url:
        yield url


def standing(database: Database) -> list[tuple[str, str | None]]:
    """(status, stop reason) of every enrollment."""
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT status, stop_reason FROM campaign_enrollments ORDER BY id"))
        return [(status, reason) for status, reason in rows]


def count(database: Database, table: str) -> int:
    with database.transaction("look") as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


async def test_one_click_stops_all_that_the_person_gets(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    assert action["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"{PUBLIC}{path_of(action)}" in action["body"]
    answer = httpx.post(base + path_of(action), data=ONE_CLICK, timeout=PATIENCE)
    assert answer.status_code == 200
    assert standing(database) == [("unsubscribed", "unsubscribed"), ("unsubscribed", "suppressed")]
    with database.transaction("look") as session:
        assert session.execute(text("SELECT email, reason FROM suppressions")).all() == [
            ("person0@example.com", "unsubscribed")
        ]
        assert session.scalar(text("SELECT sum(unsubscribed) FROM campaign_metrics")) == 1
    assert_counters_are_exact(database)


async def test_again_and_at_once_it_counts_once(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)

    def post(_: int) -> int:
        return httpx.post(base + path_of(action), data=ONE_CLICK, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(16))) == [200] * 16
    assert count(database, "campaign_events") == 2  # sent, unsubscribed
    assert count(database, "suppressions") == 1
    assert_counters_are_exact(database)


async def test_a_get_shows_a_button_and_changes_nothing(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    before = standing(database)
    for method in ("GET", "HEAD"):
        answer = httpx.request(method, base + path_of(action), timeout=PATIENCE)
        assert answer.status_code == 200
    page = httpx.get(base + path_of(action), timeout=PATIENCE)
    assert standing(database) == before
    assert count(database, "campaign_events") == 1
    assert '<form method="post">' in page.text
    for outside in ("<script", "http://", "https://", "src=", "url(", "@import", "person0"):
        assert outside not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


async def test_the_button_works_from_the_page_of_any_host(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    # What a browser sends behind a proxy: the public name, and no origin, since the page lets no referrer out.
    headers = {"Host": "mail.example.com", "Origin": "null"}
    assert httpx.post(base + path_of(action), data=ONE_CLICK, headers=headers, timeout=PATIENCE).status_code == 200
    assert standing(database)[0] == ("unsubscribed", "unsubscribed")


async def test_an_unknown_or_forged_link_is_told_nothing(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    token = path_of(action).removeprefix("/unsubscribe/")
    with database.transaction("key") as session:
        key = unsubscribe_links.make_key(session)
    gone = unsubscribe_links.sign(key, Link(uuid4(), 1))
    other = "A" if token[-10] != "A" else "B"
    forged = [f"{token[:-10]}{other}{token[-9:]}", token[:-1], f"{token}A", "x", "%00", "é", "A" * 46, "A" * 5000]
    pages: set[str] = set()
    for forged_token in forged:
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"{base}/unsubscribe/{forged_token}", timeout=PATIENCE)
            assert answer.status_code == 404, forged_token
            pages.add(answer.text)
    pages.add(httpx.post(f"{base}/unsubscribe/{gone}", timeout=PATIENCE).text)
    assert len(pages) == 1
    assert standing(database)[0][0] != "unsubscribed"
    assert count(database, "orphaned_events") == 0


async def test_wrong_links_are_held_up_and_right_ones_are_not(app: App, database_url: str, database: Database) -> None:
    first, second = await mailed(app, people=2)
    limits = {"SALES_AUTOMATION_FAILED_AUTH_LIMIT": "0.1", "SALES_AUTOMATION_UNSUBSCRIBE_LIMIT": "0.1"}
    with http_server(database_url, SALES_AUTOMATION_PUBLIC_URL=PUBLIC, **limits) as base:
        assert [httpx.get(f"{base}/unsubscribe/x", timeout=PATIENCE).status_code for _ in range(2)] == [404, 429]
        codes = [httpx.post(base + path_of(first), timeout=PATIENCE).status_code for _ in range(2)]
        assert codes == [200, 429]
        assert httpx.post(base + path_of(second), timeout=PATIENCE).status_code == 200
    assert [status for status, _ in standing(database)] == ["unsubscribed"] * 4


async def test_an_unsubscribe_wins_over_an_ended_enrollment(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    assert standing(database)[0] == ("completed", "finished")
    assert httpx.post(base + path_of(action), timeout=PATIENCE).status_code == 200
    assert standing(database)[0] == ("unsubscribed", "unsubscribed")


async def test_who_was_let_in_again_can_leave_by_an_old_link(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    assert httpx.post(base + path_of(action), timeout=PATIENCE).status_code == 200
    async with Client(build_server(app)) as client:
        await call(client, "unsuppress", email="person0@example.com", has_new_consent=True)
    assert count(database, "suppressions") == 0
    for _ in range(2):
        assert httpx.post(base + path_of(action), timeout=PATIENCE).status_code == 200
    assert count(database, "suppressions") == 1
    assert count(database, "campaign_events") == 3
    assert_counters_are_exact(database)


async def test_who_was_let_in_again_and_is_held_by_hand_can_leave_for_good(
    base: str, app: App, database: Database
) -> None:
    (action,) = await mailed(app)
    person = {"email": "person0@example.com"}
    assert httpx.post(base + path_of(action), timeout=PATIENCE).status_code == 200
    async with Client(build_server(app)) as client:
        await call(client, "unsuppress", **person, has_new_consent=True)
        await call(client, "suppress", **person)
        assert httpx.post(base + path_of(action), timeout=PATIENCE).status_code == 200
        (known,) = (await call(client, "list_suppressions"))["suppressions"]
    assert known["reason"] == "unsubscribed"


async def test_a_step_that_is_gone_loses_no_unsubscribe(base: str, app: App, database: Database) -> None:
    (action,) = await mailed(app)
    with database.transaction("key") as session:
        token = unsubscribe_links.sign(unsubscribe_links.make_key(session), Link(UUID(action["enrollment_id"]), 9))
    assert httpx.post(f"{base}/unsubscribe/{token}", timeout=PATIENCE).status_code == 200
    assert standing(database)[0][0] == "unsubscribed"


def test_a_read_only_server_has_no_such_page(database_url: str) -> None:
    with http_server(database_url, "--read-only", SALES_AUTOMATION_PUBLIC_URL=PUBLIC) as base:
        assert httpx.post(f"{base}/unsubscribe/x", timeout=PATIENCE).status_code == 404


async def test_a_preview_shows_the_headers_and_explain_due_knows_the_variable(app: App) -> None:
    (action,) = await mailed(app)
    async with Client(build_server(app)) as client:
        enrolled = await call(client, "list_enrollments", campaign_id=action["campaign_id"])
        preview = await call(client, "preview_action", enrollment_id=enrolled["enrollments"][0]["id"], step_number=1)
        assert preview["headers"] == action["headers"]
        assert preview["body"] == action["body"]


async def test_without_a_public_address_there_are_no_headers_and_the_variable_is_missing(
    make_app: Callable[..., App],
) -> None:
    plain = {**STEP, "body": "Good morning, all"}
    async with Client(build_server(make_app())) as client:
        for step, problem, email in ((plain, None, "ann@example.com"), (STEP, "unsubscribe_url", "bob@example.com")):
            template = await call(client, "create_template", name="T", type="email", email_steps=[step])
            assert ("warnings" in template) == (problem is not None)
            made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
            campaign = made["campaign"]["id"]
            await call(client, "start_campaign", campaign_id=campaign)
            enrolled = await call(client, "enroll_contacts", campaign_id=campaign, contacts=[{"email": email}])
            id_ = enrolled["results"][0]["enrollment_id"]
            explained = await call(client, "explain_due", enrollment_id=id_)
            if problem is None:
                assert explained["due"] is True
                claimed = await call(client, "claim_due_actions", campaign_id=campaign)
                assert "headers" not in claimed["actions"][0]
                assert "headers" not in await call(client, "preview_action", enrollment_id=id_)
            else:
                assert problem in explained["holds"][0]["detail"]
                assert problem in await refusal(client, "preview_action", enrollment_id=id_)


@pytest.mark.parametrize("step", [1, 1000])
def test_a_token_is_short_and_says_what_it_was_made_of(step: int) -> None:
    link = Link(uuid4(), step)
    token = unsubscribe_links.sign(KEY, link)
    assert unsubscribe_links.read(KEY, token) == link
    assert unsubscribe_links.read(b"x" * 32, token) is None
    assert len(token) == 46
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_no_change_of_a_token_is_taken() -> None:
    token = unsubscribe_links.sign(KEY, Link(uuid4(), 1))
    for place, old in enumerate(token):
        changed = token[:place] + ("A" if old != "A" else "B") + token[place + 1 :]
        assert unsubscribe_links.read(KEY, changed) is None, place


@pytest.mark.parametrize(
    "url", ["mail.example.com", "ftp://example.com", "https://u:p@example.com", "https://example.com/?a=1"]
)
def test_a_public_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"public_url": url})


@pytest.mark.parametrize("public_url", [None, PUBLIC])
async def test_a_link_that_nobody_can_make_is_warned_of_and_counted(
    make_app: Callable[..., App], public_url: str | None
) -> None:
    guarded = {**STEP, "step_number": 2, "body": "{% if unsubscribe_url %}Stop: {{ unsubscribe_url }}{% endif %} Bye."}
    async with Client(build_server(make_app(public_url=public_url))) as client:
        made = await call(client, "create_template", name="T", type="email", email_steps=[STEP, guarded])
        template_id = made["template"]["id"]
        changed = await call(client, "update_template", template_id=template_id, email_steps=[STEP])
        campaign = await call(client, "create_campaign", name="C", template_id=template_id)
        campaign_id = campaign["campaign"]["id"]
        contacts = [{"email": f"person{number}@example.com"} for number in range(3)]
        await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
        started = await call(client, "start_campaign", campaign_id=campaign_id)
        await call(client, "suppress", email="person2@example.com")
        claimed = await call(client, "claim_due_actions")
    if public_url is not None:
        assert not any("warnings" in answer for answer in (made, changed, started))
        assert "set_aside" not in claimed
        return
    for answer in (made, changed, started):
        (warning,) = answer["warnings"]
        assert warning.startswith("body of step 1: {{ unsubscribe_url }} can't be filled in, so the step pauses every")
        assert "SALES_AUTOMATION_PUBLIC_URL" in warning
    (paused,) = claimed["set_aside"]
    assert claimed["actions"] == []
    assert (paused["fate"], paused["reason"], paused["count"]) == ("paused", "missing_variable", 2)
    assert "update_template leaves it out" in paused["detail"]


async def test_a_link_in_a_linkedin_message_is_warned_of_with_a_public_address_too(
    make_app: Callable[..., App],
) -> None:
    step = {"step_number": 1, "type": "message", "message": "Stop: {{ unsubscribe_url }}"}
    async with Client(build_server(make_app(public_url=PUBLIC))) as client:
        made = await call(client, "create_template", name="T", type="linkedin", linkedin_steps=[step])
    assert "Emails alone have it" in made["warnings"][0]

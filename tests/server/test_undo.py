"""What an agent does by mistake is taken back by the call that the answer names, and people are found by any part of
their name."""

import ast
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from tests.support.server import NOW, call, new_campaign, refusal

pytestmark = pytest.mark.anyio

# What each loses for good: steps and opt-outs, the end of a campaign, the record of a suppression, and so on.
FOR_GOOD = {
    "update_enrollment", "complete_campaign", "unsuppress", "erase_contact", "update_settings",
    "cancel_job", "cache_delete",
}  # fmt: skip


@pytest.fixture
async def client(make_app: Callable[..., App]) -> AsyncGenerator[Client]:
    """One of the two eras, since the answers are the same in both."""
    async with Client(build_server(make_app())) as connected:
        yield connected


CONSTANTS = {"true": True, "false": False, "null": None}


class Plain(ast.NodeTransformer):
    """Makes the constants of JSON those of Python."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(CONSTANTS[node.id])


async def take_back(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """Makes the calls that `undo` of the answer names, and returns the last one's answer."""
    done: dict[str, Any] = {}
    for line in answer["undo"].splitlines():
        told = ast.parse(line, mode="eval").body
        assert isinstance(told, ast.Call)
        assert isinstance(told.func, ast.Name)
        given = {argument.arg or "": ast.literal_eval(Plain().visit(argument.value)) for argument in told.keywords}
        done = await call(client, told.func.id, **given)
    return done


async def status(client: Client, enrollment_id: str) -> tuple[str, str | None]:
    shown = (await call(client, "get_enrollment", enrollment_id=enrollment_id))["enrollment"]
    return shown["status"], shown.get("stop_reason")


async def test_what_is_done_to_an_enrollment_is_taken_back(client: Client) -> None:
    scene = await new_campaign(client, people=2, start=True)
    one, two = scene["enrollment_ids"]
    for action in ("pause", "complete"):
        done = await call(client, "update_enrollment", enrollment_id=one, action=action)
        assert done["undo"] == f'update_enrollment(enrollment_id="{one}",action="resume")'.replace(",", ", ")
        again = await take_back(client, done)
        assert again["enrollment"]["status"] == "active"
        await take_back(client, again)
        assert (await status(client, one))[0] == ("paused" if action == "pause" else "completed")
        await call(client, "update_enrollment", enrollment_id=one, action="resume")
    assert "undo" not in await call(client, "update_enrollment", enrollment_id=two, action="unsubscribe")


async def test_a_pause_with_an_end_is_taken_back_and_made_again(client: Client) -> None:
    (one,) = (await new_campaign(client, people=1, start=True))["enrollment_ids"]
    soon, late = (NOW + timedelta(days=days) for days in (1, 9))

    async def paused_until() -> datetime | None:
        shown = (await call(client, "get_enrollment", enrollment_id=one))["enrollment"]
        assert ("paused_until" in shown) == (shown["status"] == "paused")
        told = shown.get("paused_until")
        return datetime.fromisoformat(told) if told else None

    async def pause(until: datetime) -> dict[str, Any]:
        return await call(client, "update_enrollment", enrollment_id=one, action="pause", until=until.isoformat())

    first = await pause(soon)
    second = await pause(late)
    assert await paused_until() == late
    await take_back(client, second)
    assert await paused_until() == soon
    resumed = await call(client, "update_enrollment", enrollment_id=one, action="resume")
    assert await paused_until() is None
    await take_back(client, resumed)
    assert await paused_until() == soon
    await take_back(client, first)
    assert await paused_until() is None


@pytest.mark.parametrize(
    ("action", "days", "told"),
    [
        ("pause", -0.1, "until is in the past. Give a later moment"),
        ("pause", 733, "until is more than two years ahead. Leave it out"),
        ("resume", 1, "until is for action pause alone. Leave it out."),
        ("complete", 1, "until is for action pause alone. Leave it out."),
    ],
)
async def test_a_pause_ends_within_two_years(client: Client, action: str, days: float, told: str) -> None:
    (one,) = (await new_campaign(client, people=1, start=True))["enrollment_ids"]
    until = (NOW + timedelta(days=days)).isoformat()
    assert told in await refusal(client, "update_enrollment", enrollment_id=one, action=action, until=until)
    assert await status(client, one) == ("active", None)


async def test_a_person_is_moved_to_another_campaign_and_back(client: Client) -> None:
    here, there = await new_campaign(client, people=1, start=True), await new_campaign(client, start=True)
    (one,) = here["enrollment_ids"]
    moved = await call(client, "update_enrollment", enrollment_id=one, action="move", campaign_id=there["campaign_id"])
    assert moved["enrollment"]["campaign_id"] == there["campaign_id"]
    assert await status(client, one) == ("completed", "moved")
    back = await take_back(client, moved)
    assert (back["enrollment"]["id"], back["enrollment"]["status"]) == (one, "active")
    assert await status(client, moved["enrollment"]["id"]) == ("completed", "moved")
    for wrong in ({"action": "move"}, {"action": "pause", "campaign_id": there["campaign_id"]}):
        assert "Give campaign_id with action move" in await refusal(
            client, "update_enrollment", enrollment_id=one, **wrong
        )


async def test_who_is_paused_is_never_started_by_what_takes_something_back(client: Client) -> None:
    here, there = await new_campaign(client, people=2, start=True), await new_campaign(client, start=True)
    ended, one = here["enrollment_ids"]
    for who in (ended, one):
        await call(client, "update_enrollment", enrollment_id=who, action="pause")
    assert "undo" not in await call(client, "update_enrollment", enrollment_id=ended, action="complete")
    moved = await call(client, "update_enrollment", enrollment_id=one, action="move", campaign_id=there["campaign_id"])
    assert moved["enrollment"]["status"] == "paused"
    back = await take_back(client, moved)
    assert (back["enrollment"]["id"], back["enrollment"]["status"]) == (one, "paused")


async def test_an_enrolment_of_one_person_is_taken_back_and_made_again(client: Client) -> None:
    scene = await new_campaign(client, start=True)
    whom = {"campaign_id": scene["campaign_id"], "contacts": [{"email": "ann@example.com"}]}
    first = await call(client, "enroll_contacts", **whom)
    ended = await take_back(client, first)
    assert ended["enrollment"]["stop_reason"] == "manual"
    again = await call(client, "enroll_contacts", **whom)
    assert (again["enrolled"], again["reopened"], again["undo"]) == (0, 1, first["undo"])
    names = [f"p{number}" for number in range(21)]
    for some in (["ann", "ben", "cleo"], names):
        people = [{"email": f"{name}@example.com"} for name in some]
        answer = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=people)
        assert ("undo" in answer) == (some != names)  # so many calls would cost more than they help
        if some != names:
            await take_back(client, answer)
    listed = await call(client, "list_enrollments", campaign_id=scene["campaign_id"], status="active")
    assert len(listed["enrollments"]) == len(names) + 1  # with ann, who was there before


async def test_what_is_done_to_campaigns_and_templates_is_taken_back(client: Client) -> None:
    scene = await new_campaign(client, start=True)
    of = {"campaign_id": scene["campaign_id"]}
    paused = await call(client, "pause_campaign", **of)
    started = await take_back(client, paused)
    assert started["campaign"]["status"] == "active"
    assert (await take_back(client, started))["campaign"]["status"] == "paused"
    before = (await call(client, "get_campaign", **of))["campaign"]
    changed = await call(client, "update_campaign", **of, name='A "new" one', settings={"daily_limit": 5})
    after = (await take_back(client, changed))["campaign"]
    assert {**after, "updated_at": ""} == {**before, "updated_at": ""}
    archived = await call(client, "archive_template", template_id=scene["template_id"])
    assert (await take_back(client, archived))["template"]["is_active"]
    assert "undo" not in await call(client, "complete_campaign", **of)


async def test_what_is_done_to_suppressions_and_settings_is_taken_back(client: Client) -> None:
    made = await call(client, "suppress", domain="example.com")
    lifted = await take_back(client, made)
    assert (await call(client, "list_suppressions"))["suppressions"] == []
    await take_back(client, lifted)
    assert "undo" not in await call(client, "suppress", domain="example.com")  # it was there before
    assert "undo" not in await call(client, "suppress", email="ann@example.org", reason="unsubscribed")
    before = await call(client, "get_settings")
    rates, rules = {"bounce_rate": 0}, {"days_between_campaigns": 30, "touches_per_week": 3, "colleagues": "stop"}
    changed = await call(client, "update_settings", retention_days=9, timezone="Asia/Tokyo", guardrails=rates, **rules)
    assert changed["settings"]["guardrails"] == {"bounce_rate": 0, "complaint_rate": 0.001}
    assert {name: changed["settings"][name] for name in rules} == rules
    assert (await take_back(client, changed))["settings"] == before["settings"]


async def test_a_list_of_suppressions_is_taken_back_but_for_those_of_before(client: Client) -> None:
    scene = await new_campaign(client)
    for of in ({}, {"campaign_id": scene["campaign_id"]}):
        await call(client, "suppress", email="ann@example.com", **of)
        both = ["ann@example.com", "example.org", "ben@example.com", "https://www.linkedin.com/in/ben"]
        made = await call(client, "suppress", addresses=both, **of)
        await take_back(client, made)
        (left,) = (await call(client, "list_suppressions", **of))["suppressions"]
        assert left["email"] == "ann@example.com"
        assert "undo" not in await call(client, "suppress", addresses=["ann@example.com"], **of)
    wishes = await call(client, "suppress", addresses=["cleo@example.com"], reason="unsubscribed")
    assert "undo" not in wishes


async def test_a_change_of_a_template_is_taken_back(client: Client) -> None:
    first = {"step_number": 1, "subject": 'Say "Hello"', "body": "Good morning, all", "delay_hours": 2}
    visit = {"step_number": 2, "type": "profile_visit"}
    made = await call(
        client, "create_template", name="T", type="multi_channel", email_steps=[first], linkedin_steps=[visit]
    )
    of = {"template_id": made["template"]["id"]}
    changed = await call(
        client,
        "update_template",
        **of,
        name="Other",
        description="New",
        settings={"a": [True, None]},
        is_active=False,
        email_steps=[
            {**first, "subject": "Bye", "delay_hours": 0},
            {"step_number": 3, "body": "Another mail", "new_thread": True, "subject": "New"},
        ],
        linkedin_steps=[{**visit, "type": "message", "message": "Hello"}],
    )
    back = (await take_back(client, changed))["template"]
    (added,) = (step for step in back["email_steps"] if step["step_number"] == 3)
    assert (added["is_active"], added["subject"]) == (False, "New")
    back["email_steps"].remove(added)
    assert {**back, "updated_at": ""} == {**made["template"], "updated_at": ""}
    emptied = await call(client, "update_template", **of, description="New")
    emptied = await call(client, "update_template", **of, clear=["description"])
    assert (await take_back(client, emptied))["template"]["description"] == "New"
    assert "undo" not in await call(client, "update_template", **of)
    assert not (await take_back(client, made))["template"]["is_active"]


async def test_a_change_of_a_mailbox_is_taken_back(client: Client) -> None:
    smtp = {"host": "smtp.example.com", "port": 465}
    made = await call(client, "connect_mailbox", address="ann@example.com", smtp=smtp, signature="Ann", hourly_limit=5)
    changes: list[dict[str, Any]] = [
        {"status": "paused"},
        {"display_name": "Ann", "signature": "A.", "daily_limit": 7, "timezone": "Asia/Tokyo"},
        {"clear": ["signature", "hourly_limit", "display_name"], "min_gap_seconds": 0},
        {"smtp": {"host": "smtp.example.org", "port": 587, "username": "ann"}},
    ]
    for change in changes:
        changed = await call(client, "update_mailbox", mailbox="ann@example.com", **change)
        assert changed["mailbox"] != made["mailbox"]
        assert (await take_back(client, changed))["mailbox"] == made["mailbox"]
    imap = {"host": "imap.example.com"}
    assert "undo" not in await call(client, "update_mailbox", mailbox="ann@example.com", imap=imap)
    assert "undo" not in await call(client, "update_mailbox", mailbox="ann@example.com")


async def test_a_job_is_taken_back_unless_it_was_there_before(client: Client) -> None:
    given: dict[str, Any] = {"type": "enrichment", "parameters": {}, "dedupe_key": "k"}
    made = await call(client, "create_job", **given)
    assert "undo" not in await call(client, "create_job", **given)
    assert (await take_back(client, made))["job"]["status"] == "cancelled"


# Tools that write, whose answers name no call that takes them back, and why they are not destructive.
EXPLAINED = {
    "create_campaign": "a draft sends nothing, and nobody is in it",
    "connect_mailbox": "it sends nothing before a campaign names it; `mailboxes remove` takes it away",
    "upsert_contacts": "the values of before are given again; a file of 10,000 would be repeated whole",
    "import_contacts": "dry_run says before what will be; it is many calls of upsert, enroll and suppress",
    "sort_reply": "its answer names the call where there is one: see tests/server/test_sorting.py",
    "replay_mail": "it tells again what happened, and nothing counts twice",
    "reply_in_thread": "it goes out, and reject_draft keeps one back that a person has to approve",
    "close_thread": "it stops nothing, and the next message of the person opens the thread again",
    "send_test": "it goes to one of our own mailboxes, and counts nothing",
    "draft_action": "nothing goes out before it is approved, and other words make it stale",
    "approve_drafts": "a person decides, and reject_draft takes it back until it is handed out",
    "reject_draft": "a person decides, and draft_action gives other words",
    "settle_message": "a person says what happened",
    "claim_due_actions": "a lease that runs out makes its step due again",
    "complete_action": "it tells what happened",
    "complete_actions": "it tells what happened",
    "record_event": "it tells what happened",
    "record_events": "it tells what happened",
    "replay_events": "it tells again what happened, and nothing counts twice",
    "run_maintenance": "it does now what is done within the hour",
    "claim_job": "a lease that runs out puts the job back",
    "heartbeat_job": "it tells what happened",
    "complete_job": "it tells what happened",
    "fail_job": "it tells what happened, and retry_job puts the job back",
    "update_job": "the job is still waiting, and get_job shows all of it beforehand",
    "retry_job": "cancel_job ends the job again",
    "cache_set": "the cache can be lost, and cache_delete removes the value",
}


async def test_every_tool_that_writes_says_how_it_is_taken_back_or_why_not(client: Client) -> None:
    scene = await new_campaign(client)
    template, campaign = {"template_id": scene["template_id"]}, {"campaign_id": scene["campaign_id"]}
    person = {"email": "ann@example.com"}
    mailbox = {"address": "me@example.com", "smtp": {"host": "smtp.example.com"}}
    calls: dict[str, dict[str, Any]] = {
        "create_template": {"name": "T", "type": "email"},
        "update_template": {**template, "name": "U"},
        "archive_template": template,
        "update_campaign": {**campaign, "name": "D"},
        "start_campaign": campaign,
        "pause_campaign": campaign,
        "enroll_contacts": {**campaign, "contacts": [person]},
        "suppress": person,
        "create_job": {"type": "enrichment", "parameters": {}},
        "update_mailbox": {"mailbox": mailbox["address"], "status": "paused"},
    }
    await call(client, "connect_mailbox", **mailbox)
    assert [tool for tool, given in calls.items() if "undo" not in await call(client, tool, **given)] == []
    writes = {tool.name for toolset in TOOLSETS for tool in toolset.tools if not tool.read_only}
    destructive = {tool.name for toolset in TOOLSETS for tool in toolset.tools if tool.destructive}
    assert writes == calls.keys() | EXPLAINED.keys() | destructive
    assert not EXPLAINED.keys() & (calls.keys() | destructive)


async def test_what_cannot_be_taken_back_is_marked_as_destructive(client: Client) -> None:
    tools = (await client.list_tools()).tools
    marked = {tool.name for tool in tools if tool.annotations and tool.annotations.destructive_hint}
    assert marked == FOR_GOOD
    assert marked <= {tool.name for toolset in TOOLSETS for tool in toolset.tools}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("lovelace ada", ["Ada"]),
        ("love acme ada", ["Ada"]),
        ("example.org", ["Ben", "Ada"]),
        ("ben", ["Ben"]),
        ("ada ben", []),
    ],
)
async def test_people_are_found_by_parts_of_their_names_in_any_order(
    client: Client, search: str, found: list[str]
) -> None:
    people = [
        {"email": "al@example.org", "first_name": "Ada", "last_name": "Lovelace", "company": "Acme"},
        {"email": "b@example.org", "first_name": "Ben"},
    ]
    await call(client, "upsert_contacts", contacts=people)
    answer = await call(client, "find_contacts", search=search)
    assert [contact["first_name"] for contact in answer["contacts"]] == found


async def test_campaigns_are_found_by_parts_of_their_names_in_any_order(client: Client) -> None:
    template_id = (await new_campaign(client))["template_id"]
    for name in ("Founders, spring 2026", "Founders, autumn", "100 % spring"):
        await call(client, "create_campaign", name=name, template_id=template_id)
    for search, names in {
        "spring found": ["Founders, spring 2026"],
        "FOUNDERS": ["Founders, autumn", "Founders, spring 2026"],
        "% spring": ["100 % spring"],
        "winter": [],
    }.items():
        listed = await call(client, "list_campaigns", search=search)
        assert [campaign["name"] for campaign in listed["campaigns"]] == names, search


async def test_who_has_a_first_name_only_has_one_in_lists(client: Client) -> None:
    scene = await new_campaign(client, start=True)
    people = [{"linkedin_url": "https://www.linkedin.com/in/ben", "first_name": "Ben"}]
    await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=people)
    (line,) = (await call(client, "list_enrollments", campaign_id=scene["campaign_id"]))["enrollments"]
    assert line["name"] == "Ben"

"""What clients see: the tools, their answers, and their refusals."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio

CAMPAIGNS = {
    "create_template", "get_template", "list_templates", "update_template", "archive_template",
    "create_campaign", "get_campaign", "list_campaigns", "update_campaign", "start_campaign", "pause_campaign",
    "complete_campaign",
}  # fmt: skip
CONTACTS = {
    "enroll_contacts", "list_enrollments", "get_enrollment", "update_enrollment", "find_contacts", "upsert_contacts",
    "suppress", "list_suppressions",
}  # fmt: skip
EVENTS = {"record_event", "record_events", "list_events"}
WEBHOOKS = {"list_orphaned_events", "list_webhook_deliveries", "replay_events"}
WRITES = {tool.name for toolset in TOOLSETS for tool in toolset.tools if not tool.read_only}


async def test_every_tool_is_offered_with_title_hints_schemas_and_description(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) >= CAMPAIGNS | CONTACTS | EVENTS | WEBHOOKS | {"get_metrics"}
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert len(tool.description) > 30
        assert tool.output_schema is not None
        hints = tool.annotations
        assert hints is not None
        flags = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
        assert all(flag is not None for flag in flags)
        assert ("idempotency_key" in tool.input_schema["properties"]) is (tool.name in WRITES)
        assert hints.read_only_hint is (tool.name not in WRITES)


async def test_a_campaign_runs_from_template_to_metrics(client: Client) -> None:
    scene = await new_campaign(client, people=3, start=True)
    first, second, third = scene["enrollment_ids"]
    events: list[dict[str, Any]] = [
        {"event_type": "sent", "channel": "email", "enrollment_id": enrollment_id, "step_number": 1}
        for enrollment_id in (first, second)
    ]
    events.append({"event_type": "clicked", "channel": "email", "enrollment_id": first, "provider_event_id": "x1"})
    recorded = await call(client, "record_events", events=[*events, events[-1]])
    assert (recorded["recorded"], recorded["duplicates"]) == (3, 1)
    await call(client, "record_event", event={"event_type": "unsubscribed", "channel": "email", "enrollment_id": third})
    metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"], group_by="step")
    assert metrics["enrolled"] == 3
    assert metrics["enrollment_status"]["unsubscribed"] == 1
    expected = {"sent": 2, "delivered": 1, "opened": 1, "clicked": 1, "replied": 0, "bounced": 0, "unsubscribed": 1}
    assert {name: metrics["totals"][name] for name in expected} == expected
    assert metrics["rates"]["delivery_rate"] == 0.5
    assert metrics["rates"]["click_through_rate"] == 1
    assert [group["key"] for group in metrics["groups"]] == ["0", "1"]


async def test_rates_without_a_denominator_are_null(client: Client) -> None:
    scene = await new_campaign(client)
    metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"])
    assert set(metrics["rates"].values()) == {None}
    assert metrics["groups"] == []


async def test_rows_of_a_batch_are_judged_one_by_one(client: Client) -> None:
    scene = await new_campaign(client)
    contacts: list[Any] = [
        {"email": "ann@example.com", "first_name": "Änn"},
        {"email": "ANN@example.com"},
        {"email": "no address"},
        {"first_name": "Nobody"},
        {"email": "eve@example.com", "nickname": "E"},
        {"email": "nul@example.com", "company": "A\x00B"},
        "text",
        {"contact_id": str(uuid4())},
    ]
    answer = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=contacts, detail="full")
    assert [row["status"] for row in answer["results"]] == ["enrolled", "already_enrolled", *["invalid"] * 6]
    reasons = {row["index"]: row.get("reason") for row in answer["results"]}
    assert "email" in reasons[2]
    assert "give contact_id, email or linkedin_url" in reasons[3]
    assert "nickname" in reasons[4]
    assert "company" in reasons[5]
    assert "find_contacts" in reasons[7]


@pytest.mark.parametrize("tool", ["enroll_contacts", "upsert_contacts", "record_events"])
async def test_an_answer_lists_the_rows_with_a_problem_and_all_where_they_are_asked_for(
    client: Client, tool: str
) -> None:
    scene = await new_campaign(client, people=6, start=True)
    await call(client, "suppress", email="new3@example.com")
    event = {"event_type": "opened", "channel": "email"}
    given: dict[str, Any] = {
        "enroll_contacts": {
            "campaign_id": scene["campaign_id"],
            "contacts": [{"email": f"new{n}@example.com"} for n in range(5)] + [{"email": "no address"}],
        },
        "upsert_contacts": {
            "contacts": [{"email": f"new{n}@example.com"} for n in range(4)] + [{"email": "@"}, {"email": "no address"}]
        },
        "record_events": {
            "events": [
                *({**event, "enrollment_id": id_} for id_ in scene["enrollment_ids"][:3]),
                {**event, "provider_message_id": "unknown"},
                {**event, "enrollment_id": scene["enrollment_ids"][3], "step_number": 1},
                {**event, "channel": "linkedin"},
            ]
        },
    }[tool]
    listed = {"enroll_contacts": [3, 5], "upsert_contacts": [4, 5], "record_events": [3, 5]}[tool]
    rows = "events" if tool == "record_events" else "contacts"
    alone = await call(client, tool, **{**given, rows: given[rows][:1]})
    concise = await call(client, tool, **given)
    full = await call(client, tool, **given, detail="full")
    assert [row["index"] for row in alone["results"]] == [0], "the row of a call that has no other"
    assert [row["index"] for row in concise["results"]] == listed
    assert all(row["reason"] for row in concise["results"])
    assert [row["index"] for row in full["results"]] == [0, 1, 2, 3, 4, 5]
    counts = {name: value for name, value in concise.items() if isinstance(value, int)}
    assert sum(value for name, value in counts.items() if name != "merged") == 6


async def test_all_or_nothing_enrolls_nobody_when_a_row_is_invalid(client: Client) -> None:
    scene = await new_campaign(client)
    contacts = [{"email": "ann@example.com"}, {"email": "no address"}]
    text = await refusal(
        client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=contacts, all_or_nothing=True
    )
    assert "contacts.1" in text
    listed = await call(client, "list_enrollments", campaign_id=scene["campaign_id"])
    assert listed["enrollments"] == []
    assert (await call(client, "find_contacts", email="ann@example.com"))["contacts"] == []


BAD_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("create_template", {"name": "T", "type": "fax"}, "type"),
    ("create_template", {"name": "", "type": "email"}, "name"),
    ("create_template", {"name": "x" * 201, "type": "email"}, "200"),
    ("create_template", {"name": 7, "type": "email"}, "name"),
    ("create_template", {"name": "a\x00b", "type": "email"}, "NUL"),
    ("create_template", {"name": "T", "type": "email", "colour": "red"}, "colour"),
    ("create_template", {"name": "T", "type": "email", "settings": {"a": "b\x00"}}, "settings"),
    ("create_template", {"name": "T", "type": "email", "settings": {"a": "b" * 70_000}}, "settings"),
    (
        "create_template",
        {"name": "T", "type": "email", "email_steps": [{"step_number": 1, "subject": "s" * 256, "body": "b" * 10}]},
        "255",
    ),
    (
        "create_template",
        {"name": "T", "type": "email", "email_steps": [{"step_number": 1, "subject": "s", "body": "short"}]},
        "body",
    ),
    (
        "create_template",
        {"name": "T", "type": "email", "email_steps": [{"step_number": 0, "subject": "s", "body": "b" * 10}]},
        "step_number",
    ),
    (
        "create_template",
        {"name": "T", "type": "linkedin", "email_steps": [{"step_number": 1, "subject": "s", "body": "b" * 10}]},
        "email_steps",
    ),
    (
        "create_template",
        {"name": "T", "type": "linkedin", "linkedin_steps": [{"step_number": 1, "type": "message"}]},
        "message is required",
    ),
    (
        "create_template",
        {
            "name": "T",
            "type": "linkedin",
            "linkedin_steps": [{"step_number": 1, "type": "connection_request", "message": "m" * 301}],
        },
        "300",
    ),
    ("get_template", {"template_id": "7"}, "template_id"),
    ("get_template", {"template_id": str(uuid4())}, "list_templates"),
    ("create_campaign", {"name": "C", "template_id": str(uuid4())}, "list_templates"),
    ("start_campaign", {"campaign_id": str(uuid4())}, "list_campaigns"),
    ("get_metrics", {"campaign_id": str(uuid4())}, "list_campaigns"),
    ("get_metrics", {"campaign_id": str(uuid4()), "group_by": "hour"}, "group_by"),
    ("get_enrollment", {"enrollment_id": str(uuid4())}, "list_enrollments"),
    ("list_events", {"campaign_id": str(uuid4()), "since": "2026-11-02T09:00:00"}, "since"),
    ("enroll_contacts", {"campaign_id": str(uuid4()), "contacts": []}, "contacts"),
    (
        "enroll_contacts",
        {"campaign_id": str(uuid4()), "contacts": [{"email": "a@example.com"}], "start_at": "2026-11-02T09:00:00"},
        "start_at",
    ),
    (
        "record_event",
        {"event": {"event_type": "opened", "channel": "linkedin", "enrollment_id": str(uuid4())}},
        "channel must be email",
    ),
    ("record_event", {"event": {"event_type": "opened", "channel": "email"}}, "give enrollment_id"),
    (
        "record_event",
        {
            "event": {
                "event_type": "opened",
                "channel": "email",
                "enrollment_id": str(uuid4()),
                "occurred_at": "2026-11-02T09:00:00",
            }
        },
        "occurred_at",
    ),
    ("list_enrollments", {}, "campaign_id, contact_id or domain"),
    ("list_enrollments", {"status": "active"}, "campaign_id, contact_id or domain"),
    ("list_campaigns", {"limit": 0}, "limit"),
    ("list_campaigns", {"limit": 10**9}, "limit"),
    ("list_campaigns", {"cursor": "made-up"}, "cursor"),
    ("suppress", {}, "exactly one"),
    ("suppress", {"domain": "not a domain"}, "domain"),
    ("create_template", {"name": "T", "type": "email", "idempotency_key": "\n"}, "idempotency_key"),
]


@pytest.mark.parametrize(("tool", "arguments", "named"), BAD_ARGUMENTS)
async def test_bad_arguments_are_refused_by_name(
    client: Client, tool: str, arguments: dict[str, Any], named: str
) -> None:
    text = await refusal(client, tool, **arguments)
    assert named in text
    for leak in ("SELECT", "INSERT", "Traceback", "psycopg", "sqlalchemy", "input_value", "https://"):
        assert leak not in text


@pytest.mark.parametrize("tool", ["record_events", "enroll_contacts"])
async def test_ten_thousand_and_one_rows_are_refused(client: Client, tool: str) -> None:
    rows = "events" if tool == "record_events" else "contacts"
    more = {} if tool == "record_events" else {"campaign_id": str(uuid4())}
    text = await refusal(client, tool, **{rows: [{}] * 10_001}, **more)
    assert rows in text
    assert "10000" in text


async def test_a_nul_in_any_text_argument_is_refused(client: Client) -> None:
    """Walks every tool, so that a new text argument is covered from its first day."""
    for tool in (await client.list_tools()).tools:
        for name, schema in tool.input_schema["properties"].items():
            kinds = [schema, *schema.get("anyOf", [])]
            if any(kind.get("type") == "string" and "format" not in kind for kind in kinds):
                text = await refusal(client, tool.name, **{name: "abc\x00def"})
                assert name in text, (tool.name, name)


async def test_the_same_key_replays_the_first_answer_and_refuses_other_arguments(client: Client) -> None:
    first = await call(client, "create_template", name="One", type="email", idempotency_key="k1")
    again = await call(client, "create_template", type="email", name="One", idempotency_key="k1")
    assert again == first
    assert len((await call(client, "list_templates"))["templates"]) == 1
    text = await refusal(client, "create_template", name="Two", type="email", idempotency_key="k1")
    assert "idempotency_key" in text


async def test_a_refused_call_does_not_use_its_key_up(client: Client) -> None:
    missing = str(uuid4())
    await refusal(client, "create_campaign", name="C", template_id=missing, idempotency_key="k2")
    await call(client, "create_template", name="T", type="email", idempotency_key="k2")


async def test_calls_with_one_key_at_once_act_once(client: Client) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(lambda: call(client, "create_template", name="T", type="email", idempotency_key="k3"))
    assert len((await call(client, "list_templates"))["templates"]) == 1


async def test_pages_follow_the_cursor_to_the_end(client: Client) -> None:
    scene = await new_campaign(client, people=7)
    seen: list[str] = []
    cursor = None
    while True:
        page = await call(client, "list_enrollments", campaign_id=scene["campaign_id"], limit=3, cursor=cursor)
        seen += [row["id"] for row in page["enrollments"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert sorted(seen) == sorted(scene["enrollment_ids"])
    assert len(seen) == 7


async def test_a_list_tells_people_without_an_address_by_profile_and_name(client: Client) -> None:
    campaign_id = (await new_campaign(client))["campaign_id"]
    profile = "https://www.linkedin.com/in/cy"
    people = [
        {"email": "ann@example.com", "first_name": "Ann"},
        {"linkedin_url": profile, "first_name": "Cy", "last_name": "Orr"},
    ]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=people)
    rows = (await call(client, "list_enrollments", campaign_id=campaign_id))["enrollments"]
    told = [{name: row.get(name) for name in ("email", "linkedin_url", "name")} for row in rows]
    by_email = {"email": "ann@example.com", "linkedin_url": None, "name": None}
    by_profile = {"email": None, "linkedin_url": profile, "name": "Cy Orr"}
    assert sorted(told, key=lambda row: row["email"] is None) == [by_email, by_profile]


async def test_states_refuse_what_they_do_not_allow_and_say_what_they_do(client: Client) -> None:
    scene = await new_campaign(client)
    text = await refusal(client, "pause_campaign", campaign_id=scene["campaign_id"])
    assert "draft" in text
    assert "start_campaign" in text
    await call(client, "start_campaign", campaign_id=scene["campaign_id"])
    await call(client, "pause_campaign", campaign_id=scene["campaign_id"])
    await call(client, "start_campaign", campaign_id=scene["campaign_id"])
    await call(client, "complete_campaign", campaign_id=scene["campaign_id"])
    text = await refusal(
        client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[{"email": "a@example.com"}]
    )
    assert "completed" in text


async def test_archived_and_empty_templates_make_no_campaign(client: Client) -> None:
    empty = await call(client, "create_template", name="Empty", type="email")
    text = await refusal(client, "create_campaign", name="C", template_id=empty["template"]["id"])
    assert "no active step" in text
    scene = await new_campaign(client)
    await call(client, "archive_template", template_id=scene["template_id"])
    text = await refusal(client, "create_campaign", name="C", template_id=scene["template_id"])
    assert "archived" in text


async def test_a_draft_of_an_emptied_template_is_not_started_and_a_paused_campaign_is(client: Client) -> None:
    draft = await new_campaign(client)
    gone = {"step_number": 1, "subject": "Hello", "body": "Good morning, all", "is_active": False}
    await call(client, "update_template", template_id=draft["template_id"], email_steps=[gone])
    created = await refusal(client, "create_campaign", name="C", template_id=draft["template_id"])
    started = await refusal(client, "start_campaign", campaign_id=draft["campaign_id"])
    assert "no active step" in started
    assert started.partition(": ")[2] == created.partition(": ")[2]
    paused = await new_campaign(client, people=1, start=True)
    await call(client, "pause_campaign", campaign_id=paused["campaign_id"])
    await call(client, "update_template", template_id=paused["template_id"], email_steps=[gone])
    resumed = await call(client, "start_campaign", campaign_id=paused["campaign_id"])
    assert resumed["campaign"]["status"] == "active"


async def test_a_suppressed_domain_keeps_its_people_out_and_stops_them(client: Client) -> None:
    scene = await new_campaign(client, people=2, start=True)
    answer = await call(client, "suppress", domain="Example.com", source="a letter")
    assert answer["stopped_enrollments"] == 2
    contacts = [{"email": "new@example.com"}]
    enrolled = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=contacts)
    assert enrolled["suppressed"] == 1
    listed = await call(client, "list_suppressions", search="example")
    assert [row["domain"] for row in listed["suppressions"]] == ["example.com"]


async def test_read_only_offers_no_write_and_choosing_toolsets_leaves_others_out(
    make_app: Callable[..., App],
) -> None:
    async with Client(build_server(make_app(read_only=True))) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "get_metrics" in names
        assert not names & WRITES
    async with Client(build_server(make_app(toolsets="metrics, events"))) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == EVENTS | {"get_metrics"}
    async with Client(build_server(make_app(toolsets="outreach, cache"))) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names >= CAMPAIGNS | CONTACTS | EVENTS | {"get_metrics", "claim_due_actions", "cache_get"}
        assert not names & {"create_job", "get_health"}
    with pytest.raises(ValueError, match="No toolset fax"):
        build_server(make_app(toolsets="fax"))


async def test_a_batch_with_a_bad_row_can_be_repeated_under_its_key(client: Client) -> None:
    scene = await new_campaign(client)
    contacts = [{"email": "ann@example.com"}, {"email": "no address"}]
    arguments = {"campaign_id": scene["campaign_id"], "contacts": contacts, "idempotency_key": "k9"}
    first = await call(client, "enroll_contacts", **arguments)
    assert await call(client, "enroll_contacts", **arguments) == first
    other = {**arguments, "contacts": [contacts[0], {"email": "another bad one"}]}
    assert "idempotency_key" in await refusal(client, "enroll_contacts", **other)


@pytest.mark.parametrize("value", [10**30, {"deep": "x\x00"}])
async def test_json_that_a_database_cannot_hold_is_refused_by_name(client: Client, value: object) -> None:
    text = await refusal(client, "create_template", name="T", type="email", settings={"a": value})
    assert "settings" in text


async def test_an_event_counts_on_its_day_in_utc_and_odd_years_are_refused(client: Client) -> None:
    scene = await new_campaign(client, people=1, start=True)
    event = {"event_type": "sent", "channel": "email", "enrollment_id": scene["enrollment_ids"][0], "step_number": 1}
    await call(client, "record_event", event={**event, "occurred_at": "2026-11-02T00:30:00+02:00"})
    await call(client, "record_event", event={**event, "event_type": "opened"})
    metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"], group_by="day")
    assert [group["key"] for group in metrics["groups"]] == ["2026-11-01"]
    odd = [
        "0001-01-01T00:00:00+14:00",
        "1970-01-01T00:30:00+01:00",
        "2200-12-31T23:59:59-12:00",
        "9999-12-31T23:00:00-12:00",
    ]
    for moment in odd:
        text = await refusal(client, "record_event", event={**event, "occurred_at": moment})
        assert "event.occurred_at: must lie between the years 1970 and 2200" in text


async def test_wrong_arguments_are_named_with_their_rule_and_those_that_there_are(client: Client) -> None:
    text = await refusal(client, "list_campaigns", limit=5000, statsu="active", cursor=7)
    head, *wrong, arguments = text.splitlines()
    assert head == "Error executing tool list_campaigns:"
    assert sorted(wrong) == [
        "cursor: must be text",
        "limit: must be at most 500",
        "statsu: is not known: take it out, or correct its name",
    ]
    assert arguments.startswith("It takes: ")
    assert {"status", "limit", "cursor"} <= set(arguments.removeprefix("It takes: ").rstrip(".").split(", "))

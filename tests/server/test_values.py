"""Values that look like what they should be, and are not: blanks, addresses, time zones, flags for numbers."""

from collections.abc import Callable, Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.arguments import SHAPED, told
from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio

ID = str(uuid4())
EMAIL = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
MESSAGE = {"step_number": 1, "type": "message", "message": "Hello"}
TEMPLATE = {"name": "T", "type": "multi_channel"}
BLANKS = ["            ", "\u200b" * 12, "\u00a0 \u3000\u2003" * 4, "\ufeff\u2060\u00ad" * 5, "\u3164\u2800" * 6]


def sender(account: str) -> dict[str, Any]:
    return {"senders": {"email": {"account": account}}}


SAID: list[tuple[str, Callable[[str], dict[str, Any]], str]] = [
    ("create_template", lambda blank: {**TEMPLATE, "name": blank}, "name"),
    ("update_template", lambda blank: {"template_id": ID, "name": blank}, "name"),
    ("update_template", lambda blank: {"template_id": ID, "email_steps": [{**EMAIL, "subject": blank}]}, "subject"),
    ("create_template", lambda blank: {**TEMPLATE, "email_steps": [{**EMAIL, "body": blank}]}, "body"),
    ("create_template", lambda blank: {**TEMPLATE, "linkedin_steps": [{**MESSAGE, "message": blank}]}, "message"),
    ("create_campaign", lambda blank: {"name": blank, "template_id": ID}, "name"),
    ("update_campaign", lambda blank: {"campaign_id": ID, "name": blank}, "name"),
    ("update_campaign", lambda blank: {"campaign_id": ID, "settings": sender(blank)}, "account"),
]


@pytest.mark.parametrize("blank", BLANKS)
async def test_a_name_or_a_text_that_shows_nothing_is_refused(client: Client, blank: str) -> None:
    for tool, arguments, name in SAID:
        assert f"{name}: must not be blank\n" in await refusal(client, tool, **arguments(blank))


@pytest.mark.parametrize("blank", BLANKS)
async def test_a_blank_name_of_a_person_is_a_missing_one(client: Client, blank: str) -> None:
    await call(client, "upsert_contacts", contacts=[{"email": "a@example.com", "first_name": blank}])
    scene = await new_campaign(client, start=True)
    step = {**EMAIL, "subject": "Hello {{ first_name }}"}
    await call(client, "update_template", template_id=scene["template_id"], email_steps=[step])
    people = [{"email": "a@example.com"}]
    enrolled = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=people)
    told = await call(client, "explain_due", enrollment_id=enrolled["results"][0]["enrollment_id"])
    assert [hold["reason"] for hold in told["holds"]] == ["missing_variable"]


async def reason(client: Client, **person: str) -> str:
    answer = await call(client, "upsert_contacts", contacts=[person])
    return answer["results"][0].get("reason", "")


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory", "europe/berlin", "CEST", "+01:00", "right/UTC"])
async def test_a_time_zone_is_one_of_the_iana_list(client: Client, zone: str) -> None:
    rule = "timezone: must be a time zone of the IANA list, such as Europe/Berlin"
    assert await reason(client, email="a@example.com", timezone=zone) == rule
    settings = {"timezone": zone}
    assert f"settings.{rule}\n" in await refusal(client, "create_campaign", name="C", template_id=ID, settings=settings)
    assert await reason(client, email="a@example.com", timezone="Europe/Berlin") == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://www.linkedin.com/company/acme",
        "linkedin.com/company/acme",
        "https://www.linkedin.com/sales/lead/ACwAAA,NAME_SEARCH",
        "https://www.linkedin.com/pub/jane-doe/1/2/3",
        "https://www.linkedin.com/school/acme",
        "https://www.linkedin.com/in/",
        "https://www.linkedin.com/in/jane%00doe",
        "https://www.linkedin.com/in/jane%1Fdoe",
        "https://www.linkedin.com/in/%ED%A0%80",
        "https://www.linkedin.com/in/%E2%80%8B",
        "https://[www.linkedin.com/in/jane-doe",
        "https://linkedin.com.example.com/in/jane-doe",
    ],
)
async def test_a_profile_is_at_linkedin_com_in(client: Client, url: str) -> None:
    rule = "linkedin_url: must be a person's profile, linkedin.com/in/..., such as https://www.linkedin.com/in/jane-doe"
    assert await reason(client, linkedin_url=url) == rule
    assert f"{rule}\n" in await refusal(client, "suppress", linkedin_url=url)


async def test_a_profile_is_known_in_each_of_its_spellings(client: Client) -> None:
    for url in (
        "linkedin.com/in/Jane-Doe/",
        "https://de.linkedin.com/in/jane-doe?trk=x",
        "http://m.linkedin.com/in/jane-doe/de",
    ):
        await call(client, "upsert_contacts", contacts=[{"linkedin_url": url}])
    (person,) = (await call(client, "find_contacts"))["contacts"]
    assert person["linkedin_url"] == "https://www.linkedin.com/in/jane-doe"


async def test_an_address_has_at_most_64_characters_before_the_at_sign(client: Client) -> None:
    assert await reason(client, email=f"{'a' * 64}@example.com") == ""
    assert "too long before the @-sign" in await reason(client, email=f"{'a' * 65}@example.com")
    assert "too long before the @-sign" in await refusal(client, "suppress", email=f"{'a' * 65}@example.com")


def integers(schema: dict[str, Any], *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """The places of whole numbers in a tool's arguments; 0 stands for the rows of a list."""
    kinds = schema.get("type")
    if kinds == "integer" or (isinstance(kinds, list) and kinds == ["integer"]):
        yield path
    for name, part in cast("dict[str, Any]", schema.get("properties", {})).items():
        yield from integers(part, *path, name)
    if isinstance(schema.get("items"), dict):
        yield from integers(schema["items"], *path, 0)


def placed(path: tuple[str | int, ...], value: object, given: object) -> Any:
    """What was given, with `value` at the place."""
    if not path:
        return value
    head, *rest = path
    if head == 0:
        rows = cast("list[Any]", given or [{}])
        return [placed(tuple(rest), value, rows[0])]
    whole = cast("dict[str, Any]", given or {})
    return {**whole, head: placed(tuple(rest), value, whole.get(cast("str", head)))}


@pytest.mark.parametrize("flag", [True, False])
async def test_a_flag_is_no_whole_number(make_app: Callable[..., App], flag: bool) -> None:
    """Walks every tool, so that a new argument is covered from its first day."""
    seen: set[str] = set()
    async with Client(build_server(make_app())) as client:
        for tool in (await client.list_tools()).tools:
            given = dict.fromkeys(tool.input_schema.get("required", ()), ID) | SHAPED.get(tool.name, {})
            for path in integers(tool.input_schema):
                name = ".".join(map(str, path))
                lines = told(await client.call_tool(tool.name, placed(path, flag, given)))
                assert [line for line in lines if line.endswith("must be a whole number")], (tool.name, name, lines)
                seen.add(name)
    assert {"limit", "email_steps.0.step_number", "settings.senders.email.daily_limit", "event.step_number"} <= seen


@pytest.mark.parametrize("error", ['{"code": 550}', "[550]", '"550"', "550", "true", "null"])
async def test_a_text_that_looks_like_json_stays_the_text_that_it_is(client: Client, error: str) -> None:
    await new_campaign(client, people=1, start=True)
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    report = {"action_id": due["action_id"], "lease_token": due["lease_token"], "outcome": "failed"}
    done = await call(client, "complete_action", **report, error=error)
    assert done["action"]["error"] == error


@pytest.mark.parametrize("value", ["null", '{"x": 1}', "[1, 2]", "true", '"q"'])
async def test_a_value_that_looks_like_json_stays_the_text_that_it_is(client: Client, value: str) -> None:
    await call(client, "cache_set", namespace="n", key="k", value=value)
    assert (await call(client, "cache_get", namespace="n", key="k"))["value"] == value
    job = await call(client, "create_job", type="enrichment", parameters={})
    claimed = (await call(client, "claim_job", worker_id="w"))["job"]
    held = {"job_id": job["job"]["id"], "lease_token": claimed["lease_token"]}
    await call(client, "heartbeat_job", **held, progress=value)
    await call(client, "complete_job", **held, result=value)
    shown = (await call(client, "get_job", job_id=held["job_id"]))["job"]
    assert (shown["progress"], shown["result"]) == (value, value)


async def test_null_is_taken_for_what_is_left_out(client: Client) -> None:
    step = {"step_number": 1, "subject": "Hello", "body": "Good morning, all", "delay_hours": None, "a_b_variant": None}
    nothing: dict[str, Any] = {"path_type": None, "settings": None, "linkedin_steps": None, "idempotency_key": None}
    made = await call(client, "create_template", name="T", type="email", email_steps=[step], **nothing)
    assert made["template"]["path_type"] == "structured"
    campaign = await call(client, "create_campaign", name="C", template_id=made["template"]["id"], settings=None)
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    person = {"email": "ann@example.com", "attributes": {"city": "Oslo"}, "linkedin_url": None, "company": None}
    await call(client, "upsert_contacts", contacts=[person])
    arguments = {"campaign_id": campaign_id, "all_or_nothing": None, "start_at": None}
    enrolled = await call(client, "enroll_contacts", **arguments, contacts=[{**person, "attributes": None}])
    assert enrolled["enrolled"] == 1
    await call(client, "upsert_contacts", contacts=[{**person, "attributes": None}])
    (kept,) = (await call(client, "find_contacts", limit=None, detail="full"))["contacts"]
    assert kept["attributes"] == {"city": "Oslo"}
    due = await call(client, "claim_due_actions", campaign_id=None, channel=None, limit=None, lease_seconds=None)
    assert len(due["actions"]) == 1
    event = {"event_type": "unsubscribed", "channel": "email", "occurred_at": None, "metadata": None}
    whose = {"enrollment_id": enrolled["results"][0]["enrollment_id"], "email": None}
    assert (await call(client, "record_events", events=[{**event, **whose}]))["recorded"] == 1
    metrics = await call(client, "get_metrics", campaign_id=campaign_id, group_by=None, since=None)
    assert metrics["enrollment_status"]["unsubscribed"] == 1


async def test_null_is_no_value_for_what_must_be_given(client: Client) -> None:
    assert "name" in await refusal(client, "create_template", name=None, type="email")
    assert "step_number" in await refusal(
        client,
        "create_template",
        name="T",
        type="email",
        email_steps=[{"step_number": None, "subject": "Hello", "body": "Good morning, all"}],
    )


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("create_campaign", {"name": "C", "template_id": ID, "provider_config": {"smtp": [{"apiKey": "x"}]}}),
        ("update_campaign", {"campaign_id": ID, "provider_config": {"apiKey": "x"}}),
        ("create_template", {**TEMPLATE, "settings": {"apiKey": "x"}}),
        ("update_template", {"template_id": ID, "settings": {"apiKey": "x"}}),
        ("record_event", {"event": {"event_type": "sent", "channel": "email", "metadata": {"apiKey": "x"}}}),
    ],
)
async def test_a_secret_in_free_json_is_refused_with_its_key_and_where_it_belongs(
    client: Client, tool: str, arguments: dict[str, Any]
) -> None:
    told_ = await refusal(client, tool, **arguments)
    assert "holds a secret, as its key 'apiKey' says" in told_
    assert "environment" in told_


async def test_an_archived_template_can_be_brought_back(client: Client) -> None:
    made = await call(client, "create_template", **TEMPLATE, email_steps=[EMAIL])
    template_id = made["template"]["id"]
    archived = await call(client, "archive_template", template_id=template_id)
    assert archived["undo"] == f'update_template(template_id="{template_id}", is_active=true)'
    assert (await call(client, "list_templates"))["templates"] == []
    back = await call(client, "update_template", template_id=template_id, is_active=True)
    assert back["template"]["is_active"] is True
    assert [template["id"] for template in (await call(client, "list_templates"))["templates"]] == [template_id]
    await call(client, "create_campaign", name="C", template_id=template_id)


WRITTEN = [
    "Ann <ann@example.com>",
    "<ann@example.com>",
    "mailto:ann@example.com",
    "ann@example.com.",
    "\u200bann@example.com",
]


@pytest.mark.parametrize("written", WRITTEN)
async def test_an_address_is_one_however_it_is_written(client: Client, written: str) -> None:
    (person,) = (await call(client, "upsert_contacts", contacts=[{"email": written}], detail="full"))["results"]
    (found,) = (await call(client, "find_contacts", email=written))["contacts"]
    assert (found["id"], found["email"]) == (person["contact_id"], "ann@example.com")
    assert (await call(client, "suppress", email=written))["suppression"]["email"] == "ann@example.com"
    assert (await call(client, "suppress", addresses=[written]))["already_suppressed"] == 1
    scene = await new_campaign(client)
    enrolled = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[{"email": written}])
    assert enrolled["suppressed"] == 1
    assert (await call(client, "unsuppress", email=written))["lifted"]["email"] == "ann@example.com"

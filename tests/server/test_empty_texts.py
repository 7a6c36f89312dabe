"""An empty text for what need not be given is as good as nothing: programs fill in every argument, and readers of
tables every cell."""

import csv
import io
from collections.abc import Iterator
from typing import Any, cast

import pytest
from mcp.client import Client
from mcp.server.mcpserver.tools import Tool as OfferedTool

from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.jobs.imports import ImportParameters
from mcp_server.process.app import App
from mcp_server.schemas.base import Given
from tests.support.arguments import ID
from tests.support.server import call, new_campaign, refusal

OFFERED = {tool.name: tool for toolset in TOOLSETS for tool in toolset.offer(cast("App", None), read_only=False)}
EMAIL = {"email": "a@example.com"}
LEAST: dict[str, dict[str, Any]] = {
    "ActionReport": {"action_id": ID, "lease_token": ID, "outcome": "sent"},
    "ApprovalIn": {"draft_id": ID, "fingerprint": "0" * 64},
    "CampaignSettings": {},
    "ContactIn": EMAIL,
    "EmailStepIn": {"step_number": 1, "subject": "Hello", "body": "Good morning, all"},
    "EnrollIn": EMAIL,
    "EventIn": {"event_type": "opened", "channel": "email", "enrollment_id": ID},
    "GuardrailsIn": {},
    "ImapIn": {"host": "imap.example.com"},
    ImportParameters.__name__: {"csv": "email\na@example.com\n"},
    "LinkedInStepIn": {"step_number": 1, "type": "profile_visit"},
    "Pace": {},
    "RampUp": {"start": 1, "increase": 1},
    "Sender": {"account": "a@example.com"},
    "Senders": {},
    "SendingWindow": {"start": "09:00", "end": "17:00"},
    "ServerIn": {"host": "smtp.example.com", "port": 587},
    "SmtpIn": {"host": "smtp.example.com"},
    "WhenIn": {"fact": "opened"},
}


def shapes(of: type[Given] = Given) -> Iterator[type[Given]]:
    """What clients send inside of arguments: every shape that no other is made of."""
    for shape in of.__subclasses__():
        yield from () if shape.__name__.startswith("_") else (shape,)
        yield from shapes(shape)


# The dashboard's own, which pages alone send, are not among them.
SHAPES = sorted(
    {shape for shape in shapes() if not shape.__module__.startswith("mcp_server.http.")},
    key=lambda shape: shape.__name__,
)


@pytest.mark.parametrize("tool", OFFERED.values(), ids=OFFERED)
def test_an_optional_argument_may_be_empty_in_every_tool(tool: OfferedTool) -> None:
    fields = tool.fn_metadata.arg_model.model_fields
    given = {name: "" for name, field in fields.items() if not field.is_required()}
    assert tool.fn_metadata.pre_parse_json(given) == {}
    needed = {name: "" for name, field in fields.items() if field.is_required()}
    assert tool.fn_metadata.pre_parse_json(needed) == needed


def test_every_shape_is_looked_at() -> None:
    assert [shape.__name__ for shape in SHAPES] == sorted(LEAST)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_optional_field_may_be_empty_in_every_shape(shape: type[Given]) -> None:
    least = LEAST[shape.__name__]
    names = [field.alias or name for name, field in shape.model_fields.items()]
    rest = {name: "" for name in names if name not in least}
    assert shape.model_validate({**least, **rest}) == shape.model_validate(least)


@pytest.mark.anyio
@pytest.mark.parametrize("blank", ["", "  ", "\u00a0", "\u200b"])
async def test_rows_of_a_table_may_have_empty_cells(client: Client, blank: str) -> None:
    table = "email,linkedin_url,first_name,last_name,company,title,timezone,attributes,contact_id\n"
    table += f"a@example.com,{blank},Ada,{blank},{blank},{blank},{blank},{blank},{blank}\n"
    table += f"{blank},https://www.linkedin.com/in/ben,Ben,{blank},{blank},{blank},Europe/Berlin,{blank},{blank}\n"
    rows = list(csv.DictReader(io.StringIO(table)))
    campaign_id = (await new_campaign(client))["campaign_id"]
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=rows)
    assert (enrolled["enrolled"], enrolled["invalid"]) == (2, 0)


@pytest.mark.anyio
async def test_an_empty_cell_leaves_what_is_known_and_clear_empties_it(client: Client) -> None:
    known = {"first_name": "Ada", "company": "Acme", "title": "CTO", "timezone": "UTC"}
    await call(client, "upsert_contacts", contacts=[{**EMAIL, **known}])
    await call(client, "upsert_contacts", contacts=[{**EMAIL, **dict.fromkeys(known, "")}])
    (person,) = (await call(client, "find_contacts", detail="full", **EMAIL))["contacts"]
    assert {name: person[name] for name in known} == known
    await call(client, "upsert_contacts", contacts=[{**EMAIL, "clear": ["company", "timezone"], "title": ""}])
    (person,) = (await call(client, "find_contacts", detail="full", **EMAIL))["contacts"]
    assert (person["first_name"], person["title"]) == ("Ada", "CTO")
    assert not person.keys() & {"company", "timezone"}
    await call(client, "upsert_contacts", contacts=[{"email": "new@example.com", "clear": ["first_name"]}])
    (person,) = (await call(client, "find_contacts", email="new@example.com"))["contacts"]
    assert "first_name" not in person


@pytest.mark.anyio
async def test_a_field_that_was_emptied_is_filled_again(client: Client) -> None:
    await call(client, "upsert_contacts", contacts=[{**EMAIL, "company": "Acme"}])
    await call(client, "upsert_contacts", contacts=[{**EMAIL, "clear": ["company"]}])
    campaign_id = (await new_campaign(client))["campaign_id"]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[{**EMAIL, "company": "Umbrella"}])
    (person,) = (await call(client, "find_contacts", **EMAIL))["contacts"]
    assert person["company"] == "Umbrella"


@pytest.mark.anyio
async def test_a_field_is_given_or_cleared_and_an_address_never_cleared(client: Client) -> None:
    rows = [{**EMAIL, "title": "CTO", "clear": ["title"]}, {**EMAIL, "clear": ["email"]}]
    answer = await call(client, "upsert_contacts", contacts=rows)
    assert [row["reason"] for row in answer["results"]] == [
        "title is given, and in clear: do one of the two",
        "clear.0: must be 'first_name', 'last_name', 'company', 'title' or 'timezone'",
    ]


@pytest.mark.anyio
async def test_an_empty_description_leaves_it_and_clear_empties_it(client: Client) -> None:
    made = await call(client, "create_template", name="T", type="email", description="For fairs")
    which = {"template_id": made["template"]["id"]}
    kept = await call(client, "update_template", **which, description="", name="")
    assert (kept["template"]["description"], kept["template"]["name"]) == ("For fairs", "T")
    told = await refusal(client, "update_template", **which, description="x", clear=["description"])
    assert "do one of the two" in told
    cleared = await call(client, "update_template", **which, clear=["description"])
    assert "description" not in cleared["template"]


@pytest.mark.anyio
@pytest.mark.parametrize("tool", [tool.name for tool in OFFERED.values() if tool.name.startswith("list_")])
async def test_a_list_may_be_asked_for_with_every_argument_empty(client: Client, tool: str) -> None:
    arguments = dict.fromkeys(OFFERED[tool].parameters["properties"], "")
    if tool in ("list_enrollments", "list_events"):
        arguments["campaign_id"] = (await new_campaign(client, people=1))["campaign_id"]
    await call(client, tool, **arguments)

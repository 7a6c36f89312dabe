"""The usual work as prompts: what they name exists, and what is not offered is not named."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import GetPromptResult, TextContent, Tool

from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.offers.prompts.catalogue import PROMPTS
from mcp_server.offers.prompts.texts import calls_of, fill
from mcp_server.process.app import App
from tests.support.server import call, new_campaign

pytestmark = pytest.mark.anyio

CAMPAIGN = "0199a1b2-0000-7000-8000-000000000001"
FULL: dict[str, dict[str, str]] = {
    "plan_campaign": {"goal": "Ten demos", "audience": "CTOs of Berlin", "channels": "multi_channel"},
    "work_due_actions": {"campaign_id": CAMPAIGN, "limit": "25"},
    "weekly_report": {"campaign_id": CAMPAIGN, "week": "2026-W43"},
    "triage_replies": {"campaign_id": CAMPAIGN, "since": "2026-10-30"},
}
REQUIRED: dict[str, dict[str, str]] = {
    "plan_campaign": {"goal": "Ten demos"},
    "work_due_actions": {},
    "weekly_report": {"campaign_id": CAMPAIGN},
    "triage_replies": {"campaign_id": CAMPAIGN},
}
EVERY = [(name, given) for arguments in (FULL, REQUIRED) for name, given in arguments.items()]
WRITES = {tool.name for toolset in TOOLSETS for tool in toolset.tools if not tool.read_only}


def text_of(result: GetPromptResult) -> str:
    (message,) = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def prompt(client: Client, name: str, **arguments: str) -> str:
    return text_of(await client.get_prompt(name, arguments))


async def refused(client: Client, name: str, **arguments: str) -> str:
    with pytest.raises(MCPError) as refusal:
        await client.get_prompt(name, arguments)
    assert refusal.value.error.code == -32602
    return refusal.value.error.message


def words(schema: Any) -> Iterator[str]:
    """The names of properties and the values of enums, at any depth."""
    if isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key == "properties":
                yield from value
            elif key in ("enum", "const"):
                yield from map(str, value if key == "enum" else [value])
            yield from words(value)
    elif isinstance(schema, list):
        for item in cast("list[Any]", schema):
            yield from words(item)


async def test_every_prompt_is_listed_with_title_description_and_described_arguments(client: Client) -> None:
    listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert set(listed) == {"plan_campaign", "work_due_actions", "weekly_report", "triage_replies"}
    for prompt in listed.values():
        assert prompt.title
        assert prompt.description
        arguments = prompt.arguments or []
        assert all(argument.description for argument in arguments)
        assert {argument.name for argument in arguments} == set(FULL[prompt.name])
        assert {argument.name for argument in arguments if argument.required} == set(REQUIRED[prompt.name])


@pytest.mark.parametrize(("name", "given"), EVERY)
async def test_every_tool_and_argument_that_a_prompt_names_exists(
    client: Client, name: str, given: dict[str, str]
) -> None:
    tools: dict[str, Tool] = {tool.name: tool for tool in (await client.list_tools()).tools}
    calls = list(calls_of(await prompt(client, name, **given)))
    assert len(calls) >= 6
    for tool, arguments in calls:
        schema = tools[tool].input_schema
        assert set(arguments) <= set(schema["properties"]), tool
        for argument, value in arguments.items():
            if value is not None:
                wanted = {**schema["properties"][argument], "$defs": schema.get("$defs", {})}
                validator = cast("Any", Draft202012Validator(wanted))  # its own types are partly unknown
                assert validator.is_valid(json.loads(value)), (tool, argument, value)


@pytest.mark.parametrize("name", ["weekly_report", "triage_replies"])
async def test_calls_that_a_prompt_gives_in_full_are_answered(client: Client, name: str) -> None:
    scene = await new_campaign(client, people=1, start=True)
    text = await prompt(client, name, **{**FULL[name], "campaign_id": scene["campaign_id"]})
    full = [(tool, given) for tool, given in calls_of(text) if None not in given.values()]
    assert len(full) >= 3
    for tool, given in full:
        await call(client, tool, **{argument: json.loads(value or "") for argument, value in given.items()})


@pytest.mark.parametrize(("name", "given"), EVERY)
async def test_every_word_that_a_prompt_quotes_is_one_of_the_tools(
    client: Client, name: str, given: dict[str, str]
) -> None:
    known = {"null"}
    for tool in (await client.list_tools()).tools:
        known |= set(words(tool.input_schema))
    for tool in (tool for toolset in TOOLSETS for tool in toolset.tools):
        known |= set(words(tool.answer.model_json_schema()))
    quoted = re.findall(r"`(\w+)`", await prompt(client, name, **given))
    assert quoted
    assert set(quoted) <= known


@pytest.mark.parametrize(("name", "given"), EVERY)
async def test_a_prompt_leaves_no_hole_and_numbers_its_steps(client: Client, name: str, given: dict[str, str]) -> None:
    text = await prompt(client, name, **given)
    assert "$" not in text
    assert "None" not in text
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(value in text for value in given.values() if value not in ("2026-10-30", "25"))


async def test_what_was_given_stands_in_the_calls_and_what_was_not_is_left_out(client: Client) -> None:
    full = await prompt(client, "work_due_actions", **FULL["work_due_actions"])
    assert f'`claim_due_actions(campaign_id="{CAMPAIGN}", limit=25, lease_seconds)`' in full
    bare = await prompt(client, "work_due_actions", campaign_id=" ")
    assert "`claim_due_actions(lease_seconds)`" in bare
    assert "Only those of campaign" not in bare


async def test_a_report_is_of_the_week_that_is_over_or_of_the_one_that_is_asked_for(client: Client) -> None:
    last = await prompt(client, "weekly_report", campaign_id=CAMPAIGN)  # it is Monday, 2 November
    assert "2026-W44: 2026-10-26 to 2026-11-01" in last
    assert 'since="2026-10-19", until="2026-10-25"' in last
    for week in ("2026-W53", "2026-12-31", "2027-01-03"):
        assert "2026-W53: 2026-12-28 to 2027-01-03" in await prompt(
            client, "weekly_report", campaign_id=CAMPAIGN, week=week
        )


async def test_replies_are_those_of_seven_days_or_since_the_moment_given(client: Client) -> None:
    assert 'since="2026-10-26T09:00:00+00:00"' in await prompt(client, "triage_replies", campaign_id=CAMPAIGN)
    of_day = await prompt(client, "triage_replies", campaign_id=CAMPAIGN, since="2026-10-30")
    assert 'since="2026-10-30T00:00:00+00:00"' in of_day
    of_moment = await prompt(client, "triage_replies", campaign_id=CAMPAIGN, since="2026-10-30T08:00:00+01:00")
    assert 'since="2026-10-30T08:00:00+01:00"' in of_moment


async def test_the_rules_of_a_lease_are_said(client: Client) -> None:
    text = await prompt(client, "work_due_actions")
    for said in ("lease_until", "Once it has passed, don't send that step", "the lease is lost and somebody else has"):
        assert said in text


async def test_what_a_person_typed_is_taken_as_it_is(client: Client) -> None:
    goal = "Win $100k, `quoted(x)` and {{ braces }} \\ 100 %\n1. not a step"
    assert f"Goal: {goal}" in await prompt(client, "plan_campaign", goal=goal)


BAD: list[tuple[str, dict[str, str], str]] = [
    ("plan_campaign", {}, "goal"),
    ("plan_campaign", {"goal": "  "}, "goal"),
    ("plan_campaign", {"goal": "x", "channels": "fax"}, "multi_channel"),
    ("work_due_actions", {"campaign_id": "Autumn"}, "list_campaigns"),
    ("work_due_actions", {"limit": "0"}, "limit"),
    ("work_due_actions", {"limit": "9" * 5000}, "limit"),
    ("work_due_actions", {"limit": "²"}, "limit"),
    ("weekly_report", {}, "campaign_id"),
    ("weekly_report", {"campaign_id": CAMPAIGN, "week": "2026-W54"}, "2026-W45"),
    ("weekly_report", {"campaign_id": CAMPAIGN, "week": "0001-01-01"}, "2026-W45"),
    ("triage_replies", {"campaign_id": CAMPAIGN, "since": "yesterday"}, "2026-11-02"),
    ("triage_replies", {"campaign_id": CAMPAIGN, "until": "2026-11-02"}, "since"),
    ("sell_everything", {}, "plan_campaign"),
]


@pytest.mark.parametrize(("name", "given", "named"), BAD)
async def test_bad_arguments_are_refused_by_name(client: Client, name: str, given: dict[str, str], named: str) -> None:
    assert named in await refused(client, name, **given)


@pytest.mark.parametrize(
    ("toolsets", "expected"),
    [
        ("campaigns", {"plan_campaign"}),
        ("actions", {"work_due_actions"}),
        ("mail", {"triage_replies"}),
        ("events,metrics", {"weekly_report"}),
        ("jobs,cache", set[str]()),
    ],
)
async def test_prompts_go_with_their_toolsets_and_name_no_tool_that_is_off(
    make_app: Callable[..., App], toolsets: str, expected: set[str]
) -> None:
    async with Client(build_server(make_app(toolsets=toolsets))) as client:
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == expected
        tools = {tool.name for tool in (await client.list_tools()).tools}
        for name in expected:
            text = await prompt(client, name, **FULL[name])
            named = {tool for tool, _ in calls_of(text)}
            assert named
            assert named <= tools
            assert name in (client.instructions or "")
        absent = {prompt.name for prompt in PROMPTS} - expected
        for name in absent:
            assert name not in (client.instructions or "")
            assert "No such prompt" in await refused(client, name, **FULL[name])


async def test_a_read_only_server_offers_the_prompts_that_read_and_names_no_tool_that_writes(
    make_app: Callable[..., App],
) -> None:
    async with Client(build_server(make_app(read_only=True))) as client:
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == {"weekly_report", "triage_replies"}
        for name in ("weekly_report", "triage_replies"):
            assert not {tool for tool, _ in calls_of(await prompt(client, name, **FULL[name]))} & WRITES
        assert "plan_campaign" not in (client.instructions or "")


@pytest.mark.parametrize("toolsets", ["all", "outreach", "actions,events", "actions", "jobs,cache"])
@pytest.mark.parametrize("read_only", [False, True])
async def test_the_instructions_name_no_tool_that_is_not_offered(
    make_app: Callable[..., App], toolsets: str, *, read_only: bool
) -> None:
    async with Client(build_server(make_app(toolsets=toolsets, read_only=read_only))) as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}
        order = re.search(r"Usual order: (.*)", client.instructions or "")
        named = set(re.findall(r"[a-z]+_[a-z_]*[a-z]", order[1])) if order else set[str]()
        assert named <= offered
        assert bool(named) is (not read_only and toolsets in ("all", "outreach", "actions,events"))


async def test_prompts_need_no_database(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.close()
    async with Client(build_server(app)) as client:
        assert "claim_due_actions" in await prompt(client, "work_due_actions")


async def test_every_prompt_of_a_toolset_is_in_the_catalogue() -> None:
    named = [name for toolset in TOOLSETS for name in toolset.prompts(read_only=False)]
    assert sorted(named) == sorted(prompt.name for prompt in PROMPTS)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("1. one\n1. `gone()`\n1. three", "1. one\n2. three"),
        ("Of $who.\n\n1. `call(a=$who, b=$what, c)`", '1. `call(b="x", c)`'),
        ("a\nb\n\n- c\n  d", "a b\n\n- c d"),
        ("$what, $what", "x, x"),
    ],
)
async def test_parts_that_do_not_apply_are_left_out(text: str, filled: str) -> None:
    assert fill(text, {"what": "x"}, {"call"}) == filled

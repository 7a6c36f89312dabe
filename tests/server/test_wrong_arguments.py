"""What is said of wrong arguments: each as its caller wrote it, what is wrong, and what to pass instead."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.arguments import ID, SHAPED, STEP, told
from tests.support.server import refusal

pytestmark = pytest.mark.anyio

BAD: list[Any] = [
    None, True, 1.5, 10**30, "", "x" * 60_000, "a\x00b", "no", "2026-11-02T09:00:00", [None], {"a b": None},
]  # fmt: skip
INTERNALS = re.compile(
    r"function-|\[|tagged-union|is-instance|items? after validation|Input should|Value |dictionary|instance of"
    r"|valid |validat|Annotated|pydantic|Extra|Field|pattern|parse|None|str\b|\bint\b|bool\b|\\x|\x00"
)


def spoiled(value: Any, bad: Any) -> Iterator[Any]:
    """`bad` itself, and the value with each of its parts, at any depth, replaced by it."""
    yield bad
    if isinstance(value, dict):
        whole = cast("dict[str, Any]", value)
        yield {**whole, "nickname": bad}
        for name, part in whole.items():
            yield {key: variant for key, variant in whole.items() if key != name}
            yield from ({**whole, name: variant} for variant in spoiled(part, bad))
    if isinstance(value, list):
        for part in cast("list[Any]", value)[:1]:
            yield from ([variant] for variant in spoiled(part, bad))


async def test_no_text_shows_how_arguments_are_checked(make_app: Callable[..., App]) -> None:
    lines: set[str] = set()
    async with Client(build_server(make_app())) as client:
        for tool in (await client.list_tools()).tools:
            given = dict.fromkeys(tool.input_schema.get("required", ()), ID) | SHAPED.get(tool.name, {})
            names = set(tool.input_schema["properties"]) | {"nickname"}
            for bad in BAD:
                for name in names:
                    for value in spoiled(given.get(name), bad):
                        lines.update(told(await client.call_tool(tool.name, {**given, name: value})))
    assert len(lines) > 300
    assert [line for line in lines if INTERNALS.search(line)] == []


WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("create_template", {"name": "x" * 201, "type": "fax"}, [
        "name: must have at most 200 characters", "type: must be 'email', 'linkedin' or 'multi_channel'",
    ]),
    ("create_template", {"name": "", "type": 7}, [
        "name: must not be empty", "type: must be 'email', 'linkedin' or 'multi_channel'",
    ]),
    ("create_template", {"name": "T", "type": "email", "email_steps": [{**STEP, "colour": 1, "body": "short"}, 7]}, [
        "email_steps.0.body: must have at least 10 characters",
        "email_steps.0.colour: is not known: take it out, or correct its name",
        "email_steps.1: must be an object",
    ]),
    ("create_campaign", {"name": "C", "template_id": "7", "settings": {
        "sending_window": {"start": "9", "end": "25:00"}, "variables": {"a b": 1, "c": [1]}, "holidays": ["May 1"],
    }}, [
        "settings.holidays.0: must be a day such as 2026-11-02",
        "settings.sending_window.end: must be a time of day such as 09:30",
        "settings.sending_window.start: must be a time of day such as 09:30",
        "settings.variables.a b: its name must be a letter or _, and up to 63 letters, digits and _",
        "settings.variables.c: must be text, a number of at most 64 bits, or true or false",
        "template_id: must be an id (a UUID), as answers and lists give it",
    ]),
    ("get_metrics", {"campaign_id": ID, "since": "May", "until": " "}, [
        "since: must be a day such as 2026-11-02, or a moment with its zone, such as 2026-11-02T09:00:00+01:00",
        "until: must be a day such as 2026-11-02, or a moment with its zone, such as 2026-11-02T09:00:00+01:00",
    ]),
    ("list_events", {"since": "May"}, [
        "campaign_id: is missing", "since: must be a moment with its zone, such as 2026-11-02T09:00:00+01:00",
    ]),
    ("claim_due_actions", {"limit": 501, "lease_seconds": "long"}, [
        "lease_seconds: must be a whole number", "limit: must be at most 500",
    ]),
    ("enroll_contacts", {"campaign_id": ID, "contacts": []}, ["contacts: must not be empty"]),
    ("record_events", {"events": [{}] * 10_001}, ["events: must have at most 10000 entries"]),
    ("list_campaigns", {"a\nb": 1, "n" * 200: 1}, [
        "a b: is not known: take it out, or correct its name",
        "n" * 100 + "...: is not known: take it out, or correct its name",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "lines"), WRONG)
async def test_each_wrong_argument_is_named_with_its_rule(
    client: Client, tool: str, arguments: dict[str, Any], lines: list[str]
) -> None:
    head, *wrong, takes = (await refusal(client, tool, **arguments)).splitlines()
    assert head == f"Error executing tool {tool}:"
    assert sorted(wrong) == lines
    assert takes.startswith("It takes: ")

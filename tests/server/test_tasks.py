"""The tools, judged by the work that they are for: each wish takes at most six calls."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import call
from tests.support.tasks import TASKS, Step, Task

pytestmark = pytest.mark.anyio

MOST_CALLS = 6


@pytest.fixture
async def agent(make_app: Callable[..., App]) -> AsyncGenerator[Client]:
    async with Client(build_server(make_app())) as connected:
        yield connected


def part(of: object, path: str) -> Any:
    """The part of an answer that a path such as events.*.email names."""
    if not path:
        return of
    name, _, rest = path.partition(".")
    if name == "*":
        return [part(item, rest) for item in cast("list[object]", of)]
    at: Any = of
    return part(at[int(name) if isinstance(at, list) else name], rest)


def filled(value: object, known: dict[str, Any]) -> Any:
    """`value` with the parts of earlier answers that it names."""
    if isinstance(value, dict):
        return {key: filled(each, known) for key, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [filled(item, known) for item in cast("list[object]", value)]
    return part(known, value[1:]) if isinstance(value, str) and value.startswith("$") else value


async def run(client: Client, step: Step, known: dict[str, Any]) -> dict[str, Any]:
    tool, arguments = step
    return await call(client, tool, **filled(arguments, known))


async def campaign(client: Client, name: str, steps: list[dict[str, Any]], settings: dict[str, Any]) -> tuple[str, str]:
    """(template, campaign), a draft."""
    made = await call(client, "create_template", name=name, type="email", email_steps=steps)
    template_id = made["template"]["id"]
    draft = await call(client, "create_campaign", name=name, template_id=template_id, settings=settings)
    return template_id, draft["campaign"]["id"]


async def started(client: Client, campaign_id: str, *people: dict[str, Any]) -> list[str]:
    """The enrollments of people in a campaign that is started."""
    await call(client, "start_campaign", campaign_id=campaign_id)
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=list(people), detail="full")
    return [row["enrollment_id"] for row in enrolled["results"]]


def happened(enrollment_id: str, event_type: str, at: str = "2026-11-01T10:00:00Z") -> dict[str, Any]:
    return {
        "event_type": event_type, "channel": "email", "enrollment_id": enrollment_id, "step_number": 1,
        "occurred_at": at,
    }  # fmt: skip


PEOPLE = [
    {"email": "ann@acme.example", "first_name": "Ann"},
    {"email": "cleo@example.com", "first_name": "Cleo"},
    {"email": "dan@example.com", "first_name": "Dan"},
    {"email": "eve@example.com", "first_name": "Eve"},
    {"email": "fay@example.com", "first_name": "Fay"},
    {"email": "nameless@example.com"},
]


@pytest.fixture
async def scene(agent: Client) -> dict[str, str]:
    """Autumn sends at any time, Spring by two variants and not on Mondays; a draft; an orphan; somebody who left."""
    mails = [
        {"step_number": 1, "subject": "Hello {{ first_name }}", "body": "A word with you ..."},
        {"step_number": 2, "subject": "Once more", "body": "Are you there?", "delay_hours": 72},
    ]
    template, autumn = await campaign(agent, "Autumn", mails, {})
    ids = await started(agent, autumn, *PEOPLE)
    await call(agent, "update_enrollment", enrollment_id=ids[5], action="pause")
    variants = [
        {"step_number": 1, "subject": f"Try {v}", "body": "A word with you ...", "a_b_variant": v} for v in "AB"
    ]
    window = {"days": ["tue", "wed"], "start": "09:00", "end": "17:00"}
    _, spring = await campaign(agent, "Spring", [*variants, mails[1]], {"sending_window": window})
    others = await started(
        agent, spring, *({"email": f"s{n}@example.com"} for n in range(3)), {"email": "bob@acme.example"}
    )
    draft = await call(agent, "create_campaign", name="Draft", template_id=template)
    events = [
        happened(ids[3], "sent"), happened(ids[3], "replied"), happened(ids[4], "sent"),
        happened(others[0], "sent"), happened(others[1], "sent"), happened(others[1], "bounced"),
        {"event_type": "opened", "channel": "email", "campaign_id": autumn, "email": "late@example.com"},
    ]  # fmt: skip
    await call(agent, "record_events", events=events)
    await call(agent, "suppress", email="una@example.com", reason="unsubscribed")
    return {"template": template, "autumn": autumn, "spring": spring, "draft": draft["campaign"]["id"]}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.wish)
async def test_a_wish_is_fulfilled_in_six_calls(agent: Client, scene: dict[str, str], task: Task) -> None:
    assert len(task.calls) <= MOST_CALLS
    known: dict[str, Any] = {"scene": scene}
    for number, step in enumerate(task.calls, start=1):
        known[str(number)] = await run(agent, step, known)
    assert {path: part(known, path) for path in task.shows} == filled(task.shows, known)
    for step, expected in task.then:
        answer = await run(agent, step, known)
        assert {path: part(answer, path) for path in expected} == filled(expected, known)


def test_there_are_twenty_wishes_and_they_use_most_of_the_tools() -> None:
    assert len({task.wish for task in TASKS}) == 20
    used = {tool for task in TASKS for tool, _ in task.calls}
    assert len(used) >= 25

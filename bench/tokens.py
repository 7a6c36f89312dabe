"""What a model reads of us, in tokens: the list of the tools, and lists of twenty rows.

Tokens are those of o200k_base, counted by bpe-openai, which is installed by hand as the other peers are. Without it
they are estimated, by how many characters a token had in ours: 4.25 of the tools, 2.6 of answers, full of ids.
"""

import csv
import importlib
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp.client import Client
from mcp_types import TextContent, Tool
from pydantic_core import to_json
from sqlalchemy.orm import Session

from bench.measure import verdict
from db.domain.events import EventType, NewEvent
from db.domain.states import Channel, DeliveryStatus
from db.domain.webhooks import NewDelivery, Settled
from db.services.events import deliveries, events
from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from mcp_server.process.settings import Settings

NOW = datetime(2026, 11, 2, 9, 0, 12, 345678, tzinfo=UTC)
ROWS = 20
AIMS = {"all": 14_000, "outreach": 9_500}
# Output schemas, titles and hints are for the host.
HANDED_ON = {"name", "description", "input_schema"}
HANDED_ON_AIM = 8_000
LIST_AIM = 1_500
FIRST = ["Anna", "Ben", "Carla", "David", "Elif", "Frank", "Grete", "Hugo", "Ines", "Jonas"]


def counter(characters_each: float) -> Callable[[str], int]:
    """How many tokens a text has."""
    if find_spec("bpe_openai") is None:
        return lambda text: round(len(text) / characters_each)
    library: Any = importlib.import_module("bpe_openai")  # without types
    encoding = library.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text))


tokens_of_tools, tokens_of_answer = counter(4.25), counter(2.6)


def told(tools: Sequence[Tool], only: set[str] | None = None) -> str:
    return to_json(
        [tool.model_dump(mode="json", by_alias=True, exclude_none=True, include=only) for tool in tools]
    ).decode()


async def tool_lists(app: App) -> None:
    """Tokens of the presets and of each toolset; the largest tools."""
    for preset, aim in AIMS.items():
        tools = await listed(app, preset)
        size = tokens_of_tools(told(tools))
        print(f"\n{preset}: {len(tools)} tools, {len(told(tools)):,} characters, {size:,} tokens")
        verdict(f"{preset} / {aim:,}", size / aim, "at most 1", met=size <= aim)
    size = tokens_of_tools(told(await listed(app, "all"), HANDED_ON))
    print(f"\nall, as handed to a model: {size:,} tokens")
    verdict(f"as handed to a model / {HANDED_ON_AIM:,}", size / HANDED_ON_AIM, "at most 1", met=size <= HANDED_ON_AIM)
    for toolset in TOOLSETS:
        print(f"  {toolset.name:<10} {tokens_of_tools(told(await listed(app, toolset.name))):>6,}")
    sizes = {tool.name: tokens_of_tools(told([tool])) for tool in await listed(app, "all")}
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:8]
    print("  largest: " + ", ".join(f"{name} {sizes[name]}" for name in largest))


async def listed(app: App, toolsets: str) -> Sequence[Tool]:
    chosen = App(app.settings.model_copy(update={"toolsets": toolsets}))
    try:
        async with Client(build_server(chosen)) as client:
            return (await client.list_tools()).tools
    finally:
        chosen.close()


async def answer(client: Client, tool: str, **arguments: object) -> tuple[dict[str, Any], str]:
    """The answer of a call, and the longer of the two texts of it: a host shows one of them."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.content[0], TextContent)
    assert result.structured_content is not None
    texts = (result.content[0].text, to_json(result.structured_content).decode())
    return result.structured_content, max(texts, key=len)


async def fill(app: App, client: Client) -> str:
    """25 rows for each list, so that the page of 20 has a cursor; the campaign that has them."""
    campaign_id = ""
    for n in range(25):
        campaign_id = await campaign(client, n)
        await answer(client, "create_job", type="enrichment", parameters={"domain": f"firm{n}.example"})
        await answer(client, "suppress", email=f"{FIRST[n % 10].lower()}{n}@former.example", source="phone call")
    enrolled, _ = await answer(client, "enroll_contacts", campaign_id=campaign_id, contacts=people(), detail="full")
    ids = [row["enrollment_id"] for row in enrolled["results"]]
    await answer(client, "record_events", events=[sent(id_) for id_ in ids])
    for n in range(12):
        await answer(client, "claim_job", worker_id=f"worker-{n % 3}")
    await anyio.to_thread.run_sync(leave_traces, app)
    return campaign_id


async def campaign(client: Client, n: int) -> str:
    """An active campaign of a template of its own."""
    text = {"subject": "Hello", "body": "Good morning, all", "delay_hours": 48}
    steps = [{**text, "step_number": 1, "a_b_variant": variant} for variant in "AB"] + [{**text, "step_number": 2}]
    template, _ = await answer(client, "create_template", name=f"Heads of sales {n}", type="email", email_steps=steps)
    template_id = template["template"]["id"]
    made, _ = await answer(client, "create_campaign", name=f"Trade fair {n}", template_id=template_id)
    started, _ = await answer(client, "start_campaign", campaign_id=made["campaign"]["id"])
    return started["campaign"]["id"]


def people() -> list[dict[str, Any]]:
    """25 of the invented people of the demo, with names and domains as long as such are."""
    text = resources.files("mcp_server.demo").joinpath("contacts.csv").read_text("utf-8")
    rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(text.splitlines()[:26])]
    return [{**row, "timezone": "Europe/Berlin", "attributes": {"city": "Berlin"}} for row in rows]


def sent(enrollment_id: str) -> dict[str, Any]:
    return {
        "event_type": "sent", "channel": "email", "enrollment_id": enrollment_id, "step_number": 1,
        "occurred_at": NOW.isoformat(), "provider": "sendgrid", "metadata": {"ip": "192.0.2.1"},
    }  # fmt: skip


def leave_traces(app: App) -> None:
    """Events of nobody, and requests of a provider."""
    lost = [
        NewEvent(
            EventType.OPENED, Channel.EMAIL, NOW + timedelta(seconds=n), provider="sendgrid",
            provider_event_id=f"event-{n}", provider_message_id=f"<2026.{n}.abcdef@mail.example>",
        )
        for n in range(25)
    ]  # fmt: skip
    app.run("lost", lambda session: events.record_events(session, events=lost))
    app.run("requests", take_requests)


def take_requests(session: Session) -> None:
    """Requests that each told of one event."""
    bodies = [f'[{{"event":"open","n":{n}}}]'.encode() for n in range(25)]
    requests = [NewDelivery("sendgrid", body, sha256(body).digest(), NOW) for body in bodies]
    deliveries.store(session, deliveries=requests)
    waiting = deliveries.next_waiting(session, limit=25)
    settled = [Settled(delivery.id, DeliveryStatus.RECORDED, recorded=1) for delivery in waiting]
    deliveries.settle(session, settled=settled, now=NOW)


async def lists(app: App) -> None:
    """Tokens of each list of 20 rows."""
    async with Client(build_server(app)) as client:
        campaign_id = await fill(app, client)
        wanted: list[tuple[str, dict[str, Any]]] = [
            ("list_campaigns", {}),
            ("list_templates", {}),
            ("list_enrollments", {"campaign_id": campaign_id}),
            ("list_events", {"campaign_id": campaign_id}),
            ("find_contacts", {"search": "example"}),
            ("list_suppressions", {}),
            ("list_orphaned_events", {}),
            ("list_webhook_deliveries", {}),
            ("list_jobs", {}),
            ("list_audit", {}),
        ]
        print(f"\nLists of {ROWS} rows, concise")
        for tool, arguments in wanted:
            found, text = await answer(client, tool, limit=ROWS, **arguments)
            assert [len(rows) for name, rows in found.items() if name != "next_cursor"] == [ROWS]
            size = tokens_of_answer(text)
            verdict(
                f"{tool}, {len(text):,} characters, {size:,} tokens / {LIST_AIM:,}",
                size / LIST_AIM,
                "at most 1",
                met=size <= LIST_AIM,
            )


async def measure() -> None:
    with tempfile.TemporaryDirectory(prefix="sales-bench-") as home:
        app = App(Settings(home=Path(home), worker=False), clock=lambda: NOW)
        try:
            await tool_lists(app)
            await lists(app)
        finally:
            await anyio.to_thread.run_sync(app.close)


def main() -> None:
    exact = find_spec("bpe_openai") is not None
    print("Tokens of o200k_base" if exact else "Tokens, estimated by characters: bpe-openai is not installed")
    anyio.run(measure)


if __name__ == "__main__":
    main()

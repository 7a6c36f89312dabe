"""The stdio server against a bare MCPServer with one trivial tool: cold initialize, a call's latency, and memory."""

import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import psutil
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.measure import alternate, machine, ratio, report, verdict
from db.embedded import EmbeddedPostgres

ROUNDS = 9
CALLS = 300
BARE = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
def echo(text: str) -> str:
    "Give the text back."
    return text
server.run()
"""


def bare() -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-c", BARE])


def ours(home: Path) -> StdioServerParameters:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    env = {**kept, "SALES_AUTOMATION_HOME": str(home)}
    return StdioServerParameters(command=sys.executable, args=["-m", "mcp_server"], env=env)


async def with_client(parameters: StdioServerParameters, work: Callable[[Client], Awaitable[float]]) -> float:
    """What `work` makes of a client of a new server."""
    async with Client(stdio_client(parameters), mode="legacy") as client:
        return await work(client)


def cold(parameters: StdioServerParameters) -> float:
    """Seconds from starting the process to the answer to initialize."""
    start = time.perf_counter()

    async def answered(_: Client) -> float:
        return time.perf_counter() - start

    return anyio.run(with_client, parameters, answered)


def memory() -> float:
    """Megabytes of the youngest child that runs Python: the server, and neither PostgreSQL nor its keeper."""
    servers = [
        child
        for child in psutil.Process().children()
        if "mcp_server" in child.cmdline() or any("MCPServer" in part for part in child.cmdline())
    ]
    return max(servers, key=lambda child: child.create_time()).memory_info().rss / 1e6


async def idle_memory(client: Client) -> float:
    await client.list_tools()
    return memory()


async def memory_after_a_call(client: Client) -> float:
    await client.call_tool("list_campaigns", {})
    return memory()


async def p50(client: Client, tool: str, arguments: Callable[[int], dict[str, Any]]) -> float:
    """The median latency of a call in milliseconds, after a warm-up."""
    times: list[float] = []
    for number in range(CALLS):
        start = time.perf_counter()
        await client.call_tool(tool, arguments(number))
        times.append(time.perf_counter() - start)
    return median(times[CALLS // 5 :]) * 1000


async def echo_latency(client: Client) -> float:
    return await p50(client, "echo", lambda number: {"text": f"text {number}"})


async def record_latency(client: Client) -> float:
    async def call(tool: str, **arguments: object) -> dict[str, Any]:
        return (await client.call_tool(tool, arguments)).structured_content or {}

    step = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
    template = await call("create_template", name="T", type="email", email_steps=[step])
    campaign = await call("create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    await call("start_campaign", campaign_id=campaign_id)
    contacts = [{"email": f"p{number}-{campaign_id}@example.com"} for number in range(CALLS)]
    enrolled = await call("enroll_contacts", campaign_id=campaign_id, contacts=contacts, detail="full")
    ids = [row["enrollment_id"] for row in enrolled["results"]]

    def event(number: int) -> dict[str, Any]:
        key = f"{campaign_id}-{number}"
        given = {"event_type": "opened", "channel": "email", "enrollment_id": ids[number], "provider_event_id": key}
        return {"event": given}

    return await p50(client, "record_event", event)


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="sales-bench-") as name:
        home = Path(name)
        # Kept running, so that what is measured is the server's start and not the database's.
        with EmbeddedPostgres(home):
            figures = alternate({"server": lambda: cold(ours(home)), "bare": lambda: cold(bare())}, ROUNDS)
            report("Cold initialize", figures, against="bare", unit="s")
            start = ratio(figures, "server", "bare")
            verdict("initialize / bare", start, "at most 1.25", met=start <= 1.25)
            figures = alternate(
                {
                    "record_event": lambda: anyio.run(with_client, ours(home), record_latency),
                    "bare": lambda: anyio.run(with_client, bare(), echo_latency),
                },
                5,
            )
            report("Latency of a call over stdio", figures, against="bare", unit="ms")
            latency = ratio(figures, "record_event", "bare")
            verdict("record_event p50 / trivial tool", latency, "at most 2.5", met=latency <= 2.5)
            figures = alternate(
                {
                    "idle": lambda: anyio.run(with_client, ours(home), idle_memory),
                    "after a call": lambda: anyio.run(with_client, ours(home), memory_after_a_call),
                    "bare": lambda: anyio.run(with_client, bare(), idle_memory),
                },
                3,
            )
            report("Resident memory", figures, against="bare", unit="MB")
            idle, used = ratio(figures, "idle", "bare"), ratio(figures, "after a call", "bare")
            verdict("idle / bare", idle, "at most 1.5", met=idle <= 1.5)
            verdict("after the first database call / bare", used, "at most 2", met=used <= 2)


if __name__ == "__main__":
    main()

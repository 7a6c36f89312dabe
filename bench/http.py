"""record_event from 64 clients at once over Streamable HTTP, against a trivial tool of a bare server.

Both servers are processes of their own, and both are driven by the same clients in this one, in turns.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client

from bench.measure import alternate, machine, ratio, report, verdict
from db.embedded import EmbeddedPostgres

CLIENTS = 64
CALLS = 10
ROUNDS = 5
BARE = """
import socket, sys, uvicorn
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
def echo(text: str) -> str:
    "Give the text back."
    return text
config = uvicorn.Config(server.streamable_http_app(json_response=True), host="127.0.0.1", port=0, log_config=None)
listener = config.bind_socket()
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
listener.listen(config.backlog)
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]} ", file=sys.stderr, flush=True)
uvicorn.Server(config).run(sockets=[listener])
"""


@contextmanager
def server(*command: str, **env: str) -> Generator[str]:
    """The base URL of a server, stopped at the end."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, env={**kept, **env}, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening on" in line)
        # What it logs from here on is thrown away: a pipe that is full would make the server stand still.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield line.split("listening on ")[1].split(" ")[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


async def calls_per_second(url: str, tool: str, arguments: Callable[[int], dict[str, Any]]) -> float:
    """The rate at which CLIENTS connected clients get CALLS answers each."""
    connected, go = anyio.Semaphore(0), anyio.Event()
    start, ends = 0.0, list[float]()

    async def work(number: int) -> None:
        async with Client(url) as client:
            await client.call_tool(tool, arguments(number * CALLS))
            connected.release()
            await go.wait()
            for turn in range(1, CALLS + 1):
                answer = await client.call_tool(tool, arguments(number * CALLS + turn))
                assert not answer.is_error
            ends.append(time.perf_counter())

    async with anyio.create_task_group() as group:
        for number in range(CLIENTS):
            group.start_soon(work, number)
        for _ in range(CLIENTS):
            await connected.acquire()
        start = time.perf_counter()
        go.set()
    return CLIENTS * CALLS / (max(ends) - start)


async def people(url: str) -> tuple[str, list[str]]:
    """(campaign, enrollments) of a running campaign of one step."""
    async with Client(url) as client:

        async def call(tool: str, **arguments: object) -> dict[str, Any]:
            return (await client.call_tool(tool, arguments)).structured_content or {}

        step = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
        template = await call("create_template", name="T", type="email", email_steps=[step])
        campaign = await call("create_campaign", name="C", template_id=template["template"]["id"])
        campaign_id: str = campaign["campaign"]["id"]
        await call("start_campaign", campaign_id=campaign_id)
        contacts = [{"email": f"p{number}@example.com"} for number in range(1_000)]
        enrolled = await call("enroll_contacts", campaign_id=campaign_id, contacts=contacts, detail="full")
        return campaign_id, [row["enrollment_id"] for row in enrolled["results"]]


async def opens(url: str, campaign_id: str) -> int:
    async with Client(url) as client:
        answer = await client.call_tool("get_metrics", {"campaign_id": campaign_id})
        shown: dict[str, Any] = answer.structured_content or {}
        return shown["totals"]["total_opens"]


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="sales-bench-") as name, EmbeddedPostgres(Path(name)):
        serve = ("-m", "mcp_server", "serve", "--transport", "streamable-http", "--port", "0")
        with server(*serve, SALES_AUTOMATION_HOME=name) as ours, server("-c", BARE) as bare:
            campaign_id, enrollments = anyio.run(people, f"{ours}/mcp")
            rounds = iter(range(ROUNDS))

            def record() -> float:
                turn = next(rounds)

                def event(number: int) -> dict[str, Any]:
                    who = enrollments[number % len(enrollments)]
                    given = {"event_type": "opened", "channel": "email", "enrollment_id": who}
                    return {"event": {**given, "provider_event_id": f"{turn}-{number}"}}

                return anyio.run(calls_per_second, f"{ours}/mcp", "record_event", event)

            def echo() -> float:
                def text(number: int) -> dict[str, Any]:
                    return {"text": f"text {number}"}

                return anyio.run(calls_per_second, f"{bare}/mcp", "echo", text)

            figures = alternate({"record_event": record, "trivial tool": echo}, ROUNDS)
            report(f"{CLIENTS} clients over HTTP", figures, against="trivial tool", unit="calls/s")
            rate = ratio(figures, "record_event", "trivial tool")
            verdict("record_event / trivial tool", rate, "at least 0.6", met=rate >= 0.6)
            counted = anyio.run(opens, f"{ours}/mcp", campaign_id)
            sent = ROUNDS * (CLIENTS * CALLS + 1)
            verdict("counted / sent events", counted / sent, "exactly 1", met=counted == sent)


if __name__ == "__main__":
    main()

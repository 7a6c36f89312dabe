"""Webhooks acknowledged a second with 64 senders at once, against a bare Starlette route that commits one INSERT each.

Both servers are processes of their own on the same PostgreSQL, with the same event loop, parser of HTTP and settings of
the socket, and as many connections. The senders are plain sockets, and their requests are signed beforehand, since a
client library would take longer than either server. What is acknowledged is recorded in the meantime and afterwards;
a round begins when that of the one before is done.
"""

import asyncio
import base64
import hmac
import json
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
from sqlalchemy import text

from bench.http import people, server
from bench.measure import alternate, machine, ratio, report, verdict
from db.embedded import EmbeddedPostgres
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database

SENDERS = 64
EACH = 100
ROUNDS = 5
KEY = b"a key that was made for this bench"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BARE = """
import os, queue, socket, sys, uuid
import psycopg, uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
pool = queue.LifoQueue()
for _ in range(15):
    pool.put(psycopg.connect(os.environ["BARE_URL"]))
connection = pool.get()
connection.execute("CREATE TABLE IF NOT EXISTS bare_deliveries (id uuid PRIMARY KEY, body bytea NOT NULL)")
connection.commit()
pool.put(connection)
def store(body):
    connection = pool.get()
    try:
        connection.execute("INSERT INTO bare_deliveries VALUES (%s, %s)", (uuid.uuid4(), body))
        connection.commit()
    finally:
        pool.put(connection)
async def receive(request):
    await run_in_threadpool(store, await request.body())
    return JSONResponse({"status": "stored"})
app = Starlette(routes=[Route("/webhooks/standard", receive, methods=["POST"])])
config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
listener = config.bind_socket()
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
listener.listen(config.backlog)
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]} ", file=sys.stderr, flush=True)
uvicorn.Server(config).run(sockets=[listener])
"""


def request(enrollment_id: str) -> bytes:
    """One signed event, as bytes to send."""
    event = {"event_type": "opened", "enrollment_id": enrollment_id, "step_number": 1}
    body = json.dumps({"data": event}).encode()
    id_, now = str(uuid4()), str(int(time.time()))
    signature = base64.b64encode(hmac.new(KEY, f"{id_}.{now}.".encode() + body, sha256).digest()).decode()
    head = (
        f"POST /webhooks/standard HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nwebhook-id: {id_}\r\nwebhook-timestamp: {now}\r\n"
        f"webhook-signature: v1,{signature}\r\n\r\n"
    )
    return head.encode() + body


async def send(url: str, requests: list[bytes]) -> None:
    """All requests over one connection, one after the other; each must be acknowledged."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    await writer.wait_closed()


def acknowledged_per_second(url: str, enrollments: list[str]) -> float:
    batches = [[request(enrollments[(n * EACH + m) % len(enrollments)]) for m in range(EACH)] for n in range(SENDERS)]

    async def storm() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(send(url, batch) for batch in batches))
        return SENDERS * EACH / (time.perf_counter() - start)

    return asyncio.run(storm())


def recount(url: str, expected: int) -> int:
    """How many events are counted, once those that were acknowledged are recorded."""
    database = Database.open(DatabaseConfig(url=url))
    deadline = time.monotonic() + 120
    counted = 0
    while counted < expected and time.monotonic() < deadline:
        with database.transaction("recount") as session:
            counted = session.scalar(text("SELECT coalesce(sum(total_opens), 0) FROM campaign_metrics")) or 0
    database.close()
    return int(counted)


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="sales-bench-") as name, EmbeddedPostgres(Path(name)) as postgres:
        url = postgres.start()
        serve = ("-m", "mcp_server", "serve", "--transport", "streamable-http", "--port", "0")
        settings = {"SALES_AUTOMATION_HOME": name, "SALES_AUTOMATION_WEBHOOK_STANDARD": SECRET}
        with server(*serve, **settings) as ours, server("-c", BARE, BARE_URL=url) as bare:
            _, enrollments = anyio.run(people, f"{ours}/mcp")
            sent = 0

            def storm(base: str) -> Callable[[], float]:
                return lambda: acknowledged_per_second(base, enrollments)

            def ours_then_settled() -> float:
                nonlocal sent
                sent += SENDERS * EACH
                rate = acknowledged_per_second(ours, enrollments)
                recount(url, sent)  # so that no round records what the one before it has sent
                return rate

            figures = alternate({"webhooks": ours_then_settled, "bare INSERT": storm(bare)}, ROUNDS)
            report(f"{SENDERS} senders", figures, against="bare INSERT", unit="acknowledged/s")
            rate = ratio(figures, "webhooks", "bare INSERT")
            verdict("webhooks / bare INSERT", rate, "at least 3", met=rate >= 3)
            counted = recount(url, sent)
            verdict("counted / acknowledged events", counted / sent, "exactly 1", met=counted == sent)


if __name__ == "__main__":
    main()

"""A server that takes webhooks, called without a network; and a look at what it has kept."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import pytest
from mcp.client import Client
from sqlalchemy import text
from starlette.applications import Starlette

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.http.app import build_http_app
from mcp_server.process.app import App
from mcp_server.webhooks.providers import providers
from mcp_server.webhooks.worker import Recorder
from tests.support.server import call, new_campaign
from tests.support.webhook_senders import MESSAGE, Amazon, Sender, Signed, senders

SENDERS = senders()
every_provider = pytest.mark.parametrize("sender", SENDERS.values(), ids=lambda sender: sender.name)
SECRETS = {f"webhook_{name}": sender.secret for name, sender in SENDERS.items()}


@dataclass
class Hooks:
    """`http` is served on demand: nothing runs in the background unless its lifespan is entered."""

    app: App
    http: Starlette
    amazon: Amazon = field(default_factory=Amazon)

    async def post(self, name: str, body: bytes | AsyncIterator[bytes], headers: dict[str, str]) -> httpx.Response:
        encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        transport = httpx.ASGITransport(app=self.http, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post(f"/webhooks/{name}", content=body, headers=encoded)

    async def send(self, sender: Sender, signed: Signed) -> int:
        return (await self.post(sender.name, *signed)).status_code

    def record(self) -> int:
        """Do what the background thread does, once."""
        return Recorder(self.app, providers()).record_next()

    def counted(self, name: str) -> dict[str, int]:
        """Requests of a provider by verdict."""
        return {verdict: count for (of, verdict), count in self.app.telemetry.webhooks.counts().items() if of == name}


def hooks(make_app: Callable[..., App], amazon: Amazon | None = None, **settings: Any) -> Hooks:
    app = make_app(**{**SECRETS, **settings})
    amazon = amazon or Amazon()
    return Hooks(app, build_http_app(build_server(app), app, host="127.0.0.1", token=None, fetch=amazon), amazon)


def message_of(sender: Sender) -> str:
    """The id that the sender's message has in its payloads."""
    return "message:0123456789" if sender.name == "lemlist" else MESSAGE


async def sent(client: Client, sender: Sender, **told: str) -> dict[str, Any]:
    """A campaign with a message that was sent through the provider, as `told`; {campaign_id, enrollment_ids}."""
    scene = await new_campaign(client, people=2, start=True)
    event = {
        "event_type": "sent",
        "channel": "email",
        "enrollment_id": scene["enrollment_ids"][0],
        "provider": sender.name,
        "provider_message_id": message_of(sender),
        "occurred_at": "2026-11-02T08:00:00Z",
        **told,
    }
    assert (await call(client, "record_event", event=event))["recorded"] == 1
    return scene


async def totals(client: Client, scene: dict[str, Any]) -> dict[str, int]:
    return (await call(client, "get_metrics", campaign_id=scene["campaign_id"]))["totals"]


def rows(database: Database) -> list[dict[str, Any]]:
    """Every request that is kept, oldest first."""
    with database.transaction("look") as session:
        found = session.execute(text("SELECT * FROM webhook_deliveries ORDER BY id")).mappings()
        return [dict(row) for row in found]


def orphans(database: Database) -> list[dict[str, Any]]:
    with database.transaction("look") as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM orphaned_events ORDER BY id")).mappings()]

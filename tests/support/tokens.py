"""Bearer tokens, clients that hold one, and a clock for what expires."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import httpx2 as httpx
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from db.domain.access import Scope
from db.postgres.database import Database
from db.services.ops import tokens
from tests.support.patience import PATIENCE


def new_token(database: Database, name: str, *scopes: Scope, expires_at: datetime | None = None) -> str:
    _, plain = database.run(
        "token", lambda session: tokens.create(session, name=name, scopes=scopes, expires_at=expires_at)
    )
    return plain


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def connected(base: str, token: str, how: str) -> AsyncGenerator[Client]:
    """A client of Streamable HTTP in either era, or of SSE."""
    if how == "sse":
        async with Client(sse_client(f"{base}/sse", headers=bearer(token), timeout=PATIENCE)) as client:
            yield client
        return
    async with (
        httpx.AsyncClient(headers=bearer(token), timeout=PATIENCE) as http,
        Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=how) as client,
    ):
        yield client


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

"""The dashboard in the process of the tests, and how a browser signs in to it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime

import httpx2 as httpx
from starlette.testclient import TestClient

from db.postgres.database import Database
from db.services.ops import tickets
from mcp_server.calls.server import build_server
from mcp_server.http.app import build_http_app
from mcp_server.http.sessions import link
from mcp_server.process.app import App
from tests.support.server import NOW

BASE = "http://127.0.0.1:8000"
MakeApp = Callable[..., App]


@contextmanager
def server(app: App, *, token: str | None = "the token of the settings", base: str = BASE) -> Generator[TestClient]:
    http_app = build_http_app(build_server(app), app, host="127.0.0.1", token=token)
    with TestClient(http_app, base_url=base) as client:
        yield client


def new_key(database: Database) -> bytes:
    return database.run("key", tickets.make_key)


def sign_in(client: TestClient, key: bytes, now: datetime = NOW) -> httpx.Response:
    return client.get(link("", key, now), follow_redirects=False)

"""The HTTP app of a server in the process of the tests, and a client of it."""

from collections.abc import Generator
from contextlib import contextmanager

from starlette.testclient import TestClient

from mcp_server.calls.server import build_server
from mcp_server.http.app import build_http_app
from mcp_server.process.app import App


@contextmanager
def served(app: App, host: str = "127.0.0.1", token: str | None = None) -> Generator[TestClient]:
    http_app = build_http_app(build_server(app), app, host=host, token=token)
    with TestClient(http_app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client

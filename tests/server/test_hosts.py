"""Under which names the server answers: a page that a browser took from elsewhere reaches nothing here."""

import logging
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from mcp_server.process.app import App
from tests.support.http_app import served
from tests.support.processes import TOKEN
from tests.support.tokens import bearer
from tests.support.wire import ACCEPT, INITIALIZE

CHECKED = [
    "/mcp",
    "/mcp/",
    "/sse",
    "/sse/",
    "/messages/",
    "/metrics",
    "/dashboard",
    "/dashboard/",
    "/dashboard/api/find",
]
UNCHECKED = ["/healthz", "/readyz", "/webhooks/ses", "/unsubscribe/x"]


def greet(client: TestClient, **headers: str) -> int:
    return client.post("/mcp", headers={**ACCEPT, **headers}, json=INITIALIZE).status_code


def test_names_are_compared_whatever_their_case(make_app: Callable[..., App]) -> None:
    app = make_app(allowed_hosts=["Mcp.Example.com", "other.example.com:8443"], public_url="https://Mail.Example.com")
    with served(app) as client:
        for host in ("mcp.example.com", "MCP.EXAMPLE.COM:80", "LOCALHOST:1", "mail.example.com", "[::1]:8000"):
            assert greet(client, Host=host) == 200, host
            assert greet(client, Origin=f"HTTPS://{host}") == 200, host
        assert greet(client, Host="Other.example.com:8443") == 200
        for host in ("other.example.com", "mcp.example.com.evil.example", "mcp.example.com:x", "evil@localhost", ""):
            assert greet(client, Host=host) == 421, host
        for origin in ("null", "http://evil.example", "ftp://localhost", "http://localhost/", "localhost"):
            assert greet(client, Origin=origin) == 403, origin


@pytest.mark.parametrize("path", CHECKED)
def test_a_foreign_name_is_refused_in_one_line(
    make_app: Callable[..., App], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with served(make_app()) as client, caplog.at_level(logging.WARNING):
        for header, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)):
            caplog.clear()
            answer = client.get(path, headers=header)
            assert answer.status_code == status
            assert "SALES_AUTOMATION_ALLOWED_HOSTS" in answer.json()["message"]
            assert "location" not in answer.headers
            assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.parametrize("path", UNCHECKED)
def test_what_has_a_check_of_its_own_or_tells_nothing_is_reached_under_any_name(
    make_app: Callable[..., App], path: str
) -> None:
    with served(make_app()) as client:
        assert client.get(path, headers={"Host": "evil.example"}).status_code not in (403, 421)


def test_no_redirect_repeats_the_name_that_was_asked_for(make_app: Callable[..., App]) -> None:
    with served(make_app(), host="0.0.0.0", token=TOKEN) as client:
        for path in (*CHECKED, *UNCHECKED):
            for asked in (path, f"{path}/", path.rstrip("/")):
                if asked == "/sse":  # a stream without an end
                    continue
                location = client.get(asked, headers={**bearer(TOKEN), "Host": "evil.example"}).headers.get(
                    "location", ""
                )
                assert "evil" not in location, asked


def test_a_slash_at_the_end_leads_to_the_endpoint(make_app: Callable[..., App]) -> None:
    with served(make_app()) as client:
        answer = client.post("/mcp/", headers=ACCEPT, json=INITIALIZE)
        assert (answer.status_code, answer.headers["location"]) == (307, "/mcp")
        assert client.post("/mcp/", headers=ACCEPT, json=INITIALIZE, follow_redirects=True).status_code == 200
        assert client.get("/sse/").headers["location"] == "/sse"

"""Who may see the dashboard's data, how a browser is signed in and out, and what the page may load."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from starlette.testclient import TestClient

from db.domain.access import Scope
from db.postgres.database import Database
from db.services import secrets
from db.services.ops import tickets
from db.services.ops.tickets import LIFETIMES, Kind
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.http.app import build_dashboard_app
from mcp_server.http.dashboard.api import TOOLS
from mcp_server.http.sessions import Sessions, StoredTickets, cookie_name, link
from mcp_server.process.app import App
from tests.support.dashboard_app import BASE, MakeApp, new_key, server, sign_in
from tests.support.server import NOW
from tests.support.tokens import bearer, new_token

DATA = ("/dashboard/api/campaigns", "/dashboard/api/viewer", "/dashboard/api/latest", "/dashboard/events")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


def test_the_page_and_its_files_hold_no_data_and_are_given_to_all(make_app: MakeApp) -> None:
    with server(make_app()) as client:
        page = client.get("/dashboard")
        assert page.status_code == 200
        assert page.headers["content-security-policy"] == POLICY
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        script = client.get("/dashboard/static/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        again = client.get("/dashboard/static/app.js", headers={"If-None-Match": script.headers["etag"]})
        assert again.status_code == 304
        for name in ("__init__.py", "..%2Fapp.py", "%2e%2e/app.py", "none.js"):
            assert client.get(f"/dashboard/static/{name}").status_code == 404, name


def test_no_file_says_anything_inline_or_names_another_host() -> None:
    web = Path(__file__).parents[2] / "mcp_server" / "web"
    for path in web.iterdir():
        text = path.read_text("utf-8") if path.suffix in (".html", ".js", ".css", ".svg") else ""
        assert "innerHTML" not in text, path.name
        assert "insertAdjacentHTML" not in text, path.name
        assert " style=" not in text, path.name
        others = [line for line in text.splitlines() if "://" in line and "http://www.w3.org/2000/svg" not in line]
        assert all("http://HOST:PORT" in line for line in others), (path.name, others)


def test_data_is_for_those_who_may_read(make_app: MakeApp, database: Database) -> None:
    reader, writer = new_token(database, "reader", Scope.READ), new_token(database, "writer", Scope.WRITE)
    with server(make_app()) as client:
        for path in DATA:
            assert client.get(path).status_code == 401
            assert client.get(path, headers=bearer("wrong")).status_code == 401
            assert client.get(path, headers=bearer(writer)).status_code == 403, path
        for path in DATA[:-1]:
            answer = client.get(path, headers=bearer(reader))
            assert answer.status_code == 200, path
            assert answer.headers["cache-control"] == "no-store"
        refused = client.get("/dashboard/api/health", headers=bearer(reader))
        assert refused.status_code == 403
        assert "needs the scope ops" in refused.json()["message"]


def test_without_any_token_this_machine_may_look_as_it_may_do_all_else(make_app: MakeApp) -> None:
    with server(make_app(), token=None) as client:
        assert client.get("/dashboard/api/campaigns").json() == {"campaigns": []}
        assert client.get("/dashboard/api/viewer").json()["is_session"] is False


def test_a_link_signs_in_once_and_leaves_no_trace_in_the_address(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        address = link("", key, NOW)
        assert client.head(address).status_code == 200  # a look at where it leads does not use it up
        entered = client.get(address, follow_redirects=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "/dashboard")
        assert entered.headers["referrer-policy"] == "no-referrer"
        assert entered.headers["cache-control"] == "no-store"
        assert client.get("/dashboard/api/campaigns").status_code == 200
        assert client.get("/dashboard/api/health").status_code == 200
        viewer = client.get("/dashboard/api/viewer").json()
        assert (viewer["is_session"], viewer["scopes"]) == (True, ["approve", "ops", "read"])
        client.cookies.clear()
        again = client.get(address, follow_redirects=False)
        assert again.status_code == 403
        assert "set-cookie" not in again.headers
        assert "This link does not sign in" in again.text
        assert client.get("/dashboard/api/campaigns").status_code == 401


@pytest.mark.parametrize(
    ("base", "headers", "secure"),
    [
        (BASE, {}, False),
        ("https://127.0.0.1", {}, True),
        (BASE, {"X-Forwarded-Proto": "https"}, True),
        (BASE, {"X-Forwarded-Proto": "https, http"}, True),
        (BASE, {"X-Forwarded-Proto": "http"}, False),
    ],
)
def test_the_cookie_is_for_this_site_and_no_script(
    make_app: MakeApp, database: Database, base: str, headers: dict[str, str], secure: bool
) -> None:
    key = new_key(database)
    with server(make_app(), base=base) as client:
        client.headers.update(headers)
        name, *flags = sign_in(client, key).headers["set-cookie"].split("; ")
    assert name.startswith(f"{cookie_name(key)}=")
    lower = {flag.lower() for flag in flags}
    assert {"httponly", "path=/dashboard", "samesite=strict", "max-age=43200"} <= lower
    assert ("secure" in lower) is secure


@pytest.mark.parametrize("other", ["version=2", "theme", 'shown={"a": "b"}', "path=/"])
def test_cookies_of_other_programs_on_this_machine_end_no_session(
    make_app: MakeApp, database: Database, other: str
) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        session = f"{cookie_name(key)}={tickets.issue(key, Kind.SESSION, NOW)}"
        for cookies in (f"{other}; {session}", f"{session}; {other}"):
            assert client.get("/dashboard/api/campaigns", headers={"Cookie": cookies}).status_code == 200


def test_the_root_leads_to_the_dashboard_and_shows_nothing_else(make_app: MakeApp, database: Database) -> None:
    with server(make_app()) as client:
        answer = client.get("/", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"], answer.content) == (307, "/dashboard", b"")
        assert client.get("/?next=https://example.com", follow_redirects=False).headers["location"] == "/dashboard"
        assert client.post("/").status_code == 405


def test_a_session_opens_nothing_but_the_dashboard(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        sign_in(client, key)
        value = client.cookies[cookie_name(key)]
        held = {"Cookie": f"{cookie_name(key)}={value}"}
        for path in ("/mcp", "/sse", "/metrics"):
            assert client.get(path, headers=held).status_code == 401
            assert client.get(path, headers=bearer(value)).status_code == 401
        assert client.get("/dashboard/api/campaigns", headers=bearer(value)).status_code == 401


def test_links_and_sessions_end(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        assert sign_in(client, key, NOW - LIFETIMES[Kind.LINK]).status_code == 403
        assert sign_in(client, key).status_code == 303
        ended = tickets.issue(key, Kind.SESSION, NOW - LIFETIMES[Kind.SESSION])
        live = tickets.issue(key, Kind.SESSION, NOW - LIFETIMES[Kind.SESSION] + timedelta(minutes=1))
        client.cookies.clear()
        of_tomorrow = tickets.issue(key, Kind.SESSION, NOW + timedelta(days=1))
        no_session = tickets.issue(key, Kind.LINK, NOW)
        for text, status in ((ended, 401), (live, 200), (of_tomorrow, 401), (no_session, 401)):
            held = {"Cookie": f"{cookie_name(key)}={text}"}
            assert client.get("/dashboard/api/campaigns", headers=held).status_code == status


def test_a_link_of_before_the_start_signs_nobody_in(make_app: MakeApp, database: Database) -> None:
    # Whether it was used up then, a server that has started since can't know.
    key = new_key(database)
    with server(make_app()) as client:
        assert sign_in(client, key, NOW - timedelta(minutes=1)).status_code == 403


def spoilt(code: str) -> list[str]:
    """Codes that nobody signed."""
    other = "A" if code[-1] != "A" else "B"
    # The last one names a moment in the year 10889.
    late = code[:1] + "f" + "_" * 7 + code[9:]
    return [code[:-1] + other, "B" + code[1:], code + "=", "", "\u00e4" * 20, "x" * 10_000, late]


def test_a_forged_link_signs_nobody_in(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        code, session = tickets.issue(key, Kind.LINK, NOW), tickets.issue(key, Kind.SESSION, NOW)
        for value in (*spoilt(code), session):
            assert client.get("/dashboard/login", params={"code": value}).status_code == 403, value
        # Nor is a link a session.
        held = {"Cookie": f"{cookie_name(key)}={code}"}
        assert client.get("/dashboard/api/campaigns", headers=held).status_code == 401


def test_wrong_links_are_tried_so_often_and_no_more(make_app: MakeApp, database: Database) -> None:
    new_key(database)
    with server(make_app(failed_auth_limit=3)) as client:
        tried = [client.get("/dashboard/login?code=x").status_code for _ in range(4)]
    assert tried == [403, 403, 403, 429]


def test_signing_out_ends_the_session_for_good(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app()) as client:
        sign_in(client, key)
        held = {"Cookie": f"{cookie_name(key)}={client.cookies[cookie_name(key)]}"}
        foreign = client.post("/dashboard/logout", headers={"Origin": "http://evil.example.com"})
        assert foreign.status_code == 403
        other = client.post("/dashboard/logout", headers={"Sec-Fetch-Site": "cross-site"})
        assert (other.status_code, "set-cookie" in other.headers) == (403, False)
        assert client.get("/dashboard/api/campaigns").status_code == 200
        assert client.post("/dashboard/logout", headers={"Origin": BASE}).status_code == 204
        assert cookie_name(key) not in client.cookies
        assert client.get("/dashboard/api/campaigns", headers=held).status_code == 401


def status_of(app: App, cookies: str) -> int:
    """What a server that starts now says to whoever has these cookies."""
    with server(app) as client:
        return client.get("/dashboard/api/campaigns", headers={"Cookie": cookies}).status_code


@pytest.mark.parametrize("read_only", [False, True])
def test_who_has_signed_out_stays_so_in_every_server_and_after_a_restart(
    make_app: MakeApp, database: Database, read_only: bool
) -> None:
    key = new_key(database)
    with server(make_app(read_only=read_only)) as client:
        sign_in(client, key)
        held = f"{cookie_name(key)}={client.cookies[cookie_name(key)]}"
        other = f"{cookie_name(key)}={tickets.issue(key, Kind.SESSION, NOW)}"
        assert status_of(make_app(), held) == 200
        assert client.post("/dashboard/logout", headers={"Origin": BASE}).status_code == 204
    for settings in ({}, {"read_only": True}):
        assert status_of(make_app(**settings), held) == 401
        assert status_of(make_app(**settings), other) == 200


@pytest.fixture
def reader(database: Database) -> Generator[None]:
    """A role of the database that may read alone."""
    with database.transaction("make a role") as session:
        session.execute(text("CREATE ROLE reader"))
        session.execute(text("GRANT pg_read_all_data TO reader"))
    yield
    with database.transaction("drop the role") as session:
        session.execute(text("DROP ROLE reader"))


@pytest.mark.parametrize("options", ["-c default_transaction_read_only=on", "-c role=reader"])
@pytest.mark.usefixtures("reader")
def test_where_the_database_takes_no_writes_a_sign_out_says_how_far_it_reaches(
    make_app: MakeApp, database: Database, database_url: str, options: str
) -> None:
    key = new_key(database)
    url = SecretStr(f"{database_url}&options={quote(options)}")
    with server(make_app(read_only=True, database_url=url)) as client:
        assert sign_in(client, key).status_code == 303
        held = f"{cookie_name(key)}={client.cookies[cookie_name(key)]}"
        done = client.post("/dashboard/logout", headers={"Origin": BASE})
        assert (done.status_code, cookie_name(key) in done.headers["set-cookie"]) == (200, True)
        assert "takes no writes" in done.json()["message"]
        assert "dashboard --sign-out-all" in done.json()["message"]
        assert client.get("/dashboard/api/campaigns", headers={"Cookie": held}).status_code == 401
        assert sign_in(client, key).status_code == 303


@pytest.mark.anyio
async def test_a_server_that_runs_hears_of_a_sign_out_within_seconds(make_app: MakeApp, database: Database) -> None:
    seconds = 0.0
    key = new_key(database)
    here, there = (Sessions(StoredTickets(make_app()), lambda: NOW, lambda: seconds) for _ in range(2))
    cookies = f"{cookie_name(key)}={tickets.issue(key, Kind.SESSION, NOW)}"
    assert await there.find(cookies) is not None
    await here.end(cookies)
    assert await here.find(cookies) is None
    seconds += 10
    assert await there.find(cookies) is None


@pytest.mark.parametrize("read_only", [False, True])
def test_a_link_signs_in_at_one_of_two_servers(make_app: MakeApp, database: Database, read_only: bool) -> None:
    key = new_key(database)
    address = link("", key, NOW)
    with server(make_app(read_only=read_only)) as one, server(make_app()) as other:
        entered = [client.get(address, follow_redirects=False).status_code for client in (one, other, one)]
    assert entered == [303, 403, 403]


def test_a_sign_out_that_can_not_be_written_down_is_not_said_to_be_done(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    app = make_app()
    with server(app) as client:
        sign_in(client, key)
        app.close()
        refused = client.post("/dashboard/logout", headers={"Origin": BASE})
        assert (refused.status_code, "set-cookie" in refused.headers) == (503, False)


def test_a_new_key_ends_all_sessions(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    database.run("replace", tickets.replace_key)
    with server(make_app()) as client:
        assert sign_in(client, key).status_code == 403
        assert sign_in(client, new_key(database)).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 421),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": BASE}, 200),
    ],
)
def test_other_sites_get_no_data(make_app: MakeApp, headers: dict[str, str], status: int) -> None:
    with server(make_app(), token=None) as client:
        assert client.get("/dashboard/api/campaigns", headers=headers).status_code == status


def test_a_dashboard_of_its_own_is_open_to_nobody(make_app: MakeApp) -> None:
    key = secrets.new_key()
    with TestClient(build_dashboard_app(make_app(), host="127.0.0.1", key=key), base_url=BASE) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/dashboard/api/campaigns").status_code == 401
        assert client.get("/mcp").status_code == 401
        assert sign_in(client, key).status_code == 303
        assert client.get("/dashboard/api/campaigns").status_code == 200


def test_a_read_only_server_signs_in_too(make_app: MakeApp, database: Database) -> None:
    key = new_key(database)
    with server(make_app(read_only=True)) as client:
        assert sign_in(client, key).status_code == 303
        assert client.get("/dashboard/api/campaigns").status_code == 200


def test_only_tools_that_change_nothing_are_called() -> None:
    known = {tool.name: tool for toolset in TOOLSETS for tool in toolset.tools}
    for tool in TOOLS.values():
        assert known[tool].read_only is True
        assert known[tool].destructive is False


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("campaign?campaign_id=00000000-0000-7000-8000-000000000000", 404, "list_campaigns shows"),
        ("campaign?campaign_id=x", 400, "campaign_id"),
        ("campaigns?cursor=x", 400, "cursor"),
        ("campaigns?other=1", 400, "other"),
        ("waiting?cursor=x", 400, "cursor"),
        ("waiting?campaign_id=00000000-0000-7000-8000-000000000000", 404, "list_campaigns shows"),
        ("waiting?limit=0", 400, "limit"),
        ("latest?limit=100000", 400, "limit"),
        ("find?typed=", 400, "typed"),
        ("create_campaign", 404, "endpoint"),
        ("update_enrollment", 404, "endpoint"),
    ],
)
def test_what_can_not_be_answered_is_refused_with_the_reason(
    make_app: MakeApp, path: str, status: int, said: str
) -> None:
    with server(make_app(), token=None) as client:
        answer = client.get(f"/dashboard/api/{path}")
        assert answer.status_code == status
        assert said in answer.json()["message"]
        assert "Error executing" not in answer.json()["message"]

"""Mailboxes by the tools: connected, changed, listed, checked against real servers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from mcp.client import Client
from sqlalchemy import text

from db.domain.access import Caller, Scope
from db.domain.errors import Conflict, Refused
from db.domain.mailboxes import PRESETS, MailServer, Security, Service, usual_security
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.calls import toolsets
from mcp_server.calls.caller import Invocation
from mcp_server.calls.run import run
from mcp_server.calls.server import build_server
from mcp_server.mail.access import give
from mcp_server.mail.credentials import KeyRing, Password
from mcp_server.process.app import App
from mcp_server.schemas.mailboxes import SmtpIn
from tests.support.mail_servers import (
    certificates,
    endless_server,
    imap_answers,
    imap_server,
    silent_server,
    smtp_server,
)
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio
ANN = "ann@example.com"
SMTP = {"host": "127.0.0.1", "port": 2525, "security": "none"}
IMAP = {"host": "127.0.0.1", "port": 1143, "security": "none"}


NOTHING_READ = {
    **dict.fromkeys(("read", "recorded", "unrelated", "pending", "queued", "unknown", "sent_today"), 0),
    "reading": False,
    "sending": False,
}


async def connect(client: Client, **more: Any) -> dict[str, Any]:
    answer = await call(client, "connect_mailbox", **{"address": ANN, "smtp": SMTP, **more})
    return answer["mailbox"]


def store(app: App, password: str, *services: Service, address: str = ANN) -> None:
    """As `mailboxes add` does it."""
    keys = KeyRing.open(app.settings, is_made=True)

    def work(session: Any) -> None:
        row = mailboxes.find(session, mailbox=address)
        for service in services or tuple(Service):
            server = mailboxes.server_of(row, service)
            assert server is not None
            encrypted = keys.encrypt(Password(password), server=server, address=address)
            mailboxes.store_credentials(session, row=row, given={service: encrypted})

    app.run("store", work)


async def test_a_new_mailbox_is_paced_and_tells_what_is_missing(client: Client) -> None:
    answer = await call(client, "connect_mailbox", address="Ann <Ann@Example.com>", smtp=SMTP, imap=IMAP)
    made = answer["mailbox"]
    assert (made["address"], made["status"]) == (ANN, "active")
    assert made["settings"] == {"daily_limit": 50, "min_gap_seconds": 90}
    assert made["smtp"] == {**SMTP, "credentials": "missing"}
    assert answer["next_step"] == f"A person must give the password: sales-automation-mcp mailboxes add {ANN}"
    listed = await call(client, "list_mailboxes")
    assert listed["mailboxes"] == [{"id": made["id"], "address": ANN, "status": "active"}]
    for name in (made["id"], ANN, ANN.upper()):
        assert (await call(client, "get_mailbox", mailbox=name))["mailbox"] == {**made, **NOTHING_READ}


async def test_ports_decide_the_security_that_is_left_out(client: Client) -> None:
    usual = {465: "tls", 993: "tls", 587: "starttls", 25: "starttls", 143: "starttls", 2525: "starttls"}
    for port, security in usual.items():
        assert usual_security(port) == security
        server = {"host": "127.0.0.1", "port": port}
        made = await connect(client, address=f"p{port}@example.com", smtp=server, imap=server)
        assert (made["smtp"]["security"], made["imap"]["security"]) == (security, security)
    made = await connect(client, imap={"host": "127.0.0.1"})
    assert (made["imap"]["port"], made["imap"]["security"]) == (993, "tls")
    assert made["smtp"]["port"] == 2525


async def test_what_is_given_of_a_mailbox_changes_and_the_rest_stays(client: Client) -> None:
    made = await connect(client, display_name="Ann Lee", signature="Ann\nSales", timezone="Europe/Paris")
    changed = await call(client, "update_mailbox", mailbox=ANN, daily_limit=80, hourly_limit=9)
    expected = {"daily_limit": 80, "hourly_limit": 9, "min_gap_seconds": 90, "timezone": "Europe/Paris"}
    assert changed["mailbox"]["settings"] == expected
    assert changed["mailbox"]["signature"] == "Ann\nSales"
    paused = await call(client, "update_mailbox", mailbox=made["id"], status="paused", display_name="Ann")
    assert (paused["mailbox"]["status"], paused["mailbox"]["display_name"]) == ("paused", "Ann")
    active = await call(client, "update_mailbox", mailbox=made["id"], status="active")
    assert (active["mailbox"]["status"], active["mailbox"]["settings"]) == ("active", expected)


async def test_what_is_cleared_is_gone_and_nothing_else(client: Client) -> None:
    await connect(client, display_name="Ann Lee", signature="Ann", timezone="Europe/Paris", hourly_limit=9)
    cleared = await call(client, "update_mailbox", mailbox=ANN, clear=["signature", "hourly_limit", "daily_limit"])
    assert "signature" not in cleared["mailbox"]
    assert cleared["mailbox"]["display_name"] == "Ann Lee"
    assert cleared["mailbox"]["settings"] == {"min_gap_seconds": 90, "timezone": "Europe/Paris"}
    told = await refusal(client, "update_mailbox", mailbox=ANN, clear=["timezone"], timezone="Europe/Rome")
    assert "timezone is given, and in clear: do one of the two" in told
    shown = await call(client, "get_mailbox", mailbox=ANN)
    assert shown["mailbox"]["settings"]["timezone"] == "Europe/Paris"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"smtp": {**SMTP, "host": "smtp://x"}}, "no scheme, no port"),
        ({"smtp": {**SMTP, "port": 0}}, "port"),
        ({"daily_limit": 0}, "daily_limit"),
        ({"address": "nobody"}, "not an email address"),
        ({"timezone": "Mars/Olympus"}, "time zone of the IANA list"),
        ({"display_name": "Ann\r\nBcc: x@example.com"}, "one line"),
    ],
)
async def test_what_is_wrong_with_a_mailbox_is_told(client: Client, arguments: dict[str, Any], told: str) -> None:
    assert told in await refusal(client, "connect_mailbox", **{"address": ANN, "smtp": SMTP, **arguments})
    assert (await call(client, "list_mailboxes"))["mailboxes"] == []


async def test_a_mailbox_is_connected_once_and_shares_no_variable(client: Client) -> None:
    await connect(client)
    assert "is connected already. update_mailbox" in await refusal(client, "connect_mailbox", address=ANN, smtp=SMTP)
    await connect(client, address="ann.lee@example.com")
    told = await refusal(client, "connect_mailbox", address="ann-lee@example.com", smtp=SMTP)
    assert "ann.lee@example.com would share the variable ..._ANN_LEE_EXAMPLE_COM" in told


async def test_an_unknown_mailbox_is_named_with_what_to_call(client: Client) -> None:
    for tool in ("get_mailbox", "update_mailbox", "check_mailbox"):
        assert "list_mailboxes shows those there are" in await refusal(client, tool, mailbox="bob@example.com")


async def test_private_hosts_are_refused_unless_they_are_allowed(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app())) as client:
        for host in ("127.0.0.1", "localhost", "10.0.0.8", "169.254.169.254", "::1", "::ffff:10.0.0.1", "[fd00::1]"):
            told = await refusal(client, "connect_mailbox", address=ANN, smtp={"host": host})
            assert "is a private address" in told, host
            assert "SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS" in told
        told = await refusal(client, "connect_mailbox", address=ANN, smtp={"host": "8.8.8.8", "security": "none"})
        assert "in the clear" in told
        assert (await call(client, "list_mailboxes"))["mailboxes"] == []


async def test_servers_are_moved_by_operators_alone_and_lose_their_password(client: Client, app: App) -> None:
    await connect(client, imap=IMAP)
    store(app, "secret")
    assert (await call(client, "get_mailbox", mailbox=ANN))["mailbox"]["smtp"]["credentials"] == "stored"
    writer = Invocation(Caller("w", frozenset({Scope.READ, Scope.WRITE})), {}, "r")
    tool = next(tool for tool in toolsets.mail.tools if tool.name == "update_mailbox")
    elsewhere = {"mailbox": ANN, "smtp": SmtpIn(host="127.0.0.2")}
    with pytest.raises(Refused, match="needs the scope ops"):
        await to_thread.run_sync(lambda: run(tool, app, writer, elsewhere, None))
    assert run(tool, app, writer, {"mailbox": ANN, "daily_limit": 7}, None)["mailbox"]["settings"]["daily_limit"] == 7
    changed = await call(client, "update_mailbox", mailbox=ANN, smtp={**SMTP, "host": "127.0.0.2"})
    assert changed["mailbox"]["smtp"]["credentials"] == "missing"
    assert changed["mailbox"]["imap"]["credentials"] == "stored"
    # The same user by its name, and the same host at another port.
    changed = await call(client, "update_mailbox", mailbox=ANN, imap={**IMAP, "port": 1144, "username": ANN})
    assert changed["mailbox"]["imap"]["credentials"] == "stored"
    changed = await call(client, "update_mailbox", mailbox=ANN, imap={**IMAP, "username": "bob"})
    assert changed["mailbox"]["imap"]["credentials"] == "missing"


async def test_sql_that_moves_a_mailbox_does_not_get_its_password(client: Client, app: App) -> None:
    await connect(client, imap=IMAP)
    store(app, "secret")
    app.run("sql", lambda session: session.execute(text("UPDATE mailboxes SET smtp_host = '127.0.0.9'")))
    found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    login = next(check for check in found if check["name"] == "smtp_login")
    assert login["status"] == "failed"
    assert "were given for another server" in login["detail"]


async def test_a_password_does_not_go_where_a_mailbox_was_moved_meanwhile(client: Client, app: App) -> None:
    """Somebody moves the mailbox while a person types the password."""
    await connect(client, smtp={**SMTP, "host": "127.0.0.2"})
    seen = {Service.SMTP: MailServer("127.0.0.1", 2525, Security.NONE)}
    with pytest.raises(Conflict, match="changed meanwhile"):
        await to_thread.run_sync(
            lambda: give(
                app, address=ANN, change=MailboxChange(), servers=seen, given={Service.SMTP: Password("secret")}
            )
        )
    assert (await call(client, "get_mailbox", mailbox=ANN))["mailbox"]["smtp"]["credentials"] == "missing"


async def test_a_mailbox_is_checked_at_its_servers(client: Client, app: App) -> None:
    with smtp_server({ANN: "secret"}) as smtp, imap_server(ANN, "secret") as imap:
        await connect(client, smtp={**SMTP, "port": smtp.port}, imap={**IMAP, "port": imap.port})
        store(app, "secret")
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert [(check["name"], check["status"]) for check in found][:3] == [
        ("smtp_login", "ok"),
        ("imap_login", "ok"),
        ("sent_folder", "warning"),
    ]
    assert smtp.taken == []


async def test_a_folder_is_named_without_what_a_server_hides_in_it(client: Client, app: App) -> None:
    named = b'* LIST (\\Sent) "/" "Sent&2AA-\x1b[2J' + b"x" * 5000 + b'"\r\n'
    with endless_server(b"*", greeting=b"* OK hello\r\n", answer=imap_answers(LIST=named)) as port:
        await connect(client, imap={**IMAP, "port": port})
        store(app, "secret")
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert found[2]["status"] == "ok"
    assert found[2]["detail"].startswith("The folder for sent mail is Sent[2Jxxx")
    assert len(found[2]["detail"]) < 100


async def test_a_mailbox_without_imap_is_checked_for_what_it_has(client: Client, app: App) -> None:
    with smtp_server({ANN: "secret"}) as smtp:
        await connect(client, smtp={**SMTP, "port": smtp.port})
        store(app, "secret", Service.SMTP)
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert [check["status"] for check in found][:3] == ["ok", "skipped", "skipped"]


async def test_wrong_passwords_are_told_without_a_word_of_the_server(client: Client, app: App) -> None:
    with smtp_server({ANN: "other"}) as smtp, imap_server(ANN, "other") as imap:
        await connect(client, smtp={**SMTP, "port": smtp.port}, imap={**IMAP, "port": imap.port})
        store(app, "secret")
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert [check["status"] for check in found][:3] == ["failed", "failed", "skipped"]
    assert all("refuses the credentials" in check["detail"] for check in found[:2])
    assert all("mailboxes add" in check["advice"] for check in found[:2])
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize("greeting", [b"220 mail.example.com ESMTP\r\n", b""])
async def test_a_host_that_is_no_imap_server_is_told(
    client: Client, app: App, greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.mail.connections.CONNECT_SECONDS", 0.2)
    with silent_server(greeting) as port:
        await connect(client, imap={**IMAP, "port": port})
        store(app, "secret")
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert (found[1]["name"], found[1]["status"]) == ("imap_login", "failed")
    assert "does not answer" in found[1]["detail"]


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_certificates_are_verified(
    client: Client, app: App, security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificates(tmp_path)
    is_tls = security == "tls"
    smtp_tls, imap_tls = (own.context, own.context) if is_tls else (None, None)
    with (
        smtp_server({ANN: "secret"}, tls=smtp_tls, starttls=None if is_tls else own.context) as smtp,
        imap_server(ANN, "secret", tls=imap_tls, certificate=None if is_tls else own.chain) as imap,
    ):
        for host in ("localhost", "127.0.0.1"):
            address = f"{host.replace('.', '-')}@example.com"
            smtp.passwords[address] = "secret"
            await connect(
                client,
                address=address,
                smtp={"host": host, "port": smtp.port, "security": security},
                imap={"host": host, "port": imap.port, "security": security, "username": ANN},
            )
            store(app, "secret", address=address)
        untrusted = (await call(client, "check_mailbox", mailbox="localhost@example.com"))["checks"]
        monkeypatch.setenv("SSL_CERT_FILE", str(own.authority))
        trusted = (await call(client, "check_mailbox", mailbox="localhost@example.com"))["checks"]
        other_name = (await call(client, "check_mailbox", mailbox="127-0-0-1@example.com"))["checks"]
    assert [check["status"] for check in trusted][:2] == ["ok", "ok"]
    for found in (untrusted, other_name):
        assert [check["status"] for check in found][:2] == ["failed", "failed"]
        assert "certificate" in found[0]["detail"]
        assert "certificate" in found[1]["detail"]


async def test_nothing_listens_there(client: Client, app: App) -> None:
    with smtp_server({}) as gone:
        port = gone.port
    await connect(client, smtp={**SMTP, "port": port})
    store(app, "secret", Service.SMTP)
    found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert "nothing listens" in found[0]["detail"]


async def test_variables_hold_passwords_and_smtp_may_have_its_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_server({ANN: "relay"}) as smtp, imap_server(ANN, "secret") as imap:
        await connect(client, smtp={**SMTP, "port": smtp.port}, imap={**IMAP, "port": imap.port})
        monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM", "secret")
        monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_SMTP_PASSWORD_ANN_EXAMPLE_COM", "relay")
        shown = await call(client, "get_mailbox", mailbox=ANN)
        assert shown["mailbox"]["smtp"]["credentials"] == "variable"
        assert "next_step" not in shown
        found = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    assert [check["status"] for check in found][:2] == ["ok", "ok"]


async def test_credentials_stand_nowhere_in_the_clear(client: Client, app: App, tmp_path: Path) -> None:
    await connect(client, imap=IMAP)
    store(app, "hunter2-secret")
    assert (tmp_path / "mailbox.key").stat().st_mode & 0o777 == 0o600
    rows = app.run("dump", lambda session: session.execute(text("SELECT * FROM mailboxes")).all())
    assert b"hunter2" not in repr(rows).encode()
    for answer in (
        await call(client, "list_mailboxes", detail="full"),
        await call(client, "list_audit", detail="full"),
        await call(client, "get_health"),
    ):
        assert "hunter2" not in json.dumps(answer)


async def test_writes_of_mailboxes_stand_in_the_audit_log(client: Client) -> None:
    made = await connect(client)
    await call(client, "update_mailbox", mailbox=ANN, status="paused")
    records = (await call(client, "list_audit"))["records"]
    assert [(record["tool"], record["ids"]) for record in records] == [
        ("update_mailbox", {"mailbox": [made["id"]]}),
        ("connect_mailbox", {"mailbox": [made["id"]]}),
    ]


def test_presets_are_encrypted() -> None:
    for preset in PRESETS.values():
        assert {preset.smtp.security, preset.imap.security} <= {Security.TLS, Security.STARTTLS}
        assert preset.imap.port == 993
        assert preset.smtp.port in (465, 587)

"""Mail of a domain without SPF, DMARC and a signed mail is held after 72 hours; what nobody knows holds nothing."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from imapclient import IMAPClient  # pyright: ignore[reportMissingTypeStubs]  it has none
from mcp.client import Client

from db.domain.holds import HoldReason
from db.domain.sending_domains import SendingDomain
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import claims, explain, lint
from db.services.mail import sending_domains
from mcp_server.mail import domain_looks
from mcp_server.mail.dns import NoAnswer
from mcp_server.process.app import App
from tests.support.campaigns import NOW
from tests.support.dns import Resolver
from tests.support.mail_servers import imap_server, smtp_server
from tests.support.outgoing import ANN, BEN, CLEO, connect, running
from tests.support.server import call
from tests.support.steps import claim_for

HOUR = timedelta(hours=1)
DOMAIN = "acme.example"
LATER = NOW + timedelta(days=4)


def look(app: App, now: datetime) -> SendingDomain:
    app.clock = lambda: now
    domain_looks.look_all(app)
    return app.run("look", partial(sending_domains.known, domains=[DOMAIN]))[DOMAIN]


def held(database: Database, campaign_id: Any, now: datetime) -> list[str]:
    with database.transaction("look") as session:
        found = explain.campaign(session, campaign_id=campaign_id, now=now).holds
    return [hold.detail for hold in found if hold.reason is HoldReason.DOMAIN_UNAUTHENTICATED]


def test_steps_wait_once_a_domain_was_bare_for_72_hours(app: App, database: Database, resolver: Resolver) -> None:
    ann = connect(database, ANN)
    ours, theirs = running(database, ANN, people=2), running(database, ANN, people=1, sent_by="agent")
    assert look(app, NOW).absent_since == NOW
    assert look(app, NOW + 71 * HOUR).is_held is False
    assert held(database, ours, LATER) == [], "nobody has looked since"
    assert look(app, NOW + 72 * HOUR).is_held
    assert held(database, ours, LATER) == held(database, theirs, LATER)
    assert "check_mailbox" in held(database, ours, LATER)[0]
    assert claim_for(database, ann, LATER).actions == []
    with database.transaction("claim") as session:
        campaign = campaigns.get(session, campaign_id=ours)
        assert "check_mailbox" in lint.of_mailboxes(session, campaign=campaign)[0]
        claim = claims.claim(session, campaign_id=theirs, channel=None, limit=9, lease_seconds=60, now=LATER)
        assert claim.actions == []
    resolver.texts[DOMAIN] = ["v=spf1 -all"]
    try:
        assert look(app, NOW + 72 * HOUR + HOUR / 2).is_held, "it looks once an hour"
        assert look(app, LATER).absent_since is None
    finally:
        resolver.texts.clear()
    assert held(database, ours, LATER) == []
    assert len(claim_for(database, ann, LATER).actions) == 2


def test_a_resolver_that_fails_says_nothing(app: App, database: Database, resolver: Resolver) -> None:
    for address in (ANN, BEN):
        connect(database, address)
    look(app, NOW)
    resolver.fails = {DOMAIN}
    try:
        assert look(app, LATER) == SendingDomain(DOMAIN, LATER, NOW, NOW)
        resolver.asked.clear()
        assert look(app, LATER + HOUR / 2).looked_at == LATER
        assert resolver.asked == []
    finally:
        resolver.fails = set()
    assert look(app, LATER + HOUR).is_held


def test_a_domain_whose_servers_do_not_answer_holds_up_no_other(
    app: App, database: Database, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        """A resolver that waits in vain for the first domain."""

        def __init__(self, _: object) -> None:
            self.is_silent = False

        def texts(self, name: str) -> list[str]:
            if name.endswith(DOMAIN):
                self.is_silent = True
                raise NoAnswer
            return []

    monkeypatch.setattr("mcp_server.mail.dns.Resolver", Silent)
    for address in (ANN, CLEO):
        connect(database, address)
    look(app, NOW)
    look(app, NOW + HOUR / 4)
    seen = app.run("look", partial(sending_domains.known, domains=["other.example"]))["other.example"]
    assert seen.absent_since == NOW + HOUR / 4


def test_only_a_named_resolver_is_asked_in_simulated_time(app: App, database: Database, resolver: Resolver) -> None:
    connect(database, ANN)
    simulated = app.settings.model_copy(update={"clock_file": "time", "dns_server": None})
    for settings in (simulated, app.settings.model_copy(update={"read_only": True})):
        resolver.asked.clear()
        app.settings = settings
        assert look(app, NOW).looked_at is None
        assert resolver.asked == []


@pytest.mark.anyio
async def test_check_mailbox_says_from_when_and_a_signed_mail_lets_all_go(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_ACME_EXAMPLE", "secret")
    with smtp_server({ANN: "secret"}) as smtp, imap_server(ANN, "secret") as imap:
        servers = {
            name: {"host": "127.0.0.1", "port": port, "security": "none"}
            for name, port in (("smtp", smtp.port), ("imap", imap.port))
        }
        await call(client, "connect_mailbox", address=ANN, **servers)

        async def told() -> str:
            checks = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
            return next(check for check in checks if check["name"] == "dmarc")["advice"]

        first = app.clock()
        assert f"From {first + 72 * HOUR:%Y-%m-%d %H:%M} UTC on" in await told()
        app.clock = lambda: first + 72 * HOUR
        assert "are held (domain_unauthenticated)" in await told()
        with IMAPClient("127.0.0.1", imap.port, ssl=False) as connection:
            inbox: Any = connection
            inbox.login(ANN, "secret")
            passed = f"mx.example.net; dkim=pass header.d={DOMAIN} header.s=x"
            mail = f"Authentication-Results: {passed}\r\nFrom: Ann <{ANN}>\r\nSubject: 1\r\n\r\nHello\r\n"
            inbox.append("INBOX", mail.encode())
        seen = look(app, first + 80 * HOUR)
        assert (seen.is_held, seen.signed_at) == (False, first + 80 * HOUR)
        assert "held" not in await told()

"""Sign-in by OAuth, against an authorization server of the test's own."""

import threading
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from sqlalchemy import text

from db.domain.errors import InvalidInput, MailboxUnusable
from db.domain.mailboxes import MailServer, Security, Service
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.mail import checks, oauth
from mcp_server.mail.access import Access, give
from mcp_server.mail.credentials import KeyRing, OAuthGrant
from mcp_server.process.app import App
from tests.support.mail_servers import OAuthServer, oauth_server, smtp_server
from tests.support.server import NOW

ANN = "ann@example.com"


@pytest.fixture
def provider() -> Generator[OAuthServer]:
    with oauth_server() as server:
        yield server


@pytest.fixture
def app(make_app: Callable[..., App], provider: OAuthServer, tmp_path: Path) -> App:
    urls = {
        f"oauth_{name}_{kind}_url": f"{provider.url}/{kind}"
        for name in ("google", "microsoft")
        for kind in ("authorize", "token", "device")
    }
    return make_app(
        allow_private_hosts=True,
        mailbox_key_file=tmp_path / "mailbox.key",
        oauth_google_client_id="app-1",
        oauth_google_client_secret="app-secret",
        oauth_microsoft_client_id="app-2",
        **urls,
    )


def follow(url: str) -> None:
    """As the browser does, in a thread of its own, while the command waits."""
    threading.Thread(target=lambda: urlopen(url).read(), daemon=True).start()


def test_a_browser_brings_tokens_with_pkce(app: App, provider: OAuthServer) -> None:
    grant = oauth.by_browser(app.settings, "google", address=ANN, now=lambda: NOW, show=follow)
    assert grant == OAuthGrant("google", "refresh-1", "access-1", NOW + timedelta(seconds=3600))
    asked, exchanged = provider.requests
    assert (asked["client_id"], asked["scope"], asked["login_hint"]) == ("app-1", "https://mail.google.com/", ANN)
    assert (asked["access_type"], asked["code_challenge_method"]) == ("offline", "S256")
    assert asked["redirect_uri"].startswith("http://127.0.0.1:")
    assert exchanged["code_verifier"]
    assert (exchanged["client_secret"], exchanged["redirect_uri"]) == ("app-secret", asked["redirect_uri"])


@pytest.mark.parametrize("state", ["another", "%C3%A9tat", "%FF", "", "a&state=b"])
def test_an_answer_to_another_sign_in_is_passed_over(app: App, provider: OAuthServer, state: str) -> None:
    told: list[str] = []

    def elsewhere_first(url: str) -> None:
        def visit() -> None:
            redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
            with pytest.raises(HTTPError) as refused:
                urlopen(f"{redirect}?code=stolen&state={state}")
            told.append(refused.value.read().decode())
            urlopen(url).read()

        threading.Thread(target=visit, daemon=True).start()

    grant = oauth.by_browser(app.settings, "google", address=ANN, now=lambda: NOW, show=elsewhere_first)
    assert grant.refresh_token == "refresh-1"
    assert told[0].startswith("This belongs to another sign-in") or not state
    assert provider.requests[-1]["code"] == "c"


def test_a_provider_that_refuses_ends_the_sign_in(app: App, provider: OAuthServer) -> None:
    def refuse(url: str) -> None:
        asked = parse_qs(urlsplit(url).query)

        def visit() -> None:
            back = urlencode({"error": "access_denied", "state": asked["state"][0]})
            urlopen(f"{asked['redirect_uri'][0]}?{back}").read()

        threading.Thread(target=visit, daemon=True).start()

    with pytest.raises(MailboxUnusable, match="Nobody agreed"):
        oauth.by_browser(app.settings, "google", address=ANN, now=lambda: NOW, show=refuse)
    assert provider.given == 0


def test_what_a_browser_asks_besides_is_not_taken_for_the_answer(app: App) -> None:
    def with_icon(url: str) -> None:
        def visit() -> None:
            redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{redirect}favicon.ico")
            urlopen(url).read()

        threading.Thread(target=visit, daemon=True).start()

    assert oauth.by_browser(app.settings, "google", address=ANN, now=lambda: NOW, show=with_icon).refresh_token


def test_a_code_on_another_device_brings_tokens_from_microsoft_alone(app: App, provider: OAuthServer) -> None:
    provider.pending = 2
    said: list[str] = []
    waits: list[float] = []
    grant = oauth.by_device(
        app.settings, "microsoft", address=ANN, now=lambda: NOW, show=said.append, wait=waits.append
    )
    assert grant.access_token == "access-1"
    assert said == ["Open https://example.com/device on any device and type the code ABCD-EFGH."]
    assert waits == [1.0, 1.0, 1.0]
    with pytest.raises(InvalidInput, match="Leave --device out"):
        oauth.by_device(app.settings, "google", address=ANN, now=lambda: NOW, show=said.append)


def test_a_device_that_nobody_types_at_ends(app: App, provider: OAuthServer) -> None:
    provider.pending = 10_000
    waits: list[float] = []
    with pytest.raises(MailboxUnusable, match="in time"):
        oauth.by_device(app.settings, "microsoft", address=ANN, now=lambda: NOW, show=str, wait=waits.append)
    assert sum(waits) <= oauth.LOGIN_SECONDS + 1


def test_an_app_must_be_registered_first(make_app: Callable[..., App]) -> None:
    with pytest.raises(InvalidInput, match="SALES_AUTOMATION_OAUTH_GOOGLE_CLIENT_ID"):
        oauth.by_browser(make_app().settings, "google", address=ANN, now=lambda: NOW, show=str)
    with pytest.raises(InvalidInput, match="There are: google, microsoft"):
        oauth.by_browser(make_app().settings, "yahoo", address=ANN, now=lambda: NOW, show=str)


def connect(app: App, port: int, grant: OAuthGrant) -> None:
    """A mailbox that signs in with the grant, both at a server of SMTP and at one of IMAP."""
    server = MailServer("127.0.0.1", port, Security.NONE)
    keys = KeyRing.open(app.settings, is_made=True)
    encrypted = keys.encrypt(grant, server=server, address=ANN)

    def work(session: object) -> None:
        row = mailboxes.connect(session, address=ANN, change=MailboxChange(smtp=server, imap=server))  # type: ignore[arg-type]
        mailboxes.store_credentials(session, row=row, given=dict.fromkeys(Service, encrypted))  # type: ignore[arg-type]

    app.run("connect", work)


def access(app: App) -> Access:
    return app.run("read", lambda session: Access.of(app, mailboxes.find(session, mailbox=ANN)))


def test_tokens_are_refreshed_before_they_end_and_kept_for_both_servers(app: App, provider: OAuthServer) -> None:
    with smtp_server({}) as smtp:
        connect(app, smtp.port, OAuthGrant("google", "refresh-0", "access-0", NOW + timedelta(minutes=4)))
        smtp.tokens[ANN] = "access-1"
        assert checks.sign_in(access(app))[0].status == "ok"
    assert provider.requests[0]["refresh_token"] == "refresh-0"
    for service in Service:
        kept = access(app).credential(service)
        assert isinstance(kept, OAuthGrant)
        assert (kept.refresh_token, kept.access_token) == ("refresh-0", "access-1")
    assert len(provider.requests) == 1


@pytest.mark.parametrize("given", [None, -1, 10**400])
def test_a_lifetime_that_makes_no_sense_is_not_believed(app: App, provider: OAuthServer, given: object) -> None:
    provider.expires_in = given  # type: ignore[assignment]
    fresh = oauth.refresh(app.settings, OAuthGrant("google", "refresh-0", "access-0", NOW), address=ANN, now=NOW)
    assert NOW < fresh.expires_at <= NOW + timedelta(days=1)


def test_tokens_that_were_given_meanwhile_are_kept(app: App, provider: OAuthServer) -> None:
    connect(app, 1, OAuthGrant("google", "refresh-0", "access-0", NOW))
    opened = access(app)
    anew = OAuthGrant("google", "given-anew", "access-9", NOW + timedelta(hours=1))
    servers = dict.fromkeys(Service, MailServer("127.0.0.1", 1, Security.NONE))
    give(app, address=ANN, change=MailboxChange(), servers=servers, given={Service.SMTP: anew})
    used = opened.credential(Service.SMTP)
    assert isinstance(used, OAuthGrant)
    assert used.access_token == "access-1"
    assert access(app).credential(Service.SMTP) == anew
    kept = access(app).credential(Service.IMAP)
    assert isinstance(kept, OAuthGrant)
    assert kept.access_token == "access-1"


def test_a_read_only_server_signs_in_with_a_fresh_token(
    app: App, make_app: Callable[..., App], provider: OAuthServer
) -> None:
    connect(app, 1, OAuthGrant("google", "refresh-0", "access-0", NOW))
    shared = {name: getattr(app.settings, name) for name in app.settings.model_fields_set}
    reading = make_app(**{**shared, "read_only": True})
    fresh = access(reading).credential(Service.SMTP)
    assert isinstance(fresh, OAuthGrant)
    assert fresh.access_token == "access-1"
    row = app.run("read", lambda session: session.execute(text("SELECT smtp_credential FROM mailboxes")).one())
    kept = KeyRing.open(app.settings, is_made=False).decrypt(
        row[0], server=MailServer("127.0.0.1", 1, Security.NONE), address=ANN
    )
    assert kept == OAuthGrant("google", "refresh-0", "access-0", NOW)


def test_one_server_that_was_moved_does_not_stop_the_other(app: App, provider: OAuthServer) -> None:
    connect(app, 1, OAuthGrant("google", "refresh-0", "access-0", NOW))
    app.run("sql", lambda session: session.execute(text("UPDATE mailboxes SET imap_host = '127.0.0.9'")))
    fresh = access(app).credential(Service.SMTP)
    assert isinstance(fresh, OAuthGrant)
    assert fresh.access_token == "access-1"
    with pytest.raises(MailboxUnusable, match="another server"):
        access(app).credential(Service.IMAP)


def test_tokens_that_last_are_not_refreshed(app: App, provider: OAuthServer) -> None:
    with smtp_server({}) as smtp:
        connect(app, smtp.port, OAuthGrant("google", "refresh-0", "access-0", NOW + timedelta(minutes=6)))
        smtp.tokens[ANN] = "access-0"
        assert checks.sign_in(access(app))[0].status == "ok"
    assert provider.requests == []


def test_a_grant_that_was_revoked_says_what_to_do(app: App, provider: OAuthServer) -> None:
    provider.is_revoked = True
    connect(app, 1, OAuthGrant("google", "refresh-0", "access-0", NOW))
    found = checks.sign_in(access(app))[0]
    assert found.status == "failed"
    assert found.advice == f"Run: sales-automation-mcp mailboxes login {ANN}."
    assert "secret words" not in found.detail


def test_a_token_that_the_server_refuses_is_told(app: App) -> None:
    with smtp_server({}) as smtp:
        connect(app, smtp.port, OAuthGrant("google", "refresh-0", "access-0", NOW + timedelta(hours=1)))
        smtp.tokens[ANN] = "another"
        found = checks.sign_in(access(app))[0]
    assert found.status == "failed"
    assert "refuses the credentials" in found.detail

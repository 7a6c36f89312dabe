"""What providers send is let in by their signature alone, and whatever else comes leaves nothing."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr, ValidationError

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.patience import PATIENCE
from tests.support.server import NOW
from tests.support.webhook_senders import Sender, Signed
from tests.support.webhooks import SENDERS, every_provider, hooks, rows

pytestmark = pytest.mark.anyio

TIMED = [sender for sender in SENDERS.values() if sender.has_timestamp]
every_timed_provider = pytest.mark.parametrize("sender", TIMED, ids=lambda sender: sender.name)
MakeApp = Callable[..., App]


def only(app: App) -> MakeApp:
    def make(**_: Any) -> App:
        return app

    return make


def forged(sender: Sender) -> list[Signed]:
    """Requests that the holder of the secret has not made: with no signature, a broken one, or that of another key."""
    body, headers = sender.request(NOW)
    is_in_body = sender.name in ("mailgun", "ses", "lemlist")
    if not is_in_body:
        broken = ["", "v1", "v1,", "v1,AAAA", "v1,é", "x" * 9_000, "Basic !", "Basic QTpC", "Bearer nobody", "Digest x"]
        made = [Signed(body, {**headers, name: value}) for name in headers for value in broken]
        made.append(Signed(body, {}))
        if sender.has_timestamp:
            made.append(Signed(body.replace(b"person0", b"person1") + b" ", headers))
        return made
    payload = json.loads(body)
    wrong: list[Any] = ["x", "AAAA", "\ud800", "é", None, 7, {}, []]
    names = ["signature", "secret", "Signature", "SigningCertURL", "SignatureVersion", "TopicArn", "Message", "Type"]
    changed = [{**payload, name: bad} for name in names if name in payload for bad in wrong]
    if sender.name == "mailgun":
        signature = payload["signature"]
        changed += [{**payload, "signature": {**signature, name: bad}} for name in signature for bad in wrong]
    return [Signed(json.dumps(payload).encode(), headers) for payload in changed]


@every_provider
async def test_what_is_not_signed_leaves_nothing_but_a_count(
    make_app: MakeApp, database: Database, sender: Sender
) -> None:
    server, attempts = hooks(make_app), forged(sender)
    assert len(attempts) > 7
    for attempt in attempts:
        answer = await server.post(sender.name, *attempt)
        assert answer.status_code in (400, 401), (attempt, answer.text)
        assert sender.secret not in answer.text
    assert rows(database) == []
    assert sum(server.counted(sender.name).values()) == len(attempts)
    assert set(server.counted(sender.name)) <= {"forged", "malformed"}


@every_timed_provider
@pytest.mark.parametrize("away", [timedelta(days=-1), timedelta(hours=1)], ids=["old", "ahead"])
async def test_a_signature_of_another_time_is_stale(
    make_app: MakeApp, database: Database, sender: Sender, away: timedelta
) -> None:
    server = hooks(make_app)
    assert await server.send(sender, sender.request(NOW + away)) == 400
    assert rows(database) == []
    assert server.counted(sender.name) == {"stale": 1}


@every_provider
async def test_a_body_that_was_cut_off_is_refused(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app)
    body, headers = sender.request(NOW)
    for cut in (body[:-1], body[: len(body) // 2], b""):
        assert await server.send(sender, Signed(cut, headers)) in (400, 401)
    if sender.signs_bytes:  # also where somebody has signed what was cut
        assert await server.send(sender, sender.sign(body[:-5], NOW, id="2")) == 400
    assert rows(database) == []


@every_provider
async def test_bytes_that_are_no_text_are_refused(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app)
    for broken in (b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b"\x00", b'"text"', b"7", b"{\x00}", b"NaN"):
        signed = sender.sign(broken, NOW) if sender.signs_bytes else Signed(broken, {})
        assert await server.send(sender, signed) in (400, 401), broken
    assert rows(database) == []
    if sender.signs_bytes:
        assert server.counted(sender.name) == {"malformed": 7}


@every_provider
async def test_a_huge_body_is_refused_while_it_is_read(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app, webhook_max_bytes=4096)
    _, headers = sender.request(NOW)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b" " * 1024

    assert (await server.post(sender.name, endless(), headers)).status_code == 413
    assert read < 10
    assert (await server.post(sender.name, b" " * 4097, headers)).status_code == 413
    assert rows(database) == []
    assert server.counted(sender.name) == {"too_large": 2}


async def test_without_its_secret_a_webhook_is_not_there(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app, webhook_resend=None, webhook_postmark=None)
    for name in ("resend", "postmark", "nobody", "max_bytes", ""):
        assert (await server.post(name, b"{}", {})).status_code == 404
    assert await server.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 200
    read_only = hooks(make_app, read_only=True)
    assert await read_only.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 404
    assert len(rows(database)) == 1
    assert server.app.telemetry.webhooks.counts()["unknown", "off"] == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_only_posts_are_taken(make_app: MakeApp, method: str) -> None:
    transport = httpx.ASGITransport(app=hooks(make_app).http)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as plain:
        assert (await plain.request(method, "/webhooks/brevo")).status_code == 405


@every_provider
async def test_without_a_database_the_provider_is_asked_to_come_again(sender: Sender, tmp_path: Any) -> None:
    settings: dict[str, Any] = {f"webhook_{sender.name}": sender.secret, "start_attempts": 1, "home": tmp_path}
    url = SecretStr("postgresql://somebody:secret@127.0.0.1:1/nothing")
    app = App(Settings(database_url=url, **settings), clock=lambda: NOW, patience=PATIENCE)
    server = hooks(only(app))
    answer = await server.post(sender.name, *sender.request(NOW))
    assert answer.status_code == (429 if sender.name == "brevo" else 503)
    assert int(answer.headers["retry-after"]) > 0
    assert server.counted(sender.name) == {"unavailable": 1}
    app.close()


def test_a_secret_that_can_be_none_is_named_at_the_start(tmp_path: Any) -> None:
    for name, wrong in (
        ("sendgrid", "no base64!"),
        ("standard", "whsec_?"),
        ("ses", "arn:aws:sqs:x"),
        ("resend", "whsec_#"),
    ):
        with pytest.raises(ValidationError) as refused:
            Settings(home=tmp_path, **{f"webhook_{name}": wrong})  # pyright: ignore[reportArgumentType] - as the environment gives it
        assert f"webhook_{name}" in str(refused.value)
        assert wrong not in str(refused.value)


async def test_a_key_that_is_none_loses_no_event(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app, webhook_sendgrid="bm8ga2V5")
    assert await server.send(SENDERS["sendgrid"], SENDERS["sendgrid"].request(NOW)) == 503
    assert (server.counted("sendgrid"), rows(database)) == ({"unavailable": 1}, [])


async def test_the_token_of_the_server_is_not_asked_of_providers(make_app: MakeApp, database: Database) -> None:
    from mcp_server.http.app import build_http_app  # noqa: PLC0415  with a token, unlike the scene's

    app = make_app(webhook_brevo=SENDERS["brevo"].secret)
    server = hooks(only(app))
    server.http = build_http_app(build_server(app), app, host="127.0.0.1", token="a-token-made-for-this-test")
    assert await server.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 200
    assert (await server.post("../mcp", b"{}", {})).status_code == 401

"""Copies in Sent: one of each mail, whoever files it, and a sign of those of which nobody knows."""

import re
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope
from sqlalchemy import text

from db.embedded.locks import wait_until
from mcp_server.process.app import App
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.imap_faults import FaultyWay, faulty_way
from tests.support.mail_servers import DROP, SmtpServer, imap_server, smtp_server
from tests.support.reading import ANN
from tests.support.sending import Clock, books, connect, enrolled, send_once, statuses

SENT = "Outbound"
"""The folder for sent mail, which Dovecot is configured to mark as such."""


@pytest.fixture(scope="module")
def dovecot_server() -> Generator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def server() -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}) as started:
        yield started


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr("mcp_server.mail.sent_copies.GRACE_SECONDS", 0.1)
    monkeypatch.setattr("mcp_server.mail.sent_copies.LOOKS", (0.0, 0.3))
    made = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    made.clock = Clock()
    return made


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"s{abs(hash(request.node.nodeid)):x}"


def copies(server: Dovecot, user: str, folder: str = SENT) -> list[tuple[bytes, tuple[bytes, ...]]]:
    """The bytes and flags of the mails in a folder."""
    with server.client(user) as client:
        client.select_folder(folder, readonly=True)
        found: dict[int, Any] = client.fetch(client.search(["ALL"]), ["BODY.PEEK[]", "FLAGS"])
        return [(mail[b"BODY[]"], mail[b"FLAGS"]) for mail in found.values()]


def ids(raws: list[bytes]) -> Counter[str]:
    return Counter(re.findall(r"Message-ID:\s*<(.*?)>", b"\n".join(raws).decode(), re.IGNORECASE))


def file(server: Dovecot, user: str) -> Callable[[Envelope], None]:
    """What a host does that files by itself."""

    def keep(envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        server.put(user, [envelope.content], into=SENT)

    return keep


@needs_dovecot
def test_each_mail_has_one_copy_in_sent_marked_as_seen(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str
) -> None:
    mailbox_id = connect(app, server.port, dovecot_server.port, imap_user=user)
    enrolled(app, 3)
    for _ in range(2):
        assert send_once(app, mailbox_id) is None
    found = copies(dovecot_server, user)
    assert {raw for raw, _ in found} == {envelope.content for envelope in server.taken}
    assert all(b"\\Seen" in flags for _, flags in found)
    assert [(sent.status, sent.is_filed) for sent in books(app)] == [("sent", True)] * 3


@needs_dovecot
def test_a_host_that_files_by_itself_gets_no_second_copy(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str
) -> None:
    mailbox_id = connect(app, server.port, dovecot_server.port, imap_user=user)
    enrolled(app, 3)
    server.when_taken = file(dovecot_server, user)
    assert send_once(app, mailbox_id) is None
    assert set(ids([raw for raw, _ in copies(dovecot_server, user)]).values()) == {1}
    assert [sent.is_filed for sent in books(app)] == [True] * 3


@needs_dovecot
@pytest.mark.parametrize("was_filed", [True, False])
def test_what_a_kill_left_out_is_made_up_for(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str, was_filed: bool
) -> None:
    """was_filed: the process was killed after the copy was made, and before that was noted."""
    mailbox_id = connect(app, server.port, dovecot_server.port, imap_user=user)
    enrolled(app, 2)
    assert send_once(app, mailbox_id) is None
    app.run("forget", lambda session: session.execute(text("UPDATE messages SET filed_at = NULL")))
    if not was_filed:
        with dovecot_server.client(user) as client:
            client.select_folder(SENT)
            client.delete_messages(client.search(["ALL"]))
            client.expunge()
    assert send_once(app, mailbox_id) is None
    found = ids([raw for raw, _ in copies(dovecot_server, user)])
    assert len(found) == 2
    assert set(found.values()) == {1}
    assert [sent.is_filed for sent in books(app)] == [True] * 2


@needs_dovecot
@pytest.mark.parametrize("is_taken", [True, False])
def test_a_mail_of_which_nobody_knows_is_sent_if_it_is_in_sent(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str, is_taken: bool
) -> None:
    mailbox_id = connect(app, server.port, dovecot_server.port, imap_user=user)
    enrolled(app, 1)
    server.turns, server.keeps = {"DOT": [DROP]}, is_taken
    server.when_taken = file(dovecot_server, user)
    assert send_once(app, mailbox_id) is None
    (sent,) = books(app)
    if is_taken:
        assert (sent.status, sent.enrollment, sent.current_step) == ("sent", "active", 1)
    else:
        assert (sent.status, sent.enrollment, sent.current_step) == ("unknown", "paused", 0)


@needs_dovecot
def test_a_mailbox_that_can_not_be_read_sends_all_the_same(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str
) -> None:
    mailbox_id = connect(app, server.port, 1, imap_user=user)
    enrolled(app, 2)
    assert send_once(app, mailbox_id) is None
    assert [(sent.status, sent.is_filed) for sent in books(app)] == [("sent", False)] * 2
    moved = text("UPDATE mailboxes SET imap_port = :port")
    app.run("move", lambda session: session.execute(moved, {"port": dovecot_server.port}))
    assert send_once(app, mailbox_id) is None
    assert [sent.is_filed for sent in books(app)] == [True] * 2
    assert len(copies(dovecot_server, user)) == 2


def appends_refused(times: int) -> Callable[[bytes], bytes | None]:
    """As many APPENDs are answered with NO."""
    left = [times]

    def fault(line: bytes) -> bytes | None:
        if b" APPEND " not in line or left[0] <= 0:
            return None
        left[0] -= 1
        return b"TAG NO [OVERQUOTA] no room\r\n"

    return fault


def said(way: FaultyWay, command: bytes) -> int:
    """How often clients said it."""
    return sum(command in line for line in way.lines)


@needs_dovecot
def test_a_copy_that_is_refused_holds_up_no_other_and_is_left_out_at_last(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_way(dovecot_server.port) as way:
        mailbox_id = connect(app, server.port, way.port, imap_user=user)
        enrolled(app, 3)
        way.fault = appends_refused(1)
        assert send_once(app, mailbox_id) is None
        assert sorted(sent.is_filed for sent in books(app)) == [False, True, True]
        assert said(way, b" LOGIN ") == 1
        monkeypatch.setattr("mcp_server.mail.sent_copies.AGAIN", (0.0, 0.0))
        way.fault = appends_refused(100)
        assert send_once(app, mailbox_id) is None
    assert [sent.is_filed for sent in books(app)] == [True] * 3
    assert len(copies(dovecot_server, user)) == 2
    assert said(way, b" APPEND ") == 3 + 3


@needs_dovecot
def test_a_mailbox_that_lets_nobody_in_is_not_tried_with_each_mail(
    app: App, server: SmtpServer, dovecot_server: Dovecot, user: str
) -> None:
    with faulty_way(dovecot_server.port) as way:
        mailbox_id = connect(app, server.port, way.port, imap_user=user)
        enrolled(app, 4)
        way.fault = lambda line: b"TAG NO not now\r\n" if b" LOGIN " in line else None
        server.when_taken = lambda _: wait_until(lambda: said(way, b" LOGIN ") > 1, 0.3)
        assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent"] * 4
    assert said(way, b" LOGIN ") == 1


def test_no_copy_is_made_where_there_is_no_folder_for_it(app: App, server: SmtpServer) -> None:
    with imap_server(ANN, "secret") as imap:
        mailbox_id = connect(app, server.port, imap.port)
        enrolled(app, 1)
        assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent"]
    assert [sent.is_filed for sent in books(app)] == [True]

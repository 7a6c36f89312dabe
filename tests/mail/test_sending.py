"""The sender of a mailbox, against a server that does what a test tells it."""

import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope
from sqlalchemy import text

from db.domain.errors import StoreUnavailable
from db.domain.states import SuppressionReason
from db.embedded.locks import wait_until
from db.services.mail import mailboxes, stopping
from db.services.people import suppressions
from mcp_server.mail.senders import Senders, tell_of_due
from mcp_server.process.app import App
from tests.support.campaigns import NOW, statements_of
from tests.support.command_line import Cli
from tests.support.mail_servers import DROP, SmtpServer, smtp_server
from tests.support.patience import PATIENCE
from tests.support.reading import ANN, expire_leases, give_password
from tests.support.sending import (
    Clock,
    books,
    connect,
    enrolled,
    send_once,
    sender_of,
    statuses,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr("mcp_server.mail.trouble.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mcp_server.mail.trouble.LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("mcp_server.mail.sender.LOOK_SECONDS", 0.1)
    made = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    made.clock = clock
    return made


@pytest.fixture
def server() -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}) as started:
        yield started


def recipients(server: SmtpServer) -> list[str]:
    """Of the mails that the server took."""
    return [envelope.rcpt_tos[0] for envelope in server.taken]


def status_of(app: App, address: str = ANN) -> tuple[str, str]:
    row = app.run("look", partial(mailboxes.find, mailbox=address))
    return row.status, row.problem or ""


def test_what_is_due_goes_out_once_with_the_bytes_that_are_kept(app: App, server: SmtpServer, clock: Clock) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 30)
    for _ in range(2):
        assert send_once(app, mailbox_id) is None
        assert Counter(recipients(server)) == Counter(f"p{number}@example.net" for number in range(30))
    assert {(sent.status, sent.current_step, sent.is_filed) for sent in books(app)} == {("sent", 1, True)}
    kept = text("SELECT m.internet_message_id, b.raw FROM messages m JOIN message_bodies b ON b.message_id = m.id")
    raws = {zlib.decompress(raw) for _, raw in app.run("look", lambda session: session.execute(kept).all())}
    assert raws == {envelope.content for envelope in server.taken}
    ids = {re.search(rb"Message-ID:\s*<(.*?)>", raw, re.IGNORECASE)[1].decode() for raw in raws}  # type: ignore[index]
    assert ids == {sent.internet_message_id for sent in books(app)}
    assert server.connections == 1
    clock.move(hours=48)
    assert send_once(app, mailbox_id) is None
    assert len(server.taken) == 60
    follow_up = server.taken[-1].content
    assert isinstance(follow_up, bytes)
    assert b"In-Reply-To: <" in follow_up
    assert b"Subject: Re: Hello" in follow_up


@pytest.mark.parametrize(
    "script",
    [
        {"MAIL": DROP},
        {"RCPT": DROP},
        {"DATA": DROP},
        {"MAIL": "451 4.3.0 later"},
        {"RCPT": "450 4.2.0 greylisted, come back"},
        {"DATA": "451 4.3.0 later"},
        {"DOT": "452 4.3.1 no room now"},
        {"RCPT": "421 4.3.2 closing"},
        {"DOT": "421 4.3.2 closing"},
    ],
    ids=str,
)
def test_what_the_server_does_not_take_yet_is_tried_again_and_goes_out_once(
    app: App, server: SmtpServer, clock: Clock, script: dict[str, str]
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 1)
    server.script = script
    for minutes in (1, 5, 15, 60, 60):
        assert send_once(app, mailbox_id) is None
        (sent,) = books(app)
        assert (sent.status, sent.next_attempt_at) == ("queued", clock.now + timedelta(minutes=minutes))
        tried = len(server.seen)
        clock.move(minutes=minutes, seconds=-1)
        assert send_once(app, mailbox_id) is None
        assert len(server.seen) == tried
        clock.move(seconds=1)
    server.script = {}
    assert send_once(app, mailbox_id) is None
    assert recipients(server) == ["p0@example.net"]
    assert [(sent.status, sent.current_step) for sent in books(app)] == [("sent", 1)]


def test_the_pause_before_another_try_can_be_set(
    make_app: Callable[..., App], tmp_path: Path, server: SmtpServer
) -> None:
    app = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key", send_retry_seconds=7)
    mailbox_id = connect(app, server.port)
    enrolled(app, 1)
    server.script = {"RCPT": "450 4.2.0 greylisted"}
    assert send_once(app, mailbox_id) is None
    assert books(app)[0].next_attempt_at == NOW + timedelta(seconds=7)


@pytest.mark.parametrize(("place", "keeps"), [("CONTENT", False), ("DOT", False), ("DOT", True)])
def test_a_mail_of_which_nobody_knows_is_never_sent_again_and_others_go_on(
    app: App, server: SmtpServer, clock: Clock, place: str, keeps: bool
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    server.turns, server.keeps = {place: [DROP]}, keeps
    for _ in range(3):
        assert send_once(app, mailbox_id) is None
        clock.move(days=1)
    unknown, *others = books(app)
    assert (unknown.status, unknown.enrollment, unknown.current_step) == ("unknown", "paused", 0)
    assert (unknown.pause_reason or "").startswith("delivery_unknown")
    assert {sent.status for sent in others} == {"sent"}
    counted = Counter(recipients(server))
    assert counted.pop(unknown.email, 0) == keeps
    assert set(counted.values()) == {2}  # two steps each


def test_where_there_is_no_imap_server_nobody_looks_for_a_mail_again_and_again(
    app: App, server: SmtpServer, clock: Clock
) -> None:
    del clock
    mailbox_id = connect(app, server.port)
    enrolled(app, 1)
    server.turns = {"DOT": [DROP]}
    database = app.open_database
    assert database is not None
    seen = statements_of(database, lambda: send_once(app, mailbox_id))
    assert statuses(app) == ["unknown"]
    assert sum("SET filed_at" in statement for statement in seen) < 5


def test_a_recipient_that_is_refused_bounces_and_others_go_on(app: App, server: SmtpServer, clock: Clock) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    server.turns = {"RCPT": [None, "550 5.1.1 user unknown"]}
    assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent", "refused", "sent"]
    refused = books(app)[1]
    assert refused.answer == "550 5.1.1 user unknown"
    assert refused.enrollment == "bounced"
    clock.move(days=10)
    assert send_once(app, mailbox_id) is None
    assert refused.email not in recipients(server)


def test_a_server_that_refuses_the_mailbox_makes_it_failing_and_nobody_bounces(
    app: App, server: SmtpServer, clock: Clock
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 5)
    server.script = {"MAIL": "553 5.7.1 sender address rejected: not owned by user"}
    send_once(app, mailbox_id)
    status, problem = status_of(app)
    assert status == "failing"
    assert problem.startswith("It can't send. Its mail server has refused 3 mails in a row")
    assert server.seen.count("MAIL") == 3
    for _ in range(2):
        clock.move(minutes=20)
        send_once(app, mailbox_id)
    assert server.seen.count("MAIL") == 3
    clock.move(minutes=30)  # an hour after it failed, one mail tells whether it may send again
    send_once(app, mailbox_id)
    assert server.seen.count("MAIL") == 4
    assert status_of(app)[0] == "failing"
    server.script = {}
    clock.move(hours=2)
    assert send_once(app, mailbox_id) is None
    assert status_of(app) == ("active", "")
    assert statuses(app) == ["sent"] * 5


def test_a_login_that_is_refused_makes_the_mailbox_failing_until_it_works(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, server.port, password="wrong")
    enrolled(app, 1)
    with sender_of(app, mailbox_id) as sender:
        sender.start()
        assert wait_until(lambda: status_of(app)[0] == "failing", PATIENCE)
        assert "It can't send. ann@example.com: the SMTP server 127.0.0.1:" in status_of(app)[1]
        assert "refuses the credentials" in status_of(app)[1]
        give_password(app, "secret")
        sender.wake()
        assert wait_until(lambda: statuses(app) == ["sent"], PATIENCE)
    assert status_of(app) == ("active", "")
    assert recipients(server) == ["p0@example.net"]


def test_a_server_that_is_away_burns_no_attempt(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, 1)
    enrolled(app, 3)
    assert "nothing listens" in (send_once(app, mailbox_id) or "")
    assert {(sent.status, sent.next_attempt_at) for sent in books(app)} == {("queued", None)}
    moved = text("UPDATE mailboxes SET smtp_port = :port")
    app.run("move", lambda session: session.execute(moved, {"port": server.port}))
    give_password(app, "secret")
    assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent"] * 3


def test_a_server_that_closes_in_the_middle_gets_a_new_connection(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    server.turns = {"DOT": [None, "421 4.3.2 closing"]}
    assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent", "queued", "sent"]
    assert server.connections == 2


def test_a_person_that_is_suppressed_between_claim_and_mail_gets_nothing(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 2)

    def suppress(sent: Envelope) -> None:
        (other,) = {"p0@example.net", "p1@example.net"} - {sent.rcpt_tos[0]}
        given = partial(suppressions.suppress, email=other, reason=SuppressionReason.UNSUBSCRIBED, source=None)
        app.run("suppress", given)

    server.when_taken = suppress
    assert send_once(app, mailbox_id) is None
    assert len(server.taken) == 1
    assert server.seen == ["MAIL", "RCPT", "DATA", "MAIL", "RCPT", "RSET"]


def test_no_mail_begins_after_all_sending_is_stopped(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    server.when_taken = lambda _: app.run("stop", partial(stopping.stop, now=NOW))
    assert send_once(app, mailbox_id) is None
    assert len(server.taken) == 1
    assert send_once(app, mailbox_id) is None
    assert len(server.taken) == 1
    server.when_taken = lambda _: None
    app.run("start", stopping.start)
    assert send_once(app, mailbox_id) is None
    assert statuses(app) == ["sent"] * 3


def test_a_stop_waits_for_the_mail_under_way(app: App, server: SmtpServer, database_url: str, tmp_path: Path) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    server.waits = threading.Event()
    cli = Cli(database_url, tmp_path / "home")
    with sender_of(app, mailbox_id) as sender:
        sender.start()
        assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(cli.run, "mail", "stop")
            assert wait_until(lambda: app.run("look", stopping.stopped_at) is not None, PATIENCE)
            assert app.run("look", stopping.under_way) == 1
            server.waits.set()
            assert stopped.result().stdout == "Sending is stopped. No mail begins until `mail start`.\n"
        assert app.run("look", stopping.under_way) == 0
        assert statuses(app) == ["sent", "queued", "queued"]


def test_the_start_tells_how_many_are_due_for_each_mailbox(
    app: App, server: SmtpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox_id = connect(app, server.port)
    connect(app, server.port, address="ben@example.com")
    enrolled(app, 3)
    tell_of_due(app)
    told = "sales-automation-mcp: ann@example.com: 0 emails due\nsales-automation-mcp: ben@example.com: 0 emails due\n"
    assert capsys.readouterr().err == told + "sales-automation-mcp: people without a mailbox yet: 3 emails due\n"
    server.script = {"RCPT": "450 4.2.0 greylisted"}
    assert send_once(app, mailbox_id) is None
    app.clock.move(days=30)  # type: ignore[attr-defined]
    tell_of_due(app)
    held = "ann@example.com: 3 emails due, 3 of them for so long that they wait for --include-overdue"
    assert capsys.readouterr().err == told.replace("ann@example.com: 0 emails due", held)


def test_the_mail_under_way_ends_when_the_process_does(app: App, server: SmtpServer) -> None:
    connect(app, server.port)
    enrolled(app, 3)
    server.waits = threading.Event()
    app.database()
    senders = Senders(app)
    senders.start()
    assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
    threading.Timer(0.5, server.waits.set).start()
    senders.stop()
    assert statuses(app) == ["sent", "queued", "queued"]
    assert len(server.taken) == 1
    with sender_of(app, app.run("look", partial(mailboxes.find, mailbox=ANN)).id) as sender:
        assert sender.run_once()
    assert sorted(recipients(server)) == ["p0@example.net", "p1@example.net", "p2@example.net"]


def test_a_mail_that_takes_too_long_is_cut_off_when_the_process_ends(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Senders, "patience", 0.3)
    connect(app, server.port)
    enrolled(app, 2)
    server.waits = threading.Event()
    app.database()
    senders = Senders(app)
    senders.start()
    assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
    senders.stop()
    server.waits.set()
    assert statuses(app) == ["unknown", "queued"]
    assert len(server.taken) == 1


def test_one_process_at_a_time_sends_and_the_next_settles_what_the_last_one_left(
    app: App, server: SmtpServer, make_app: Callable[..., App], tmp_path: Path
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    other = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    server.waits = threading.Event()
    with sender_of(app, mailbox_id) as first, sender_of(other, mailbox_id) as second:
        first.start()
        assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
        expire_leases(app)  # as if the first one had been away for fifteen seconds
        second.start()
        assert wait_until(lambda: statuses(app)[0] == "unknown", PATIENCE)
        server.waits.set()
        # The first one tells what became of its mail, which is a fact, and begins no other.
        assert wait_until(lambda: statuses(app) == ["sent"] * 3, PATIENCE)
    assert Counter(recipients(server)) == Counter(f"p{number}@example.net" for number in range(3))


def test_what_can_not_be_recorded_is_recorded_as_soon_as_the_database_is_back(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 2)
    left = [3]
    run = app.run

    def fails(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        if description == "record a mail" and left[0] > 0:
            left[0] -= 1
            raise StoreUnavailable("The database is away.")
        return run(description, work, **more)

    monkeypatch.setattr(app, "run", fails)
    with sender_of(app, mailbox_id) as sender:
        sender.start()
        assert wait_until(lambda: statuses(app) == ["sent"] * 2, PATIENCE)
    assert left == [0]
    assert sorted(recipients(server)) == ["p0@example.net", "p1@example.net"]


def test_a_mail_that_can_not_be_written_pauses_its_person_alone(app: App, server: SmtpServer) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, ["jörg@example.net", "p1@example.net"])
    assert send_once(app, mailbox_id) is None
    assert recipients(server) == ["p1@example.net"]
    paused, sent = sorted(books(app))
    assert (paused.status, paused.enrollment) == ("not_sent", "paused")
    assert "SMTPUTF8" in (paused.pause_reason or "") + (paused.answer or "")
    assert sent.status == "sent"

"""Faults of this program in the middle of sending: one mail is set aside, and the sender goes on."""

import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from db.domain.errors import LeaseLost, StoreUnavailable
from db.domain.mailboxes import LeaseRole
from db.embedded.locks import wait_until
from db.mail import compose
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing.mails import NotBegun
from mcp_server.mail.books import Books
from mcp_server.mail.lease_keeper import Lease, LeaseKeeper
from mcp_server.mail.senders import Senders
from mcp_server.process.app import App
from tests.support.mail_servers import SmtpServer, smtp_server
from tests.support.patience import PATIENCE
from tests.support.reading import ANN
from tests.support.sending import Clock, books, connect, enrolled, send_once, sender_of, statuses


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr("mcp_server.mail.trouble.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mcp_server.mail.sender.LOOK_SECONDS", 0.1)
    made = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    made.clock = Clock()
    return made


@pytest.fixture
def server() -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}) as started:
        yield started


def failing(app: App, monkeypatch: pytest.MonkeyPatch, times: dict[str, int], error: Exception | None = None) -> None:
    """As if this program had a fault: work with these descriptions fails as many times."""
    run = app.run

    def fails(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        if times.get(description, 0) > 0:
            times[description] -= 1
            raise error or KeyError(description)
        return run(description, work, **more)

    monkeypatch.setattr(app, "run", fails)


def test_senders_start_where_nobody_reads_what_they_tell(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def write(self, _: str) -> int:
            raise BrokenPipeError

    connect(app, server.port)
    enrolled(app, 1)
    senders = Senders(app)
    monkeypatch.setattr(sys, "stderr", Closed())
    senders.start()
    try:
        assert wait_until(lambda: statuses(app) == ["sent"], PATIENCE)
    finally:
        senders.stop()


def test_a_mail_that_this_program_can_not_write_pauses_its_person_alone(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def composes(mail: Any) -> Any:
        if mail.recipient.address == "p0@example.net":
            raise KeyError("a fault")
        return compose(mail)

    monkeypatch.setattr("mcp_server.mail.attempts.compose", composes)
    mailbox_id = connect(app, server.port)
    enrolled(app, 2)
    assert send_once(app, mailbox_id) is None
    faulty, sent = sorted(books(app))
    assert (faulty.status, faulty.enrollment, sent.status) == ("not_sent", "paused", "sent")
    (fault,) = [vars(record)["fault"] for record in caplog.records if hasattr(record, "fault")]
    assert (faulty.answer or "").startswith("internal_fault: The mail can't be written.")
    assert fault in (faulty.answer or "")


def test_a_mail_that_can_not_be_recorded_is_unknown_and_others_go_on(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 2)
    failing(app, monkeypatch, {"record a mail": 1})
    with sender_of(app, mailbox_id) as sender:
        sender.start()
        assert wait_until(lambda: statuses(app) == ["unknown", "sent"], PATIENCE)
    assert len(server.taken) == 2


def test_a_success_ends_what_was_wrong_before(app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 1)
    failing(app, monkeypatch, {"claim mails": 2})
    with sender_of(app, mailbox_id) as sender:
        sender.start()
        assert wait_until(lambda: statuses(app) == ["sent"], PATIENCE)
        assert wait_until(lambda: sender.problem is None, PATIENCE)


def test_leases_that_can_not_be_renewed_are_lost(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("db.services.mail.leases.RENEW_SECONDS", 0.05)
    mailbox_id = connect(app, server.port)
    lost = list[str]()
    with LeaseKeeper(app) as keeper:
        lease = keeper.take(mailbox_id, LeaseRole.SENDER, when_lost=lambda: lost.append("lost"))
        assert lease is not None
        failing(app, monkeypatch, {"renew mailboxes": 1})
        assert wait_until(lambda: lost == ["lost"], PATIENCE)
        assert lease.is_lost
    assert any(getattr(record, "error", "") == "KeyError" for record in caplog.records)


def test_a_mailbox_that_is_taken_over_keeps_no_other_mail_of_its_group(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox_id = connect(app, server.port)
    enrolled(app, 3)
    is_first_under_way, others_wait, run = threading.Event(), threading.Event(), app.run

    def waits(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        if description == "begin a mail" and not is_first_under_way.is_set():
            is_first_under_way.set()
            others_wait.wait(PATIENCE)
        return run(description, work, **more)

    with LeaseKeeper(app) as keeper, ThreadPoolExecutor(3) as pool:
        lease = keeper.take(mailbox_id, LeaseRole.SENDER, when_lost=lambda: None)
        assert lease is not None
        lost = Lease(mailbox_id, LeaseRole.SENDER, uuid4(), lambda: None)
        written = Books(app)
        mails = written.next(lease, limit=3, include_overdue=False).mails
        monkeypatch.setattr(app, "run", waits)
        first = pool.submit(written.begin, lease, mails[0], b"bytes")
        assert is_first_under_way.wait(PATIENCE)
        taken_over = pool.submit(written.begin, lost, mails[1], b"bytes")
        last = pool.submit(written.begin, lease, mails[2], b"bytes")
        assert wait_until(lambda: written._begun.waiting == 2, PATIENCE)  # pyright: ignore[reportPrivateUsage]
        others_wait.set()
        assert (first.result(), last.result()) == (None, None)
        assert isinstance(taken_over.exception(), LeaseLost)
    assert statuses(app) == ["sending", "queued", "sending"]


def test_a_run_that_may_send_nothing_of_what_is_due_ends(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> NotBegun:
        return NotBegun.WORDS

    monkeypatch.setattr("db.services.outgoing.beginnings._may_not", refuses)
    mailbox_id = connect(app, server.port)
    enrolled(app, 1)
    assert send_once(app, mailbox_id) is None
    assert server.seen.count("MAIL") == 3
    assert statuses(app) == ["queued"]


def test_a_database_that_stays_away_is_told_and_no_other_process_is_blamed(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.mail.mailbox_loop.LEASE_SECONDS", -1)
    mailbox_id = connect(app, server.port)
    failing(app, monkeypatch, {"take a mailbox": 100}, StoreUnavailable("The database is away."))
    assert send_once(app, mailbox_id) == "The database is away."


def test_a_mail_under_way_ends_with_the_process_although_its_mailbox_is_paused(
    app: App, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.mail.mailbox_loops.LOOK_AGAIN_SECONDS", 0.05)
    connect(app, server.port)
    enrolled(app, 2)
    server.waits = threading.Event()
    looks, run = list[str](), app.run

    def counts(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        done = run(description, work, **more)
        looks.append(description)
        return done

    monkeypatch.setattr(app, "run", counts)
    senders = Senders(app)
    senders.start()
    assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
    app.run("pause", partial(mailboxes.update, mailbox=ANN, change=MailboxChange(), is_paused=True))
    looks.clear()
    assert wait_until(lambda: looks.count("look for mailboxes") > 1, PATIENCE)
    threading.Timer(0.3, server.waits.set).start()
    senders.stop()
    assert statuses(app) == ["sent", "queued"]

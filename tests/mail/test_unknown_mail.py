"""A mail of which nobody knows whether it went out: the reader finds it where copies of sent mail are, and by what
comes back."""

from collections.abc import Callable, Generator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from db.domain.states import MessageStatus
from db.embedded.locks import wait_until
from db.services.outgoing.mails import QueuedMail
from mcp_server.mail.unknown_mails import UnknownMails
from mcp_server.process.app import App
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.incoming import bounce
from tests.support.outbox import Outbox, outbox_of
from tests.support.patience import PATIENCE
from tests.support.reading import ANN, LATER, connect, letter, reached, read_once, reader_of, status_of

pytestmark = needs_dovecot


@pytest.fixture(scope="module")
def dovecot_server() -> Generator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    return make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"u{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def outbox(app: App, dovecot_server: Dovecot, user: str) -> Outbox:
    mailbox_id = connect(app, dovecot_server.port, username=user)
    assert read_once(app, mailbox_id) is None  # what comes from now on is new
    return outbox_of(app.database(), mailbox_id, ANN)


def copy_of(mail: QueuedMail) -> bytes:
    copy = EmailMessage()
    copy["From"], copy["To"], copy["Subject"] = ANN, mail.recipient.address, mail.subject
    copy["Message-ID"] = f"<{mail.internet_message_id}>"
    copy.set_content(f"{mail.text}\n")
    return copy.as_bytes().replace(b"\n", b"\r\n")


def begun(app: App) -> str:
    return app.run(
        "look", lambda session: str(session.scalar(text("SELECT status FROM messages WHERE direction = 'out'")))
    )


def test_a_copy_in_sent_settles_it(app: App, dovecot_server: Dovecot, user: str, outbox: Outbox) -> None:
    mail = outbox.begun()
    outbox.unknown(mail)
    assert read_once(app, outbox.mailbox_id) is None
    assert begun(app) == MessageStatus.UNKNOWN  # not found proves nothing
    dovecot_server.put(user, [copy_of(mail)], into="Outbound", at=LATER)
    assert read_once(app, outbox.mailbox_id) is None
    assert begun(app) == MessageStatus.SENT
    assert status_of(app, mail.enrollment_id)[0] == "active"


def test_a_copy_that_was_read_before_is_looked_for(
    app: App, dovecot_server: Dovecot, user: str, outbox: Outbox
) -> None:
    (mail,) = outbox.claim()
    dovecot_server.put(user, [copy_of(mail)], into="Outbound", at=LATER)
    assert read_once(app, outbox.mailbox_id) is None
    assert outbox.begin(mail) is None
    outbox.unknown(mail)
    assert read_once(app, outbox.mailbox_id) is None
    assert begun(app) == MessageStatus.SENT


def test_what_comes_back_settles_it(app: App, dovecot_server: Dovecot, user: str, outbox: Outbox) -> None:
    mail = outbox.begun()
    outbox.unknown(mail)
    returned = bounce(mail.internet_message_id, recipient=mail.recipient.address, status="4.2.2")
    dovecot_server.put(user, [returned], into="INBOX", at=LATER)
    assert read_once(app, outbox.mailbox_id) is None
    assert begun(app) == MessageStatus.SENT
    assert status_of(app, mail.enrollment_id)[0] == "active"


def test_an_answer_settles_it(app: App, dovecot_server: Dovecot, user: str, outbox: Outbox) -> None:
    mail = outbox.begun()
    outbox.unknown(mail)
    dovecot_server.put(user, [letter(mail.recipient.address, answers=mail.internet_message_id)], into="INBOX", at=LATER)
    assert read_once(app, outbox.mailbox_id) is None
    assert begun(app) == MessageStatus.SENT
    assert status_of(app, mail.enrollment_id) == ("completed", "replied")


def test_a_reader_that_waits_looks_within_ten_seconds(
    app: App, dovecot_server: Dovecot, user: str, outbox: Outbox
) -> None:
    mail = outbox.begun()
    dovecot_server.put(user, [copy_of(mail)], into="Outbound", at=LATER)
    with reader_of(app, outbox.mailbox_id) as reader:
        reader.start()
        assert wait_until(lambda: begun(app) == MessageStatus.SENT, PATIENCE)  # its copy was new
        assert wait_until(lambda: reached(app).last_read_at is not None, PATIENCE)
        app.run("as if nobody knew", lambda session: session.execute(_UNKNOWN))
        assert wait_until(lambda: begun(app) == MessageStatus.SENT, 20)
        assert reader.problem is None


def test_the_mailboxes_of_a_process_are_asked_about_together(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = app.run, list[str]()

    def counts(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        asked.append(description)
        return run(description, work, **more)

    monkeypatch.setattr(app, "run", counts)
    unknown, mailboxes = UnknownMails(app), [uuid4() for _ in range(3)]
    assert [unknown.ids(id_) for id_ in mailboxes] == [()] * 3
    asked.clear()
    for id_ in mailboxes:
        unknown.ids(id_)
    assert asked == []
    monkeypatch.setattr("mcp_server.mail.unknown_mails.KNOWN_SECONDS", 0)
    unknown.ids(mailboxes[0])
    assert len(asked) == 1


_UNKNOWN = text(f"UPDATE messages SET status = '{MessageStatus.UNKNOWN}'")

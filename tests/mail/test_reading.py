"""Mailboxes are read from a real server: answers stop people, and nothing is lost, counted twice or marked."""

from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.embedded.locks import wait_until
from db.services.mail import mailboxes
from mcp_server.process.app import App
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.patience import PATIENCE
from tests.support.reading import (
    LATER,
    connect,
    counts,
    expire_leases,
    letter,
    reached,
    read_once,
    reader_of,
    status_of,
    written_to,
)

pytestmark = needs_dovecot


@pytest.fixture(scope="module")
def dovecot_server() -> Generator[Dovecot]:
    with dovecot() as running:
        yield running


class Box:
    """A user of the server, whose mailbox is connected."""

    def __init__(self, server: Dovecot, app: App, user: str) -> None:
        self.server, self.app, self.user = server, app, user
        self.id = connect(app, server.port, username=user)

    def put(self, *mails: bytes, into: str = "INBOX") -> None:
        self.server.put(self.user, mails, into=into, at=LATER)

    def client(self) -> Any:
        return self.server.client(self.user)

    def read(self) -> str | None:
        return read_once(self.app, self.id)


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    return make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key", mail_poll_seconds=1)


@pytest.fixture
def box(dovecot_server: Dovecot, app: App, request: pytest.FixtureRequest) -> Box:
    return Box(dovecot_server, app, f"u{abs(hash(request.node.nodeid)):x}")


def test_an_answer_stops_its_enrollment_and_the_rest_is_passed_over(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net", "ben@example.net"])
    box.put(
        letter("news@example.org"),
        letter("ada@example.net", answers=known["ada@example.net"][1]),
        letter("other@example.org"),
    )
    assert box.read() is None
    assert counts(app) == (1, 2, 0)
    assert status_of(app, known["ada@example.net"][0]) == ("completed", "replied")
    assert status_of(app, known["ben@example.net"][0])[0] == "active"
    assert reached(app).read == 3
    assert reached(app).last_read_at is not None


def test_of_unrelated_mail_neither_a_header_nor_a_word_stays(app: App, box: Box) -> None:
    written_to(app, ["ada@example.net"])
    box.put(letter("private-person@example.org", words="Something intimate."))
    box.read()
    assert counts(app) == (0, 1, 0)
    for table in ("messages", "message_bodies", "unrelated_mails", "mailbox_folders"):
        found = app.run("dump", lambda session, table=table: session.execute(text(f"SELECT * FROM {table}")).all())
        assert "private-person" not in repr(found)
        assert "intimate" not in repr(found)


def test_flags_are_never_changed(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net"])
    box.put(letter("ada@example.net", answers=known["ada@example.net"][1]), letter("news@example.org"))
    with box.client() as client:
        client.select_folder("INBOX", readonly=True)
        before = client.get_flags([1, 2])
    box.read()
    with box.client() as client:
        client.select_folder("INBOX", readonly=True)
        assert client.get_flags([1, 2]) == before
    assert counts(app) == (1, 1, 0)


def test_a_mailbox_is_joined_back_to_the_oldest_mail_that_was_sent(app: App, box: Box) -> None:
    box.put(letter("early@example.org"))
    assert box.read() is None
    assert counts(app) == (0, 0, 0)  # nobody was written to, so nothing that came before matters
    box.put(letter("new@example.org"))
    assert box.read() is None
    assert counts(app) == (0, 1, 0)


def test_a_mail_that_moves_between_folders_counts_once(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net"])
    box.put(letter("ada@example.net", answers=known["ada@example.net"][1]), letter("news@example.org"))
    box.read()
    with box.client() as client:
        client.select_folder("INBOX")
        client.move([1, 2], "Spam")
    box.read()
    assert counts(app) == (1, 1, 0)
    with box.client() as client:
        client.select_folder("Spam")
        client.copy([1, 2], "INBOX")
    box.read()
    assert counts(app) == (1, 1, 0)


def test_folders_are_found_by_what_the_server_says_they_hold(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net"])
    box.put(letter("ada@example.net", answers=known["ada@example.net"][1]), into="Spam")
    box.put(letter("someone@example.org"), into="Outbound")
    with box.client() as client:
        client.create_folder("Other")
    box.put(letter("elsewhere@example.org"), into="Other")
    box.read()
    assert counts(app) == (1, 1, 0)


def test_other_uids_are_read_anew_and_counted_once(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net", "ben@example.net"])
    answer = letter("ada@example.net", answers=known["ada@example.net"][1])
    box.put(answer, letter("news@example.org"), into="Spam")
    box.read()
    with box.client() as client:
        client.delete_folder("Spam")
        client.create_folder("Spam")
    box.put(
        letter("new@example.org"),
        letter("news@example.org"),
        answer,
        letter("ben@example.net", answers=known["ben@example.net"][1]),
        into="Spam",
    )
    box.read()
    assert counts(app) == (2, 2, 0)


def test_a_folder_that_is_deleted_is_forgotten(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net"])
    with box.client() as client:
        client.create_folder("All Mail")
    box.put(letter("ada@example.net", answers=known["ada@example.net"][1]), into="All Mail")
    box.read()
    with reader_of(app, box.id) as reader:
        reader.start()
        wait_until(lambda: reached(app).reader is not None, PATIENCE)
        with box.client() as client:
            client.delete_folder("All Mail")
        box.put(letter("news@example.org"))
        assert wait_until(lambda: counts(app) == (1, 1, 0), PATIENCE)
        assert wait_until(lambda: "All Mail" not in folders(app), PATIENCE)
        assert reader.problem is None


def folders(app: App) -> set[str]:
    found = text("SELECT name FROM mailbox_folders")
    return set(app.run("look", lambda session: session.scalars(found).all()))


def test_new_mail_is_read_as_it_comes_and_the_loop_ends_at_once(
    make_app: Callable[..., App], tmp_path: Path, dovecot_server: Dovecot
) -> None:
    app = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")  # it waits by IDLE
    box = Box(dovecot_server, app, "idle")
    known = written_to(app, ["ada@example.net"])
    with reader_of(app, box.id) as reader:
        reader.start()
        assert wait_until(lambda: reached(app).last_read_at is not None, PATIENCE)
        box.put(letter("ada@example.net", answers=known["ada@example.net"][1]))
        assert wait_until(lambda: counts(app) == (1, 0, 0), 30)
        reader.stop()
        reader.join(5)
        assert not reader.is_running
    assert reached(app).reader is None


def test_two_processes_read_by_turns(app: App, box: Box) -> None:
    written_to(app, ["ada@example.net"])
    with reader_of(app, box.id) as first, reader_of(app, box.id) as second:
        first.start()
        assert wait_until(lambda: reached(app).reader is not None, PATIENCE)
        second.start()
        box.put(letter("news@example.org"))
        assert wait_until(lambda: counts(app) == (0, 1, 0), PATIENCE)
        with box.client() as client:
            assert client.search  # the server is there
        first.stop()
        first.join(5)
        assert wait_until(lambda: reached(app).reader is not None, PATIENCE)
        box.put(letter("more@example.org"))
        assert wait_until(lambda: counts(app) == (0, 2, 0), PATIENCE)


def test_a_reader_that_lost_its_lease_writes_nothing(app: App, box: Box) -> None:
    written_to(app, ["ada@example.net"])
    with reader_of(app, box.id) as reader:
        reader.start()
        assert wait_until(lambda: reached(app).reader is not None, PATIENCE)
        taken = text("UPDATE mailbox_leases SET token = gen_random_uuid(), expires_at = now() + interval '1 hour'")
        app.run("take over", lambda session: session.execute(taken))
        box.put(letter("news@example.org"))
        others = text("SELECT count(*) FROM pg_stat_user_tables")
        wait_until(lambda: app.run("look", lambda session: session.scalar(others)) == 0, 4)
        assert counts(app) == (0, 0, 0)
        expire_leases(app)
        assert wait_until(lambda: counts(app) == (0, 1, 0), PATIENCE)


def test_joining_goes_on_where_it_stopped(app: App, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.mail.fetching.HEADERS_MOST", 10)
    known = written_to(app, ["ada@example.net"])
    box.put(letter("ada@example.net", answers=known["ada@example.net"][1]))
    box.put(*(letter(f"p{number}@example.org") for number in range(35)))
    with reader_of(app, box.id) as reader:
        stopped = app.run

        def stopping(description: str, work: Any, **more: Any) -> Any:
            done = stopped(description, work, **more)
            if description == "store mail" and reached_by(stopped) >= 20:
                reader.stop()
            return done

        monkeypatch.setattr(app, "run", stopping)
        reader.run_once()
        monkeypatch.setattr(app, "run", stopped)
    assert 20 <= sum(counts(app)) < 36
    assert reached(app).to_join > 0
    assert box.read() is None
    assert counts(app) == (1, 35, 0)
    assert reached(app).to_join == 0


def reached_by(run: Any) -> int:
    def look(session: Any) -> int:
        return session.scalar(text("SELECT count(*) FROM unrelated_mails"))

    return run("look", look)


def test_a_long_mail_is_read_in_part_and_attachments_are_left_out(app: App, box: Box) -> None:
    known = written_to(app, ["ada@example.net", "ben@example.net"])
    box.put(
        letter("ada@example.net", answers=known["ada@example.net"][1], size=100_000),
        letter("ben@example.net", answers=known["ben@example.net"][1], size=3_000_000),
    )
    assert box.read() is None
    assert counts(app) == (2, 0, 0)
    sizes = text("SELECT max(octet_length(raw)) FROM message_bodies")
    assert app.run("look", lambda session: session.scalar(sizes)) < 5_000


def test_a_paused_mailbox_is_left_alone(app: App, box: Box) -> None:
    app.run("pause", lambda session: mailboxes.update(session, mailbox=box.id, change=NOTHING, is_paused=True))
    assert app.run("look", mailboxes.list_read) == []


NOTHING = mailboxes.MailboxChange()


def test_a_folder_that_is_deleted_makes_the_reader_no_busier(
    app: App, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    with box.client() as client:
        client.create_folder("All Mail")
    done = Counter[str]()
    run = app.run

    def counted(description: str, work: Callable[[Any], Any], **more: Any) -> Any:
        done[description] += 1
        return run(description, work, **more)

    monkeypatch.setattr(app, "run", counted)
    with reader_of(app, box.id) as reader:
        reader.start()
        assert wait_until(lambda: "All Mail" in folders(app), PATIENCE)
        with box.client() as client:
            client.delete_folder("All Mail")
        assert wait_until(lambda: "All Mail" not in folders(app), PATIENCE)
        done.clear()
        assert wait_until(lambda: done["look for folders"] >= 3, PATIENCE)
        # INBOX, Spam and Outbound are read once a second each, and INBOX once more before each wait.
        assert done["note how far mail is read"] < 20

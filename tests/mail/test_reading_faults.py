"""IMAP servers that go wrong: the mailbox says what is wrong, others go on, and nothing is lost."""

import re
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import imapclient  # pyright: ignore[reportMissingTypeStubs]  it has none
import pytest
from sqlalchemy import text

from db.domain.mailboxes import MailServer, Security
from db.embedded.locks import wait_until
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.mail.readers import Readers
from mcp_server.process.app import App
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.imap_faults import CLOSE, HANG, Fault, FaultyWay, faulty_way
from tests.support.mail_servers import certificates, imap_server, silent_server, smtp_server
from tests.support.patience import PATIENCE
from tests.support.reading import ANN, LATER, connect, counts, give_password, letter, read_once, reader_of, written_to

BEN = "ben@example.com"


@pytest.fixture(scope="module")
def dovecot_server() -> Generator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr("mcp_server.mail.trouble.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mcp_server.mail.trouble.LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("mcp_server.mail.connections.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("mcp_server.mail.connections.READ_SECONDS", 1.0)
    return make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key", mail_poll_seconds=1)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"u{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def way(dovecot_server: Dovecot) -> Generator[FaultyWay]:
    with faulty_way(dovecot_server.port) as given:
        yield given


def problem_of(app: App, address: str = ANN) -> tuple[str, str | None]:
    row = app.run("look", partial(mailboxes.find, mailbox=address))
    return row.status, row.problem


def times(count: int, command: bytes, answer: bytes) -> Fault:
    """Goes wrong at a command, as many times."""
    left = [count]

    def fault(line: bytes) -> bytes | None:
        if command not in line.upper() or left[0] <= 0:
            return None
        left[0] -= 1
        return answer

    return fault


NO = b"TAG NO it is not the day\r\n"
BYE = b"* BYE going down\r\nTAG OK done\r\n"
LITERAL = b"* 1 FETCH (UID 1 BODY[] {2147483648}\r\n"


@needs_dovecot
@pytest.mark.parametrize("answer", [NO, BYE, CLOSE, HANG, LITERAL], ids=["no", "bye", "close", "hang", "literal"])
@pytest.mark.parametrize("command", [b" EXAMINE ", b"BODY.PEEK[HEADER", b"BODY.PEEK[]", b" LIST "])
def test_a_server_that_goes_wrong_now_and_then_loses_nothing(
    app: App, dovecot_server: Dovecot, way: FaultyWay, user: str, command: bytes, answer: bytes
) -> None:
    known = written_to(app, ["ada@example.net"])
    mails = [letter("news@example.org"), letter("ada@example.net", answers=known["ada@example.net"][1])]
    dovecot_server.put(user, mails, at=LATER)
    mailbox_id = connect(app, way.port, username=user)
    way.fault = times(2, command, answer)
    with reader_of(app, mailbox_id) as reader:
        reader.start()
        assert wait_until(lambda: counts(app) == (1, 1, 0), PATIENCE)
        # That one mail is refused says nothing of the connection.
        assert way.connections > 1 or (answer == NO and command.startswith(b"BODY"))
        assert wait_until(lambda: problem_of(app)[0] == "active", PATIENCE)


@needs_dovecot
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (NO, "has ended the connection, or answers what is not an answer"),
        (HANG, "does not answer in time"),
        (LITERAL, "sends more than was asked for"),
    ],
    ids=["no", "hang", "literal"],
)
def test_a_server_that_stays_wrong_makes_the_mailbox_failing_until_it_works(
    app: App, dovecot_server: Dovecot, way: FaultyWay, user: str, answer: bytes, told: str
) -> None:
    known = written_to(app, ["ada@example.net"])
    dovecot_server.put(user, [letter("ada@example.net", answers=known["ada@example.net"][1])], at=LATER)
    mailbox_id = connect(app, way.port, username=user)
    way.fault = times(10**6, b"BODY.PEEK[]", answer)
    with reader_of(app, mailbox_id) as reader:
        reader.start()
        assert wait_until(lambda: problem_of(app)[0] == "failing", PATIENCE)
        problem = problem_of(app)[1] or ""
        assert problem.startswith("It can't be read. ann@example.com: the IMAP server 127.0.0.1:")
        assert told in problem
        assert counts(app) == (0, 0, 0)
        way.fault = lambda _: None
        assert wait_until(lambda: counts(app) == (1, 0, 0), PATIENCE)
        assert wait_until(lambda: problem_of(app) == ("active", None), PATIENCE)


def never(uid: int, part: bytes, answer: bytes) -> Fault:
    """One mail is never given, whatever it is asked for with."""

    def fault(line: bytes) -> bytes | None:
        asked = re.search(rb"UID FETCH (\S+) ", line)
        if asked is None or part not in line:
            return None
        ranges = [[*map(int, one.split(b":"))] for one in asked[1].split(b",")]
        return answer if any(first <= uid <= last for first, *_, last in ((*one, *one) for one in ranges)) else None

    return fault


@needs_dovecot
@pytest.mark.parametrize(("answer", "is_alone"), [(NO, True), (NO, False), (CLOSE, False)], ids=str)
@pytest.mark.parametrize("part", [b"BODY.PEEK[HEADER", b"BODY.PEEK[]"], ids=["header", "body"])
def test_a_mail_that_is_never_given_holds_up_no_other_and_is_read_when_it_is(
    app: App, dovecot_server: Dovecot, way: FaultyWay, user: str, part: bytes, answer: bytes, is_alone: bool
) -> None:
    known = written_to(app, ["ada@example.net", "ben@example.net"])
    ada, ben = (letter(email, answers=own_id) for email, (_, own_id) in known.items())
    mailbox_id = connect(app, way.port, username=user)
    dovecot_server.put(user, [ben] if is_alone else [ben, ada], at=LATER)
    way.fault = never(2, part, answer)
    if is_alone:
        assert read_once(app, mailbox_id) is None
        dovecot_server.put(user, [ada], at=LATER)
    for _ in range(2):
        assert read_once(app, mailbox_id) is None
        assert counts(app) == (1, 0, 1)
    way.fault = lambda _: None
    assert read_once(app, mailbox_id) is None
    assert counts(app) == (2, 0, 0)
    assert problem_of(app) == ("active", None)


@needs_dovecot
@pytest.mark.parametrize("answer", [NO, BYE, CLOSE], ids=["no", "bye", "close"])
def test_a_mail_of_the_next_batch_that_is_never_given_is_told_from_those_of_this_one(
    app: App, dovecot_server: Dovecot, way: FaultyWay, user: str, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.mail.fetching.HEADERS_MOST", 1)
    known = written_to(app, ["ada@example.net", "ben@example.net", "cid@example.net"])
    mailbox_id = connect(app, way.port, username=user)
    dovecot_server.put(user, [letter(email, answers=own_id) for email, (_, own_id) in known.items()], at=LATER)
    way.fault = never(2, b"BODY.PEEK[HEADER", answer)
    assert read_once(app, mailbox_id) is None
    assert counts(app) == (2, 0, 1)


@needs_dovecot
def test_of_mails_that_were_left_one_that_ends_the_connection_holds_up_no_other(
    app: App, dovecot_server: Dovecot, way: FaultyWay, user: str
) -> None:
    known = written_to(app, ["ada@example.net", "ben@example.net", "cid@example.net"])
    mails = [letter(email, answers=own_id) for email, (_, own_id) in known.items()]
    mailbox_id = connect(app, way.port, username=user)
    faults = [never(uid, b"BODY.PEEK[]", CLOSE) for uid in (2, 3)]
    way.fault = lambda line: faults[0](line) or faults[1](line)
    for new, expected in ((mails[:2], (1, 0, 1)), (mails[2:], (1, 0, 2))):
        dovecot_server.put(user, new, at=LATER)
        for _ in range(2):
            read_once(app, mailbox_id)
        assert counts(app) == expected
    way.fault = faults[0]
    for _ in range(2):
        assert read_once(app, mailbox_id) is None
    assert counts(app) == (2, 0, 1)


@needs_dovecot
def test_a_wrong_password_is_told_and_others_are_read(
    app: App, dovecot_server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.mail.mailbox_loops.LOOK_AGAIN_SECONDS", 0.1)
    written_to(app, ["ada@example.net"])
    for name in (user, f"{user}-b"):
        dovecot_server.put(name, [letter("news@example.org")], at=LATER)
    connect(app, dovecot_server.port, username=user, password="wrong")
    connect(app, dovecot_server.port, username=f"{user}-b", address=BEN)
    app.database()
    readers = Readers(app)
    readers.start()
    try:
        assert wait_until(lambda: problem_of(app)[0] == "failing", PATIENCE)
        assert "refuses the credentials" in (problem_of(app)[1] or "")
        assert wait_until(lambda: counts(app, BEN) == (0, 1, 0), PATIENCE)
        assert problem_of(app, BEN) == ("active", None)
        give_password(app, "secret")  # as `mailboxes add` does it, in another process
        assert wait_until(lambda: counts(app) == (0, 1, 0), PATIENCE)
        assert wait_until(lambda: problem_of(app) == ("active", None), PATIENCE)
    finally:
        readers.stop()


@needs_dovecot
def test_a_mailbox_that_fails_for_another_reason_stays_so(app: App, dovecot_server: Dovecot, user: str) -> None:
    mailbox_id = connect(app, dovecot_server.port, username=user)
    failing = text("UPDATE mailboxes SET status = 'failing', problem = 'Its host is away.', problem_at = now()")
    app.run("fail", lambda session: session.execute(failing))
    assert read_once(app, mailbox_id) is None
    assert problem_of(app) == ("failing", "Its host is away.")


@needs_dovecot
def test_a_server_that_is_restarted_is_found_again(app: App, user: str) -> None:
    written_to(app, ["ada@example.net"])
    with dovecot() as server:
        mailbox_id = connect(app, server.port, username=user)
        with reader_of(app, mailbox_id) as reader:
            reader.start()
            server.put(user, [letter("news@example.org")], at=LATER)
            assert wait_until(lambda: counts(app) == (0, 1, 0), PATIENCE)
            server.stop()
            assert wait_until(lambda: problem_of(app)[0] == "failing", PATIENCE)
            server.start()
            server.put(user, [letter("more@example.org")], at=LATER)
            assert wait_until(lambda: counts(app) == (0, 2, 0), PATIENCE)
            assert wait_until(lambda: problem_of(app) == ("active", None), PATIENCE)


def test_a_host_of_smtp_is_told(app: App) -> None:
    with smtp_server({ANN: "secret"}) as server:
        problem = read_once(app, connect(app, server.port)) or ""
    assert "does not answer as such a server. Check host, port and security." in problem


def test_a_silent_host_is_told(app: App) -> None:
    with silent_server() as port:
        problem = read_once(app, connect(app, port)) or ""
    assert "does not answer in time" in problem


def test_a_certificate_for_another_name_is_told(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(own.authority))
    with imap_server(ANN, "secret", tls=own.context) as server:
        mailbox_id = connect(app, server.port)
        tls = MailServer("127.0.0.1", server.port, Security.TLS)
        app.run("tls", partial(mailboxes.update, mailbox=ANN, change=MailboxChange(imap=tls)))
        problem = read_once(app, mailbox_id) or ""
    assert "the certificate of the IMAP server 127.0.0.1" in problem
    assert "is not valid for that host" in problem


def test_a_mailbox_without_a_password_is_told(app: App) -> None:
    with imap_server(ANN, "secret") as server:
        mailbox_id = connect(app, server.port)
        forgotten = text("UPDATE mailboxes SET imap_credential = NULL")
        app.run("forget", lambda session: session.execute(forgotten))
        problem = read_once(app, mailbox_id) or ""
    assert "mailboxes add" in problem


def test_another_kind_of_server_is_read(app: App) -> None:
    """pymap, which has no SPECIAL-USE."""
    known = written_to(app, ["ada@example.net"])
    with imap_server(ANN, "secret") as server:
        mailbox_id = connect(app, server.port)
        mails = [letter("news@example.org"), letter("ada@example.net", answers=known["ada@example.net"][1])]
        put(server.port, mails)
        assert read_once(app, mailbox_id) is None
        assert counts(app) == (1, 1, 0)
        with reader_of(app, mailbox_id) as reader:
            reader.start()
            put(server.port, [letter("more@example.org")])
            assert wait_until(lambda: counts(app) == (1, 2, 0), PATIENCE)


def put(port: int, mails: list[bytes]) -> None:
    client: Any = imapclient.IMAPClient("127.0.0.1", port, ssl=False)
    client.login(ANN, "secret")
    for raw in mails:
        client.append("INBOX", raw, (), LATER)
    client.logout()

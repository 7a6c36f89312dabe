"""Connections to servers that hold their client, send without end, or fail while they are open."""

import smtplib
import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from db.domain.errors import MailboxUnusable
from db.domain.mailboxes import MailServer, Security
from mcp_server.mail import connections
from mcp_server.mail.connections import Imap
from mcp_server.mail.credentials import Password
from tests.support.mail_servers import (
    Answer,
    endless_server,
    imap_answers,
    imap_server,
    silent_server,
    smtp_answers,
    smtp_server,
)

ANN = "ann@example.com"
HELLO = b"* OK hello\r\n"


def at(port: int) -> MailServer:
    return MailServer("127.0.0.1", port, Security.NONE)


@pytest.fixture(autouse=True)
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WHOLE_BYTES", 50_000)


@contextmanager
def smtp(port: int, *, is_brief: bool = False, password: str = "secret") -> Generator[smtplib.SMTP]:
    with connections.smtp(
        at(port), address=ANN, credential=Password(password), allow_private=True, is_brief=is_brief
    ) as connection:
        yield connection


@contextmanager
def imap(port: int, *, is_brief: bool = False, password: str = "secret") -> Generator[Imap]:
    with connections.imap(
        at(port), address=ANN, credential=Password(password), allow_private=True, is_brief=is_brief
    ) as client:
        yield client


@pytest.mark.parametrize("endless", [b"220-hello\r\n" * 100, b"220-" + b"x" * 8000])
def test_a_greeting_of_smtp_without_end_is_cut_off(endless: bytes) -> None:
    with endless_server(endless) as port, pytest.raises(MailboxUnusable), smtp(port):
        pass


@pytest.mark.parametrize("answer", [smtp_answers(until=b"EHLO"), smtp_answers(until=b"AUTH")])
def test_a_sign_in_by_smtp_without_end_is_cut_off(answer: Answer) -> None:
    with (
        endless_server(b"250-more\r\n" * 100, greeting=b"220 hello\r\n", answer=answer) as port,
        pytest.raises(MailboxUnusable, match="sends without end"),
        smtp(port),
    ):
        pass


@pytest.mark.parametrize("endless", [b"* OK still\r\n" * 100, b"* 1 EXISTS\r\n" * 100, b"x" * 1000])
@pytest.mark.parametrize("until", [b"CAPABILITY", b"LOGIN"])
def test_a_sign_in_by_imap_without_end_is_cut_off(endless: bytes, until: bytes) -> None:
    answer = imap_answers(until=until)
    with endless_server(endless, greeting=HELLO, answer=answer) as port, pytest.raises(MailboxUnusable), imap(port):
        pass


def test_a_part_that_is_too_large_is_not_read() -> None:
    announced = b"* LIST () {4000000000}\r\n"
    with (
        endless_server(announced + b"x" * 1000, greeting=HELLO, answer=imap_answers(until=b"LIST")) as port,
        pytest.raises(MailboxUnusable, match="more than was asked for"),
        imap(port) as client,
    ):
        client.list_folders()


@pytest.mark.parametrize("until", [b"", b"EHLO", b"AUTH", b"NOOP"])
def test_a_server_of_smtp_that_drips_is_cut_off(until: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.4)
    greeting = b"220 hello\r\n" if until else b""
    with (
        endless_server(b"2", greeting=greeting, pause=0.05, answer=smtp_answers(until=until)) as port,
        pytest.raises(MailboxUnusable, match="does not answer in time"),
        smtp(port, is_brief=True) as connection,
    ):
        connection.noop()


@pytest.mark.parametrize("until", [b"", b"CAPABILITY", b"LOGIN", b"LIST"])
def test_a_server_of_imap_that_drips_is_cut_off(until: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.4)
    with (
        endless_server(
            b"* OK still\r\n", greeting=HELLO if until else b"", pause=0.05, answer=imap_answers(until=until)
        ) as port,
        pytest.raises(MailboxUnusable, match="does not answer in time"),
        imap(port, is_brief=True) as client,
    ):
        client.list_folders()


@pytest.mark.parametrize("until", [b"NOOP", b"LIST"])
def test_each_command_after_the_sign_in_has_an_allowance_of_its_own(
    until: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "COMMAND_SECONDS", 0.4)
    monkeypatch.setattr(connections, "COMMAND_BYTES", 1000)
    ended: list[str] = []

    def work(client: Imap) -> None:
        for _ in range(100):  # their answers have more than 1,000 bytes together
            client.select_folder("INBOX")
        ended.append("selected")
        client.noop()
        client.list_folders()

    for endless, pause, told in ((b"*", 0.05, "does not answer in time"), (b"* OK x\r\n", 0, "more than was asked")):
        with (
            endless_server(endless, greeting=HELLO, pause=pause, answer=imap_answers(until=until)) as port,
            pytest.raises(MailboxUnusable, match=told),
            imap(port) as client,
        ):
            work(client)
    assert ended == ["selected", "selected"]


def test_a_command_of_smtp_after_the_sign_in_has_an_allowance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "COMMAND_BYTES", 1000)
    ended: list[str] = []

    def work(connection: smtplib.SMTP) -> None:
        for _ in range(200):
            connection.noop()
        ended.append("nothing")
        connection.rset()

    with (
        endless_server(b"250-x\r\n", greeting=b"220 hello\r\n", answer=smtp_answers(until=b"RSET")) as port,
        pytest.raises(MailboxUnusable, match="more than was asked for"),
        smtp(port) as connection,
    ):
        work(connection)
    assert ended == ["nothing"]


def test_a_goodbye_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLOSING_SECONDS", 0.2)
    with (
        endless_server(b"2", greeting=b"220 hello\r\n", pause=0.05, answer=smtp_answers(until=b"QUIT")) as port,
        smtp(port),
    ):
        pass
    with (
        endless_server(b"*", greeting=HELLO, pause=0.05, answer=imap_answers(until=b"LOGOUT")) as port,
        imap(port),
    ):
        pass


def test_what_fails_while_a_connection_is_open_is_explained() -> None:
    with (
        imap_server(ANN, "secret") as server,
        pytest.raises(MailboxUnusable, match=r"ann@example.com: the IMAP server 127.0.0.1:\d+ has ended"),
        imap(server.port) as client,
    ):
        client.select_folder("nowhere")
    with (
        smtp_server({ANN: "secret"}) as server,
        pytest.raises(MailboxUnusable, match=r"ann@example.com: the SMTP server 127.0.0.1:\d+ has ended"),
        smtp(server.port) as connection,
    ):
        connection.sendmail(ANN, ["nobody"], "\udcff".encode("utf-8", "surrogateescape"), rcpt_options=["X=Y"])


def test_a_mistake_of_our_own_is_not_laid_to_the_server() -> None:
    with imap_server(ANN, "secret") as server, pytest.raises(ValueError, match="ours"), imap(server.port):
        raise ValueError("ours")


def test_a_silent_server_of_smtp_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.2)
    with silent_server() as port, pytest.raises(MailboxUnusable, match="does not answer in time"), smtp(port):
        pass


@pytest.mark.parametrize(
    "listed",
    [b"* LIST (\r\n", b'* LIST () "/"\r\n', b"* LIST ((((( x\r\n"],
)
def test_an_answer_that_makes_no_sense_is_told(listed: bytes) -> None:
    with (
        endless_server(b"*", greeting=HELLO, answer=imap_answers(LIST=listed)) as port,
        pytest.raises(MailboxUnusable, match="what is not an answer"),
        imap(port) as client,
    ):
        client.list_folders()


@pytest.mark.parametrize("refusal", [b"454 4.7.0 later\r\n", b"421 too many\r\n"])
def test_a_sign_in_by_smtp_that_is_refused_for_now_is_told_as_such(refusal: bytes) -> None:
    def answer(line: bytes) -> bytes | None:
        return refusal if line.startswith(b"AUTH") else smtp_answers()(line)

    with (
        endless_server(b"2", greeting=b"220 hello\r\n", answer=answer) as port,
        pytest.raises(MailboxUnusable, match="signs nobody in at the moment"),
        smtp(port),
    ):
        pass


@pytest.mark.parametrize("refusal", [b"%s NO [UNAVAILABLE] later\r\n", b"* BYE too many\r\n%s OK x\r\n"])
def test_a_sign_in_by_imap_that_is_refused_for_now_is_told_as_such(refusal: bytes) -> None:
    def answer(line: bytes) -> bytes | None:
        return refusal % line.split()[0] if b"LOGIN" in line else imap_answers()(line)

    with (
        endless_server(b"*", greeting=HELLO, answer=answer) as port,
        pytest.raises(MailboxUnusable, match="signs nobody in at the moment"),
        imap(port),
    ):
        pass


def test_passwords_may_have_letters_of_any_language() -> None:
    secret = "pässwörd-密码"
    with smtp_server({ANN: secret}) as server, smtp(server.port, password=secret) as connection:
        connection.noop()
    with imap_server(ANN, secret) as server, imap(server.port, password=secret) as client:
        client.noop()
    with (
        smtp_server({ANN: "other"}) as server,
        pytest.raises(MailboxUnusable, match="refuses the credentials"),
        smtp(server.port, password=secret),
    ):
        pass
    with (
        imap_server(ANN, "other") as server,
        pytest.raises(MailboxUnusable, match="refuses the credentials"),
        imap(server.port, password=secret),
    ):
        pass


def idling(agreed: bytes, then: bytes = b"") -> Answer:
    """Answers IDLE and DONE with these bytes."""
    tags: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        tag, _, command = line.strip().partition(b" ")
        if command == b"IDLE":
            tags.append(tag)
            return agreed
        return then + tags.pop() + b" OK done\r\n" if tag == b"DONE" else imap_answers()(line)

    return answer


@pytest.mark.parametrize(
    ("agreed", "then"),
    [
        (b"* 3 EXISTS\r\n+ idling\r\n* OK still\r\n", b"* 4 EXISTS\r\n"),
        (b"+ idling\r\n* 3 EXISTS\r\n* OK still\r\n* 4 EX", b"ISTS\r\n"),
    ],
)
def test_news_are_told_once_whenever_they_come(agreed: bytes, then: bytes) -> None:
    with endless_server(b"*", greeting=HELLO, answer=idling(agreed, then)) as port, imap(port) as client:
        client.idle()
        told: list[object] = []
        while len(told) < 2:
            told += client.idle_check(timeout=5)
        assert told == [(3, b"EXISTS"), (b"OK", b"still")]
        assert client.idle_check(timeout=0.01) == []
        assert client.idle_done() == (b"done", [(4, b"EXISTS")])
        assert client.noop()


def test_a_connection_that_idles_outlives_the_time_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.5)
    monkeypatch.setattr(connections, "COMMAND_SECONDS", 0.5)
    with endless_server(b"*", greeting=HELLO, answer=idling(b"+ idling\r\n")) as port, imap(port) as client:
        client.idle()
        for _ in range(2):
            assert client.idle_check(timeout=0.4) == []
        client.idle_done()
        client.noop()


def test_a_server_that_ends_an_idle_connection_is_told() -> None:
    def wait(client: Imap) -> None:
        client.idle()
        client.socket().shutdown(socket.SHUT_RDWR)
        client.idle_check(timeout=5)

    with (
        endless_server(b"*", greeting=HELLO, answer=idling(b"+ idling\r\n")) as port,
        pytest.raises(MailboxUnusable, match="has ended the connection"),
        imap(port) as client,
    ):
        wait(client)

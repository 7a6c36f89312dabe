"""Answers to FETCH: those of the usual shape are read as imapclient reads them, and the others by imapclient."""

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from imapclient import response_parser  # pyright: ignore[reportMissingTypeStubs]  it has none

from db.domain.mailboxes import MailServer, Security
from mcp_server.mail import connections, fetch_answers
from mcp_server.mail.connections import Imap
from mcp_server.mail.credentials import Password
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.mail_servers import endless_server, imap_answers
from tests.support.reading import ANN, LATER, SECRET, letter

HEADER = b"BODY[HEADER.FIELDS (FROM TO)]"
RAW = b"From: a@b.c\r\n\r\n"
USUAL = [
    b'1 (UID 7 RFC822.SIZE 345 INTERNALDATE " 4-May-2026 09:15:00 +0230" %s {15}' % HEADER,
    b'12 (INTERNALDATE "14-Dec-2026 23:59:59 -0800" UID 4294967295 BODY[]<0> {15}',
    b'3 (UID 8 INTERNALDATE "31-Feb-2026 10:00:00 +0000" BODY[] {15}',
]
UNUSUAL = [
    [(b"1 (UID 7 %s {15}" % HEADER, RAW), b" RFC822.SIZE 3)"],
    [(b"1 (%s {15}" % HEADER, RAW), b" UID 7)"],
    [(b"1 (UID 7 FLAGS (\\Seen) %s {15}" % HEADER, RAW), b")"],
    [b"1 (UID 7 FLAGS (\\Seen))"],
    [b'1 (UID 7 BODY[HEADER.FIELDS ("FROM")] NIL)'],
]


def by_imapclient(parts: Any) -> Any:
    return response_parser.parse_fetch_response(parts, normalise_times=False)


@pytest.mark.parametrize("beginning", USUAL)
def test_a_usual_answer_is_read_as_imapclient_reads_it(beginning: bytes) -> None:
    parts = [(beginning, RAW), b")"]
    assert fetch_answers.usual(parts) == by_imapclient(parts)


def test_several_answers_for_one_mail_are_one() -> None:
    parts = [(b"1 (UID 7 %s {15}" % HEADER, RAW), b")", (b"1 (UID 7 RFC822.SIZE 3 BODY[] {15}", RAW), b")"]
    assert fetch_answers.usual(parts) == by_imapclient(parts)


@pytest.mark.parametrize("parts", UNUSUAL)
def test_an_unusual_answer_is_left_to_imapclient(parts: list[bytes | tuple[bytes, bytes]]) -> None:
    assert fetch_answers.usual(parts) is None
    assert 7 in by_imapclient(parts)


@pytest.mark.parametrize("items", [b"UID 7 FLAGS (\\Seen) BODY[] {3}\r\nabc", b"UID 7 BODY[] abc"])
def test_an_unusual_answer_is_read_too(items: bytes) -> None:
    answers = imap_answers(UID=b"* 1 FETCH (%s)\r\n" % items)
    with endless_server(b"*", greeting=b"* OK hello\r\n", answer=answers) as port, signed_in(port, ANN) as client:
        client.select_folder("INBOX")
        assert client.fetch([7], ["BODY.PEEK[]"])[7][b"BODY[]"] == b"abc"


def signed_in(port: int, user: str) -> AbstractContextManager[Imap]:
    server = MailServer("127.0.0.1", port, Security.NONE, user)
    return connections.imap(server, address=ANN, credential=Password(SECRET), allow_private=True)


@pytest.fixture(scope="module")
def server() -> Generator[Dovecot]:
    with dovecot() as running:
        for folder, sender in (("INBOX", "in"), ("Outbound", "out")):
            running.put(
                "ahead", [letter(f"{sender}{number}@example.org") for number in range(3)], into=folder, at=LATER
            )
        yield running


ITEMS = ("BODY.PEEK[HEADER.FIELDS (FROM)]", "RFC822.SIZE")


def senders(client: Imap, uids: list[int]) -> list[bytes]:
    found = client.fetch(uids, ITEMS)
    return [found[uid][b"BODY[HEADER.FIELDS (FROM)]"].strip() for uid in uids]


@needs_dovecot
def test_what_was_asked_for_ahead_is_told_from_what_is_asked_between(server: Dovecot) -> None:
    with signed_in(server.port, "ahead") as client:
        client.select_folder("INBOX", readonly=True)
        client.fetch_ahead([1, 2], ITEMS)
        assert client.fetch([3], ["BODY.PEEK[]"]).keys() == {3}
        assert client.search(["ALL"]) == [1, 2, 3]
        assert senders(client, [1, 2]) == [b"From: in0@example.org", b"From: in1@example.org"]


@needs_dovecot
def test_what_was_asked_for_ahead_is_dropped_with_its_folder(server: Dovecot) -> None:
    with signed_in(server.port, "ahead") as client:
        client.select_folder("INBOX", readonly=True)
        client.fetch_ahead([1, 2], ITEMS)
        client.select_folder("Outbound", readonly=True)
        assert senders(client, [1, 2]) == [b"From: out0@example.org", b"From: out1@example.org"]
        client.fetch_ahead([1, 2], ITEMS)
        assert client.search(["ALL"]) == [1, 2, 3]
        client.select_folder("INBOX", readonly=True)
        assert senders(client, [1, 2]) == [b"From: in0@example.org", b"From: in1@example.org"]

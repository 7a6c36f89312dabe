"""What was signed once is read for ever: the texts below are those that earlier versions gave out."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, strategies as some

from db.domain.signing import Codec, from_text, to_text
from db.local.cursors import Cursors
from db.services.ops import tickets
from db.services.ops.tickets import Kind, Ticket
from db.services.paging import decode_cursor, encode_cursor
from db.services.texts import unsubscribe_links
from db.services.texts.unsubscribe_links import Link

KEY = bytes(range(32))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CODEC = Codec(2, signature_size=16)


def test_a_link_of_an_old_mail_still_unsubscribes() -> None:
    token, link = "AAAAAAAAAAAAAAAAAAAABwADd4-8TgmabEL_yZCTwKgYvQ", Link(UUID(int=7), 3)
    assert unsubscribe_links.read(KEY, token) == link
    assert unsubscribe_links.sign(KEY, link) == token


def test_a_session_of_an_earlier_version_still_holds() -> None:
    text = "AgGbdtqoAAAAAAAAAAAAAAAAAAAAAABczJp3rS4nwCiLP8RFI42EjNYKX6AR9zJ7eLQ1hHpjBA"
    assert tickets.read(KEY, Kind.SESSION, text, NOW) == Ticket(Kind.SESSION, NOW, bytes(16))
    assert tickets.read(KEY, Kind.LINK, text, NOW) is None


def test_a_cursor_of_an_earlier_version_still_leads_on() -> None:
    assert Cursors(KEY).read("AAAAAAAAABFq-TAoPQn0Ypt7_l1k_qEj", "failed") == 17
    assert Cursors(KEY).write(17, "failed") == "AAAAAAAAABFq-TAoPQn0Ypt7_l1k_qEj"
    cursor, values = "Zlr4nHQABkdIRiBAAHUAAAAAAAAAAAAAAAAAAAAH", [NOW, UUID(int=7)]
    assert decode_cursor(cursor, "audit", (datetime, UUID)) == values
    assert encode_cursor("audit", values) == cursor


@given(some.binary(max_size=70))
def test_any_bytes_are_a_text_and_back(raw: bytes) -> None:
    assert from_text(to_text(raw)) == raw


@pytest.mark.parametrize("text", ["A", "é" * 4, "\ud800", "AAAAA"])
def test_what_is_no_such_text_has_no_bytes(text: str) -> None:
    assert from_text(text) == b""


def test_one_token_has_one_text_and_one_key() -> None:
    token = CODEC.sign(KEY, b"ab")
    assert CODEC.read(KEY, token) == b"ab"
    assert CODEC.read(KEY[::-1], token) is None
    same_bytes = [token + "=", token + "\n", f"{token[:-1]}!{token[-1]}"]
    assert [from_text(byte) for byte in same_bytes] == [from_text(token)] * 3
    assert [CODEC.read(KEY, byte) for byte in same_bytes] == [None] * 3
    assert [CODEC.read(KEY, token[:end]) for end in range(len(token))] == [None] * len(token)


def test_a_token_of_another_length_is_no_token() -> None:
    assert CODEC.read(KEY, Codec(3, signature_size=16).sign(KEY, b"abc")) is None
    assert CODEC.read(KEY, Codec(2, signature_size=15).sign(KEY, b"ab")) is None

"""Composed mails: what is written parses back, and no value breaks out of its field."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from db.domain.addresses import normalise_email
from db.domain.errors import InvalidInput
from db.domain.mail.message import Address
from db.domain.texts import one_line, storable_part
from db.mail import NewMail, compose, parse_mail

MAIL = NewMail(
    sender=Address("Ann Lee", "ann@example.com"),
    recipient=Address("Bob Smith", "bob@example.org"),
    subject="Hello",
    text="Dear Bob,\n\nhere is it.",
    internet_message_id="1@example.com",
    date=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
)
FIELDS = {
    "from", "to", "subject", "date", "message-id", "in-reply-to", "references", "list-unsubscribe", "x-campaign",
    "content-type", "mime-version",
}  # fmt: skip

spiced = st.text(max_size=300) | st.text('aß 世\U0001f600\r\n\t\x00\x1b\u2028=?"\\<>@,;:()_', max_size=300)
local_parts = st.text("abzäß世.+-_'=?%", min_size=1, max_size=64)
domains = st.sampled_from(["example.com", "bücher.example", "faß.example", "例え.example"])
message_ids = st.text("abc019.-_$%=?~|", min_size=1, max_size=900).map(lambda left: f"{left}@x"[-900:])


def seen(text: str) -> str:
    """What is left of a name or a subject: one line, without what can't be stored."""
    return " ".join(storable_part(one_line(text)).split())


def head_and_body(raw: bytes) -> tuple[bytes, bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


@settings(max_examples=200, deadline=None)
@given(
    names=st.tuples(spiced, spiced),
    local=st.tuples(local_parts, local_parts),
    domain=domains,
    subject=spiced,
    text=spiced,
    signature=st.none() | spiced,
    references=st.lists(message_ids, max_size=60, unique=True),
    further=st.text('abc {}":,<>/', min_size=1, max_size=3_000).filter(lambda text: not text.isspace()),
)
@example(
    names=("", "=?utf-8?q?x?="), local=("a", "b"), domain="example.com", subject="a " * 400, text="x" * 5_000,
    signature=None, references=["a" * 900] * 2, further="<https://example.com/" + "a" * 800 + ">",
)  # fmt: skip
def test_what_is_composed_parses_back(
    names: tuple[str, str],
    local: tuple[str, str],
    domain: str,
    subject: str,
    text: str,
    signature: str | None,
    references: list[str],
    further: str,
) -> None:
    mail = replace(
        MAIL,
        sender=Address(names[0], f"{local[0]}@{domain}"),
        recipient=Address(names[1], f"{local[1]}@{domain}"),
        subject=subject,
        text=text,
        signature=signature,
        references=tuple(references),
        headers={"List-Unsubscribe": "<https://example.com/u>", "X-Campaign": further},
    )
    try:
        composed = compose(mail)
    except InvalidInput:
        assert any(len(word) > 900 for word in further.split())
        return
    head, body = head_and_body(composed.raw)
    lines = composed.raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", composed.raw)
    assert body.isascii()
    assert head.isascii() or composed.needs_smtputf8
    assert composed.needs_smtputf8 == (not "".join(local).isascii())
    parsed = parse_mail(composed.raw)
    assert {name for name, _ in parsed.headers} <= FIELDS
    assert len(parsed.headers) == len({name for name, _ in parsed.headers})
    assert (parsed.sender.name, parsed.to[0].name) == (seen(names[0]), seen(names[1]))
    shown = [normalise_email(address.address) for address in (parsed.sender, *parsed.to)]
    assert shown == [normalise_email(f"{part}@{domain}") for part in local]
    assert seen(parsed.subject) == seen(subject)
    assert parsed.internet_message_id == "1@example.com"
    assert parsed.references == tuple(references)
    assert parsed.in_reply_to == tuple(references[-1:])
    assert parsed.header("x-campaign").split() == further.split()
    assert parsed.date == MAIL.date
    assert parsed.hidden == ""
    assert parsed.defects == ()
    assert parsed.text == written(text, signature)


def written(text: str, signature: str | None) -> str:
    def clean(part: str) -> str:
        lines = storable_part(part).replace("\r\n", "\n").replace("\r", "\n")
        return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", lines).strip("\n")

    below = clean(signature or "")
    return (f"{clean(text)}\n\n-- \n{below}" if below else clean(text)).strip("\n")


def test_a_mail_has_a_text_and_the_same_in_plain_html() -> None:
    text = "Dear <Bob> & co,\n\n  see https://example.com/?a=1&b=2\nBest\n\n\nAnn"
    mail = replace(MAIL, text=text, signature="Ann Lee\nSales")
    assert b"Content-Type: multipart/alternative;" in compose(mail).raw
    html = html_of(mail)
    assert "<p>Dear &lt;Bob&gt; &amp; co,</p>" in html
    assert "see https://example.com/?a=1&amp;b=2<br>\nBest</p>\n<p>Ann</p>" in html
    assert "<p>-- <br>\nAnn Lee<br>\nSales</p>" in html
    assert "<img" not in html
    assert "href" not in html


def html_of(mail: NewMail) -> str:
    message = message_from_bytes(compose(mail).raw, policy=SMTP)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("html",))
    assert body is not None
    return body.get_content().replace("\r\n", "\n")


def test_html_of_its_own_stays_as_it_is_with_the_signature_in_its_body() -> None:
    html = '<html><body><p>Dear <b>Bob</b> <a href="https://example.com">here</a></p></BODY></html>'
    assert html_of(replace(MAIL, html=html)).strip() == html
    signed = html_of(replace(MAIL, html=html, signature="Ann & co"))
    assert signed.strip() == html.replace("</BODY>", "\n<p>-- <br>\nAnn &amp; co</p>\n</BODY>")
    assert "<p>-- <br>" in html_of(replace(MAIL, html="<p>Dear</p>", signature="Ann"))


def test_the_same_values_give_the_same_bytes() -> None:
    assert compose(MAIL) == compose(replace(MAIL))
    assert compose(MAIL).raw != compose(replace(MAIL, text="Other")).raw


@pytest.mark.parametrize(
    "broken", ["\0\x1b\r\nBcc: eve@example.com", "\nBcc: eve@example.com", "\r\rBcc: e@example.com"]
)
def test_no_value_begins_a_header_of_its_own(broken: str) -> None:
    mail = replace(
        MAIL,
        sender=Address(f"Ann{broken}", "ann@example.com"),
        recipient=Address(f"Bob{broken}", "bob@example.org"),
        subject=f"Hello{broken}",
        headers={"X-Campaign": f"1{broken}"},
    )
    raw = compose(mail).raw
    assert not set(head_and_body(raw)[0].replace(b"\r\n", b"")) & set(range(32))
    parsed = parse_mail(raw)
    assert not parsed.has("bcc")
    assert len(parsed.to) == 1
    assert "Bcc: e" in parsed.subject


@pytest.mark.parametrize(
    "change",
    [
        {"recipient": Address("", "bob@example.org\r\nBcc: eve@example.com")},
        {"recipient": Address("", "bob@example.org, eve@example.com")},
        {"recipient": Address("", "bob")},
        {"recipient": Address("", "bob@exa mple.org")},
        {"recipient": Address("", "bob@\ud800.org")},
        {"recipient": Address("", f"bob@{'a' * 64}.org")},
        {"sender": Address("", '"ann lee"@example.com')},
        {"internet_message_id": "1@example.com>\r\nBcc: <eve@example.com"},
        {"headers": {"Bcc": "eve@example.com"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"X-A: b\r\nBcc": "eve@example.com"}},
        {"headers": {"X-Campaign": "é"}},
        {"headers": {"X-Campaign": "a" * 2_000}},
    ],
)
def test_what_no_field_can_hold_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        compose(replace(MAIL, **change))


def test_domains_go_in_punycode_and_names_before_the_at_need_smtputf8() -> None:
    plain = compose(replace(MAIL, recipient=Address("Jörg", "joerg@bücher.example")))
    assert (plain.recipient, plain.needs_smtputf8) == ("joerg@xn--bcher-kva.example", False)
    assert re.search(rb"\r\nTo: =\?utf-8\?[qb]\?[\w=]+\?= <joerg@xn--bcher-kva\.example>\r\n", plain.raw)
    international = compose(replace(MAIL, recipient=Address("Jörg", "jörg@bücher.example")))
    assert (international.recipient, international.needs_smtputf8) == ("jörg@xn--bcher-kva.example", True)


def test_ids_that_no_line_can_hold_are_left_out() -> None:
    parsed = parse_mail(compose(replace(MAIL, references=("a@x", "b" * 990, "c d@x", "é@x"))).raw)
    assert (parsed.references, parsed.in_reply_to) == (("a@x",), ("a@x",))

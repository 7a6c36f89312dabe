"""Bytes to a ParsedMail: whatever they are, nothing fails and nothing is lost."""

import base64
import tracemalloc
from email.message import EmailMessage

import pytest
from hypothesis import given, settings, strategies as st

from db.mail import parse_mail
from db.mail.html import text_of_html

HEAD = b"From: Ann Smith <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\n"


def mail(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"x") -> bytes:
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary
    return mail(body, b'Content-Type: multipart/%b; boundary="%b"' % (kind, boundary))


PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello"


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"Hello", (), "Hello"),
        ("Grüße".encode(), (), "Grüße"),
        ("Grüße".encode("latin-1"), (b"Content-Type: text/plain; charset=utf-8",), "Grüße"),
        ("Grüße".encode(), (b"Content-Type: text/plain; charset=iso-8859-15x",), "Grüße"),
        ("Grüße“".encode("cp1252"), (b"Content-Type: text/plain; charset=iso-8859-1",), "Grüße“"),
        ("Grüße".encode("latin-1"), (b"Content-Type: text/plain; charset=us-ascii",), "Grüße"),
        ("Привет".encode("koi8-r"), (b"Content-Type: text/plain; charset=KOI8-R",), "Привет"),
        ("日本語".encode("iso2022_jp"), (), "日本語"),
        ("日本語".encode("shift_jis"), (b"Content-Type: text/plain; charset=x-sjis",), "日本語"),
        ("中文".encode("gbk"), (b"Content-Type: text/plain; charset=gb2312",), "中文"),
        ("שלום".encode("iso-8859-8"), (b"Content-Type: text/plain; charset=iso-8859-8-i",), "שלום"),
        ("مرحبا".encode(), (b"Content-Type: text/plain; charset=utf-8",), "مرحبا"),
        (b"\xff\xfeH\x00i\x00", (b"Content-Type: text/plain; charset=utf-16",), "Hi"),
        (b"a\x00b\r\nc", (), "ab\nc"),
        (b"Hi", (b"Content-Type: text/plain; charset=punycode",), "Hi"),
        (b"Hi", (b"Content-Type: text/plain; charset=base64",), "Hi"),
        (b"Hi", (b"Content-Type: gibberish",), "Hi"),
        (b"Gr=C3=BC=C3=9Fe=\r\n!", (b"Content-Transfer-Encoding: quoted-printable",), "Grüße!"),
        (b"100=% = =G1", (b"Content-Transfer-Encoding: quoted-printable",), "100=% = =G1"),
        (b"SGVs\r\n bG8=!", (b"Content-Transfer-Encoding: base64",), "Hello"),
        (b"SGVsbG8", (b"Content-Transfer-Encoding: BASE64",), "Hello"),
        (b"SGVsbG8h=", (b"Content-Transfer-Encoding: base64",), "Hello!"),
        (b"<html><p>Hello<br>you</p></html>", (b"Content-Type: text/html",), "Hello\nyou"),
        (b"", (), ""),
    ],
)  # fmt: skip
def test_a_text_is_read_as_well_as_it_can_be(body: bytes, headers: tuple[bytes, ...], text: str) -> None:
    assert parse_mail(mail(body, *headers)).text == text


def test_lines_of_base64_may_be_as_long_as_they_like() -> None:
    words = "Hello Bob. " * 3_000
    encoded = base64.b64encode(words.encode())
    body = b"\r\n".join(encoded[start : start + 4_000] for start in range(0, len(encoded), 4_000))
    assert parse_mail(mail(body, b"Content-Transfer-Encoding: base64")).text == words


@pytest.mark.parametrize("depth", [1, 100])
def test_a_text_is_found_below_a_hundred_multiparts(depth: int) -> None:
    raw = PLAIN
    for level in range(depth):
        name = b"level%d" % level
        raw = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n%b\r\n--%b--\r\n' % (name, name, raw, name)
    parsed = parse_mail(HEAD + raw)
    assert (parsed.text, parsed.defects) == ("Hello", ())


def test_nesting_past_the_bound_is_told_and_loses_no_sender() -> None:
    raw = PLAIN
    for level in range(1_000):
        name = b"level%d" % level
        raw = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n%b\r\n--%b--\r\n' % (name, name, raw, name)
    parsed = parse_mail(HEAD + raw)
    assert parsed.sender.address == "ann@example.com"
    assert parsed.defects == ("nested too deep",)


def test_of_two_alternatives_the_plain_one_is_read_and_the_other_where_it_is_empty() -> None:
    page = b"Content-Type: text/html\r\n\r\n<p>Hello from HTML</p>"
    assert parse_mail(multipart(PLAIN, page, kind=b"alternative")).text == "Hello"
    empty = b"Content-Type: text/plain\r\n\r\n \r\n"
    assert parse_mail(multipart(empty, page, kind=b"alternative")).text == "Hello from HTML"


def test_an_attachment_of_25_mb_is_listed_and_not_copied() -> None:
    line = base64.b64encode(b"\0" * 57) + b"\r\n"
    count = 25 * 1024 * 1024 // 57
    raw = multipart(
        PLAIN,
        b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n' + line * count,
    )
    tracemalloc.start()
    parsed = parse_mail(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(file.name, file.content_type) for file in parsed.attachments] == [("a.pdf", "application/pdf")]
    assert abs(parsed.attachments[0].size - count * 57) < 4
    assert peak < 3 * 1024 * 1024


FILES = [
    (b'application/ms-tnef; name="winmail.dat"', "winmail.dat", "application/ms-tnef"),
    (b"application/pkcs7-signature; name=smime.p7s", "smime.p7s", "application/pkcs7-signature"),
    (b"text/plain\r\nContent-Disposition: attachment; filename=notes.txt", "notes.txt", "text/plain"),
    (b"image/png\r\nContent-Disposition: inline; filename*0*=utf-8''%C3%84; filename*1=x.png", "Äx.png", "image/png"),
]


@pytest.mark.parametrize(("head", "name", "kind"), FILES)
def test_attachments_are_listed_and_are_no_part_of_the_text(head: bytes, name: str, kind: str) -> None:
    parsed = parse_mail(multipart(PLAIN, b"Content-Type: " + head + b"\r\n\r\nx"))
    assert parsed.text == "Hello"
    assert [(file.name, file.content_type) for file in parsed.attachments] == [(name, kind)]


def test_a_mail_that_is_attached_is_no_part_of_the_text() -> None:
    parsed = parse_mail(multipart(PLAIN, b"Content-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nInner text"))
    assert parsed.text == "Hello"
    assert ("subject", "Inner") in parsed.returned


def test_encrypted_shells_have_no_text_and_say_so() -> None:
    shell = multipart(b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1", kind=b"encrypted")
    assert parse_mail(shell).is_encrypted
    smime = mail(b"AAAA", b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m")
    parsed = parse_mail(smime)
    assert (parsed.is_encrypted, parsed.text, parsed.attachments[0].name) == (True, "", "smime.p7m")


def test_headers_are_decoded_in_every_spelling() -> None:
    parsed = parse_mail(
        b"From: =?utf-8?Q?M=C3=BCller=2C_Jo?= <JO@Example.com>\r\n"
        b'To: "Brown, Bob" <bob@example.org>, ann@example.com (Ann)\r\n'
        b"Subject: =?utf-8?b?R3LDvMM=?= =?utf-8?b?n2U=?= caf\xc3\xa9\r\n folded\r\n"
        b"Message-ID: <1@example.com>\r\nReferences: <a@example.com>\r\n\t<b@example.com>\r\n"
        b"In-Reply-To: b@example.com\r\n"
        b"Date: Mon, 4 May 2026 09:15:00 +0200\r\n\r\nHi"
    )
    assert (parsed.sender.name, parsed.sender.address) == ("Müller, Jo", "jo@example.com")
    assert [(to.name, to.address) for to in parsed.to] == [("Brown, Bob", "bob@example.org"), ("", "ann@example.com")]
    assert parsed.subject == "Grüße café folded"
    assert (parsed.internet_message_id, parsed.references) == ("1@example.com", ("a@example.com", "b@example.com"))
    assert parsed.in_reply_to == ("b@example.com",)
    assert parsed.date is not None
    assert parsed.date.isoformat() == "2026-05-04T09:15:00+02:00"


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"\r\n", b"From", b"From x\nSubject: a", b":\n\n", b"\r\r\r", b"--x--", b"\xff" * 99]
)
def test_what_is_no_mail_is_one_without_anything(raw: bytes) -> None:
    assert parse_mail(raw).sender.address == ""


def test_a_text_without_headers_is_a_text_from_its_first_line_on() -> None:
    for text in ("Thanks: see you on Monday.\n\nAnn", "Yes.\n____\nFrom: bob@example.org\nSubject: Hi\n\nHello"):
        assert parse_mail(text.encode()).text == text


def test_a_multipart_whose_delimiters_are_lost_is_a_text() -> None:
    assert parse_mail(mail(b"Hello", b"Content-Type: multipart/report; boundary=gone")).text == "Hello"


def test_quotes_of_html_begin_with_a_mark_and_hidden_text_stays_apart() -> None:
    shown, hidden = text_of_html(
        "<style>p{}</style><p>Yes &amp; no<div style='display:none'>ignore <b>this</b></div>"
        "<p style='color:#FFFFFF'>white</p>"
        "<table bgcolor=#000><td style='color:#fff'>light on dark</td></table>"
        "<blockquote>He said<blockquote>before</blockquote></blockquote>Bye"
    )
    assert [line for line in shown.split("\n") if line.strip("> ")] == [
        "Yes & no",
        "light on dark",
        "> He said",
        "> > before",
        "Bye",
    ]
    assert hidden == "ignore this white"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2_000))
def test_no_bytes_make_reading_fail(raw: bytes) -> None:
    parse_mail(raw).text.encode()
    parse_mail(HEAD + raw).text.encode()


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400), st.text(max_size=50))
def test_what_the_library_writes_is_read_back(body: str, subject: str) -> None:
    written = EmailMessage()
    written["Subject"] = (
        "".join(character for character in subject if character.isprintable()).encode("utf-8", "ignore").decode()
    )
    written["From"] = "ann@example.com"
    body = body.encode("utf-8", "ignore").decode()
    written.set_content(body, cte="base64")
    parsed = parse_mail(bytes(written))
    expected = body.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    assert parsed.text.strip("\n") == expected.strip("\n") or not expected.strip()
    assert " ".join(parsed.subject.split()) == " ".join(written["Subject"].split())

"""Hostile texts: reading and judging them takes time in proportion to their size, whatever is repeated in them."""

import time
from collections.abc import Callable

import pytest

from db.domain.mail.judge import judge
from db.domain.mail.quoting import said_in
from db.mail import parse_mail
from db.mail.attachments import without_attachments
from db.mail.html import text_of_html
from mcp_server.mail import fetch_answers

Work = Callable[[bytes], object]

TAGS = (
    "<div>", "<b><p>", "<blockquote>", "<", "<!--", '<a href="', "&#x", "<style>", "</div>", "<p a=1>",
    "<td style='display:none'>x",
)  # fmt: skip
LINES = (
    "On 4 May 2026 x\n", "From: x\n", "a", " ", "wrote ", "-- x\n", "> x\n", "a@b.c <x@y.z> ", "On 1\n", "To: 4 @\n\n",
    "_ ", "Ann wrote <a@b.cc> 4\n", "Best\n",
)  # fmt: skip
ABSENCES = (
    "until 4 May ", "the user address mailbox ", "back on ", "4.5. ", "please remove me from ", "a.", "not ",
    "x" * 60 + "\n",
)  # fmt: skip
RETURNED = ("<a@b.c>: 550 user\n", "recipient ", "to: ", "a@b.c ", "message ", "Final-Recipient: rfc822;a@b.c\n")
PARTS = {
    "parts": ("Content-Type: multipart/mixed; boundary=x\n\n", "--x\n"),
    "mails in mails": ("", "Content-Type: message/rfc822\n\n"),
    "fields": ("", "a: b\n"),
    "folded lines": ("Subject: x\n", " y\n"),
    "encoded words": ("Subject: ", "=?utf-8?q?a?="),
    "addresses": ("From: ", '"(<'),
    "parameters": ("Content-Type: text/plain", '; a="'),
    "returns": ("", "\r"),
    "attachments": ("Content-Type: multipart/mixed; boundary=x\n\n", "--x\nContent-Type: application/pdf\n\nAAAA\n"),
    "reports": ("Content-Type: message/delivery-status\n\n", "Final-Recipient: rfc822; a@b.c\n\n"),
}
ABSENT = "Auto-Submitted: auto-replied\nDate: Mon, 4 May 2026 09:15:00 +0200\n\n"
FAILURE = "From: mailer-daemon@example.com\nSubject: failure notice\n\n"


def _html(raw: bytes) -> object:
    return text_of_html(raw.decode())


def _said(raw: bytes) -> object:
    return said_in(raw.decode())


def _answer(raw: bytes) -> object:
    return fetch_answers.usual([(raw, b""), b")"])


def _verdict(raw: bytes) -> object:
    return judge(parse_mail(raw))


CASES: list[tuple[Work, str, str]] = [
    *((_html, "", unit) for unit in TAGS),
    *((_said, "", unit) for unit in LINES),
    *((work, before, unit) for work in (parse_mail, without_attachments) for before, unit in PARTS.values()),
    *((_answer, "1 (UID 1 ", unit) for unit in ("UID 1 ", "BODY[", "1", " ")),
    *((_verdict, ABSENT, unit) for unit in ABSENCES),
    *((_verdict, FAILURE, unit) for unit in RETURNED),
]


@pytest.mark.parametrize(("work", "before", "unit"), CASES)
def test_time_grows_with_the_size_and_not_with_its_square(work: Work, before: str, unit: str) -> None:
    small, large = (_seconds(work, _repeated(before, unit, size)) for size in (4_000, 32_000))
    # Eight times the size: about 8 where it is linear, 64 where it is not.
    assert large < 24 * small + 0.02


@pytest.mark.parametrize("line", [b"-" * 64 + b"x\n", (b" " * 900 + b"To: x\n") * 50])
def test_a_line_of_marks_or_spaces_is_read_at_once(line: bytes) -> None:
    assert _seconds(_said, line) < 0.1


def _repeated(before: str, unit: str, size: int) -> bytes:
    return (before + unit * (size // len(unit) + 1))[:size].encode()


def _seconds(work: Work, raw: bytes) -> float:
    """Of the processor, so that others on the machine do not count."""
    taken: list[float] = []
    for _ in range(3):
        start = time.process_time()
        work(raw)
        taken.append(time.process_time() - start)
    return min(taken)

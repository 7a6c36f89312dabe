"""The bodies of attachments are taken out of mails, and nothing else is."""

from datetime import date
from email.message import EmailMessage

import pytest

from db.domain.mail.judge import judge
from db.mail import parse_mail
from db.mail.attachments import without_attachments
from tests.support.mail_set import labelled

TODAY = date(2026, 5, 4)
PDF = bytes(range(256)) * 40


def letter() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ada@example.com", "ann@example.com", "Contract"
    mail.set_content("Here it is.\n")
    mail.add_alternative("<p>Here it is.</p>", subtype="html")
    return mail


def test_only_the_content_of_attachments_goes() -> None:
    mail = letter()
    bare = len(mail.as_bytes())
    mail.add_attachment(PDF, maintype="application", subtype="pdf", filename="contract.pdf")
    mail.add_attachment("a,b\n1,2\n", subtype="csv", filename="list.csv")
    raw = mail.as_bytes()
    kept = without_attachments(raw)
    assert len(kept) < bare + 1_200
    before, after = parse_mail(raw), parse_mail(kept)
    assert (after.text, after.subject, after.sender) == (before.text, before.subject, before.sender)
    assert [file.name for file in after.attachments] == ["contract.pdf", "list.csv"]
    # Each line that is left was there before, in the same order.
    lines = iter(raw.splitlines())
    assert all(line in lines for line in kept.splitlines())


def test_a_mail_without_attachments_stays_as_it_is() -> None:
    raw = letter().as_bytes()
    assert without_attachments(raw) is raw


def test_an_attached_mail_keeps_its_text_and_loses_its_files() -> None:
    original = letter()
    original.add_attachment(PDF, maintype="application", subtype="pdf", filename="contract.pdf")
    bounce = EmailMessage()
    bounce["From"] = "mailer-daemon@example.com"
    bounce.set_content("Your mail could not be delivered.\n")
    bounce.add_attachment(original)
    kept = without_attachments(bounce.as_bytes())
    assert b"Here it is." in kept
    assert len(kept) < 3_000


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"no headers at all", b"Subject: x\r\n\r\n", b"a\rb\rc", b"\0" * 50])
def test_bytes_that_are_hardly_a_mail_stay(raw: bytes) -> None:
    assert without_attachments(raw) == raw


@pytest.mark.parametrize("name", ["seen", "unseen"])
def test_the_verdict_on_a_mail_stays(name: str) -> None:
    for mail in labelled(name):
        before, after = (judge(parse_mail(raw), today=TODAY) for raw in (mail.raw, without_attachments(mail.raw)))
        assert before == after, mail.label["file"]

"""What comes back to a mail, as programs of people and mail servers write it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr
from types import MappingProxyType
from typing import Final

from db.domain.mail.verdict import MailKind
from mcp_server.demo.mail_host import Taken

LATE: Final = "Sorry for the silence. Yes, please send me the example."
_WORDS: Final[Mapping[MailKind, Sequence[str]]] = MappingProxyType(
    {
        MailKind.HUMAN: (
            "Sounds useful. Could you show me on Tuesday at ten?",
            "What does it cost for a team of twelve?",
            "Gern, schicken Sie mir doch ein Beispiel.",
            "Not now, but ask me again in spring.",
            "Oui, envoyez-moi un exemple.",
            "We have something of our own for that, thanks.",
        ),
        MailKind.UNSUBSCRIBE: (
            "WHO GAVE YOU MY ADDRESS?! Never write to me again, or you will hear from my lawyer!!",
            "Please take me off your list.",
            "Bitte streichen Sie mich aus Ihrem Verteiler.",
            "Merci de ne plus m'écrire.",
        ),
        MailKind.ABSENCE: ("I am out of the office until {day}.", "I am away until {day}, without my mail."),
        MailKind.AUTO_REPLY: ("Thank you. We have received your message and will answer soon.",),
    }
)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def words(kind: MailKind, number: int, back_on: date) -> str:
    """Returns the words of an answer. number: of its kind, from 0. The first who unsubscribes is furious, and no other.
    back_on: when who is away returns."""
    first, *others = _WORDS[kind]
    text = first if number == 0 or not others else others[(number - 1) % len(others)]
    return text.format(day=f"{back_on.day} {_MONTHS[back_on.month - 1]}")


def letter(to: Taken, name: str, text: str, at: datetime, *, is_by_a_program: bool = False) -> bytes:
    """Returns the answer of the person whom a mail went to. A person's quotes it, as usual programs do."""
    mail = EmailMessage()
    mail["From"] = formataddr((name, to.recipient))
    subject = to.subject.removeprefix("Re: ")
    mail["In-Reply-To"] = mail["References"] = f"<{to.message_id}>"
    if is_by_a_program:
        mail["Subject"], mail["Auto-Submitted"] = f"Automatic reply: {subject}", "auto-replied"
        mail.set_content(f"{text}\n")
    else:
        mail["Subject"] = f"Re: {subject}"
        mail.set_content(f"{text}\n\nOn {at:%d/%m/%Y}, {to.sender} wrote:\n> How do you follow up on leads today?\n")
    return _finished(mail, to, at)


def bounce(to: Taken, at: datetime) -> bytes:
    """Returns what a mail server reports of a mail whose recipient it does not know (RFC 3464)."""
    mail = MIMEMultipart("report")
    mail.set_param("report-type", "delivery-status")
    mail["From"] = "Mail Delivery System <mailer-daemon@mx.example.com>"
    mail["Return-Path"] = "<>"
    mail["Subject"] = "Undelivered Mail Returned to Sender"
    server, recipient, report = Message(), Message(), Message()
    server["Reporting-MTA"] = "dns; mx.example.com"
    recipient["Final-Recipient"] = f"rfc822; {to.recipient}"
    recipient["Action"], recipient["Status"] = "failed", "5.1.1"
    recipient["Diagnostic-Code"] = "smtp; 550 5.1.1 User unknown"
    report["Content-Type"] = "message/delivery-status"
    report.set_payload([server, recipient])
    mail.attach(MIMEText(f"Your mail to {to.recipient} could not be delivered.\n"))
    mail.attach(report)
    mail.attach(MIMEText(f"Message-ID: <{to.message_id}>\nTo: {to.recipient}\n", "rfc822-headers"))
    return _finished(mail, to, at)


def _finished(mail: Message, to: Taken, at: datetime) -> bytes:
    mail["To"] = to.sender
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<answer-{to.message_id}>"
    return mail.as_bytes().replace(b"\n", b"\r\n")

"""Sends a step of a campaign to one of our own mailboxes. Nothing counts it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.addresses import domain_in_ascii
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.ids import new_id
from db.domain.mail.message import Address
from db.domain.mailboxes import MailboxStatus
from db.services.dispatch import samples
from db.services.mail import mailboxes
from db.services.texts import unsubscribe_links
from mcp_server.mail.access import Access
from mcp_server.mail.delivery import Delivery, Outcome, deliver

if TYPE_CHECKING:
    from datetime import datetime

    from db.mail import NewMail
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.process.app import App

TEST_HEADER: Final = "X-Sales-Automation-Test"


@dataclass(frozen=True, slots=True)
class StepTest:
    """A step to test: its mail, and the mailbox that it goes out from."""

    access: Access
    mail: "NewMail"


def prepare(
    app: "App", session: "Session", *, campaign_id: UUID, step_number: int, mailbox: str, to: str, now: "datetime"
) -> StepTest:
    """Renders the step. NotFound and InvalidInput say what there is instead; Refused if the mailbox is paused."""
    from db.mail import NewMail  # noqa: PLC0415  a server that sends nothing starts without it

    sender, recipient = mailboxes.find(session, mailbox=mailbox), _own(session, to)
    if sender.status == MailboxStatus.PAUSED:
        raise Refused(f"{sender.address} is paused. update_mailbox with status active lets it send.")
    text = samples.email_of_step(
        session,
        campaign_id=campaign_id,
        step_number=step_number,
        address=recipient.address,
        public_url=app.settings.public_base,
    )
    assert text.subject is not None, "an email has one"
    assert text.body is not None, "an email has one"
    mail = NewMail(
        sender=Address(sender.display_name or "", sender.address),
        recipient=Address(recipient.display_name or "", recipient.address),
        subject=text.subject,
        text=text.body,
        signature=sender.signature,
        internet_message_id=f"{new_id()}@{domain_in_ascii(sender.address.rpartition('@')[2])}",
        headers={
            TEST_HEADER: "true",
            **(unsubscribe_links.headers(text.unsubscribe_url) if text.unsubscribe_url else {}),
        },
        date=now,
    )
    return StepTest(Access.of(app, sender), mail)


def _own(session: "Session", to: str) -> "Mailbox":
    try:
        return mailboxes.find(session, mailbox=to)
    except NotFound:
        raise InvalidInput(
            "to: a test goes to one of our own mailboxes alone. list_mailboxes shows them, connect_mailbox adds one."
        ) from None


def send(test: StepTest) -> Outcome:
    """Sends the mail, and returns what became of it. MailboxUnusable if the server can't be reached or signs nobody
    in."""
    from db.mail import compose  # noqa: PLC0415  as above

    mail = compose(test.mail)
    with test.access.smtp() as connection:
        return deliver(connection, mail)


_IN_WORDS: Final = {
    Delivery.REFUSED: "The server refused the {stage}. check_mailbox shows whether the mailbox may send.",
    Delivery.DEFERRED: "The server does not take it now. Try again in some minutes.",
    Delivery.UNKNOWN: "The connection ended before the server answered: look whether it arrived before you send again.",
}


def in_words(outcome: Outcome) -> str | None:
    """Returns what to make of a mail that was not sent; None if it was."""
    told = _IN_WORDS.get(outcome.delivery)
    return told and told.format(stage=outcome.stage.replace("data", "mail"))

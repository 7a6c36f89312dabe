"""Mailboxes that send, and the campaigns that they send for."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from db.domain.mailboxes import LeaseRole, MailServer, Security
from db.domain.states import ActionOutcome, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.mail import leases, mailboxes
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import enroll, make_campaign
from tests.support.steps import claim_for, report_at

ANN, BEN, CLEO = "ann@acme.example", "ben@acme.example", "cleo@other.example"
SMTP = MailServer("smtp.acme.example", 587, Security.STARTTLS, None)
STEPS = [EmailStep(1, "Hello", "The first of all"), EmailStep(2, "Again", "The second of all")]


def connect(database: Database, address: str, **pace: Any) -> UUID:
    """A mailbox without a gap, unless one is given."""
    change = MailboxChange(smtp=SMTP, settings={"min_gap_seconds": 0, **pace})
    return database.run("mailbox", lambda session: mailboxes.connect(session, address=address, change=change).id)


def running(database: Database, *pool: str, people: int, linkedin: bool = False, **settings: Any) -> UUID:
    """A campaign of two emails, both due at once, that names these mailboxes."""
    make = partial(
        make_campaign,
        email_steps=STEPS,
        linkedin_steps=[LinkedInStep(3, LinkedInStepType.MESSAGE, "Hello there")] if linkedin else [],
        settings={**({"mailboxes": list(pool)} if pool else {}), **settings},
    )
    campaign_id = database.run("campaign", make)
    enroll(database, campaign_id, [f"p{n}@{campaign_id}.example.com" for n in range(people)])
    return campaign_id


def run_sender(database: Database, mailbox_id: UUID) -> object:
    """A process takes the mailbox to send from it."""
    take = partial(leases.take, mailbox_id=mailbox_id, role=LeaseRole.SENDER, holder="here")
    return database.run("lease", take)


def send_all(database: Database, mailbox_id: UUID, now: datetime) -> int:
    """Sends all that a mailbox may send now; how many mails."""
    sent = 0
    while handed := claim_for(database, mailbox_id, now).actions:
        for due in handed:
            report_at(database, due, ActionOutcome.SENT, now)
        sent += len(handed)
    return sent

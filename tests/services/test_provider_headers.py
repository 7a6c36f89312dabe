"""Mails tell the provider that sends them to whom they belong, so that its webhooks find back."""

from functools import partial
from typing import Any

import orjson
import pytest

from db.domain.mailboxes import MailServer, Security
from db.domain.states import Channel
from db.mail import NewMail, compose
from db.postgres.database import Database
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing.mails import QueuedMail
from mcp_server.schemas.actions import DueActionOut
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.outbox import outbox_of, steps
from tests.support.steps import claim_at

ANN = "ann@acme.example"


def connected(database: Database, host: str) -> Any:
    server = MailServer(host, 587, Security.STARTTLS, None)
    change = MailboxChange(smtp=server, settings={"min_gap_seconds": 0})
    return database.run("mailbox", lambda session: mailboxes.connect(session, address=ANN, change=change).id)


def composed(mail: QueuedMail) -> bytes:
    return compose(
        NewMail(
            sender=mail.sender,
            recipient=mail.recipient,
            subject=mail.subject,
            text=mail.text,
            internet_message_id=mail.internet_message_id,
            headers=mail.headers,
            date=NOW,
        )
    ).raw


@pytest.mark.parametrize(
    ("host", "field"),
    [
        ("smtp.eu.mailgun.org", "X-Mailgun-Variables"),
        ("SMTP.SENDGRID.NET", "X-SMTPAPI"),
        ("smtp.postmarkapp.com", "X-PM-Metadata-sales_enrollment_id"),
        ("email-smtp.eu-west-1.amazonaws.com", "X-SES-MESSAGE-TAGS"),
        ("smtp-relay.brevo.com", "X-Mailin-custom"),
    ],
)
def test_a_mail_by_a_known_provider_names_its_enrollment_and_step(database: Database, host: str, field: str) -> None:
    outbox = outbox_of(database, connected(database, host), ANN)
    (mail,) = outbox.claim()
    assert str(mail.enrollment_id) in mail.headers[field]
    said = " ".join(mail.headers.values())
    assert str(mail.campaign_id) in said
    assert "sales_step" in said or any(name.endswith("sales_step") for name in mail.headers)
    raw = composed(mail).replace(b"\r\n ", b" ")
    assert f"{field}: {mail.headers[field]}\r\n".encode() in raw


def test_what_sendgrid_is_told_is_what_its_webhook_is_read_for(database: Database) -> None:
    outbox = outbox_of(database, connected(database, "smtp.sendgrid.net"), ANN)
    (mail,) = outbox.claim()
    assert orjson.loads(mail.headers["X-SMTPAPI"]) == {
        "unique_args": {
            "sales_campaign_id": str(mail.campaign_id),
            "sales_enrollment_id": str(mail.enrollment_id),
            "sales_step": "1",
        }
    }


@pytest.mark.parametrize("host", ["smtp.example.com", "sendgrid.net.example.com", "notsendgrid.net"])
def test_other_hosts_are_told_nothing(database: Database, host: str) -> None:
    outbox = outbox_of(database, connected(database, host), ANN)
    (mail,) = outbox.claim()
    assert mail.headers == {}


def test_an_agent_that_sends_from_the_mailbox_gets_the_same_fields(database: Database) -> None:
    connected(database, "smtp.sendgrid.net")
    settings = {"mailboxes": [ANN], "sent_by": "agent"}
    make = partial(make_campaign, email_steps=steps(1), settings=settings)
    enroll(database, database.run("campaign", make), ["bob@example.com"])
    (due,) = claim_at(database, None, NOW).actions
    assert due.step.channel is Channel.EMAIL
    headers = DueActionOut.of(due).headers
    assert headers is not None
    assert str(due.enrollment.id) in headers["X-SMTPAPI"]
    assert "Message-ID" in headers

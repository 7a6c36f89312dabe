"""Threads with answers in them."""

import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.ids import new_ids
from db.domain.mail.verdict import MailKind
from db.domain.mailboxes import MailServer, Security
from db.domain.states import ActionOutcome, Channel, MessageDirection, MessageStatus
from db.domain.templates import EmailStep
from db.models import Message, MessageBody
from db.postgres.database import Database
from db.services.mail import conversations, mailboxes, threads
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.steps import claim_at, report_at

ANN = "ann@example.com"
STEPS = (EmailStep(1, "Hello", "Nice to meet you."),)


def connect(session: Session, address: str = ANN) -> UUID:
    """The id of a mailbox that is not to be reached."""
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    return mailboxes.connect(session, address=address, change=MailboxChange(smtp=smtp)).id


@dataclass(frozen=True)
class Answer:
    """A mail that came in, judged. said: what the person wrote; raw: the whole mail."""

    said: str = "Yes, call me."
    kind: MailKind = MailKind.HUMAN
    raw: bytes | None = None
    minutes: int = 60
    more: dict[str, Any] = field(default_factory=dict[str, Any])


class Conversations:
    """A campaign of one mail that was sent to some people, each of whom has a thread."""

    def __init__(self, database: Database, emails: list[str], *, at: datetime = NOW, name: str = "C") -> None:
        self.database, self.at = database, at
        self.campaign_id: UUID = database.run(
            "campaign", lambda session: make_campaign(session, name=name, email_steps=STEPS, start_at=at)
        )
        enroll(database, self.campaign_id, emails)
        for due in claim_at(database, self.campaign_id, at + timedelta(hours=1)).actions:
            report_at(database, due, ActionOutcome.SENT, at + timedelta(hours=1))
        self.mailbox_id: UUID = database.run("mailbox", lambda session: connect(session, f"{name.lower()}-{ANN}"))
        self.threads: list[UUID] = self._begun(emails)

    def _begun(self, emails: list[str]) -> list[UUID]:
        """The ids of the threads with these people, in order."""
        with self.database.transaction("threads") as session:
            rows = threads.list_(session, campaign_id=self.campaign_id, limit=len(emails), cursor=None).rows
            people = conversations.people(session, contact_ids=[row.contact_id for row in rows])
            return [row.id for row in sorted(rows, key=lambda row: emails.index(people[row.contact_id].email or ""))]

    def answer(self, thread_id: UUID, *answers: Answer) -> list[UUID]:
        """The ids of these answers, which came in so many minutes after the campaign began."""
        with self.database.transaction("answers") as session:
            thread = threads.get(session, thread_id=thread_id)
            ids = new_ids(len(answers))
            for id_, answer in zip(ids, answers, strict=True):
                given = {"sender": "person@example.com", "subject": "Re: Hello", **answer.more}
                message = Message(
                    id=id_,
                    direction=MessageDirection.IN,
                    channel=Channel.EMAIL,
                    mailbox_id=self.mailbox_id,
                    campaign_id=thread.campaign_id,
                    enrollment_id=thread.enrollment_id,
                    thread_id=thread_id,
                    internet_message_id=f"{id_}@example.com",
                    occurred_at=self.at + timedelta(minutes=answer.minutes),
                    status=MessageStatus.RECORDED,
                    kind=answer.kind,
                    **given,
                )
                session.add(message)
                session.flush()
                raw = None if answer.raw is None else zlib.compress(answer.raw)
                session.add(MessageBody(message_id=id_, body=answer.said, raw=raw))
            session.flush()
            threads.refresh(session, thread_ids={thread_id: True})
        return ids

    @staticmethod
    def rename(session: Session, thread_id: UUID, subject: str) -> None:
        """Gives a thread a subject that no mail of ours has."""
        threads.get(session, thread_id=thread_id).subject = subject

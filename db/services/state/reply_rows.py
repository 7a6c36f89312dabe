"""Writes and reads replies: mails that answer within a thread, and belong to no step.

A reply that waits for a person is a draft; one that is to go is a message with the same id. Who writes either has
locked the enrollment of its thread.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.allowance import Account
from db.domain.drafts import Consent, DraftStatus, Wording
from db.domain.mail.verdict import MailKind
from db.domain.sending import quarter_of
from db.domain.states import Channel, MessageDirection, MessageStatus
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.state import usage

ANSWERABLE: Final = f"""
    {{message}}.direction = '{MessageDirection.IN}' AND {{message}}.kind IS NOT NULL
    AND {{message}}.kind NOT IN ('{MailKind.BOUNCE}', '{MailKind.COMPLAINT}')
"""
"""The condition that a message came in and can be answered: reports on mails can't."""
_NEWER_LAST = "ORDER BY occurred_at DESC, id DESC LIMIT 1"


class NewReply(NamedTuple):
    """A reply in the words that go out. replies_to: the message that it answers."""

    id: UUID
    campaign_id: UUID
    enrollment_id: UUID
    thread_id: UUID
    mailbox_id: UUID
    replies_to: UUID
    wording: Wording

    @property
    def _columns(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "instance_id": self.campaign_id,
            "enrollment_id": self.enrollment_id,
            "thread_id": self.thread_id,
            "replies_to": self.replies_to,
            "subject": self.wording.subject,
            "body": self.wording.body,
            "cc": list(self.wording.cc),
        }

    def as_draft(self) -> dict[str, Any]:
        """Returns the columns of its draft."""
        return {**self._columns, "fingerprint": self.wording.fingerprint}

    def as_message(self, internet_message_id: str, consent: Consent, now: datetime) -> dict[str, Any]:
        """Returns the columns of its message."""
        return {
            **self._columns,
            "mailbox_id": self.mailbox_id,
            "internet_message_id": internet_message_id,
            "approval": consent.approval,
            "fingerprint": consent.fingerprint,
            "approved_fingerprint": consent.approved,
            "now": now,
        }


_LATEST = text(f"""
    SELECT id FROM messages m WHERE thread_id = :thread AND {ANSWERABLE.format(message="m")} {_NEWER_LAST}
""")


def latest_to_answer(session: Session, *, thread_id: UUID) -> UUID | None:
    """Returns the latest message that came in to a thread and can be answered; None if there is none."""
    return session.scalar(_LATEST, {"thread": thread_id})


class Unsettled(NamedTuple):
    """A reply that is still to go, or of which nobody knows whether it went out."""

    message_id: UUID
    status: MessageStatus


_UNSETTLED = text(f"""
    SELECT id, status FROM messages
    WHERE thread_id = :thread AND replies_to IS NOT NULL
      AND status IN ('{MessageStatus.QUEUED}', '{MessageStatus.SENDING}', '{MessageStatus.UNKNOWN}')
""")


def unsettled(session: Session, *, thread_id: UUID) -> Unsettled | None:
    """Returns the reply of a thread that is not settled yet, if there is one."""
    row = session.execute(_UNSETTLED, {"thread": thread_id}).one_or_none()
    return None if row is None else Unsettled(row[0], MessageStatus(row[1]))


_STALE = text(f"""
    UPDATE action_drafts SET status = '{DraftStatus.STALE}', updated_at = now()
    WHERE thread_id = :thread_id AND status = '{DraftStatus.WAITING}'
""")
_DRAFT = text(f"""
    INSERT INTO action_drafts (id, instance_id, enrollment_id, thread_id, replies_to, channel, source, status, subject,
                               has_subject, body, cc, fingerprint)
    VALUES (:id, :instance_id, :enrollment_id, :thread_id, :replies_to, '{Channel.EMAIL}', 'written',
            '{DraftStatus.WAITING}', :subject, FALSE, :body, :cc, :fingerprint)
""")


def draft(session: Session, *, reply: NewReply) -> None:
    """Keeps a reply as a draft, in the place of one that waits in its thread."""
    values = reply.as_draft()
    session.execute(_STALE, {"thread_id": reply.thread_id})
    session.execute(_DRAFT, values)


# What was read later has a later id. The owner of a mailbox may have answered by hand.
_OUTDATE = text(f"""
    UPDATE action_drafts d SET status = '{DraftStatus.STALE}', updated_at = now()
    WHERE d.thread_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND d.status = '{DraftStatus.WAITING}'
      AND (d.replies_to IS DISTINCT FROM (
               SELECT m.id FROM messages m WHERE m.thread_id = d.thread_id AND {ANSWERABLE.format(message="m")}
               {_NEWER_LAST})
           OR EXISTS (SELECT FROM messages m
                      WHERE m.thread_id = d.thread_id AND m.kind = '{MailKind.OWNER_WROTE}' AND m.id > d.id))
""")


def outdate(session: Session, *, thread_ids: Collection[UUID]) -> None:
    """Makes the drafts of these threads stale that wait and do not answer the latest message, or to which the owner of
    the mailbox has written since."""
    if thread_ids:
        session.execute(_OUTDATE, rows_parameter(sorted(thread_ids)))


_QUEUE = text(f"""
    WITH queued AS (
        INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, thread_id, mailbox_id, replies_to,
                              internet_message_id, subject, cc, occurred_at, status, approval, fingerprint,
                              approved_fingerprint)
        VALUES (CAST(:id AS uuid), '{MessageDirection.OUT}', '{Channel.EMAIL}', :instance_id, :enrollment_id,
                :thread_id, :mailbox_id, :replies_to, :internet_message_id, :subject, :cc, :now,
                '{MessageStatus.QUEUED}', :approval, :fingerprint, :approved_fingerprint)
        RETURNING id
    )
    INSERT INTO message_bodies (message_id, body) SELECT id, :body FROM queued
""")


def queue(session: Session, *, reply: NewReply, internet_message_id: str, consent: Consent, now: datetime) -> None:
    """Keeps a reply as a message that goes out. consent: what its campaign asks of it, which was given."""
    session.execute(_QUEUE, reply.as_message(internet_message_id, consent, now))


# Of a campaign that asked nobody: it does not ask now either. The owner of the mailbox may have answered by hand.
_IS_APPROVED = text(f"""
    SELECT NOT EXISTS (SELECT FROM messages n
                       WHERE n.thread_id = m.thread_id AND n.kind = '{MailKind.OWNER_WROTE}' AND n.id > m.id)
       AND CASE WHEN m.approval = 'none' THEN coalesce(i.settings ->> 'approval', 'none') = 'none'
           ELSE EXISTS (
               SELECT FROM action_drafts d
               WHERE d.id = m.id AND d.status = '{DraftStatus.APPROVED}' AND d.decided_by IS NOT NULL
                 AND d.fingerprint = m.fingerprint AND d.fingerprint = m.approved_fingerprint
           ) AND m.replies_to IS NOT DISTINCT FROM (
               SELECT n.id FROM messages n WHERE n.thread_id = m.thread_id AND {ANSWERABLE.format(message="n")}
               {_NEWER_LAST}
           ) END
    FROM messages m JOIN campaign_instances i ON i.id = m.instance_id
    WHERE m.id = :message
""")


def is_approved(session: Session, *, message_id: UUID) -> bool:
    """Returns whether a reply may go out as of now: a person has approved it and not changed their mind, and nothing
    has come in since; or nobody was asked, and nobody is now. In either case the owner has not written since."""
    return bool(session.scalar(_IS_APPROVED, {"message": message_id}))


_DROP = text(f"""
    WITH dropped AS (
        UPDATE messages
        SET status = '{MessageStatus.NOT_SENT}', next_attempt_at = NULL, answer = :why, updated_at = now()
        WHERE id = :message AND status = '{MessageStatus.QUEUED}' AND replies_to IS NOT NULL
        RETURNING id, mailbox_id, reserved_at
    ), drafts AS (
        UPDATE action_drafts SET status = '{DraftStatus.STALE}', updated_at = now()
        WHERE id = :message AND status = '{DraftStatus.APPROVED}' AND EXISTS (SELECT FROM dropped)
    )
    SELECT b.address, d.reserved_at FROM dropped d LEFT JOIN mailboxes b ON b.id = d.mailbox_id
""").columns(*named("address", "reserved_at"))


def drop(session: Session, *, message_id: UUID, why: str) -> bool:
    """Lets a queued reply not go out, makes its draft stale, and gives its place under the limits back. Returns False
    if it is not queued."""
    row = session.execute(_DROP, {"message": message_id, "why": why}).one_or_none()
    if row is None:
        return False
    address, reserved_at = row
    if address is not None and reserved_at is not None:
        usage.release(session, reservations={(Account(Channel.EMAIL, address), quarter_of(reserved_at)): 1})
    return True


_DROP_OF_MAILBOX = text(f"""
    UPDATE messages
    SET status = '{MessageStatus.NOT_SENT}', next_attempt_at = NULL, answer = :why, updated_at = now()
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.QUEUED}' AND replies_to IS NOT NULL
""")


def drop_of_mailbox(session: Session, *, mailbox_id: UUID, why: str) -> None:
    """Lets the queued replies of a mailbox not go out, as when it is removed."""
    session.execute(_DROP_OF_MAILBOX, {"mailbox": mailbox_id, "why": why})


class QueuedReply(NamedTuple):
    """A reply to send: its words, its person as they are now, and the mails before it in the thread, the one that it
    answers last."""

    id: UUID
    campaign_id: UUID
    enrollment_id: UUID
    thread_id: UUID
    contact_id: UUID
    internet_message_id: str
    subject: str
    body: str | None
    cc: list[str]
    attempts: int
    reserved_at: datetime | None
    email: str | None
    first_name: str | None
    last_name: str | None
    before: list[str]


_BEFORE_MOST: Final = 500
_NEXT = text(f"""
    SELECT m.id, m.instance_id, m.enrollment_id, m.thread_id, c.id, m.internet_message_id, m.subject, b.body, m.cc,
           m.attempts, m.reserved_at, c.email, c.first_name, c.last_name, ARRAY(
               SELECT sent.internet_message_id FROM (
                   SELECT n.internet_message_id, n.occurred_at, n.id FROM messages n
                   WHERE n.thread_id = m.thread_id AND n.internet_message_id IS NOT NULL AND n.id <> m.id
                     AND (n.occurred_at, n.id) <= (coalesce(answered.occurred_at, m.occurred_at),
                                                   coalesce(answered.id, m.id))
                     AND (n.direction = '{MessageDirection.OUT}' OR ({ANSWERABLE.format(message="n")}))
                     AND (n.replies_to IS NULL OR n.status = '{MessageStatus.SENT}')
                   ORDER BY n.occurred_at DESC, n.id DESC LIMIT {_BEFORE_MOST}
               ) sent ORDER BY sent.occurred_at, sent.id
           )
    FROM messages m
    JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
    JOIN contacts c ON c.id = e.contact_id
    LEFT JOIN message_bodies b ON b.message_id = m.id
    LEFT JOIN messages answered ON answered.id = m.replies_to
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.QUEUED}' AND m.replies_to IS NOT NULL
      AND (m.next_attempt_at IS NULL OR m.next_attempt_at <= :now)
    ORDER BY m.id LIMIT :limit
""").columns(
    *named(
        "id", "campaign_id", "enrollment_id", "thread_id", "contact_id", "internet_message_id", "subject", "body", "cc",
        "attempts", "reserved_at", "email", "first_name", "last_name", "before",
    )
)  # fmt: skip


def next_of(session: Session, *, mailbox_id: UUID, limit: int, now: datetime) -> list[QueuedReply]:
    """Returns the first replies that a mailbox has to send and may try now."""
    rows = session.execute(_NEXT, {"mailbox": mailbox_id, "limit": limit, "now": now})
    return [QueuedReply(*row) for row in rows]


_HOLD = text(f"""
    SELECT id FROM messages
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND status = '{MessageStatus.QUEUED}'
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
""")


def hold(session: Session, *, replies: Collection[QueuedReply]) -> list[QueuedReply]:
    """Locks those of these replies that are still to go. One that somebody takes out of the queue now is left out: no
    send is reserved for it."""
    held = set(session.scalars(_HOLD, rows_parameter([reply.id for reply in replies])))
    return [reply for reply in replies if reply.id in held]


# Without a moment of the next attempt, since what an attempt comes to is recorded only where none is told yet.
_CLAIM = text(f"""
    UPDATE messages m
    SET claim_token = w.token, reserved_at = w.reserved_at, next_attempt_at = NULL, updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, token uuid, reserved_at timestamptz)
    WHERE m.id = w.id AND m.status = '{MessageStatus.QUEUED}'
""")


def claim(session: Session, *, tokens: dict[UUID, tuple[UUID, datetime]]) -> None:
    """Begins an attempt of each of these replies. tokens: reply -> the token of the attempt, and when its send was
    reserved."""
    rows = [{"id": id_, "token": token, "reserved_at": at} for id_, (token, at) in tokens.items()]
    session.execute(_CLAIM, rows_parameter(rows))

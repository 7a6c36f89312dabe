"""Mails that this server sends, from the claim of their step to the moment at which the mail server is told them.

Each step of the way is committed before the next begins: the claim with the row `queued`, then `sending` with the very
bytes, then what the server answered (db.services.outgoing.outcomes). Whoever finds `sending` after a process was killed
can't know whether the mail went out, and never sends it again by itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.mail.message import Address
from db.domain.mailboxes import LeaseRole
from db.domain.states import (
    ActionStatus,
    MessageDirection,
    MessageStatus,
)
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.dispatch import claims
from db.services.dispatch.hand_out import DueAction
from db.services.mail import leases
from db.services.mail.leases import HeldLease
from db.services.outgoing import claimed, replies, signs
from db.services.outgoing.mails import QueuedMail
from db.services.texts import unsubscribe_links

CLAIM_SECONDS: Final = 300
"""How long a claimed mail waits for its turn before its step is due again."""


class TakenOver(NamedTuple):
    """What the last holder of a lease left: mails that may have been sent, and claims that had not begun."""

    unknown: int
    released: int


class NextMails(NamedTuple):
    """The mails to send now, in their order. next_at: when to look again, as far as that depends on time alone.
    is_more: at once, since this time all that was due was set aside."""

    mails: Sequence[QueuedMail]
    next_at: datetime | None
    is_more: bool = False


def hold(session: Session, lease: HeldLease) -> None:
    """Locks the lease of the mailbox's sender for this transaction. LeaseLost if another process has it."""
    leases.hold(session, mailbox_id=lease.mailbox_id, role=LeaseRole.SENDER, token=lease.token)


_SENDING = text(f"""
    SELECT enrollment_id FROM messages
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENDING}' AND action_id IS NOT NULL
""")
_LOSE = text(f"""
    UPDATE messages SET status = '{MessageStatus.UNKNOWN}', updated_at = now()
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENDING}' RETURNING enrollment_id, action_id
""").columns(*named("enrollment_id", "action_id"))
_WAITING = text(f"""
    SELECT a.id FROM messages m
    JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.QUEUED}' AND m.next_attempt_at IS NULL
      AND a.status = '{ActionStatus.CLAIMED}' AND a.lease_until > :now
""")


def take_over(session: Session, *, lease: HeldLease, now: datetime) -> TakenOver:
    """Settles what the last holder of the lease left: what it was sending becomes unknown, and what it had claimed and
    not begun is due again. Called once, before anything else is done under a new lease."""
    hold(session, lease)
    of_mailbox = {"mailbox": lease.mailbox_id}
    found = claimed.lock(session, enrollment_ids=session.scalars(_SENDING, of_mailbox).all())
    lost = session.execute(_LOSE, of_mailbox).all()
    steps = {enrollment_id: action_id for enrollment_id, action_id in lost if action_id is not None}
    claimed.lose(session, enrollments=found, lost=steps, now=now)
    waiting = session.scalars(_WAITING, {**of_mailbox, "now": now}).all()
    released = claimed.give_back(session, action_ids=waiting, now=now)
    signs.settle(session, mailbox_id=lease.mailbox_id, now=now)
    return TakenOver(len(lost), released)


def next_mails(
    session: Session,
    *,
    lease: HeldLease,
    limit: int,
    now: datetime,
    public_url: str | None,
    include_overdue: bool = False,
) -> NextMails:
    """Claims up to `limit` mails that the mailbox sends now: replies, for which people wait, else steps.
    include_overdue: see claims.claim_for_mailbox."""
    hold(session, lease)
    signs.settle(session, mailbox_id=lease.mailbox_id, now=now)
    waited_for = replies.claim(session, mailbox_id=lease.mailbox_id, limit=limit, now=now)
    if waited_for:
        return NextMails(waited_for, None)
    found = _claim(session, lease.mailbox_id, limit, now, public_url, include_overdue=include_overdue)
    mailbox = session.get_one(Mailbox, lease.mailbox_id)
    queued = _queue(session, [due.action_id for due in found.actions])
    mails = [_mail(due, queued[due.action_id], mailbox) for due in found.actions if due.action_id in queued]
    return NextMails(mails, found.next_due_at, found.is_more)


def _claim(
    session: Session, mailbox_id: UUID, limit: int, now: datetime, public_url: str | None, *, include_overdue: bool
) -> claims.Claim:
    return claims.claim_for_mailbox(
        session,
        mailbox_id=mailbox_id,
        limit=limit,
        lease_seconds=CLAIM_SECONDS,
        now=now,
        public_url=public_url,
        include_overdue=include_overdue,
    )


# A claim has left them without a status, as what it hands to agents.
_QUEUE = text(f"""
    UPDATE messages SET status = '{MessageStatus.QUEUED}', updated_at = now()
    WHERE action_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND direction = '{MessageDirection.OUT}' AND status IS NULL
    RETURNING action_id, id
""").columns(*named("action_id", "id"))


def _queue(session: Session, action_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Returns action -> its message, of those that are queued."""
    return dict(tuple(row) for row in session.execute(_QUEUE, rows_parameter(action_ids))) if action_ids else {}


def _mail(due: DueAction, message_id: UUID, mailbox: Mailbox) -> QueuedMail:
    said, contact = due.text, due.contact
    assert said.subject is not None, "an email has one"
    assert said.body is not None, "an email has one"
    assert said.internet_message_id is not None, "the mailbox's domain ends it"
    assert contact.email is not None, "a claim holds who has none"
    name = " ".join(filter(None, (contact.first_name, contact.last_name)))
    return QueuedMail(
        message_id=message_id,
        action_id=due.action_id,
        lease_token=due.lease_token,
        enrollment_id=due.enrollment.id,
        campaign_id=due.enrollment.campaign_id,
        contact_id=contact.id,
        step_number=due.step.step_number,
        sender=Address(mailbox.display_name or "", mailbox.address),
        recipient=Address(name, contact.email),
        subject=said.subject,
        text=said.body,
        signature=mailbox.signature,
        internet_message_id=said.internet_message_id,
        references=said.references,
        headers={
            **(unsubscribe_links.headers(said.unsubscribe_url) if said.unsubscribe_url else {}),
            **due.mailbox_headers,
        },
    )


def release(session: Session, *, lease: HeldLease, mails: Sequence[QueuedMail], now: datetime) -> None:
    """Makes the steps of mails that have not begun due again, as before a server ends. Replies are queued as it is."""
    hold(session, lease)
    steps = [mail.action_id for mail in mails if mail.action_id is not None]
    claimed.give_back(session, action_ids=steps, now=now)

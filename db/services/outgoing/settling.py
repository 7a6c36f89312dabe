"""A person says whether a mail went out of which nobody knows."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.errors import NotFound, Refused
from db.domain.states import STATE_AFTER, MessageCommand, MessageStatus, SettledAs
from db.models import CampaignAction, Message
from db.postgres.results import named
from db.services.mail import threads
from db.services.outgoing import claimed, completion

_HINT = "get_thread and get_enrollment show the messages there are."
_SETTLE = text("""
    UPDATE messages SET status = :status, next_attempt_at = NULL, updated_at = now() WHERE id = :message
""")


class Unsettled(NamedTuple):
    """A mail of which nobody knows whether it went out: from where, to whom, and when it began. None for what is
    deleted since."""

    sender: str | None
    recipient: str | None
    subject: str | None
    began_at: datetime
    internet_message_id: str


_UNSETTLED = text(f"""
    SELECT b.address, c.email, m.subject, coalesce(m.sending_at, m.occurred_at), m.internet_message_id
    FROM messages m
    LEFT JOIN mailboxes b ON b.id = m.mailbox_id
    LEFT JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
    LEFT JOIN contacts c ON c.id = e.contact_id
    WHERE m.id = :message AND m.status = '{MessageStatus.UNKNOWN}'
""").columns(*named("address", "email", "subject", "began_at", "internet_message_id"))


def unsettled(session: Session, *, message_id: UUID) -> Unsettled | None:
    """Returns a mail that is `unknown`, as a person must know it to settle it; None if it is not."""
    row = session.execute(_UNSETTLED, {"message": message_id}).one_or_none()
    return None if row is None else Unsettled(*row)


def settle_message(session: Session, *, message_id: UUID, outcome: SettledAs, now: datetime) -> Message:
    """Settles a mail that is `unknown`. Sent: its step is completed, and the enrollment goes on. Not sent: the step is
    due again, and the mail goes out with the same Message-ID. A reply that was not sent is not sent again by itself:
    its thread waits for another.

    Saying the same again changes nothing. NotFound if there is no such message, Refused if nobody asks what became of
    it.
    """
    known = session.get(Message, message_id)
    if known is None:
        raise NotFound("message", message_id, hint=_HINT)
    is_step = known.action_id is not None and known.enrollment_id is not None
    found = claimed.lock(session, enrollment_ids=[known.enrollment_id] if is_step and known.enrollment_id else [])
    row = session.get_one(Message, message_id, with_for_update=True, populate_existing=True)
    command = MessageCommand.SEND if outcome is SettledAs.SENT else MessageCommand.DROP
    if row.status == STATE_AFTER[command]:
        return row
    if row.status != MessageStatus.UNKNOWN:
        raise Refused(_not_unknown(row.status))
    if outcome is SettledAs.SENT:
        _complete(session, row, now)
    session.execute(_SETTLE, {"message": message_id, "status": STATE_AFTER[command]})
    due_at = now if outcome is SettledAs.NOT_SENT else None
    claimed.go_on(session, enrollment_ids=[enrollment.id for enrollment in found], due_at=due_at)
    if row.replies_to is not None and row.thread_id is not None:
        threads.refresh(session, thread_ids={row.thread_id: outcome is SettledAs.SENT})
    elif outcome is SettledAs.NOT_SENT:
        threads.leave(session, message_id=message_id)
    session.refresh(row)
    return row


def _not_unknown(status: str | None) -> str:
    if status is None:
        return "An agent sends this message, and complete_action says what became of it. Nothing was changed."
    return f"This message is {status}. Only a mail whose status is unknown is settled. Nothing was changed."


def _complete(session: Session, row: Message, now: datetime) -> None:
    if row.action_id is None:
        return
    wanted = select(CampaignAction.lease_token).where(
        CampaignAction.instance_id == row.instance_id, CampaignAction.id == row.action_id
    )
    token = session.scalar(wanted)
    if token is not None:
        completion.complete(session, action_id=row.action_id, lease_token=token, now=now)

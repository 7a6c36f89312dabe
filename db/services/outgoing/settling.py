"""A person says whether a mail went out of which nobody knows, or withdraws a reply that has not gone out."""

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
from db.services.state import reply_rows

_HINT = "get_thread and get_enrollment show the messages there are."
_SETTLE = text("""
    UPDATE messages SET status = :status, next_attempt_at = NULL, updated_at = now() WHERE id = :message
""")


class Unsettled(NamedTuple):
    """A mail of which nobody knows whether it went out, or a reply that is queued: from where, to whom, and when it
    began or was written. None for what is deleted since."""

    sender: str | None
    recipient: str | None
    subject: str | None
    began_at: datetime
    internet_message_id: str
    is_queued: bool = False
    is_reply: bool = False


_UNSETTLED = text(f"""
    SELECT b.address, c.email, m.subject, coalesce(m.sending_at, m.occurred_at), m.internet_message_id,
           m.status = '{MessageStatus.QUEUED}', m.replies_to IS NOT NULL
    FROM messages m
    LEFT JOIN mailboxes b ON b.id = m.mailbox_id
    LEFT JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
    LEFT JOIN contacts c ON c.id = e.contact_id
    WHERE m.id = :message
      AND (m.status = '{MessageStatus.UNKNOWN}'
           OR (m.status = '{MessageStatus.QUEUED}' AND m.replies_to IS NOT NULL))
""").columns(*named("address", "email", "subject", "began_at", "internet_message_id", "is_queued", "is_reply"))


def unsettled(session: Session, *, message_id: UUID) -> Unsettled | None:
    """Returns a mail that can be settled or withdrawn, as a person must know it; None if it can't be."""
    row = session.execute(_UNSETTLED, {"message": message_id}).one_or_none()
    return None if row is None else Unsettled(*row)


def settle_message(session: Session, *, message_id: UUID, outcome: SettledAs, now: datetime) -> Message:
    """Settles a mail that is `unknown`. Sent: its step is completed, and the enrollment goes on. Not sent: the step is
    due again, and the mail goes out with the same Message-ID. A reply that was not sent is not sent again by itself:
    its thread waits for another. A reply that is `queued` does not go out once it is said not to be sent.

    Saying the same again changes nothing. NotFound if there is no such message, Refused if nobody asks what became of
    it, or if a reply is on its way.
    """
    row = _locked(session, message_id)
    command = MessageCommand.SEND if outcome is SettledAs.SENT else MessageCommand.DROP
    if row.status == STATE_AFTER[command]:
        return row
    if row.status == MessageStatus.QUEUED and row.replies_to is not None and outcome is SettledAs.NOT_SENT:
        reply_rows.drop(session, message_id=message_id, why="A person withdrew it.")
    elif row.status == MessageStatus.UNKNOWN:
        _settle(session, row, command, outcome, now)
    else:
        raise Refused(f"{_not_unknown(row)} Nothing was changed.")
    session.refresh(row)
    return row


def _locked(session: Session, message_id: UUID) -> Message:
    """Returns a message, locked after its enrollment, as a sender that begins it locks both."""
    known = session.get(Message, message_id)
    if known is None:
        raise NotFound("message", message_id, hint=_HINT)
    claimed.lock(session, enrollment_ids=[known.enrollment_id] if known.enrollment_id is not None else [])
    return session.get_one(Message, message_id, with_for_update=True, populate_existing=True)


def _settle(session: Session, row: Message, command: MessageCommand, outcome: SettledAs, now: datetime) -> None:
    if outcome is SettledAs.SENT:
        _complete(session, row, now)
    session.execute(_SETTLE, {"message": row.id, "status": STATE_AFTER[command]})
    if row.replies_to is not None and row.thread_id is not None:
        threads.refresh(session, thread_ids={row.thread_id: outcome is SettledAs.SENT})
        return
    due_at = now if outcome is SettledAs.NOT_SENT else None
    claimed.go_on(session, enrollment_ids=[row.enrollment_id] if row.enrollment_id is not None else [], due_at=due_at)
    if outcome is SettledAs.NOT_SENT:
        threads.leave(session, message_id=row.id)


def _not_unknown(row: Message) -> str:
    if row.status is None:
        return "An agent sends this message, and complete_action says what became of it."
    if row.status == MessageStatus.SENDING:
        return "This mail is being sent now, so it can't be withdrawn. get_thread shows what becomes of it."
    if row.status == MessageStatus.QUEUED and row.replies_to is not None:
        return "This reply is queued, and has not gone out yet. not_sent withdraws it."
    if row.status == MessageStatus.QUEUED:
        return "The mail of this step is queued. update_enrollment pauses its enrollment, or skips the step."
    return (
        f"This message is {row.status}. Only a mail whose status is unknown is settled, and a queued reply withdrawn."
    )


def _complete(session: Session, row: Message, now: datetime) -> None:
    if row.action_id is None:
        return
    wanted = select(CampaignAction.lease_token).where(
        CampaignAction.campaign_id == row.campaign_id, CampaignAction.id == row.action_id
    )
    token = session.scalar(wanted)
    if token is not None:
        completion.complete(session, action_id=row.action_id, lease_token=token, now=now)

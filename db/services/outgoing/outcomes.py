"""What became of a mail that was begun, or whose sender or recipient the mail server did not take.

An answer of the mail server is a fact, whoever brings it: it holds also if another process has taken over the mailbox
meanwhile and has given the mail up as unknown. The lease of the claim tells which attempt an answer belongs to.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.field_limits import MAIL_ANSWER_MAX, MAIL_RULE_MAX, MAILBOX_PROBLEM_MAX
from db.domain.mail.effects import PROVIDER, Meaning, events_of
from db.domain.mail.verdict import OF_MAILBOX, BounceKind, MailKind, Reason, ReturnedRecipient
from db.domain.mailboxes import UNSENDABLE, MailboxCommand
from db.domain.retries import KEPT_TRYING, next_attempt
from db.domain.states import (
    STATE_AFTER,
    STATES_BEFORE,
    ActionOutcome,
    EnrollmentStatus,
    MessageCommand,
    MessageStatus,
)
from db.domain.texts import storable_part
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.services.dispatch import actions, reports
from db.services.dispatch.reports import Report
from db.services.events import events
from db.services.mail import effects, mailboxes, threads
from db.services.outgoing import claimed, completion, replies
from db.services.outgoing.mails import QueuedMail
from db.services.people import opt_outs

REFUSALS_MOST: Final = 3
"""As many refusals in a row for what the mailbox is make it failing."""
_POLICY_PAUSE: Final = timedelta(hours=1)


class Tried(NamedTuple):
    """A mail as it is kept, locked. again_at: when it is tried again, if its latest attempt is told already."""

    status: MessageStatus
    mailbox_id: UUID
    attempts: int
    first_tried_at: datetime | None
    again_at: datetime | None


class Taken(NamedTuple):
    """A mail that the mail server took: what it said, and when."""

    mail: QueuedMail
    said: str
    at: datetime


def sent(session: Session, *, taken: Sequence[Taken], now: datetime) -> None:
    """Records that mail servers took these mails, and completes their steps, in one transaction."""
    paused = _complete_all(session, [one for one in taken if one.mail.action_id is not None], now)
    rows = [_told(one.mail, said=one.said, occurred_at=one.at) for one in taken]
    _write(session, MessageCommand.SEND, rows, is_taken=True)
    if paused:
        claimed.go_on(session, enrollment_ids=paused)
    threads.refresh(session, thread_ids={id_: True for one in taken if (id_ := one.mail.thread_id) is not None})


def _complete_all(session: Session, taken: Sequence[Taken], now: datetime) -> set[UUID]:
    """Completes the steps of mails. Returns those of their enrollments that may be paused."""
    told = [
        Report(action_id, one.mail.lease_token, ActionOutcome.SENT, at=one.at)
        for one in taken
        if (action_id := one.mail.action_id) is not None
    ]
    done = reports.complete_new(session, reports=told, now=now)
    paused = {held.enrollment.id for held in done.values() if held.enrollment.status is EnrollmentStatus.PAUSED}
    others = (one for index, one in enumerate(taken) if index not in done)
    return paused | {one.mail.enrollment_id for one in others if _complete(session, one.mail, one.at)}


def refused(
    session: Session,
    *,
    mail: QueuedMail,
    code: int | None,
    said: str,
    kind: BounceKind,
    reason: Reason,
    now: datetime,
    retry_seconds: float | None = None,
) -> datetime | None:
    """Records that the mail server refused the mail for good, as a returned mail that says the same: sent and bounced.

    A refusal for what the mailbox is, and not the recipient, gives the step back for an hour; three in a row make the
    mailbox failing. Returns when the mail is tried again; None if it is not. code: None if the mail was not even
    offered: the enrollment is paused then.
    """
    if code is None:
        failed(session, mail=mail, error=said, now=now)
        return None
    message = _lock_all(session, mail, is_of_mailbox=kind in OF_MAILBOX)
    if message is None or message.again_at is not None or message.status not in STATES_BEFORE[MessageCommand.REFUSE]:
        return message and message.again_at
    if kind in OF_MAILBOX:
        _count_refusal(session, message.mailbox_id, said, now)
        return _try_again(session, mail, message, said, now, retry_seconds, at_least=_POLICY_PAUSE)
    _bounce(session, mail, said, kind, reason, now)
    return None


def deferred(
    session: Session,
    *,
    mail: QueuedMail,
    said: str,
    now: datetime,
    retry_seconds: float | None = None,
) -> datetime | None:
    """Records that the mail server did not take the mail yet. Returns when it is tried again: after 1, 5, 15 and 60
    minutes, then hourly, or after `retry_seconds` each time. None after 72 hours: it is refused as expired then."""
    message = _lock_all(session, mail, is_of_mailbox=False)
    if message is None or message.again_at is not None or message.status not in STATES_BEFORE[MessageCommand.DEFER]:
        return message and message.again_at
    return _try_again(session, mail, message, said, now, retry_seconds)


def unknown(session: Session, *, mail: QueuedMail, said: str = "", now: datetime) -> None:
    """Records that the connection ended before the mail server said whether it took the mail. The enrollment waits for
    a sign of it, or for a person."""
    found = claimed.lock(session, enrollment_ids=[] if mail.action_id is None else [mail.enrollment_id])
    message = _lock(session, mail)
    if message is None or message.status is not MessageStatus.SENDING or not _is_own(session, mail):
        return
    _write(session, MessageCommand.LOSE, [_told(mail, said=said)])
    if mail.action_id is not None:  # no step waits for what became of a reply
        claimed.lose(session, enrollments=found, lost={mail.enrollment_id: mail.action_id}, now=now)


def failed(session: Session, *, mail: QueuedMail, error: str, now: datetime) -> None:
    """Records that the mail can't be sent at all, as one whose bytes can't be made. The enrollment is paused, as after
    a report that the step failed. LeaseLost if the step was claimed again."""
    if mail.action_id is None:
        replies.drop(session, mail=mail, why=storable_part(error)[:MAIL_ANSWER_MAX])
        return
    actions.complete(
        session,
        action_id=mail.action_id,
        lease_token=mail.lease_token,
        outcome=ActionOutcome.FAILED,
        provider=None,
        provider_message_id=None,
        error=storable_part(error) or None,
        now=now,
    )
    _lock(session, mail)
    _write(session, MessageCommand.DROP, [_told(mail, said=error)])


def _complete(session: Session, mail: QueuedMail, now: datetime) -> bool:
    """Completes the step of a mail, if it is one. Returns whether its enrollment is paused."""
    if mail.action_id is None:
        return False
    return completion.complete(session, action_id=mail.action_id, lease_token=mail.lease_token, now=now)


def _try_again(
    session: Session,
    mail: QueuedMail,
    message: Tried,
    said: str,
    now: datetime,
    retry_seconds: float | None,
    at_least: timedelta = timedelta(0),
) -> datetime | None:
    since = message.first_tried_at or now
    again_at = next_attempt(message.attempts, since=since, now=now, retry_seconds=retry_seconds, at_least=at_least)
    if again_at is None:
        _bounce(session, mail, said, BounceKind.EXPIRED, Reason.of(KEPT_TRYING, said), now)
        return None
    told = _told(mail, said=said, attempts=message.attempts + 1, again_at=again_at, since=since)
    _write(session, MessageCommand.DEFER, [told])
    if mail.action_id is not None:
        claimed.give_back(session, action_ids=[mail.action_id], now=now, due_at=again_at)
        claimed.go_on(session, enrollment_ids=[mail.enrollment_id], due_at=again_at)
        threads.leave(session, message_id=mail.message_id)
    return again_at


def _bounce(session: Session, mail: QueuedMail, said: str, kind: BounceKind, reason: Reason, now: datetime) -> None:
    """Records the mail as sent and returned. The caller has locked its person."""
    _complete(session, mail, now)
    told = _told(mail, said=said, bounce=kind, rule=reason.rule, occurred_at=now)
    # Who was kept trying got no answer that says what the mailbox is.
    _write(session, MessageCommand.REFUSE, [told], is_taken=reason.rule != KEPT_TRYING)
    if mail.action_id is not None:
        claimed.go_on(session, enrollment_ids=[mail.enrollment_id])
    returned = ReturnedRecipient(mail.recipient.address, kind, reason)
    in_a_row = effects.returned_in_a_row(session, message_id=mail.message_id, contact_id=mail.contact_id, at=now)
    found = events_of(
        mail.message_id,
        Meaning(MailKind.BOUNCE, (returned,), in_a_row),
        enrollment_id=mail.enrollment_id,
        step_number=mail.step_number,
        occurred_at=now,
    )
    events.record_events(session, events=found, from_provider=True, source=PROVIDER)


def _count_refusal(session: Session, mailbox_id: UUID, said: str, now: datetime) -> None:
    refusals = mailboxes.note_refusal(session, mailbox_id=mailbox_id)
    if refusals >= REFUSALS_MOST:  # and 0 where the mailbox was removed meanwhile
        row = mailboxes.find(session, mailbox=mailbox_id, is_locked=True)
        problem = (
            f"{UNSENDABLE}Its mail server has refused {refusals} mails in a row for what the mailbox is, the last so: "
            f"{said} check_mailbox shows what may be wrong; update_mailbox with status active sends again."
        )
        mailboxes.command(
            session, row=row, command=MailboxCommand.FAIL, problem=storable_part(problem)[:MAILBOX_PROBLEM_MAX], now=now
        )


_LOCK = text("""
    SELECT status, mailbox_id, attempts, first_tried_at, next_attempt_at FROM messages
    WHERE id = :message AND status IS NOT NULL FOR NO KEY UPDATE
""")
_TOKEN = text("SELECT lease_token FROM campaign_actions WHERE instance_id = :campaign AND id = :action")
_TOKEN_OF_REPLY = text("SELECT claim_token FROM messages WHERE id = :message")
_OF_MESSAGE = text("SELECT mailbox_id FROM messages WHERE id = :message")


def _lock(session: Session, mail: QueuedMail) -> Tried | None:
    row = session.execute(_LOCK, {"message": mail.message_id}).one_or_none()
    return None if row is None else Tried(MessageStatus(row[0]), *row[1:])


def _lock_all(session: Session, mail: QueuedMail, *, is_of_mailbox: bool) -> Tried | None:
    """Locks all that an answer can change, in the order in which everybody does: the mailbox, the person, the
    enrollment, the message. Returns the message, if the answer is to the latest attempt."""
    mailbox_id = session.scalar(_OF_MESSAGE, {"message": mail.message_id})
    if is_of_mailbox and mailbox_id is not None:
        session.get(Mailbox, mailbox_id, with_for_update=True)
    opt_outs.lock_addresses(session, contact_ids=[mail.contact_id])
    claimed.lock(session, enrollment_ids=[mail.enrollment_id])
    message = _lock(session, mail)
    return message if message is not None and _is_own(session, mail) else None


def _is_own(session: Session, mail: QueuedMail) -> bool:
    """Returns whether nobody has claimed the step or the reply since."""
    if mail.action_id is None:
        return session.scalar(_TOKEN_OF_REPLY, {"message": mail.message_id}) == mail.lease_token
    return session.scalar(_TOKEN, {"campaign": mail.campaign_id, "action": mail.action_id}) == mail.lease_token


# Of mails that were taken, or refused for their recipient: no refusal for what the mailbox is came last.
_WRITE = text("""
    WITH written AS (
        UPDATE messages m
        SET status = :status, answer = w.answer, bounce = w.bounce, rule = w.rule,
            attempts = coalesce(w.attempts, m.attempts), first_tried_at = coalesce(w.since, m.first_tried_at),
            next_attempt_at = w.again_at, occurred_at = coalesce(w.occurred_at, m.occurred_at), updated_at = now()
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(
            id uuid, answer text, bounce text, rule text, attempts int, since timestamptz, again_at timestamptz,
            occurred_at timestamptz)
        WHERE m.id = w.id AND m.status = ANY (:before)
        RETURNING m.mailbox_id
    )
    UPDATE mailboxes SET refusals = 0, updated_at = now()
    WHERE id IN (SELECT mailbox_id FROM written) AND refusals > 0 AND :is_taken
""")


def _write(
    session: Session, command: MessageCommand, rows: Sequence[Mapping[str, Any]], *, is_taken: bool = False
) -> None:
    """Writes what became of mails, each a row of `_told`. is_taken: their mailboxes can send."""
    before = [str(state) for state in STATES_BEFORE[command]]
    given = {**rows_parameter(rows), "status": STATE_AFTER[command], "before": before, "is_taken": is_taken}
    session.execute(_WRITE, given)


def _told(
    mail: QueuedMail,
    *,
    said: str,
    bounce: BounceKind | None = None,
    rule: str | None = None,
    attempts: int | None = None,
    since: datetime | None = None,
    again_at: datetime | None = None,
    occurred_at: datetime | None = None,
) -> dict[str, Any]:
    return {
        "id": mail.message_id,
        "answer": storable_part(said)[:MAIL_ANSWER_MAX] or None,
        "bounce": bounce,
        "rule": rule[:MAIL_RULE_MAX] if rule else None,
        "attempts": attempts,
        "since": since,
        "again_at": again_at,
        "occurred_at": occurred_at,
    }

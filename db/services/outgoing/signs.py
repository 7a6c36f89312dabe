"""Signs that a mail went out of which nobody knew, or which was still to go: a copy in Sent, an answer, a report."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.states import STATE_AFTER, STATES_BEFORE, MessageCommand, MessageDirection, MessageStatus
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.mail import threads
from db.services.outgoing import claimed, completion


class _Told(NamedTuple):
    """A mail that something is known of by now. is_step_sent: its step is known to be sent. went_out: it was begun, and
    there is a sign that it went out; else it is to go no more. A reply has no step, and its thread from the beginning.
    """

    id: UUID
    enrollment_id: UUID
    action_id: UUID | None
    lease_token: UUID | None
    is_step_sent: bool
    went_out: bool
    thread_id: UUID | None = None


_NAMES = named("id", "enrollment_id", "action_id", "lease_token", "is_step_sent", "went_out")
_ACTION = """
    JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id AND a.lease_token IS NOT NULL
"""
_MOST: Final = 500

_TOLD = text(f"""
    SELECT m.id, m.enrollment_id, m.action_id, a.lease_token, a.sent_at IS NOT NULL,
           m.sending_at IS NOT NULL AND (a.sent_at IS NOT NULL OR m.came_back)
    FROM messages m {_ACTION}
    JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
    WHERE m.mailbox_id = :mailbox AND m.status IN ('{MessageStatus.QUEUED}', '{MessageStatus.UNKNOWN}')
      AND (a.sent_at IS NOT NULL OR (m.came_back AND m.sending_at IS NOT NULL)
           OR (m.status = '{MessageStatus.QUEUED}'
               AND (e.status NOT IN ('enrolled', 'active', 'paused') OR a.step_number <= e.current_step)))
    ORDER BY m.id LIMIT {_MOST}
""").columns(*_NAMES)
_UNSURE = ", ".join(f"'{state}'" for state in STATES_BEFORE[MessageCommand.SEND] if state is not MessageStatus.SENT)
_FOUND = text(f"""
    SELECT m.id, m.enrollment_id, m.action_id, a.lease_token, a.sent_at IS NOT NULL, TRUE,
           CASE WHEN m.replies_to IS NOT NULL THEN m.thread_id END
    FROM messages m LEFT {_ACTION}
    WHERE m.internet_message_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
      AND m.direction = '{MessageDirection.OUT}' AND m.sending_at IS NOT NULL AND m.status IN ({_UNSURE})
      AND (a.id IS NOT NULL OR m.replies_to IS NOT NULL)
    ORDER BY m.id
""").columns(*_NAMES, *named("thread_id"))


def settle(session: Session, *, mailbox_id: UUID, now: datetime) -> int:
    """Settles the mails of a mailbox whose step is known to be sent, or which somebody has answered: they went out, or
    are not needed any more. Drops those that wait for an enrollment that has ended or has passed their step. Returns
    how many."""
    return _settle(session, session.execute(_TOLD, {"mailbox": mailbox_id}).all(), now)


def are_unsettled(session: Session, *, internet_message_ids: Iterable[str]) -> bool:
    """Returns whether one of these Message-IDs is of a mail of which nobody knows whether it went out."""
    return bool(_rows(session, internet_message_ids))


def found(session: Session, *, internet_message_ids: Iterable[str], now: datetime) -> int:
    """Notes that mails with these Message-IDs were seen where only mails are that went out, as in Sent: those of which
    nobody knew are sent, and their enrollments go on. Returns how many."""
    return _settle(session, _rows(session, internet_message_ids), now)


def _rows(session: Session, internet_message_ids: Iterable[str]) -> Sequence[Sequence[Any]]:
    ids = sorted({id_ for id_ in internet_message_ids if id_})
    return session.execute(_FOUND, rows_parameter(ids)).all() if ids else ()


LOOKED_FOR: Final = timedelta(hours=72)
"""For how long a mail is looked for of which nobody knows whether it went out. A person settles it then."""
_LOOKED_FOR_MOST: Final = 50
_UNKNOWN = text(f"""
    SELECT b.id, m.internet_message_id
    FROM (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid) AS id) b
    CROSS JOIN LATERAL (
        SELECT internet_message_id FROM messages
        WHERE mailbox_id = b.id AND status = '{MessageStatus.UNKNOWN}' AND sending_at >= :since
        ORDER BY id DESC LIMIT {_LOOKED_FOR_MOST}
    ) m
""").columns(*named("id", "internet_message_id"))


def unknown_ids(session: Session, *, mailbox_ids: Collection[UUID], now: datetime) -> Mapping[UUID, Sequence[str]]:
    """Returns mailbox -> the Message-IDs of its latest mails of which nobody knows whether they went out, as long as
    they are looked for."""
    found: dict[UUID, list[str]] = {}
    given = {**rows_parameter(sorted(mailbox_ids)), "since": now - LOOKED_FOR}
    for mailbox_id, internet_message_id in session.execute(_UNKNOWN, given):
        found.setdefault(mailbox_id, []).append(internet_message_id)
    return found


_WRITE = text("""
    UPDATE messages m SET status = w.status, next_attempt_at = NULL, updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, status text, before text[])
    WHERE m.id = w.id AND m.status = ANY (w.before)
""")


def _settle(session: Session, rows: Iterable[Sequence[Any]], now: datetime) -> int:
    told = [_Told(*row) for row in rows]
    if not told:
        return 0
    steps = [mail for mail in told if mail.action_id is not None]
    claimed.lock(session, enrollment_ids={mail.enrollment_id for mail in steps})
    for mail in steps:
        if mail.went_out and not mail.is_step_sent and mail.action_id and mail.lease_token:
            completion.complete(session, action_id=mail.action_id, lease_token=mail.lease_token, now=now)
    session.execute(_WRITE, rows_parameter([_row(mail) for mail in told]))
    claimed.go_on(session, enrollment_ids={mail.enrollment_id for mail in steps if mail.went_out})
    threads.refresh(session, thread_ids={mail.thread_id: True for mail in told if mail.thread_id is not None})
    return len(told)


def _row(mail: _Told) -> dict[str, Any]:
    command = MessageCommand.SEND if mail.went_out else MessageCommand.DROP
    before = [str(state) for state in STATES_BEFORE[command]]
    return {"id": mail.id, "status": STATE_AFTER[command], "before": before}

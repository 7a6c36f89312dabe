"""Threads: which messages belong together, what is the latest, and who has to answer."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.domain.errors import NotFound
from db.domain.mail.verdict import MailKind
from db.domain.states import (
    STATES_BEFORE,
    Channel,
    MessageCommand,
    MessageDirection,
    MessageStatus,
    ThreadsIn,
    ThreadState,
)
from db.models import Message, MessageBody, Thread
from db.postgres.json import rows_parameter
from db.services.paging import Page, page

_JOINING = f"""
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid) AS id
    ), joining AS MATERIALIZED (
        SELECT m.id, m.instance_id, m.enrollment_id, e.contact_id, coalesce(m.mailbox_id, e.mailbox_id) AS mailbox_id,
               m.subject,
               coalesce(a.sent_at, m.occurred_at) AS at,
               CASE WHEN m.new_thread THEN m.id ELSE coalesce(before.thread_id, m.id) END AS thread_id
        FROM asked JOIN messages m ON {{found_by}}
        JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
        JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id
        LEFT JOIN LATERAL (
            SELECT p.thread_id FROM messages p
            JOIN campaign_actions earlier ON earlier.instance_id = p.instance_id AND earlier.id = p.action_id
            WHERE p.enrollment_id = m.enrollment_id AND p.thread_id IS NOT NULL
              AND earlier.step_number < a.step_number
            ORDER BY earlier.step_number DESC LIMIT 1
        ) before ON TRUE
        WHERE m.channel = '{Channel.EMAIL}' AND m.thread_id IS NULL
    ), kept AS (
        INSERT INTO threads (id, instance_id, enrollment_id, contact_id, mailbox_id, subject, last_message_at, messages)
        SELECT DISTINCT ON (thread_id) thread_id, instance_id, enrollment_id, contact_id, mailbox_id, subject, at, 1
        FROM joining ORDER BY thread_id, at
        ON CONFLICT (id) DO UPDATE
        SET messages = threads.messages + 1,
            last_message_at = greatest(threads.last_message_at, excluded.last_message_at)
    )
    UPDATE messages m SET thread_id = joining.thread_id FROM joining WHERE m.id = joining.id
    RETURNING m.id, m.thread_id
"""
_JOIN = text(_JOINING.format(found_by="m.id = asked.id"))
_JOIN_STEPS = text(_JOINING.format(found_by=f"m.action_id = asked.id AND m.direction = '{MessageDirection.OUT}'"))


def join_sent(session: Session, *, message_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
    """Puts mails that were sent into their threads: that of the step before, or a new one. Returns message -> thread,
    of those that were in none."""
    if not message_ids:
        return {}
    found = session.execute(_JOIN, rows_parameter(sorted(message_ids)))
    return dict(tuple(row) for row in found)


def join_steps(session: Session, *, action_ids: Collection[UUID]) -> None:
    """Puts the mails of steps that were sent into their threads; so those of which nobody knows whether they were."""
    if action_ids:
        session.execute(_JOIN_STEPS, rows_parameter(sorted(action_ids)))


_LEAVE = text("""
    WITH leaving AS MATERIALIZED (
        SELECT id, thread_id FROM messages
        WHERE id = :message AND action_id IS NOT NULL AND thread_id IS NOT NULL
    ), left_over AS (
        UPDATE messages m SET thread_id = NULL, updated_at = now() FROM leaving WHERE m.id = leaving.id
    )
    SELECT thread_id FROM leaving
""")
_DELETE_EMPTY = text("""
    DELETE FROM threads t WHERE t.id = :thread AND NOT EXISTS (SELECT FROM messages WHERE thread_id = t.id)
""")


def leave(session: Session, *, message_id: UUID) -> None:
    """Takes the mail of a step out of its thread, as it was not sent; it joins one once it is. A thread that was begun
    for it alone is deleted."""
    thread_id = session.scalar(_LEAVE, {"message": message_id})
    if thread_id is not None:
        session.execute(_DELETE_EMPTY, {"thread": thread_id})
        refresh(session, thread_ids={thread_id: False})


# What somebody wrote last decides who has to answer. Steps of the campaign and mails of programs answer nobody, and a
# reply answers what was there when it was written: who has written since waits for another.
_REFRESH = text(f"""
    UPDATE threads t
    SET messages = current.messages, last_message_at = current.last_message_at, last_kind = current.last_kind,
        mailbox_id = coalesce(t.mailbox_id, current.mailbox_id),
        state = CASE WHEN t.state = '{ThreadState.CLOSED}' AND NOT current.reopens THEN t.state ELSE current.state END,
        updated_at = now()
    FROM (
        SELECT w.id, w.reopens, latest.messages, latest.last_message_at, received.kind AS last_kind,
               received.mailbox_id,
               CASE WHEN said.kind = '{MailKind.HUMAN}' THEN '{ThreadState.NEEDS_ANSWER}'
                    WHEN said.id IS NOT NULL THEN '{ThreadState.ANSWERED}'
                    ELSE '{ThreadState.WAITING}' END AS state
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, reopens bool)
        CROSS JOIN LATERAL (
            SELECT count(*) AS messages, max(occurred_at) AS last_message_at FROM messages
            WHERE thread_id = w.id AND (replies_to IS NULL OR status = '{MessageStatus.SENT}')
        ) latest
        LEFT JOIN LATERAL (
            SELECT kind, mailbox_id FROM messages
            WHERE thread_id = w.id AND direction = '{MessageDirection.IN}' AND kind IS NOT NULL
            ORDER BY occurred_at DESC, id DESC LIMIT 1
        ) received ON TRUE
        LEFT JOIN LATERAL (
            SELECT m.id, m.kind FROM messages m LEFT JOIN messages answered ON answered.id = m.replies_to
            WHERE m.thread_id = w.id AND (m.kind IN ('{MailKind.HUMAN}', '{MailKind.OWNER_WROTE}')
                                          OR (m.replies_to IS NOT NULL AND m.status = '{MessageStatus.SENT}'))
            ORDER BY coalesce(answered.occurred_at, m.occurred_at) DESC, m.replies_to IS NULL, m.id DESC LIMIT 1
        ) said ON TRUE
        WHERE latest.messages > 0
    ) current
    WHERE t.id = current.id
""")


def refresh(session: Session, *, thread_ids: Mapping[UUID, bool]) -> None:
    """Brings what is told of threads up to date with their messages: thread -> whether it opens if it was closed."""
    rows = [{"id": id_, "reopens": reopens} for id_, reopens in sorted(thread_ids.items())]
    if rows:
        session.execute(_REFRESH, rows_parameter(rows))


_SENDABLE = ", ".join(f"'{state}'" for state in STATES_BEFORE[MessageCommand.SEND] if state is not MessageStatus.SENT)
_CAME_BACK = text(f"""
    UPDATE messages
    SET came_back = TRUE, status = CASE WHEN replies_to IS NULL THEN status ELSE '{MessageStatus.SENT}' END,
        next_attempt_at = CASE WHEN replies_to IS NULL THEN next_attempt_at END, updated_at = now()
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND sending_at IS NOT NULL AND status IN ({_SENDABLE})
""")


def note_came_back(session: Session, *, message_ids: Collection[UUID]) -> None:
    """Notes that mails came in that refer to these. Replies of which nobody knew whether they went out are sent; steps
    are by the next call of signs.settle, which completes them."""
    if message_ids:
        session.execute(_CAME_BACK, rows_parameter(sorted(message_ids)))


def list_(
    session: Session,
    *,
    campaign_id: UUID | None = None,
    contact_id: UUID | None = None,
    mailbox_id: UUID | None = None,
    state: ThreadsIn | None = None,
    kind: MailKind | None = None,
    since: datetime | None = None,
    limit: int,
    cursor: str | None,
) -> Page[Thread]:
    """Returns threads, that with the latest message first. kind: of the latest message that came in."""
    statement = select(Thread)
    for column, value in (
        (Thread.campaign_id, campaign_id),
        (Thread.contact_id, contact_id),
        (Thread.mailbox_id, mailbox_id),
        (Thread.state, None if state is ThreadsIn.DELIVERY_UNKNOWN else state),
        (Thread.last_kind, kind),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if state is ThreadsIn.DELIVERY_UNKNOWN:
        # Found first, since they are few: a walk along the latest threads would look at all of them.
        unknown = select(Message.thread_id).where(Message.status == MessageStatus.UNKNOWN)
        statement = statement.where(Thread.id == func.any(func.array(unknown.scalar_subquery())))
    if since is not None:
        statement = statement.where(Thread.last_message_at >= since)
    return page(
        session, statement, by=[Thread.last_message_at, Thread.id], limit=limit, cursor=cursor, listing="threads"
    )


def get(session: Session, *, thread_id: UUID, is_locked: bool = False) -> Thread:
    """Returns a thread. NotFound if there is none."""
    statement = select(Thread).where(Thread.id == thread_id)
    row = session.scalars(statement.with_for_update() if is_locked else statement).one_or_none()
    if row is None:
        raise NotFound("thread", thread_id, hint="list_threads shows those there are.")
    return row


def messages_of(session: Session, *, thread_id: UUID, limit: int) -> Sequence[Message]:
    """Returns the latest messages of a thread that were sent or came in, the oldest first."""
    latest = (
        select(Message)
        .where(Message.thread_id == thread_id, Message.status.is_distinct_from(MessageStatus.PENDING))
        .order_by(Message.occurred_at.desc(), Message.id.desc())
        .limit(limit)
    )
    return list(reversed(session.scalars(latest).all()))


def close(session: Session, *, thread_id: UUID) -> Thread:
    """Closes a thread: it needs no answer. A new message of a person opens it again."""
    row = get(session, thread_id=thread_id, is_locked=True)
    row.state = ThreadState.CLOSED
    session.flush()
    return row


def words_of(session: Session, *, message_ids: Collection[UUID]) -> dict[UUID, str | None]:
    """Returns message -> what it says: of one that came in, what the person wrote."""
    wanted = select(MessageBody.message_id, MessageBody.body).where(MessageBody.message_id.in_(message_ids))
    return {row.message_id: row.body for row in session.execute(wanted)}

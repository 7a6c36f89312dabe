"""Reads the state of enrollments under lock and writes it back. Every change of status passes through `changes`, so
campaign_enrollment_totals can be trusted."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.states import EnrollmentStatus, StopReason
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.state import conversation_rows, counters


class Key(NamedTuple):
    """An enrollment, by its whole primary key."""

    campaign_id: UUID
    enrollment_id: UUID


def key_row(key: Key) -> dict[str, UUID]:
    """Returns the columns of tables that refer to the enrollment."""
    return {"instance_id": key.campaign_id, "enrollment_id": key.enrollment_id}


_CHANGING = (
    "status",
    "current_step",
    "next_action_at",
    "delay_from",
    "stop_reason",
    "pause_reason",
    "paused_until",
    "unsubscribed_at",
    "inferred_until",
    "mailbox_id",
    "busy_since",
)
_state: Callable[[Enrollment], tuple[Any, ...]] = attrgetter(*_CHANGING)
"""The columns of an enrollment that can change."""

Snapshot = Mapping[UUID, tuple[Any, ...]]
"""enrollment -> its state at that time"""

ERASED = "erased"
"""The key in an enrollment's metadata that marks its person as erased."""

COLUMNS = f"""
    e.instance_id, e.id, e.contact_id, e.status, e.current_step, e.next_action_at, e.a_b_variant, e.stop_reason,
    e.metadata ? '{ERASED}', e.delay_from, e.zone, e.pause_reason, e.paused_until, e.unsubscribed_at,
    e.inferred_until, e.mailbox_id
"""
NAMES = named(
    "campaign_id",
    "id",
    "contact_id",
    "status",
    "current_step",
    "next_action_at",
    "a_b_variant",
    "stop_reason",
    "erased",
    "delay_from",
    "zone",
    "pause_reason",
    "paused_until",
    "unsubscribed_at",
    "inferred_until",
    "mailbox_id",
)


# Look-up tables, because a batch makes thousands of members and the constructors of enums are ten times slower.
_STATUSES = {str(status): status for status in EnrollmentStatus}
_REASONS = {None: None, **{str(reason): reason for reason in StopReason}}


def from_row(columns: Sequence[Any]) -> Enrollment:
    """Returns the enrollment of a row of COLUMNS."""
    campaign_id, id_, contact_id, status, current_step, next_action_at, variant, reason, is_erased, *rest = columns
    delay_from, zone, pause_reason, paused_until, unsubscribed_at, inferred_until, mailbox_id = rest
    return Enrollment(
        campaign_id,
        id_,
        contact_id,
        _STATUSES[status],
        current_step,
        next_action_at,
        variant,
        _REASONS[reason],
        is_erased,
        delay_from,
        zone,
        pause_reason=pause_reason,
        paused_until=paused_until,
        unsubscribed_at=unsubscribed_at,
        inferred_until=inferred_until,
        mailbox_id=mailbox_id,
    )


def ids(enrollment: Enrollment) -> dict[str, Any]:
    """Returns what a log line says of an enrollment."""
    return {"campaign": str(enrollment.campaign_id), "enrollment": str(enrollment.id)}


def snapshot(enrollments: Iterable[Enrollment]) -> Snapshot:
    """Returns the state of enrollments, to find out later what has changed."""
    return {enrollment.id: _state(enrollment) for enrollment in enrollments}


def restore(before: Snapshot, enrollments: Iterable[Enrollment]) -> None:
    """Sets them in memory to what they were then."""
    for enrollment in enrollments:
        for name, value in zip(_CHANGING, before[enrollment.id], strict=True):
            setattr(enrollment, name, value)


_OPEN_OF_CONTACTS = text(f"""
    SELECT {COLUMNS} FROM campaign_enrollments e
    WHERE e.contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND e.status IN ('enrolled', 'active', 'paused')
      AND (CAST(:campaign AS uuid) IS NULL OR e.instance_id = :campaign)
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")
_ONE = text(f"SELECT {COLUMNS} FROM campaign_enrollments e WHERE e.id = :id FOR NO KEY UPDATE OF e")


def lock_open_of_contacts(
    session: Session, *, contact_ids: Iterable[UUID], campaign_id: UUID | None = None
) -> list[Enrollment]:
    """Returns the enrollments of these people that have not ended, locked: in every campaign, or in one."""
    values = {**rows_parameter(list(contact_ids)), "campaign": campaign_id}
    return [from_row(row) for row in session.execute(_OPEN_OF_CONTACTS, values)]


_SOME = text(f"""
    SELECT {COLUMNS} FROM campaign_enrollments e
    WHERE e.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")


def lock_some(session: Session, *, enrollment_ids: Iterable[UUID]) -> list[Enrollment]:
    """Returns the enrollments with these ids, locked."""
    return [from_row(row) for row in session.execute(_SOME, rows_parameter(sorted(enrollment_ids)))]


def lock_one(session: Session, *, enrollment_id: UUID) -> Enrollment | None:
    """Returns one enrollment, locked; None if there is none of that id."""
    row = session.execute(_ONE, {"id": enrollment_id}).one_or_none()
    return from_row(row) if row else None


# The limit only changes the planner's estimate: ten rows, not the hundred of any function, for which it would read a
# table of ten thousand enrollments from end to end to write one. It is a subquery, so that the planner never sees its
# value: a plan for one row looks cheaper than a generic plan, and would be made again for every call.
WRITING = """
    UPDATE campaign_enrollments e
    SET status = n.status, current_step = n.current_step, next_action_at = n.next_action_at,
        stop_reason = n.stop_reason, delay_from = n.delay_from, pause_reason = n.pause_reason,
        paused_until = n.paused_until, unsubscribed_at = n.unsubscribed_at, inferred_until = n.inferred_until,
        mailbox_id = n.mailbox_id, busy_since = n.busy_since, draft_again_at = NULL, updated_at = now()
    FROM (SELECT * FROM jsonb_populate_recordset(NULL::campaign_enrollments, CAST(:enrollments AS jsonb))
          LIMIT (SELECT jsonb_array_length(CAST(:enrollments AS jsonb)))) n
    WHERE e.instance_id = n.instance_id AND e.id = n.id
"""
"""The statement that writes rows of `Changes.rows`, its parameter `enrollments`."""
_WRITE = text(WRITING)


class Changes(NamedTuple):
    """The rows to write for changed enrollments, and the changes in the totals by status. Who writes them wakes the
    people of those that ended: see conversation_rows.wake."""

    rows: list[dict[str, Any]]
    moves: Counter[tuple[UUID, EnrollmentStatus]]
    ended: Sequence[UUID] = ()
    """The people whose enrollments have ended, so that other campaigns may write to them."""


def changes(before: Snapshot, after: Iterable[Enrollment]) -> Changes:
    """Returns the enrollments that differ from `before`."""
    changed = [enrollment for enrollment in after if _state(enrollment) != before[enrollment.id]]
    moves: Counter[tuple[UUID, EnrollmentStatus]] = Counter()
    for enrollment in changed:
        moves[enrollment.campaign_id, before[enrollment.id][0]] -= 1
        moves[enrollment.campaign_id, enrollment.status] += 1
    ended = [enrollment.contact_id for enrollment in changed if not enrollment.is_open]
    return Changes([_values(enrollment) for enrollment in changed], moves, ended)


def save(session: Session, *, before: Snapshot, after: Iterable[Enrollment]) -> None:
    """Writes the enrollments that differ from `before` and their totals by status. The caller has locked them."""
    changed = changes(before, after)
    if changed.rows:
        session.execute(_WRITE, {"enrollments": rows_parameter(changed.rows)["rows"]})
        counters.add_statuses(session, changed.moves)
        conversation_rows.wake(session, contact_ids=changed.ended)


def _values(enrollment: Enrollment) -> dict[str, Any]:
    return {
        "instance_id": enrollment.campaign_id,
        "id": enrollment.id,
        "status": enrollment.status,
        "current_step": enrollment.current_step,
        "next_action_at": enrollment.next_action_at,
        "stop_reason": enrollment.stop_reason,
        "delay_from": enrollment.delay_from,
        "pause_reason": enrollment.pause_reason if enrollment.status is EnrollmentStatus.PAUSED else None,
        "paused_until": enrollment.paused_until if enrollment.status is EnrollmentStatus.PAUSED else None,
        "unsubscribed_at": enrollment.unsubscribed_at,
        "inferred_until": enrollment.inferred_until,
        "mailbox_id": enrollment.mailbox_id,
        "busy_since": enrollment.busy_since,
    }

"""The state of enrollments, read under lock and written back. Every change of a status passes through `changes`, which
is why campaign_enrollment_totals can be trusted."""

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
from db.services.state import counters


class Key(NamedTuple):
    """An enrollment, by its whole primary key."""

    instance_id: UUID
    enrollment_id: UUID


_CHANGING = (
    "status",
    "current_step",
    "next_action_at",
    "delay_from",
    "stop_reason",
    "pause_reason",
    "unsubscribed_at",
    "inferred_until",
)
_state: Callable[[Enrollment], tuple[Any, ...]] = attrgetter(*_CHANGING)
"""What can change of an enrollment."""

Snapshot = Mapping[UUID, tuple[Any, ...]]
"""enrollment -> its state then"""

ERASED = "erased"
"""The key in an enrollment's metadata that says that its person was erased."""

COLUMNS = f"""
    e.instance_id, e.id, e.contact_id, e.status, e.current_step, e.next_action_at, e.a_b_variant, e.stop_reason,
    e.metadata ? '{ERASED}', e.delay_from, e.zone, e.pause_reason, e.unsubscribed_at, e.inferred_until
"""
NAMES = named(
    "instance_id",
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
    "unsubscribed_at",
    "inferred_until",
)


# Look-ups, since a batch makes thousands of members and the enums' own constructors are ten times slower.
_STATUSES = {str(status): status for status in EnrollmentStatus}
_REASONS = {None: None, **{str(reason): reason for reason in StopReason}}


def from_row(columns: Sequence[Any]) -> Enrollment:
    """The enrollment of a row of COLUMNS."""
    instance_id, id_, contact_id, status, current_step, next_action_at, variant, reason, is_erased, *rest = columns
    delay_from, zone, pause_reason, unsubscribed_at, inferred_until = rest
    return Enrollment(
        instance_id,
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
        unsubscribed_at=unsubscribed_at,
        inferred_until=inferred_until,
    )


def ids(enrollment: Enrollment) -> dict[str, Any]:
    """What a line of the log says of an enrollment."""
    return {"campaign": str(enrollment.instance_id), "enrollment": str(enrollment.id)}


def snapshot(enrollments: Iterable[Enrollment]) -> Snapshot:
    """What they are like now, to tell later what has changed."""
    return {each.id: _state(each) for each in enrollments}


def restore(before: Snapshot, enrollments: Iterable[Enrollment]) -> None:
    """Make them in memory what they were then."""
    for each in enrollments:
        for name, value in zip(_CHANGING, before[each.id], strict=True):
            setattr(each, name, value)


_OPEN_OF_CONTACTS = text(f"""
    SELECT {COLUMNS} FROM campaign_enrollments e
    WHERE e.contact_id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
      AND e.status IN ('enrolled', 'active', 'paused')
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")
_ONE = text(f"SELECT {COLUMNS} FROM campaign_enrollments e WHERE e.id = :id FOR NO KEY UPDATE OF e")


def lock_open_of_contacts(session: Session, *, contact_ids: Iterable[UUID]) -> list[Enrollment]:
    """The enrollments of these people that have not ended, in every campaign, locked."""
    return [from_row(row) for row in session.execute(_OPEN_OF_CONTACTS, rows_parameter(list(contact_ids)))]


def lock_one(session: Session, *, enrollment_id: UUID) -> Enrollment | None:
    """One enrollment, locked; None if there is none of that id."""
    row = session.execute(_ONE, {"id": enrollment_id}).one_or_none()
    return from_row(row) if row else None


# The limit changes nothing but what the planner expects: ten rows, and not the hundred of any function, for which it
# would read a table of ten thousand enrollments from end to end to write one. It is a query, so that the planner never
# sees its value: a plan for one row looks cheaper than a plan for any number, and would be made anew for every call.
WRITING = """
    UPDATE campaign_enrollments e
    SET status = n.status, current_step = n.current_step, next_action_at = n.next_action_at,
        stop_reason = n.stop_reason, delay_from = n.delay_from, pause_reason = n.pause_reason,
        unsubscribed_at = n.unsubscribed_at, inferred_until = n.inferred_until, updated_at = now()
    FROM (SELECT * FROM jsonb_populate_recordset(NULL::campaign_enrollments, CAST(:enrollments AS jsonb))
          LIMIT (SELECT jsonb_array_length(CAST(:enrollments AS jsonb)))) n
    WHERE e.instance_id = n.instance_id AND e.id = n.id
"""
"""The statement that writes rows of `Changes.rows`, its parameter `enrollments`."""
_WRITE = text(WRITING)


class Changes(NamedTuple):
    """What is different of some enrollments: the rows to write, and what it does to the totals by status."""

    rows: list[dict[str, Any]]
    moves: Counter[tuple[UUID, EnrollmentStatus]]


def changes(before: Snapshot, after: Iterable[Enrollment]) -> Changes:
    """The enrollments that differ from `before`."""
    changed = [each for each in after if _state(each) != before[each.id]]
    moves: Counter[tuple[UUID, EnrollmentStatus]] = Counter()
    for each in changed:
        moves[each.instance_id, before[each.id][0]] -= 1
        moves[each.instance_id, each.status] += 1
    return Changes([_values(each) for each in changed], moves)


def save(session: Session, *, before: Snapshot, after: Iterable[Enrollment]) -> None:
    """Write the enrollments that differ from `before` (the caller holds them locked), and their totals by status."""
    changed = changes(before, after)
    if changed.rows:
        session.execute(_WRITE, {"enrollments": rows_parameter(changed.rows)["rows"]})
        counters.add_statuses(session, changed.moves)


def _values(enrollment: Enrollment) -> dict[str, Any]:
    return {
        "instance_id": enrollment.instance_id,
        "id": enrollment.id,
        "status": enrollment.status,
        "current_step": enrollment.current_step,
        "next_action_at": enrollment.next_action_at,
        "stop_reason": enrollment.stop_reason,
        "delay_from": enrollment.delay_from,
        "pause_reason": enrollment.pause_reason if enrollment.status is EnrollmentStatus.PAUSED else None,
        "unsubscribed_at": enrollment.unsubscribed_at,
        "inferred_until": enrollment.inferred_until,
    }

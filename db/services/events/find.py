"""Finds the enrollments that events are about, and locks them: people who are stopped first, then all in key order."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.events import ABOUT_ADDRESS, NewEvent
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.state.enrollment_rows import COLUMNS, NAMES, from_row


@dataclass(slots=True)
class Locked:
    """The enrollments that a batch may change, each once, however many events are about it."""

    enrollments: dict[UUID, Enrollment] = field(default_factory=dict[UUID, Enrollment])
    of_event: dict[int, tuple[Enrollment, int | None]] = field(default_factory=dict[int, tuple[Enrollment, int | None]])
    """index of the event -> (its enrollment, the step that its message id belongs to)"""
    of_contact: dict[UUID, list[Enrollment]] = field(default_factory=lambda: defaultdict(list))
    of_kept_message: set[int] = field(default_factory=set[int])
    """The indices of events whose message is kept beside those that the actions of their enrollment hold."""

    @classmethod
    def of(cls, enrollments: Sequence[Enrollment]) -> Self:
        """Returns the state for one event of each of these enrollments, in order, which are locked already and not
        stopped everywhere."""
        locked = cls(
            {enrollment.id: enrollment for enrollment in enrollments},
            {index: (enrollment, None) for index, enrollment in enumerate(enrollments)},
        )
        for enrollment in enrollments:
            locked.of_contact[enrollment.contact_id].append(enrollment)
        return locked


# Our own id is surest, then the provider's message id, then the person within the campaign, by a present or an earlier
# address. The look-ups are lateral with a limit, so that each probes an index even if the planner thinks that a table
# is small enough to scan.
_KEPT = 3
_FOUND = f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            event int, enrollment_id uuid, provider text, message_id text, campaign_id uuid, email text, stops bool)
    ), found AS MATERIALIZED (
        SELECT g.event, 1 AS rank, e.instance_id, e.id, NULL::int AS step_number, g.stops
        FROM given g CROSS JOIN LATERAL (
            SELECT instance_id, id FROM campaign_enrollments WHERE id = g.enrollment_id LIMIT 1
        ) e
        UNION ALL
        SELECT g.event, 2, a.instance_id, a.enrollment_id, a.step_number, g.stops
        FROM given g CROSS JOIN LATERAL (
            SELECT instance_id, enrollment_id, step_number FROM campaign_actions
            WHERE provider_message_id = g.message_id
              AND (g.provider IS NULL OR provider IS NULL OR provider = g.provider)
            ORDER BY id DESC LIMIT 1
        ) a
        UNION ALL
        SELECT g.event, {_KEPT}, m.instance_id, m.enrollment_id, NULL, g.stops
        FROM given g CROSS JOIN LATERAL (
            SELECT instance_id, enrollment_id FROM campaign_messages
            WHERE provider_message_id = g.message_id
              AND (g.provider IS NULL OR provider IS NULL OR provider = g.provider)
            ORDER BY enrollment_id DESC LIMIT 1
        ) m
        UNION ALL
        SELECT g.event, 4, e.instance_id, e.id, NULL, g.stops
        FROM given g
        CROSS JOIN LATERAL (SELECT id FROM contacts WHERE lower(email) = g.email LIMIT 1) c
        CROSS JOIN LATERAL (
            SELECT instance_id, id FROM campaign_enrollments
            WHERE contact_id = c.id AND instance_id = g.campaign_id LIMIT 1
        ) e
        UNION ALL
        SELECT g.event, 5, e.instance_id, e.id, NULL, g.stops
        FROM given g
        CROSS JOIN LATERAL (
            SELECT e.instance_id, e.id FROM contact_addresses a
            JOIN campaign_enrollments e ON e.contact_id = a.contact_id AND e.instance_id = g.campaign_id
            WHERE a.address = g.email
            ORDER BY EXISTS (SELECT FROM campaign_actions x WHERE x.enrollment_id = e.id
                             AND x.instance_id = e.instance_id AND x.sent_to = g.email) DESC, e.id DESC
            LIMIT 1
        ) e
    )
"""

# The people whom an event stops or holds everywhere, found by enrollment or by address alone.
_STOPPED = """
    SELECT e.contact_id FROM found f JOIN campaign_enrollments e USING (instance_id, id) WHERE f.stops
    UNION
    SELECT c.id FROM given g CROSS JOIN LATERAL (SELECT id FROM contacts WHERE lower(email) = g.email LIMIT 1) c
    WHERE g.stops
    UNION
    SELECT a.contact_id FROM given g JOIN contact_addresses a ON a.address = g.email WHERE g.stops
"""
_LOCK_CONTACTS = text(f"""
    {_FOUND}
    SELECT c.id FROM contacts c WHERE c.id IN ({_STOPPED}) ORDER BY c.id FOR UPDATE
""")

_LOCKED = f"""
    SELECT f.event, f.rank, f.step_number, {COLUMNS}
    FROM (SELECT * FROM {{found}} ORDER BY instance_id, id) f
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_enrollments WHERE instance_id = f.instance_id AND id = f.id FOR NO KEY UPDATE
    ) e
"""

_NAMES = (*named("event", "rank", "hint"), *NAMES)
_LOCK = text(_FOUND + _LOCKED.format(found="found")).columns(*_NAMES)

_LOCK_WITH_PEOPLE = text(f"""
    {_FOUND}, people AS MATERIALIZED (
        SELECT event, rank, step_number, instance_id, id FROM found
        UNION ALL
        SELECT NULL, NULL, NULL, other.instance_id, other.id
        FROM ({_STOPPED}) stopped JOIN campaign_enrollments other ON other.contact_id = stopped.contact_id
        WHERE other.status IN ('enrolled', 'active', 'paused')
    ) {_LOCKED.format(found="people")}
""").columns(*_NAMES)


def lock_enrollments(session: Session, *, events: Sequence[NewEvent]) -> Locked:
    """Returns the enrollments of `events`, locked until the transaction ends. Unmatched events are not in
    `of_event`."""
    parameter = rows_parameter([_reference(index, event) for index, event in enumerate(events)])
    if any(event.suppresses or event.is_reply for event in events):
        # Contacts are locked first, so that nobody enrolls the person in another campaign meanwhile.
        session.execute(_LOCK_CONTACTS, parameter)
        rows = session.execute(_LOCK_WITH_PEOPLE, parameter)
    else:
        rows = session.execute(_LOCK, parameter)
    locked = Locked()
    ranks: dict[int, int] = {}
    steps: dict[int, tuple[UUID, int]] = {}
    kept: dict[int, UUID] = {}
    for event, rank, step_number, *columns in rows.all():
        enrollment = _enrollment(locked, columns)
        if event is None:
            continue
        if step_number is not None:
            steps[event] = (enrollment.id, step_number)
        if rank == _KEPT:
            kept[event] = enrollment.id
        if rank < ranks.get(event, 6):
            ranks[event] = rank
            locked.of_event[event] = (enrollment, step_number)
    for event, (enrollment_id, step_number) in steps.items():
        # The message tells the step, also if a surer reference found the enrollment.
        enrollment, _ = locked.of_event[event]
        if enrollment.id == enrollment_id:
            locked.of_event[event] = (enrollment, step_number)
    locked.of_kept_message = {event for event, id_ in kept.items() if locked.of_event[event][0].id == id_}
    _leave_others(session, events, locked)
    return locked


# Addresses that the person of the enrollment neither has nor had, and to which no step of it went.
_OTHERS = text("""
    SELECT g.event
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS g(event int, contact_id uuid, instance_id uuid, id uuid, email text)
    JOIN contacts c ON c.id = g.contact_id
    WHERE lower(c.email) <> g.email
      AND NOT EXISTS (SELECT FROM contact_addresses a WHERE a.contact_id = g.contact_id AND a.address = g.email)
      AND NOT EXISTS (SELECT FROM campaign_actions x WHERE x.instance_id = g.instance_id AND x.enrollment_id = g.id
                      AND lower(x.sent_to) = g.email)
""")


def _leave_others(session: Session, events: Sequence[NewEvent], locked: Locked) -> None:
    """Makes a bounce or complaint of an address that is not the person's an event of that address alone: it is of a
    colleague in copy, or of somebody to whom the mail was forwarded."""
    named = [
        {
            "event": index,
            "contact_id": found.contact_id,
            "instance_id": found.campaign_id,
            "id": found.id,
            "email": email,
        }
        for index, (found, _) in locked.of_event.items()
        if events[index].event_type in ABOUT_ADDRESS and (email := events[index].email) is not None
    ]
    if not named:
        return
    others: Sequence[int] = session.scalars(_OTHERS, rows_parameter(named)).all()
    for index in others:
        del locked.of_event[index]
        events[index].forget_references()


def _reference(index: int, event: NewEvent) -> dict[str, Any]:
    return {
        "event": index,
        "enrollment_id": event.enrollment_id,
        "provider": event.provider,
        "message_id": event.provider_message_id,
        "campaign_id": event.campaign_id,
        "email": event.email,
        "stops": event.suppresses or event.is_reply,
    }


def _enrollment(locked: Locked, columns: Sequence[Any]) -> Enrollment:
    known = locked.enrollments.get(columns[1])
    if known is not None:
        return known
    enrollment = from_row(columns)
    locked.enrollments[enrollment.id] = enrollment
    locked.of_contact[enrollment.contact_id].append(enrollment)
    return enrollment

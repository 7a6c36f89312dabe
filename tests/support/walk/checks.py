"""What must hold after each command of a random walk, whatever the commands."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from db.domain.metrics import COUNTERS, MILESTONES
from db.domain.states import EnrollmentStatus, StopReason
from db.postgres.database import Database

ENDED = frozenset({EnrollmentStatus.COMPLETED, EnrollmentStatus.BOUNCED, EnrollmentStatus.UNSUBSCRIBED})


class Person(NamedTuple):
    """An enrollment, as far as it is compared. `done`: the highest step that was sent or skipped."""

    campaign_id: UUID
    contact_id: UUID
    status: str
    stop_reason: str | None
    current_step: int
    next_action_at: datetime | None
    campaign_status: str
    done: int
    is_suppressed: bool


@dataclass(slots=True)
class Look:
    """What the tables hold at a moment, and the sums that differ from a recount."""

    enrollments: dict[UUID, Person] = field(default_factory=dict[UUID, Person])
    wrong: Sequence[object] = ()


_LOOK = text("""
    SELECT e.id, e.instance_id, e.contact_id,
           CASE WHEN e.paused_until <= :now AND i.status <> 'draft' THEN 'active' ELSE e.status END,
           e.stop_reason, e.current_step, e.next_action_at, i.status,
           coalesce((SELECT max(step_number) FROM campaign_actions a
                     WHERE a.enrollment_id = e.id AND a.status IN ('sent', 'skipped')), 0),
           c.erased_at IS NOT NULL OR EXISTS (
               SELECT FROM suppressions s
               WHERE (s.email = c.email OR s.domain = split_part(c.email, '@', 2) OR s.linkedin_url = c.linkedin_url)
                 AND (s.expires_at IS NULL OR s.expires_at > :now))
    FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id JOIN contacts c ON c.id = e.contact_id
    ORDER BY i.id, e.id
""")
_COUNTED = ", ".join([*(f"count({name}_at)" for name in MILESTONES), "sum(open_count)", "sum(click_count)"])
# Rows that are only kept or only counted, and limits with fewer reservations than steps that hold one (a step that is
# passed by hand keeps its reservation, since it may have been sent). There are none if all is well.
_WRONG = text(f"""
    WITH counted AS (
        SELECT instance_id, concat_ws(' ', 'step', step_number, channel, a_b_variant, day) AS what,
               concat_ws(' ', {_COUNTED}) AS sums
        FROM campaign_actions, LATERAL (SELECT (coalesce(sent_at, failed_at) AT TIME ZONE 'UTC')::date AS day) d
        WHERE day IS NOT NULL GROUP BY instance_id, step_number, channel, a_b_variant, day
        UNION ALL
        SELECT instance_id, status, count(*)::text FROM campaign_enrollments GROUP BY 1, 2
    ), kept AS (
        SELECT instance_id, concat_ws(' ', 'step', step_number, channel, nullif(a_b_variant, ''), cohort_day) AS what,
               concat_ws(' ', {", ".join(COUNTERS)}) AS sums
        FROM campaign_metrics WHERE step_number > 0 AND ({" + ".join(COUNTERS)}) <> 0
        UNION ALL
        SELECT instance_id, status, total::text FROM campaign_enrollment_totals WHERE total <> 0
    )
    SELECT what, counted.sums, kept.sums FROM counted FULL JOIN kept USING (instance_id, what)
    WHERE counted.sums IS DISTINCT FROM kept.sums
    UNION ALL
    SELECT 'reservations', count(*)::text, u.used::text
    FROM (SELECT instance_id, quarter, sum(used) AS used FROM campaign_usage GROUP BY 1, 2) u JOIN campaign_actions a
        ON a.instance_id = u.instance_id AND date_bin('15 minutes', a.reserved_at, 'epoch') = u.quarter
        AND a.status IN ('claimed', 'sent')
    GROUP BY u.instance_id, u.quarter, u.used HAVING count(*) > u.used
""")


def look(database: Database, now: datetime) -> Look:
    with database.transaction("look") as session:
        people = {row[0]: Person(*row[1:]) for row in session.execute(_LOOK, {"now": now})}
        return Look(people, [tuple(row) for row in session.execute(_WRONG)])


def check(before: Look, after: Look, *, reopens: bool) -> None:
    """Nothing moves back, nobody is forgotten, and every counter equals a recount. reopens: whether a person may have
    opened an enrollment that had ended."""
    for id_, person in after.enrollments.items():
        _check_person(person)
        if id_ in before.enrollments:
            _check_move(before.enrollments[id_], person, reopens=reopens)
    assert not after.wrong, f"counted and kept differ: {after.wrong}"


def _check_person(person: Person) -> None:
    if person.status == EnrollmentStatus.ACTIVE:
        assert person.next_action_at is not None, f"somebody is active without a moment ({person.campaign_status})"
    if person.campaign_status == "completed":
        assert person.status in ENDED, f"somebody is {person.status} in a completed campaign"


def _check_move(old: Person, new: Person, *, reopens: bool) -> None:
    assert new.current_step >= old.current_step, f"current_step fell from {old.current_step} to {new.current_step}"
    is_reopened = reopens and old.status != EnrollmentStatus.UNSUBSCRIBED
    is_open_or_ended = old.status not in ENDED or new.status in ENDED
    assert is_open_or_ended or is_reopened, f"an enrollment went from {old.status} to {new.status}"
    if old.stop_reason == StopReason.UNSUBSCRIBED:
        assert new.stop_reason == StopReason.UNSUBSCRIBED, f"somebody's unsubscribe became {new.stop_reason}"

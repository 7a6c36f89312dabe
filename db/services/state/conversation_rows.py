"""Conversations: with whom a person talks now. One campaign at a time writes to a person, and the others wait.

The row of a person names the enrollment that has the conversation. Its primary key is the rule: whoever claims a step
takes the row in the same transaction, or leaves the step. The row is live while its enrollment goes on and something of
it is claimed or sent, and `days_between_campaigns` longer after what was sent last. What is not live is taken over.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.conversations import Conversation, Rules
from db.domain.enrollment import Enrollment
from db.domain.states import ActionStatus
from db.postgres.json import rows_parameter
from db.postgres.results import named

# What counts is what other campaigns have sent, by claims or by hand. Who has the conversation waits for none of them.
_ASKED = f"""
    asked AS MATERIALIZED (
        SELECT instance_id, id, contact_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS a(instance_id uuid, id uuid, contact_id uuid)
    ), rules AS MATERIALIZED (
        SELECT nullif(max(days_between_campaigns), 0) * interval '24 hours' AS pause,
               nullif(max(touches_per_week), 0) AS touches
        FROM settings
    ), others AS MATERIALIZED (
        SELECT a.id, o.instance_id AS campaign_id, x.touched_at + r.pause AS until,
               coalesce(
                   v.enrollment_id = o.id AND (x.is_claimed OR x.touched_at IS NOT NULL)
                   AND o.status IN ('enrolled', 'active', 'paused') AND i.status IN ('draft', 'active', 'paused'),
                   false
               ) AS is_live,
               v.enrollment_id IS NOT DISTINCT FROM a.id AS is_own
        FROM asked a
        CROSS JOIN rules r
        JOIN campaign_enrollments o ON o.contact_id = a.contact_id AND o.id <> a.id
        JOIN campaign_instances i ON i.id = o.instance_id
        LEFT JOIN conversations v ON v.contact_id = a.contact_id
        CROSS JOIN LATERAL (
            SELECT max(sent_at) AS touched_at, bool_or(status = '{ActionStatus.CLAIMED}') AS is_claimed
            FROM campaign_actions WHERE enrollment_id = o.id AND instance_id = o.instance_id
        ) x
    ), full_weeks AS MATERIALIZED (
        SELECT a.id, nth.sent_at + interval '168 hours' AS until, r.touches
        FROM asked a
        JOIN rules r ON r.touches IS NOT NULL
        CROSS JOIN LATERAL (
            SELECT x.sent_at FROM campaign_enrollments e
            JOIN campaign_actions x ON x.instance_id = e.instance_id AND x.enrollment_id = e.id
            WHERE e.contact_id = a.contact_id AND x.sent_at > CAST(:now AS timestamptz) - interval '168 hours'
            ORDER BY x.sent_at DESC OFFSET r.touches - 1 LIMIT 1
        ) nth
    ), held AS MATERIALIZED (
        SELECT id, campaign_id, CASE WHEN NOT is_live THEN until END AS until, CAST(NULL AS int) AS touches
        FROM others WHERE is_live OR (NOT is_own AND until > :now)
        UNION ALL
        SELECT id, NULL, until, touches FROM full_weeks
    )
"""
_BUSY = text(f"""
    WITH {_ASKED}
    SELECT DISTINCT ON (h.id) h.id, h.campaign_id, i.name, h.until, h.touches, e.busy_since
    FROM held h
    JOIN campaign_enrollments e ON e.id = h.id
    LEFT JOIN campaign_instances i ON i.id = h.campaign_id
    ORDER BY h.id, h.until DESC NULLS FIRST, h.campaign_id
""").columns(*named("id", "campaign_id", "name", "until", "touches", "since"))


OF_ANOTHER: Final = """EXISTS (
    SELECT FROM conversations v
    JOIN campaign_enrollments o ON o.instance_id = v.instance_id AND o.id = v.enrollment_id
    WHERE v.contact_id = e.contact_id AND v.enrollment_id <> e.id AND o.status IN ('enrolled', 'active', 'paused')
)"""
"""Whether the person of an enrollment `e` has a conversation with another one that goes on."""


class Busy(NamedTuple):
    """Why a person gets nothing of a campaign now: another campaign writes to them, or has until lately, or they got as
    much in a week as they may. until: when that is over; None while the other campaign goes on. since: when the step
    was due, if it waits already."""

    campaign_id: UUID | None
    campaign: str | None
    until: datetime | None
    touches: int | None
    since: datetime | None


def busy(session: Session, *, enrollments: Sequence[Enrollment], now: datetime) -> dict[UUID, Busy]:
    """Returns, of these enrollments, those whose person gets nothing of their campaign now."""
    if not enrollments:
        return {}
    found = session.execute(_BUSY, {**_rows(enrollments), "now": now})
    return {id_: Busy(*rest) for id_, *rest in found}


_OF_PEOPLE = text(f"""
    WITH asked AS MATERIALIZED (
        SELECT id FROM (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid) AS id) a
        WHERE :alone OR (SELECT count(*) FROM (
            SELECT FROM campaign_enrollments WHERE contact_id = a.id LIMIT 2
        ) several) = 2
    )
    SELECT a.id, e.id, v.enrollment_id IS NOT NULL,
           e.status IN ('enrolled', 'active', 'paused') AND i.status IN ('draft', 'active', 'paused'),
           x.touched_at, x.is_claimed, x.recent
    FROM asked a
    JOIN campaign_enrollments e ON e.contact_id = a.id
    JOIN campaign_instances i ON i.id = e.instance_id
    LEFT JOIN conversations v ON v.contact_id = a.id AND v.enrollment_id = e.id
    CROSS JOIN LATERAL (
        SELECT max(sent_at) AS touched_at, bool_or(status = '{ActionStatus.CLAIMED}') AS is_claimed,
               array_agg(sent_at) FILTER (WHERE sent_at > CAST(:now AS timestamptz) - interval '168 hours') AS recent
        FROM campaign_actions WHERE enrollment_id = e.id AND instance_id = e.instance_id
    ) x
""")
_PEOPLE: Final = 20_000


def of_people(
    session: Session, *, contact_ids: Iterable[UUID], rules: Rules, now: datetime
) -> dict[UUID, Conversation]:
    """Returns what is known of those of these people who have enrollments in several campaigns, or of all if the rules
    hold also who is in one alone."""
    found: dict[UUID, Conversation] = {}
    ids = sorted(set(contact_ids))
    for start in range(0, len(ids), _PEOPLE):
        values = {**rows_parameter(ids[start : start + _PEOPLE]), "alone": rules.touches > 0, "now": now}
        for row in session.execute(_OF_PEOPLE, values):
            _note(found, *row)
    for known in found.values():
        known.recent.sort()
    return found


def _note(
    found: dict[UUID, Conversation],
    contact_id: UUID,
    enrollment_id: UUID,
    is_holder: bool,
    is_open: bool,
    touched_at: datetime | None,
    is_claimed: bool | None,
    recent: Sequence[datetime] | None,
) -> None:
    """Adds what is known of one enrollment."""
    known = found.get(contact_id)
    if known is None:
        known = found[contact_id] = Conversation()
    if is_holder:
        known.holder, known.is_live = enrollment_id, is_open and (bool(is_claimed) or touched_at is not None)
    if touched_at is not None:
        known.touched[enrollment_id] = touched_at
    known.recent += recent or ()


def _rows(enrollments: Iterable[Enrollment]) -> dict[str, Any]:
    return rows_parameter(
        [
            {"instance_id": enrollment.campaign_id, "id": enrollment.id, "contact_id": enrollment.contact_id}
            for enrollment in enrollments
        ]
    )


# Nobody waits here, so claims that take the same people in another order never wait for one another: the first gets the
# lock of a person, and the others leave them. Who has a conversation that is live can't lose it, and needs no lock.
_LOCK = text(f"""
    WITH asked AS MATERIALIZED (
        SELECT a.instance_id, a.id, a.contact_id, EXISTS (
            SELECT FROM conversations v
            JOIN campaign_actions x ON x.instance_id = v.instance_id AND x.enrollment_id = v.enrollment_id
            WHERE v.contact_id = a.contact_id AND v.enrollment_id = a.id
              AND (x.sent_at IS NOT NULL OR x.status = '{ActionStatus.CLAIMED}')
        ) AS is_mine
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS a(instance_id uuid, id uuid, contact_id uuid)
    )
    SELECT id, is_mine FROM asked
    WHERE CASE WHEN is_mine THEN true
          ELSE pg_try_advisory_xact_lock(hashtextextended('conversation/' || contact_id, 0)) END
""").columns(*named("id", "is_mine"))
# Looked at again under the lock: who had it before may have taken the conversation meanwhile.
_TAKE = text(f"""
    WITH {_ASKED}, free AS MATERIALIZED (
        SELECT a.contact_id, a.instance_id, a.id FROM asked a WHERE NOT EXISTS (SELECT FROM held h WHERE h.id = a.id)
    )
    INSERT INTO conversations (contact_id, instance_id, enrollment_id)
    SELECT contact_id, instance_id, id FROM free ORDER BY contact_id
    ON CONFLICT (contact_id) DO UPDATE
    SET instance_id = excluded.instance_id, enrollment_id = excluded.enrollment_id, updated_at = excluded.updated_at
    RETURNING enrollment_id
""")


def take(session: Session, *, enrollments: Sequence[Enrollment], now: datetime) -> set[UUID]:
    """Takes the conversations of these people for enrollments that are to be handed out, and are locked. Returns the
    enrollments that have theirs: one of a person. Somebody else is about to take those of the others."""
    if not enrollments:
        return set()
    locked = {id_: is_mine for id_, is_mine in session.execute(_LOCK, _rows(enrollments))}  # noqa: C416  no pairs
    first: dict[UUID, Enrollment] = {}
    for enrollment in enrollments:
        if locked.get(enrollment.id) is False:
            first.setdefault(enrollment.contact_id, enrollment)
    new = list(first.values())
    mine = {id_ for id_, is_mine in locked.items() if is_mine}
    return mine | set(session.scalars(_TAKE, {**_rows(new), "now": now})) if new else mine


_FREE = text(f"""
    DELETE FROM conversations v
    WHERE v.enrollment_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND NOT EXISTS (
          SELECT FROM campaign_actions x
          WHERE x.instance_id = v.instance_id AND x.enrollment_id = v.enrollment_id
            AND (x.sent_at IS NOT NULL OR x.status = '{ActionStatus.CLAIMED}')
      )
    RETURNING v.contact_id
""")


def free(session: Session, *, enrollment_ids: Iterable[UUID]) -> None:
    """Ends the conversations of enrollments of which nothing was sent and nothing is claimed any more, and wakes who
    waits for them."""
    ids = sorted(set(enrollment_ids))
    wake(session, contact_ids=session.scalars(_FREE, rows_parameter(ids)).all() if ids else ())


_HAND_ON = text("""
    UPDATE conversations v SET instance_id = e.instance_id, enrollment_id = e.id, updated_at = now()
    FROM campaign_enrollments e WHERE e.id = :to AND v.contact_id = e.contact_id AND v.enrollment_id = :former
""")


def hand_on(session: Session, *, former: UUID, to: UUID) -> None:
    """Gives the conversation of an enrollment to another of the same person, which goes on with it."""
    session.execute(_HAND_ON, {"former": former, "to": to})


# Nobody is waited for: a step that somebody else has in hand is looked at again within the hour.
_WAKING = """
    UPDATE campaign_enrollments e
    SET next_action_at = least(e.next_action_at, e.busy_since), busy_since = NULL, updated_at = now()
    FROM waiting w WHERE e.instance_id = w.instance_id AND e.id = w.id
"""
_WAKE = text(f"""
    WITH waiting AS MATERIALIZED (
        SELECT instance_id, id FROM campaign_enrollments
        WHERE contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
          AND busy_since IS NOT NULL AND next_action_at IS NOT NULL
        ORDER BY instance_id, id FOR NO KEY UPDATE SKIP LOCKED
    ) {_WAKING} RETURNING 1
""")
_WAKE_BESIDES = text(f"""
    WITH waiting AS MATERIALIZED (
        SELECT instance_id, id FROM campaign_enrollments w
        WHERE busy_since IS NOT NULL AND next_action_at IS NOT NULL AND EXISTS (
            SELECT FROM campaign_enrollments o WHERE o.contact_id = w.contact_id AND o.instance_id = :campaign
        )
        ORDER BY instance_id, id LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
    ) {_WAKING}
""")
_WAKE_ALL = text(f"""
    WITH waiting AS MATERIALIZED (
        SELECT instance_id, id FROM campaign_enrollments
        WHERE busy_since IS NOT NULL AND next_action_at IS NOT NULL
        ORDER BY instance_id, id LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
    ) {_WAKING}
""")
_MOST: Final = 20_000
"""So many are woken at once; the others look again by themselves."""


def wake(session: Session, *, contact_ids: Iterable[UUID]) -> bool:
    """Makes the steps of these people due again that wait for a conversation. The next claim finds out if they have to
    wait on. Returns whether there were any."""
    ids = sorted(set(contact_ids))
    return bool(ids) and session.execute(_WAKE, rows_parameter(ids)).first() is not None


def wake_besides(session: Session, *, campaign_id: UUID) -> None:
    """Does so for the people of a campaign that has ended."""
    session.execute(_WAKE_BESIDES, {"campaign": campaign_id, "most": _MOST})


def wake_all(session: Session) -> None:
    """Does so for everybody, since the rules have changed."""
    session.execute(_WAKE_ALL, {"most": _MOST})

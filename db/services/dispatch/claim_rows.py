"""What a claim writes: actions, the words that were handed out, and enrollments, in one statement."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.counting import Deltas, contribution
from db.domain.events import EFFECTS, EventType
from db.postgres.json import to_text
from db.postgres.results import named
from db.services.state import counters, enrollment_rows, message_rows

_WRITE = text(f"""
    WITH actions AS MATERIALIZED (
        INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, a_b_variant, status,
                                      lease_token, lease_until, error, sender, sent_to, reserved_at, claimed_at,
                                      linkedin_type)
        SELECT instance_id, id, enrollment_id, step_number, channel, a_b_variant, status, lease_token, lease_until,
               error, sender, sent_to, reserved_at, claimed_at, linkedin_type
        FROM jsonb_populate_recordset(NULL::campaign_actions, CAST(:actions AS jsonb))
        ON CONFLICT (enrollment_id, step_number, instance_id) DO UPDATE
        SET status = excluded.status, lease_token = excluded.lease_token, lease_until = excluded.lease_until,
            error = excluded.error, reported = NULL, sender = excluded.sender, sent_to = excluded.sent_to,
            reserved_at = excluded.reserved_at, linkedin_type = excluded.linkedin_type,
            updated_at = excluded.updated_at,
            claimed_at = coalesce(campaign_actions.claimed_at, excluded.claimed_at),
            a_b_variant = CASE WHEN campaign_actions.failed_at IS NULL THEN excluded.a_b_variant
                          ELSE campaign_actions.a_b_variant END
        RETURNING instance_id, enrollment_id, id, channel, a_b_variant, failed_at
    ), {message_rows.KEEPING}, enrollments AS ({enrollment_rows.WRITING} RETURNING 1)
    SELECT actions.enrollment_id, actions.id, kept.internet_message_id, a_b_variant, failed_at
    FROM actions LEFT JOIN kept ON kept.enrollment_id = actions.enrollment_id
""").columns(*named("enrollment_id", "id", "internet_message_id", "a_b_variant", "failed_at"))
_CHANGE_VARIANT = text("""
    UPDATE campaign_actions SET a_b_variant = :variant, updated_at = now() WHERE instance_id = :campaign AND id = :id
""")


class HandedAction(NamedTuple):
    """An action as it is kept, and the Message-ID of its mail, if that has one."""

    id: UUID
    internet_message_id: str | None


def write(
    session: Session,
    actions: Sequence[dict[str, Any]],
    messages: Sequence[dict[str, Any]],
    changed: enrollment_rows.Changes,
) -> dict[UUID, HandedAction]:
    """Writes the actions, their messages and the changed enrollments, and leaves it to the caller to wake whoever waits
    for those that ended. Returns enrollment -> its action. A sent step can't be among these, since it lies behind its
    enrollment."""
    if not (actions or changed.rows):
        return {}
    values = {"actions": to_text(actions), "messages": to_text(messages), "enrollments": to_text(changed.rows)}
    given = {row["enrollment_id"]: row for row in actions}
    handed: dict[UUID, HandedAction] = {}
    deltas = Deltas()
    for enrollment_id, id_, internet_message_id, variant, failed_at in session.execute(_WRITE, values).all():
        handed[enrollment_id] = HandedAction(id_, internet_message_id)
        row = given[enrollment_id]
        if variant != row["a_b_variant"]:
            _count_as(deltas, row, variant, failed_at)
            values = {"variant": row["a_b_variant"], "campaign": row["instance_id"], "id": id_}
            session.execute(_CHANGE_VARIANT, values)
    counters.METRICS.add(session, counters.metrics_rows(deltas))
    counters.add_statuses(session, changed.moves)
    return handed


def _count_as(deltas: Deltas, row: Mapping[str, Any], variant: str | None, failed_at: datetime) -> None:
    """Moves the counted failure of a step to the variant that it is handed out in now, in which it is another step."""
    action = Action(row["instance_id"], row["enrollment_id"], row["step_number"], row["channel"], variant)
    action.apply(EFFECTS[EventType.FAILED], failed_at)
    before = contribution(action)
    action.a_b_variant = row["a_b_variant"]
    deltas.change(before, contribution(action))

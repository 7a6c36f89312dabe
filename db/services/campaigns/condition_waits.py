"""Who waits for the condition of a step is looked at again once it may have become true."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.scheduling import Plan, Recipient, due_at, next_step, waits_until
from db.postgres.json import rows_parameter
from db.services.campaigns import plans

# Few templates have a step that waits, and people of others are left alone.
_READ = """
    SELECT e.id, e.instance_id, e.contact_id, e.a_b_variant, e.current_step, e.delay_from, e.next_action_at
    FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id
    WHERE e.{column} = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND e.status IN ('active', 'paused') AND e.next_action_at IS NOT NULL AND e.delay_from IS NOT NULL
      AND (
          EXISTS (
              SELECT FROM email_sequences s
              WHERE s.template_id = i.template_id AND s.step_number > e.current_step AND s.condition ? 'wait_hours'
          ) OR EXISTS (
              SELECT FROM linkedin_sequences s
              WHERE s.template_id = i.template_id AND s.step_number > e.current_step AND s.condition ? 'wait_hours'
          )
      )
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
"""
_OF_ENROLLMENTS = text(_READ.format(column="id"))
_OF_PEOPLE = text(_READ.format(column="contact_id"))
_WAKE = text("""
    UPDATE campaign_enrollments e
    SET next_action_at = greatest(n.due, e.paused_until, c.absent_until), updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(instance_id uuid, id uuid, contact_id uuid, due timestamptz)
    JOIN contacts c ON c.id = n.contact_id
    WHERE e.instance_id = n.instance_id AND e.id = n.id
""")


def end_of_enrollments(session: Session, *, enrollment_ids: Iterable[UUID]) -> None:
    """Makes the steps due for which these enrollments wait. A claim finds out if their conditions are true now."""
    ids = sorted(set(enrollment_ids))
    _wake(session, session.execute(_OF_ENROLLMENTS, rows_parameter(ids)) if ids else ())


def end_of_people(session: Session, *, contact_ids: Iterable[UUID]) -> None:
    """Does so for people, whom the caller has locked, in all their campaigns."""
    ids = sorted(set(contact_ids))
    _wake(session, session.execute(_OF_PEOPLE, rows_parameter(ids)) if ids else ())


class _Waiting(NamedTuple):
    """Somebody whose next step is due at `until`."""

    id: UUID
    campaign_id: UUID
    contact_id: UUID
    a_b_variant: str | None
    current_step: int
    delay_from: datetime
    until: datetime

    def due(self, plan: Plan) -> datetime | None:
        """Returns when the step was due, if it waits for its condition."""
        step = next_step(plan.steps, self.current_step, Recipient(self.campaign_id, self.contact_id, self.a_b_variant))
        if step is None or waits_until(self.delay_from, step) != self.until:
            return None
        return due_at(self.delay_from, step)


def _wake(session: Session, found: Iterable[Sequence[Any]]) -> None:
    waiting = [_Waiting(*row) for row in found]
    known = plans.of_campaigns(session, campaign_ids={one.campaign_id for one in waiting}) if waiting else {}
    due = {one: one.due(known[one.campaign_id]) for one in waiting}
    rows = [
        {"instance_id": one.campaign_id, "id": one.id, "contact_id": one.contact_id, "due": at}
        for one, at in due.items()
        if at is not None
    ]
    if rows:
        session.execute(_WAKE, rows_parameter(rows))

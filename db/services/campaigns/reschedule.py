"""Gives waiting enrollments a new due time when another step comes next, or the same one after another delay. The delay
belongs to the step that is sent.

A step that was handed out is not held back again by a new delay, whatever has become of its lease.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.conditions import Condition
from db.domain.scheduling import Recipient, Stage, Step, choose, stage_after
from db.postgres.json import rows_parameter
from db.services.campaigns import plans

# Large enough to make round trips cheap, and small enough to stay far from statement_timeout.
_CHUNK = 20_000

_LOCK_CAMPAIGNS = text("""
    SELECT id FROM campaign_instances WHERE template_id = :template AND status IN ('draft', 'active', 'paused')
    ORDER BY id FOR NO KEY UPDATE
""")
# This marks what was read of a campaign before as outdated.
_TOUCH_CAMPAIGNS = text("""
    UPDATE campaign_instances SET updated_at = now()
    WHERE template_id = :template AND status IN ('draft', 'active', 'paused')
""")
# Includes enrollments that have not come as far as the changed steps: a report or an event may take them there at this
# moment. It is waited for, or waits, and reads the changed steps.
# They are locked alone; told are those who have come as far, and the last one, after whom the next chunk begins.
_COMING = text("""
    WITH locked AS MATERIALIZED (
        SELECT e.id, e.contact_id, e.a_b_variant, e.current_step FROM campaign_enrollments e
        WHERE e.instance_id = :campaign AND e.id > :after AND e.status IN ('enrolled', 'active', 'paused')
          AND e.current_step < :beyond
        ORDER BY e.id LIMIT :chunk FOR NO KEY UPDATE
    )
    SELECT * FROM locked
    WHERE current_step >= :first OR id = (SELECT id FROM locked ORDER BY id DESC LIMIT 1) ORDER BY id
""")
# A step under lease stays with its holder: nothing else is due before the lease ends. `known`: the step that comes next
# as before, after another delay. It is looked up by its key, and most have none yet; NOT EXISTS would read the other
# steps of everybody. The delay is added in UTC, by name: an addition to a timestamptz depends on the time zone of the
# session.
_MOVE = text("""
    UPDATE campaign_enrollments e SET updated_at = now(), busy_since = NULL, next_action_at = greatest(
        (e.delay_from AT TIME ZONE 'UTC' + n.hours * interval '1 hour') AT TIME ZONE 'UTC',
        (SELECT max(a.lease_until) FROM campaign_actions a
         WHERE a.enrollment_id = e.id AND a.instance_id = e.instance_id AND a.step_number > e.current_step
           AND a.status = 'claimed'),
        e.paused_until, (SELECT c.absent_until FROM contacts c WHERE c.id = e.contact_id))
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, hours int, known int)
    WHERE e.instance_id = :campaign AND e.id = n.id AND e.delay_from IS NOT NULL AND (
        SELECT status FROM campaign_actions a
        WHERE a.enrollment_id = e.id AND a.instance_id = e.instance_id AND a.step_number = n.known
    ) IS DISTINCT FROM 'claimed'
""")


class _Gap(NamedTuple):
    """The enrollments that have done a step from `first` on and none from `beyond` on: `stage` comes next for them now,
    and `was` did before."""

    first: int
    beyond: int
    was: Stage
    stage: Stage

    def move(self, recipient: Recipient) -> dict[str, int | None] | None:
        """Returns the delay of the next step for `recipient`, and its number if it is the same step as before; None if
        nothing changes."""
        was, step = choose(self.was, recipient), choose(self.stage, recipient)
        if step is None:
            return None
        if was is None or was.step_number != step.step_number:
            return {"hours": step.delay_hours, "known": None}
        is_new = (was.delay_hours, was.condition) != (step.delay_hours, step.condition)
        return {"hours": step.delay_hours, "known": step.step_number} if is_new else None


def lock_campaigns(session: Session, *, template_id: UUID) -> Sequence[UUID]:
    """Returns the campaigns of a template that have not ended, locked before its steps are changed. Whoever enrolls
    people or takes steps meanwhile is waited for, or reads the changed steps."""
    return session.scalars(_LOCK_CAMPAIGNS, {"template": template_id}).all()


def after_a_change(
    session: Session, *, template_id: UUID, campaign_ids: Sequence[UUID], before: Sequence[Step]
) -> None:
    """Moves the enrollments that wait for another step than `before`, or for one whose delay is new. The caller has
    locked the template and its campaigns."""
    after = plans.steps_of_template(session, template_id=template_id)
    if after == before:
        return
    session.execute(_TOUCH_CAMPAIGNS, {"template": template_id})
    gaps = list(_gaps(before, after))
    if gaps:
        for campaign_id in campaign_ids:
            _reschedule(session, campaign_id, gaps)


def _gaps(before: Sequence[Step], after: Sequence[Step]) -> Iterator[_Gap]:
    numbers = sorted({step.step_number for step in (*before, *after)})
    for first, beyond in zip([0, *numbers], numbers, strict=False):
        was, stage = stage_after(before, first), stage_after(after, first)
        if stage and _waits(was) != _waits(stage):
            yield _Gap(first, beyond, was, stage)


def _waits(stage: Stage) -> dict[str | None, tuple[int, int, Condition | None]]:
    """Returns variant -> the number of its step, and what people wait for."""
    return {variant: (step.step_number, step.delay_hours, step.condition) for variant, step in stage.items()}


def _reschedule(session: Session, campaign_id: UUID, gaps: Sequence[_Gap]) -> None:
    page = {"campaign": campaign_id, "first": gaps[0].first, "beyond": gaps[-1].beyond, "chunk": _CHUNK}
    after = UUID(int=0)
    while found := session.execute(_COMING, {**page, "after": after}).all():
        rows = [
            {"id": id_, **move}
            for id_, contact_id, variant, current_step in found
            if (gap := _gap_at(gaps, current_step)) and (move := gap.move(Recipient(campaign_id, contact_id, variant)))
        ]
        if rows:
            session.execute(_MOVE, {**rows_parameter(rows), "campaign": campaign_id})
        after = found[-1][0]


def _gap_at(gaps: Sequence[_Gap], current_step: int) -> _Gap | None:
    """Returns the gap in which another step comes next after `current_step` than before, if any."""
    return next((gap for gap in gaps if gap.first <= current_step < gap.beyond), None)

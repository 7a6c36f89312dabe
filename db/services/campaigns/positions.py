"""Where the people of a template's campaigns stand, and what a change of its steps means for them.

A step is sent only to people who have not passed it. Whoever was handed a later one, or has passed it, never gets it,
because steps go out in order.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.scheduling import Step
from db.postgres.json import rows_parameter
from db.services.campaigns import plans


class Affected(NamedTuple):
    """A step that came into use, went out of it, or has a new delay. `will_get`: how many people will still get it;
    `will_not_get`: how many won't, because they are past it or it is out of use; `waiting`: how many of the first wait
    for it at a new time, not counting those to whom it was handed out."""

    step_number: int
    is_in_use: bool
    will_get: int
    will_not_get: int
    waiting: int = 0


_STANDING = text("""
    SELECT e.current_step, count(*) FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id
    WHERE i.template_id = :template AND i.status IN ('draft', 'active', 'paused')
      AND e.status IN ('enrolled', 'active', 'paused')
    GROUP BY e.current_step
""")


# The step of each is looked up by its key: most have none yet. NOT EXISTS would read the other steps of everybody.
_WAITING = text("""
    SELECT s.step, count(*) FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s(step int, before int)
    JOIN campaign_instances i ON i.template_id = :template AND i.status IN ('draft', 'active', 'paused')
    JOIN campaign_enrollments e ON e.instance_id = i.id AND e.status IN ('enrolled', 'active', 'paused')
    WHERE e.current_step >= s.before AND e.current_step < s.step AND e.delay_from IS NOT NULL AND (
        SELECT status FROM campaign_actions a
        WHERE a.enrollment_id = e.id AND a.instance_id = e.instance_id AND a.step_number = s.step
    ) IS DISTINCT FROM 'claimed'
    GROUP BY s.step
""")


def affected(session: Session, *, template_id: UUID, before: Sequence[Step]) -> list[Affected]:
    """Returns what a change of the steps that were `before` means for people who have not ended, by step number."""
    was, now = _delays(before), _delays(plans.steps_of_template(session, template_id=template_id))
    concerned = sorted(number for number in was.keys() | now.keys() if was.get(number) != now.get(number))
    if not concerned:
        return []
    waiting = _waiting(session, template_id, concerned, sorted(now))
    standing: Counter[int] = Counter(dict(tuple(row) for row in session.execute(_STANDING, {"template": template_id})))
    found: list[Affected] = []
    for number in concerned:
        to_come = sum(people for step, people in standing.items() if step < number)
        is_in_use = number in now
        will_get, will_not_get = (to_come, standing.total() - to_come) if is_in_use else (0, to_come)
        found.append(Affected(number, is_in_use, will_get, will_not_get, waiting.get(number, 0)))
    return found


def _delays(steps: Sequence[Step]) -> dict[int, dict[str | None, int]]:
    """Returns step number -> variant -> delay in hours."""
    found: dict[int, dict[str | None, int]] = {}
    for step in steps:
        found.setdefault(step.step_number, {})[step.a_b_variant] = step.delay_hours
    return found


def _waiting(session: Session, template_id: UUID, concerned: Sequence[int], in_use: Sequence[int]) -> dict[int, int]:
    """Returns step -> how many wait for it, for steps in use."""
    rows = [
        {"step": number, "before": before}
        for before, number in zip([0, *in_use], in_use, strict=False)
        if number in concerned
    ]
    if not rows:
        return {}
    return dict(tuple(row) for row in session.execute(_WAITING, {**rows_parameter(rows), "template": template_id}))

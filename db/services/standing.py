"""Where the people of a template's campaigns stand, and what a change of its steps means for them.

A step is sent to those who have not come past it: whoever was handed a later one, or has passed it, never gets it,
since steps go out in order.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.scheduling import Step
from db.services import plans


class Affected(NamedTuple):
    """A step that has come into use, or gone out of it. `will_get`: how many people it is still to come for;
    `will_not_get`: how many it won't be sent to, since they are past it, or since it is out of use."""

    step_number: int
    is_in_use: bool
    will_get: int
    will_not_get: int


_STANDING = text("""
    SELECT e.current_step, count(*) FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id
    WHERE i.template_id = :template AND i.status IN ('draft', 'active', 'paused')
      AND e.status IN ('enrolled', 'active', 'paused')
    GROUP BY e.current_step
""")


def affected(session: Session, *, template_id: UUID, before: Sequence[Step]) -> list[Affected]:
    """What a change of the steps that were `before` means for people who have not ended, by step number."""
    was = {step.step_number for step in before}
    now = {step.step_number for step in plans.steps_of_template(session, template_id=template_id)}
    if was == now:
        return []
    standing: Counter[int] = Counter(dict(tuple(row) for row in session.execute(_STANDING, {"template": template_id})))
    found: list[Affected] = []
    for number in sorted(was ^ now):
        to_come = sum(people for step, people in standing.items() if step < number)
        is_in_use = number in now
        will_get, will_not_get = (to_come, standing.total() - to_come) if is_in_use else (0, to_come)
        found.append(Affected(number, is_in_use, will_get, will_not_get))
    return found

"""The steps that campaigns follow: the active steps of their templates, as the scheduling rules want them."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.scheduling import Step
from db.domain.states import Channel
from db.postgres.json import rows_parameter

# As text: every recorded send asks for it, and building it from expressions takes longer than running it.
_OF_CAMPAIGNS = text("""
    WITH wanted AS (
        SELECT i.id, i.template_id FROM campaign_instances i
        WHERE i.id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
    )
    SELECT w.id, s.step_number, 'email', s.delay_hours, s.a_b_variant
    FROM wanted w JOIN email_sequences s ON s.template_id = w.template_id AND s.is_active
    UNION ALL
    SELECT w.id, s.step_number, 'linkedin', s.delay_hours, NULL
    FROM wanted w JOIN linkedin_sequences s ON s.template_id = w.template_id AND s.is_active
    ORDER BY 2, 5
""")


def of_campaigns(session: Session, *, instance_ids: Iterable[UUID]) -> dict[UUID, list[Step]]:
    """The active steps of each campaign, by step number and variant, in one statement."""
    steps: dict[UUID, list[Step]] = {instance_id: [] for instance_id in instance_ids}
    for instance_id, step_number, channel, delay_hours, variant in session.execute(
        _OF_CAMPAIGNS, rows_parameter(list(steps))
    ):
        steps[instance_id].append(Step(step_number, Channel(channel), delay_hours, variant))
    return steps

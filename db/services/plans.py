"""The plans of campaigns: the active steps of their templates, and when they may be sent."""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.funnel import Enrollment
from db.domain.scheduling import Plan, Step
from db.domain.sending import of_settings
from db.domain.states import Channel
from db.postgres.json import rows_parameter

# As text: every recorded send asks for it, and building it from expressions takes longer than running it.
_OF_CAMPAIGNS = text("""
    WITH wanted AS (
        SELECT i.id, i.template_id, i.settings, i.started_at FROM campaign_instances i
        WHERE i.id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
    ), steps AS (
        SELECT w.id, s.step_number, 'email' AS channel, s.delay_hours, s.a_b_variant
        FROM wanted w JOIN email_sequences s ON s.template_id = w.template_id AND s.is_active
        UNION ALL
        SELECT w.id, s.step_number, 'linkedin', s.delay_hours, NULL
        FROM wanted w JOIN linkedin_sequences s ON s.template_id = w.template_id AND s.is_active
    )
    SELECT w.id, w.settings, w.started_at, s.step_number, s.channel, s.delay_hours, s.a_b_variant
    FROM wanted w LEFT JOIN steps s ON s.id = w.id
    ORDER BY s.step_number, s.a_b_variant
""")


def of_campaigns(session: Session, *, instance_ids: Iterable[UUID]) -> dict[UUID, Plan]:
    """The plan of each campaign, in one statement; its steps by number and variant."""
    plans: dict[UUID, Plan] = {}
    steps: dict[UUID, list[Step]] = {}
    rows = session.execute(_OF_CAMPAIGNS, rows_parameter(list(instance_ids)))
    for instance_id, settings, started_at, step_number, channel, delay_hours, variant in rows:
        if instance_id not in plans:
            steps[instance_id] = []
            plans[instance_id] = Plan(steps[instance_id], of_settings(settings, started_at))
        if step_number is not None:
            steps[instance_id].append(Step(step_number, Channel(channel), delay_hours, variant))
    return plans


_ZONES = text("""
    SELECT id, timezone FROM contacts
    WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
""")


def locate(session: Session, *, plans: Mapping[UUID, Plan], enrollments: Iterable[Enrollment]) -> None:
    """Tell enrollments the time zone of their person, in campaigns that follow it. No statement where none does."""
    following = [each for each in enrollments if _follows(plans.get(each.instance_id))]
    if following:
        known = zones(session, contact_ids={each.contact_id for each in following})
        for each in following:
            each.zone = known[each.contact_id]


def zones(session: Session, *, contact_ids: Collection[UUID]) -> dict[UUID, str | None]:
    """contact -> time zone, where it is known."""
    return dict(tuple(row) for row in session.execute(_ZONES, rows_parameter(list(contact_ids))))


def _follows(plan: Plan | None) -> bool:
    return plan is not None and plan.sending.follows_contact


def of_campaign(session: Session, *, instance_id: UUID) -> Plan:
    """The plan of one campaign that exists."""
    return of_campaigns(session, instance_ids=[instance_id])[instance_id]

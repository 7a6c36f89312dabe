"""The plans of campaigns: the active steps of their templates, and when they may be sent."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import campaign_settings, conditions
from db.domain.conditions import Condition
from db.domain.errors import Outdated
from db.domain.scheduling import Plan, Step
from db.domain.sending import of_settings
from db.domain.shapes import first
from db.domain.states import CampaignStatus, Channel, LinkedInStepType
from db.postgres.json import rows_parameter
from db.postgres.results import named

_STEPS = """
    SELECT jsonb_agg(jsonb_build_array(s.step_number, s.channel, s.delay_hours, s.a_b_variant, s.type, s.condition)
                     ORDER BY s.step_number, s.a_b_variant)
    FROM (
        SELECT step_number, channel, delay_hours, a_b_variant, NULL AS type, condition FROM email_sequences
        WHERE template_id = {template} AND is_active
        UNION ALL
        SELECT step_number, channel, delay_hours, NULL, type, condition FROM linkedin_sequences
        WHERE template_id = {template} AND is_active
    ) s
"""
COLUMNS = f"""
    i.settings, i.started_at, i.updated_at, i.served_since, i.served_until, ({_STEPS.format(template="i.template_id")})
"""
NAMES = named("settings", "started_at", "changed_at", "served_since", "served_until", "steps")


def from_row(
    settings: Mapping[str, Any],
    started_at: datetime | None,
    changed_at: datetime,
    served_since: datetime | None,
    served_until: datetime | None,
    steps: Sequence[Sequence[Any]] | None,
) -> Plan:
    """Returns the plan of a row of COLUMNS. Unreadable settings affect neither other campaigns nor events: a stop needs
    no plan."""
    sequence, problem = _steps(steps), campaign_settings.problem(settings) or _problem(steps)
    if problem is not None:
        return Plan(sequence, problem=problem, changed_at=changed_at)
    sending = of_settings(settings, started_at)
    return Plan(sequence, sending, changed_at=changed_at, served_since=served_since, served_until=served_until)


def _steps(steps: Sequence[Sequence[Any]] | None) -> list[Step]:
    return [
        Step(
            number, Channel(channel), delay, variant, LinkedInStepType(kind) if kind else None, _condition(kept, number)
        )
        for number, channel, delay, variant, kind, kept in steps or ()
    ]


def _condition(kept: Mapping[str, Any] | None, number: int) -> Condition | None:
    return None if kept is None or conditions.problem(kept, number) else conditions.of_json(kept)


def _problem(steps: Sequence[Sequence[Any]] | None) -> str | None:
    """Returns what is wrong with the first condition that can't be read, if there is one."""
    kept = ((number, condition) for number, *_, condition in steps or () if condition is not None)
    found = first(conditions.problem(condition, number) for number, condition in kept)
    then = "update_template corrects it, and start_campaign then resumes the campaign."
    return found and f"{campaign_settings.INVALID_SETTINGS}: {found}. {then}"


_OF_TEMPLATE = text(_STEPS.format(template=":template"))


def steps_of_template(session: Session, *, template_id: UUID) -> list[Step]:
    """Returns the active steps of a template, by number and variant."""
    return _steps(session.scalar(_OF_TEMPLATE, {"template": template_id}))


# As text, with its columns named: every recorded send runs it, and building it from expressions, or finding out its
# result columns, takes longer than running it.
_OF_CAMPAIGNS = text(f"""
    SELECT i.id, {COLUMNS} FROM campaign_instances i
    WHERE i.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""").columns(*named("id"), *NAMES)


def of_campaigns(session: Session, *, campaign_ids: Iterable[UUID]) -> dict[UUID, Plan]:
    """Returns the plan of each campaign, in one statement; its steps by number and variant."""
    rows = session.execute(_OF_CAMPAIGNS, rows_parameter(list(campaign_ids)))
    return {campaign_id: from_row(*columns) for campaign_id, *columns in rows}


_OF_ACTIVE = text(f"""
    SELECT i.id, {COLUMNS} FROM campaign_instances i WHERE i.status = '{CampaignStatus.ACTIVE}'
""").columns(*named("id"), *NAMES)
_WITH_STATUS = text(f"SELECT i.status, {COLUMNS} FROM campaign_instances i WHERE i.id = :id").columns(
    *named("status"), *NAMES
)


def of_active(session: Session) -> dict[UUID, Plan]:
    """Returns the plan of each active campaign."""
    return {campaign_id: from_row(*columns) for campaign_id, *columns in session.execute(_OF_ACTIVE)}


def with_status(session: Session, *, campaign_id: UUID) -> tuple[CampaignStatus, Plan] | None:
    """Returns the status of a campaign and its plan; None where there is none."""
    row = session.execute(_WITH_STATUS, {"id": campaign_id}).one_or_none()
    return (CampaignStatus(row[0]), from_row(*row[1:])) if row else None


# Nothing here waits: where other claims hold the campaign, a later one notes it.
_SERVE = text("""
    UPDATE campaign_instances i SET served_since = n.since, served_until = n.until
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, since timestamptz, until timestamptz)
    WHERE i.id = n.id AND i.id IN (
        SELECT id FROM campaign_instances
        WHERE id IN (SELECT id FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid))
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
""")
_NOTED_EACH = timedelta(hours=1)


def note_served(session: Session, *, plans: Mapping[UUID, Plan], until: datetime, now: datetime) -> None:
    """Notes that the server looks after the emails of these campaigns, and comes back at `until`."""
    rows = [
        {"id": campaign_id, "since": plan.being_served_since(now), "until": until}
        for campaign_id, plan in plans.items()
        if plan.served_until is None or until >= plan.served_until + _NOTED_EACH
    ]
    if rows:
        session.execute(_SERVE, rows_parameter(rows))


_ZONES = text("""
    SELECT id, timezone FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")


def zones(session: Session, *, contact_ids: Collection[UUID]) -> dict[UUID, str | None]:
    """Returns contact -> time zone, if it is known."""
    return dict(tuple(row) for row in session.execute(_ZONES, rows_parameter(list(contact_ids))))


def of_campaign(session: Session, *, campaign_id: UUID) -> Plan:
    """Returns the plan of one campaign that exists."""
    return of_campaigns(session, campaign_ids=[campaign_id])[campaign_id]


_CHANGED_AT = text("""
    SELECT id, updated_at FROM campaign_instances
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")


def changed_at(session: Session, *, campaign_ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Returns campaign -> when it was changed last."""
    return dict(tuple(row) for row in session.execute(_CHANGED_AT, rows_parameter(sorted(campaign_ids))))


def check(known: Plan, changed_at: datetime | None) -> None:
    """Raises Outdated if the campaign was changed after the plan was read. Who changes the steps locks everybody
    concerned first, so a transaction that locks a person and then finds the plan unchanged comes before that change."""
    if changed_at != known.changed_at:
        raise Outdated

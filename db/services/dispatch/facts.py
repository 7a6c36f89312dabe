"""What is known of people that the conditions of their steps ask for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.conditions import OF_STEPS, Fact, Facts
from db.domain.enrollment import Enrollment
from db.domain.events import EventType
from db.domain.mail import MailKind
from db.domain.mail.effects import PROVIDER
from db.domain.scheduling import Plan
from db.domain.states import ActionStatus, MessageDirection, MessageStatus
from db.models import CampaignEnrollment, Contact
from db.postgres.json import rows_parameter

_BEGUN: Final = "begun"
_REPLY: Final = "reply"
# Replies are mails that were read here, and what providers and LinkedIn tell of others.
_FACTS = f"""
    WITH asked AS MATERIALIZED ({{asked}}), actions AS MATERIALIZED (
        SELECT a.* FROM asked w CROSS JOIN LATERAL (
            SELECT enrollment_id, step_number, status, lease_until, opened_at, clicked_at, accepted_at, replied_at
            FROM campaign_actions WHERE enrollment_id = w.id AND instance_id = w.instance_id OFFSET 0
        ) a
    )
    SELECT enrollment_id, '{Fact.OPENED}', CAST(step_number AS text) FROM actions WHERE opened_at IS NOT NULL
    UNION ALL
    SELECT enrollment_id, '{Fact.CLICKED}', CAST(step_number AS text) FROM actions WHERE clicked_at IS NOT NULL
    UNION ALL
    SELECT enrollment_id, '{Fact.ACCEPTED}', CAST(step_number AS text) FROM actions WHERE accepted_at IS NOT NULL
    UNION ALL
    SELECT enrollment_id, '{_BEGUN}', CAST(step_number AS text) FROM actions
    WHERE status = '{ActionStatus.SENT}' OR (status = '{ActionStatus.CLAIMED}' AND lease_until IS NOT NULL)
    UNION ALL
    SELECT enrollment_id, '{_REPLY}', '{MailKind.HUMAN}' FROM actions WHERE replied_at IS NOT NULL
    UNION ALL
    SELECT w.id, '{_REPLY}', m.kind
    FROM asked w JOIN messages m ON m.enrollment_id = w.id
    WHERE m.direction = '{MessageDirection.IN}' AND m.status = '{MessageStatus.RECORDED}' AND NOT m.is_guess
    UNION ALL
    SELECT w.id, '{_REPLY}', '{MailKind.AUTO_REPLY}'
    FROM asked w JOIN campaign_events e ON e.instance_id = w.instance_id AND e.enrollment_id = w.id
    WHERE e.event_type = '{EventType.AUTO_REPLIED}' AND e.provider IS DISTINCT FROM '{PROVIDER}'
"""
_OF_ROWS = "SELECT instance_id, id FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, id uuid)"
_OF_CAMPAIGNS = """
    SELECT instance_id, id FROM campaign_enrollments
    WHERE instance_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND (status = 'active' OR paused_until IS NOT NULL) AND next_action_at < :until
"""
_READ = text(_FACTS.format(asked=_OF_ROWS))
_READ_CAMPAIGNS = text(_FACTS.format(asked=_OF_CAMPAIGNS))
_ATTRIBUTES = text(f"""
    SELECT e.id, c.attributes FROM ({_OF_CAMPAIGNS}) e
    JOIN campaign_enrollments n ON n.instance_id = e.instance_id AND n.id = e.id
    JOIN contacts c ON c.id = n.contact_id WHERE c.attributes <> '{{}}'
""")


def read(
    session: Session, *, enrollments: Sequence[Enrollment | CampaignEnrollment], people: Mapping[UUID, Contact]
) -> dict[UUID, Facts]:
    """Returns enrollment -> what is known of its person, in one statement. `people`: contact id -> who."""
    if not enrollments:
        return {}
    rows = [{"instance_id": enrollment.campaign_id, "id": enrollment.id} for enrollment in enrollments]
    found = _found(session.execute(_READ, rows_parameter(rows)))
    return {
        enrollment.id: _facts(
            found.get(enrollment.id, {}), enrollment.a_b_variant, people[enrollment.contact_id].attributes
        )
        for enrollment in enrollments
    }


def of_campaigns(session: Session, *, plans: Mapping[UUID, Plan], until: datetime) -> dict[UUID, Facts]:
    """Returns enrollment -> what is known of its person, for those who are due until then in campaigns that have
    conditions, and of whom anything is known."""
    asking = {id_: plan for id_, plan in plans.items() if any(step.condition for step in plan.steps)}
    if not asking:
        return {}
    values = {**rows_parameter(list(asking)), "until": until}
    found = _found(session.execute(_READ_CAMPAIGNS, values))
    asked = {step.condition.fact for plan in asking.values() for step in plan.steps if step.condition is not None}
    attributes: dict[UUID, Mapping[str, Any]] = {}
    if Fact.ATTRIBUTE in asked:
        attributes = dict(tuple(row) for row in session.execute(_ATTRIBUTES, values))
    return {id_: _facts(found.get(id_, {}), None, attributes.get(id_, {})) for id_ in {*found, *attributes}}


def _found(rows: Iterable[Sequence[Any]]) -> Mapping[UUID, Mapping[str, set[str]]]:
    """Returns enrollment -> kind of fact -> its values."""
    found: defaultdict[UUID, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for enrollment_id, kind, value in rows:
        found[enrollment_id][kind].add(value)
    return found


def _facts(found: Mapping[str, set[str]], variant: str | None, attributes: Mapping[str, Any]) -> Facts:
    steps = {kind: frozenset(map(int, values)) for kind, values in found.items() if kind != _REPLY}
    return Facts(
        steps={fact: steps.get(fact, frozenset[int]()) for fact in OF_STEPS},
        replies=frozenset(found.get(_REPLY, ())),
        variant=variant,
        attributes=attributes,
        begun=steps.get(_BEGUN, frozenset[int]()),
    )

"""Campaigns to record events in, and recounts to hold the counters against."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import event as sqlalchemy_event, text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.metrics import COUNTERS, MILESTONES
from db.domain.states import LinkedInStepType, PathType, TemplateType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.enrollments import enrollments
from db.services.events import events
from db.services.events.record import Outcome

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Scene:
    """An active campaign of three steps (email A/B, LinkedIn after 24 h, email after 48 h) with people in it."""

    campaign_id: UUID
    enrollments: list[UUID]


def make_campaign(
    session: Session,
    *,
    name: str = "C",
    email_steps: Sequence[EmailStep],
    linkedin_steps: Sequence[LinkedInStep] = (),
    settings: Mapping[str, Any] | None = None,
    start_at: datetime | None = NOW,
) -> UUID:
    """A campaign of these steps, started at that moment; None leaves it a draft."""
    template = templates.create(
        session,
        name="T",
        type=TemplateType.MULTI_CHANNEL,
        path_type=PathType.STRUCTURED,
        description=None,
        settings={},
        email_steps=email_steps,
        linkedin_steps=linkedin_steps,
    )
    made = campaigns.create(
        session, name=name, template_id=template.id, settings=dict(settings or {}), provider_config={}
    )
    if start_at is not None:
        campaigns.start(session, campaign_id=made.id, now=start_at)
    return made.id


def new_scene(database: Database, people: int, *, start: bool = True, domain: str = "example.com") -> Scene:
    make = partial(
        make_campaign,
        email_steps=[
            EmailStep(1, "One", "The first of all", a_b_variant="A"),
            EmailStep(1, "Uno", "The first of all", a_b_variant="B"),
            EmailStep(3, "Three", "The last of all", delay_hours=48),
        ],
        linkedin_steps=[LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=24)],
        start_at=NOW if start else None,
    )
    campaign_id = database.run("scene", make)
    return Scene(campaign_id, enroll(database, campaign_id, [f"p{i}@{domain}" for i in range(people)]))


def enroll(database: Database, campaign_id: UUID, emails: list[str]) -> list[UUID]:
    """The enrollments of these people, in order."""
    if not emails:
        return []
    refs = {index: ContactRef(None, ContactFields(email=email)) for index, email in enumerate(emails)}
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=None, now=NOW),
    )
    return [answers[index].enrollment_id or UUID(int=0) for index in range(len(emails))]


def event(kind: EventType, enrollment_id: UUID | None, *, hours: float = 0, **more: Any) -> NewEvent:
    at = NOW + timedelta(hours=hours)
    return NewEvent(kind, EFFECTS[kind].channel, at, enrollment_id=enrollment_id, **more)


def record(database: Database, *given: NewEvent) -> list[Outcome]:
    return database.run("record", lambda session: events.record_events(session, events=given))


def verdicts(database: Database, *given: NewEvent) -> list[str]:
    return [str(outcome.verdict) for outcome in record(database, *given)]


def state(database: Database, enrollment_id: UUID) -> dict[str, Any]:
    statement = text(
        "SELECT status, current_step, next_action_at, stop_reason FROM campaign_enrollments WHERE id = :id"
    )
    with database.transaction("look") as session:
        return dict(session.execute(statement, {"id": enrollment_id}).mappings().one())


def totals(database: Database, campaign_id: UUID) -> dict[str, int]:
    sums = ", ".join(f"coalesce(sum({counter}), 0) AS {counter}" for counter in COUNTERS)
    with database.transaction("look") as session:
        row = session.execute(text(f"SELECT {sums} FROM campaign_metrics WHERE instance_id = :id"), {"id": campaign_id})
        return {name: int(count) for name, count in row.mappings().one().items()}


def statements_of(database: Database, work: Callable[[], Any]) -> list[str]:
    """What is sent to the database meanwhile."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    sqlalchemy_event.listen(database.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sqlalchemy_event.remove(database.engine, "before_cursor_execute", note)
    return seen


# What each counter is of, in the words of the documentation: written out, so that no table of ours is held to itself.
_AFTER_DELIVERY = ("delivered", "opened", "clicked", "replied", "auto_replied", "complained", "message_replied")
_AFTER_SENDING = (
    *_AFTER_DELIVERY,
    *("sent", "deferred", "bounced", "unsubscribed"),
    *("profile_visited", "connection_sent", "connection_accepted", "message_sent", "voice_message_sent"),
)
_REPORTED_BY = {
    "sent": _AFTER_SENDING,
    "delivered": _AFTER_DELIVERY,
    "opened": ("opened", "clicked"),
    "clicked": ("clicked",),
    "replied": ("replied", "message_replied"),
    "complained": ("complained",),
    "accepted": ("connection_accepted",),
}


_IS_HARD = "metadata ->> 'bounce_type' IS DISTINCT FROM 'soft'"


def assert_counters_agree_with_events(database: Database) -> None:
    """Every campaign's counters equal a recount over its events: how many steps have an event of the kind."""
    kinds = [f"count(*) FILTER (WHERE kinds && :{name})" for name in _REPORTED_BY]
    values = {name: list(types) for name, types in _REPORTED_BY.items()}
    with database.transaction("recount events") as session:
        # Of one moment, a bounce comes after a delivery and before a complaint.
        counted = session.execute(
            text(f"""
                SELECT instance_id, {", ".join(kinds)},
                       count(*) FILTER (WHERE is_hard OR (soft_at >= coalesce(delivered_at, '-infinity')
                                                         AND soft_at > coalesce(complained_at, '-infinity'))),
                       count(*) FILTER (WHERE is_hard), sum(opens)::int, sum(clicks)::int
                FROM (
                    SELECT instance_id, array_agg(event_type::text) AS kinds,
                           bool_or(event_type = 'bounced' AND {_IS_HARD}) AS is_hard,
                           max(occurred_at) FILTER (WHERE event_type = 'bounced' AND NOT {_IS_HARD}) AS soft_at,
                           max(occurred_at) FILTER (WHERE event_type = ANY(:delivered)) AS delivered_at,
                           max(occurred_at) FILTER (WHERE event_type = 'complained') AS complained_at,
                           count(*) FILTER (WHERE event_type = 'opened') AS opens,
                           count(*) FILTER (WHERE event_type = 'clicked') AS clicks
                    FROM campaign_events WHERE step_number IS NOT NULL
                    GROUP BY instance_id, enrollment_id, step_number
                ) steps GROUP BY instance_id
            """),
            values,
        ).all()
        # A person unsubscribes once, with the step of the first time; of one moment, that which names its step.
        leavers = session.execute(
            text("""
                SELECT instance_id, count(step_number) FROM (
                    SELECT DISTINCT ON (instance_id, enrollment_id) instance_id, step_number FROM campaign_events
                    WHERE event_type = 'unsubscribed'
                    ORDER BY instance_id, enrollment_id, occurred_at, is_inferred,
                             CASE WHEN NOT is_inferred THEN step_number END,
                             coalesce(provider_message_id, '') COLLATE "C", coalesce(provider_event_id, '') COLLATE "C"
                ) first GROUP BY instance_id HAVING count(step_number) > 0
            """)
        ).all()
        left = session.execute(
            text("""
                SELECT instance_id, sum(unsubscribed) FROM campaign_metrics
                WHERE step_number > 0 GROUP BY instance_id HAVING sum(unsubscribed) > 0
            """)
        ).all()
        sums = ", ".join(
            f"sum({name})::int" for name in (*_REPORTED_BY, "bounced", "hard_bounced", "total_opens", "total_clicks")
        )
        kept = session.execute(
            text(f"SELECT instance_id, {sums} FROM campaign_metrics WHERE step_number > 0 GROUP BY instance_id")
        ).all()
    assert dict(map(tuple, leavers)) == dict(map(tuple, left))
    assert {tuple(row) for row in kept if any(row[1:])} == {tuple(row) for row in counted if any(row[1:])}


def assert_counters_are_exact(database: Database) -> None:
    """Every counter equals a recount over the actions and one over the events, and every status total one over the
    enrollments."""
    assert_counters_agree_with_events(database)
    recount = ", ".join(
        [f"count({milestone}_at)" for milestone in MILESTONES] + ["sum(open_count)::int", "sum(click_count)::int"]
    )
    with database.transaction("recount") as session:
        counted = session.execute(
            text(f"""
                SELECT instance_id, step_number, channel, coalesce(a_b_variant, ''),
                       (coalesce(sent_at, failed_at) AT TIME ZONE 'UTC')::date, {recount}
                FROM campaign_actions WHERE coalesce(sent_at, failed_at) IS NOT NULL GROUP BY 1, 2, 3, 4, 5
            """)
        ).all()
        kept = session.execute(
            text(f"""
                SELECT instance_id, step_number, channel, a_b_variant, cohort_day, {", ".join(COUNTERS)}
                FROM campaign_metrics WHERE step_number > 0 AND ({" + ".join(COUNTERS)}) > 0
            """)
        ).all()
        assert Counter(map(tuple, counted)) == Counter(map(tuple, kept))
        statuses = session.execute(
            text("SELECT instance_id, status, count(*) FROM campaign_enrollments GROUP BY 1, 2")
        ).all()
        held = session.execute(
            text("SELECT instance_id, status, total FROM campaign_enrollment_totals WHERE total > 0")
        ).all()
        assert Counter(map(tuple, statuses)) == Counter(map(tuple, held))

"""Forecasts what goes out in the next days: reads who waits and what is left of the limits, and lets the claims of
those days run in memory (db.domain.forecast)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Reservation
from db.domain.conditions import Facts
from db.domain.errors import InvalidInput, Refused
from db.domain.forecast import BEYOND, Conversations, Day, Forecast, Waiting, Wanted, simulate
from db.domain.scheduling import Plan
from db.domain.sending import zone
from db.domain.states import ActionStatus, CampaignStatus, MessageStatus
from db.domain.windows import local_day
from db.postgres.json import rows_parameter
from db.services.campaigns import campaigns, plans
from db.services.dispatch import facts, stopping_steps
from db.services.dispatch.stopping_steps import Stops
from db.services.mail import mailboxes, pools
from db.services.ops import settings
from db.services.state import conversation_rows, usage

DAYS_MAX: Final = BEYOND.days
PEOPLE_MOST: Final = 300_000

# By the index of the due queue alone: whoever is refused is told so at once.
_HOW_MANY = text("""
    SELECT count(*) FROM (
        SELECT FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS running(id)
        JOIN campaign_enrollments e ON e.instance_id = CAST(running.id AS uuid) AND e.status = 'active'
          AND e.next_action_at IS NOT NULL AND e.next_action_at < :until
        LIMIT :most
    ) first
""")
_WAITING = text(f"""
    SELECT e.instance_id, e.id, e.contact_id, e.a_b_variant, e.current_step, e.next_action_at, e.delay_from, e.zone,
           e.mailbox_id, c.absent_until, e.busy_since
    FROM campaign_enrollments e JOIN contacts c ON c.id = e.contact_id
    WHERE e.instance_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND (e.status = 'active' OR e.paused_until IS NOT NULL) AND e.next_action_at < :until
      AND NOT EXISTS (
          SELECT FROM messages m
          WHERE m.enrollment_id = e.id AND m.status IN ('{MessageStatus.SENDING}', '{MessageStatus.UNKNOWN}')
      )
    LIMIT :most
""")
_CLAIMED = text(f"""
    SELECT enrollment_id, step_number, reserved_at, sender FROM campaign_actions
    WHERE instance_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND status = '{ActionStatus.CLAIMED}' AND reserved_at IS NOT NULL AND lease_until IS NOT NULL
""")


def read(
    session: Session,
    *,
    campaign_id: UUID | None,
    mailbox: str | None,
    days: int,
    now: datetime,
    public_url: str | None = None,
) -> Callable[[], Forecast]:
    """Reads what a forecast begins with. Returns the function that makes it, which needs no transaction and may take
    many seconds: what goes out on each of the next days, of one campaign or of all active ones, and from one mailbox
    (its id or address) or from all. Days are those of the mailbox, or else of the campaign, in its time zone.

    Conditions are as they are now, drafts that nobody has approved wait, and each claimed step is sent at once.
    InvalidInput for other numbers of days than 1 to DAYS_MAX.
    """
    if not 1 <= days <= DAYS_MAX:
        raise InvalidInput(
            f"days: {days} is none of 1 to {DAYS_MAX}. Nobody knows more than a quarter of a year ahead."
        )
    address = None if mailbox is None else mailboxes.find(session, mailbox=mailbox).address
    if campaign_id is not None:
        idle = _of_idle(session, campaign_id, now)
        if idle is not None:
            return lambda: idle
    running = {id_: plan for id_, plan in plans.of_active(session).items() if plan.problem is None}
    people = _waiting(session, running, now, public_url)
    rules = settings.get(session).conversation_rules
    talks = conversation_rows.of_people(
        session, contact_ids=(person.contact_id for person in people), rules=rules, now=now
    )
    bound = {person.mailbox_id for person in people if person.mailbox_id is not None}
    known = pools.of_plans(session, plans=running, mailbox_ids=bound)
    known.people = pools.people(session, pools=known, campaigns=known.of_campaign)
    sources = usage.sources(session, plans=running, pools=known)
    paces = {owner: source.pace(now) for owner, source in sources.items()}
    return partial(
        simulate,
        plans=running,
        pools=known,
        sources=sources,
        usages=usage.usages(session, paces=paces, now=now),
        people=people,
        wanted=Wanted(days, campaign_id, address),
        now=now,
        conversations=Conversations(rules, talks),
    )


def _of_idle(session: Session, campaign_id: UUID, now: datetime) -> Forecast | None:
    """Returns the forecast of a campaign that hands out nothing, with the reason; None if it is active."""
    campaign = campaigns.get(session, campaign_id=campaign_id)
    plan = plans.of_campaign(session, campaign_id=campaign_id)
    held = [
        *holds.of_problem(plan.problem or campaign.pause_reason),
        *holds.of_status(CampaignStatus(campaign.status)),
    ]
    if not held:
        return None
    today = local_day(now, zone(plan.sending.zone))
    return Forecast([Day(today, None, 0, str(held[0].reason))])


def _waiting(session: Session, running: Mapping[UUID, Plan], now: datetime, public_url: str | None) -> list[Waiting]:
    """Returns all who wait in these campaigns."""
    if not running:
        return []
    campaign_ids = rows_parameter(list(running))
    until = now + BEYOND
    asked = {**campaign_ids, "until": until, "most": PEOPLE_MOST + 1}
    is_too_much = session.scalars(_HOW_MANY, asked).one() > PEOPLE_MOST
    people = [] if is_too_much else [Waiting(*row) for row in session.execute(_WAITING, asked)]
    if is_too_much or len(people) > PEOPLE_MOST:
        raise Refused(
            f"More than {PEOPLE_MOST:,} people wait in active campaigns, and a forecast looks at {PEOPLE_MOST:,} at "
            "most. get_metrics and explain_due tell of one campaign."
        )
    known = facts.of_campaigns(session, plans=running, until=until)
    stops = stopping_steps.read(session, plans=running, people=people, until=until, public_url=public_url)
    claimed = {id_: tuple(rest) for id_, *rest in session.execute(_CLAIMED, campaign_ids)}
    for person in people:
        _tell(person, known.get(person.id), stops)
        if person.id in claimed:
            step_number, at, account = claimed[person.id]
            person.claimed, person.reservation = step_number, Reservation(at, account)
    return people


def _tell(person: Waiting, known: Facts | None, stops: Stops) -> None:
    if known is not None:
        person.facts = replace(known, variant=person.a_b_variant)
    elif person.a_b_variant is not None:
        person.facts = Facts(variant=person.a_b_variant)
    person.stops = stops.of(person)

"""Workspaces that are drawn at random, whose people are in several campaigns, for forecasts of what happens in them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain import conditions
from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType
from db.domain.states import EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.ops import settings
from db.services.state import conversation_rows
from tests.support.campaigns import NOW, event, make_campaign, record
from tests.support.outgoing import ANN, BEN, connect
from tests.support.simulated_days import run_days
from tests.support.steps import claim_at, run_sql

WEEK = ["mon", "tue", "wed", "thu", "fri"]
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC")


@dataclass
class Workspace:
    """mailboxes: in the order of their addresses. zones: address or campaign -> the zone of its days."""

    database: Database
    mailboxes: list[UUID] = field(default_factory=list[UUID])
    campaigns: list[UUID] = field(default_factory=list[UUID])
    zones: dict[UUID | str | None, str] = field(default_factory=dict[UUID | str | None, str])

    def add_mailbox(self, address: str, zone: str, **pace: Any) -> None:
        self.mailboxes.append(connect(self.database, address, timezone=zone, **pace))
        self.zones[address] = zone

    def add_campaign(self, steps: Sequence[EmailStep | LinkedInStep], zone: str, **given: Any) -> UUID:
        make = partial(
            make_campaign,
            name=f"C{len(self.campaigns)}",
            email_steps=[step for step in steps if isinstance(step, EmailStep)],
            linkedin_steps=[step for step in steps if isinstance(step, LinkedInStep)],
            settings={**given, "timezone": zone},
        )
        campaign_id = self.database.run("make", make)
        self.campaigns.append(campaign_id)
        self.zones[campaign_id] = zone
        return campaign_id

    def enroll(self, campaign_id: UUID, numbers: Sequence[int], start_at: datetime | None = None) -> None:
        people = {number: ContactRef(None, person(number)) for number in numbers}
        work = partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=start_at, now=NOW)
        self.database.run("enroll", work)

    def rule(self, **rules: Any) -> None:
        """Other rules of the workspace, as update_settings makes them."""

        def work(session: Session) -> None:
            settings.update(session, **rules)
            conversation_rows.wake_all(session)

        self.database.run("settings", work)

    def run(self, start: datetime, end: datetime) -> dict[tuple[Any, str | None], int]:
        return run_days(self.database, start, end, mailboxes=self.mailboxes, zones=self.zones)

    def pause(self, every: int) -> None:
        """Pauses some people, some of whom have a conversation."""
        ids: list[UUID] = list(run_sql(self.database, _OPEN).scalars())
        for id_ in ids[::every]:
            work = partial(enrollments.update, enrollment_id=id_, action=EnrollmentAction.PAUSE, now=NOW)
            self.database.run("pause", work)


_OPEN = "SELECT id FROM campaign_enrollments WHERE status = 'active' ORDER BY id"


def person(number: int) -> ContactFields:
    """Somebody who may lack a name, a city or a zone."""
    return ContactFields(
        email=f"p{number}@people.example.com",
        linkedin_url=f"https://www.linkedin.com/in/p{number}",
        first_name="Ada" if number % 11 else None,
        timezone=(*ZONES[:3], None)[number % 4],
        attributes={"city": "Berlin"} if number % 3 else {},
    )


def drawn(database: Database, seed: int, people: int) -> Workspace:
    """A workspace of two to four campaigns with windows, zones, limits, ramp-ups and conditions. Half of the people are
    in several of them."""
    draw = random.Random(seed)
    workspace = Workspace(database)
    workspace.rule(days_between_campaigns=draw.choice([0, 0, 1, 3]), touches_per_week=draw.choice([0, 0, 1, 2, 3]))
    few = max(2, people // draw.choice([4, 8, 16]))
    pace = {"daily_limit": few, **({"ramp_up": {"start": 2, "increase": 3}} if draw.random() < 0.5 else {})}
    workspace.add_mailbox(ANN, draw.choice(ZONES), **pace)
    gap = {"min_gap_seconds": 2400} if draw.random() < 0.3 else {"hourly_limit": max(1, few // 3)}
    workspace.add_mailbox(BEN, draw.choice(ZONES), **gap, window={"days": WEEK, "start": "08:00", "end": "13:00"})
    for _ in range(draw.randrange(2, 5)):
        campaign_id = workspace.add_campaign(_steps(draw), draw.choice(ZONES), **_settings(draw, few))
        share = draw.choice([0.4, 0.7, 1.0])
        for hours in (None, 5, 49):
            chosen = [number for number in range(people) if draw.random() < share / 3]
            workspace.enroll(campaign_id, chosen, None if hours is None else NOW + timedelta(hours=hours))
    return workspace


def _steps(draw: random.Random) -> list[EmailStep | LinkedInStep]:
    found: list[EmailStep | LinkedInStep] = []
    for number in range(1, draw.randrange(2, 5)):
        delay = draw.choice([0, 5, 26, 70]) if number > 1 else 0
        condition = _condition(draw, is_after_an_email=bool(found) and isinstance(found[0], EmailStep))
        if draw.random() < 0.25:
            found.append(LinkedInStep(number, LinkedInStepType.MESSAGE, "Hello", delay, condition=condition))
        else:
            words = draw.choice(["A text for everybody", "A text for everybody", "Hello to {{ first_name }}"])
            found.append(EmailStep(number, f"Step {number}", words, delay, condition=condition))
    return found


def _condition(draw: random.Random, *, is_after_an_email: bool) -> conditions.Condition | None:
    said: list[dict[str, Any]] = [
        {"fact": "attribute", "name": "city", "else": "wait", "wait_hours": 30},
        {"fact": "attribute", "name": "city", "else": "skip"},
    ]
    if is_after_an_email:
        said.append({"fact": "opened", "step_number": 1, "else": "wait", "wait_hours": 20})
    return conditions.of_json(draw.choice(said)) if draw.random() < 0.4 else None


def _settings(draw: random.Random, few: int) -> dict[str, Any]:
    window = {"days": draw.choice([WEEK, [*WEEK, "sat", "sun"]]), "start": "09:00", "end": "17:00"}
    found: dict[str, Any] = {"sending_window": window} if draw.random() < 0.6 else {}
    if found and draw.random() < 0.4:
        found["use_contact_timezone"] = True
    how: list[dict[str, Any]] = [
        {"mailboxes": [ANN]},
        {"mailboxes": [ANN, BEN]},
        {"daily_limit": few},
        {"senders": {"email": {"account": "carl", "daily_limit": few}}},
        {},
    ]
    return {**found, **draw.choice(how)}


def lived_in(workspace: Workspace) -> datetime:
    """Lets something happen: mails that were opened, people who are paused, and a step that is never reported. Returns
    when it has."""
    workspace.run(NOW, NOW + timedelta(hours=30))
    sent = "SELECT enrollment_id FROM campaign_actions WHERE status = 'sent' AND step_number = 1 ORDER BY enrollment_id"
    ids: list[UUID] = list(run_sql(workspace.database, sent).scalars())
    is_open = {*run_sql(workspace.database, _OPEN).scalars()}
    opened = [id_ for id_ in ids[::3] if id_ in is_open]
    record(workspace.database, *(event(EventType.OPENED, id_, hours=29, step_number=1) for id_ in opened))
    workspace.pause(every=9)
    start = NOW + timedelta(hours=31)
    claim_at(workspace.database, None, start - timedelta(minutes=1), limit=1)
    return start

"""Data to look at: campaigns in several states, with weeks of invented events, and names that try to be markup."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from random import Random
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.states import LinkedInStepType, SuppressionReason
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.enrollments import enrollments
from db.services.ops import settings as service_settings
from db.services.people import suppressions
from tests.support.campaigns import make_campaign, record

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
RIGHT_TO_LEFT = "\u202egnp.exe Ltd\u202c"
LONG = "Very long name " * 600

STEPS = [
    EmailStep(1, "A question about {{ company }}", "Hi {{ first_name }}, how do you follow up on leads?", 0, "A"),
    EmailStep(1, "{{ first_name }}, two minutes?", "Hi {{ first_name }}, how do you follow up on leads?", 0, "B"),
    EmailStep(3, "Once more, with an example", "Hi {{ first_name }}, shall I send you an example?", 72),
]
CONNECTION = LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Glad to connect, {{ first_name }}.", 48)
SETTINGS = {
    "timezone": "Europe/Berlin",
    "sending_window": {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"},
    "daily_limit": 60,
}


@dataclass(frozen=True)
class Scene:
    """The campaigns, by what they are there for."""

    running: UUID
    hostile: UUID
    draft: UUID
    hostile_enrollment: UUID


def fill(database: Database, *, people: int, now: datetime, seed: int = 7) -> Scene:
    """A running campaign of three steps with `people`, one with hostile names, a draft, a paused and an ended one."""
    # Variants fall by chance, and so does how much comes back within days: no guardrail may pause what is to run.
    database.run("guardrails", lambda session: service_settings.update(session, bounce_rate=0, complaint_rate=0))
    running = new_campaign(database, "Support leads, autumn", settings=SETTINGS, start_at=now - timedelta(days=30))
    for other, title in (("paused", "Webinar follow-up"), ("completed", "Founders, spring")):
        started = new_campaign(database, title, start_at=now - timedelta(days=90))
        play(database, started, _contacts(people // 3, other), now - timedelta(days=80), now, seed)
        end = campaigns.pause if other == "paused" else campaigns.complete
        database.run("end", lambda session, end=end, id_=started: end(session, campaign_id=id_, now=now))
    draft = new_campaign(database, "Partners in Iberia", start_at=None)
    hostile = new_campaign(database, HOSTILE, start_at=now - timedelta(days=1))
    names = [(HOSTILE, "Bell"), (RIGHT_TO_LEFT, "Doe"), (LONG[:200], LONG[:200])]
    refs = [ContactFields(email=f"hostile{i}@example.com", first_name=a, last_name=b) for i, (a, b) in enumerate(names)]
    enrolled = enroll(database, hostile, refs, now - timedelta(hours=2))
    play(database, running, _contacts(people, "lead"), now - timedelta(days=29), now, seed)
    record(database, event(EventType.OPENED, enrolled[0], 1, now - timedelta(hours=1)))
    _odds_and_ends(database, now)
    return Scene(running, hostile, draft, enrolled[0])


def new_campaign(
    database: Database, name: str, *, settings: Mapping[str, object] | None = None, start_at: datetime | None
) -> UUID:
    """A campaign of three steps, started at that moment; None leaves it a draft."""
    make = partial(
        make_campaign,
        name=name,
        email_steps=STEPS,
        linkedin_steps=[CONNECTION],
        settings=settings,
        start_at=start_at,
    )
    return database.run("campaign", make)


def enroll(database: Database, campaign_id: UUID, people: Sequence[ContactFields], at: datetime) -> list[UUID]:
    """The enrollments of these people, in order."""
    refs = {index: ContactRef(None, fields) for index, fields in enumerate(people)}
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=at, now=at),
    )
    found = [answers[index].enrollment_id for index in range(len(people))]
    assert all(found)
    return [enrollment_id for enrollment_id in found if enrollment_id is not None]


def event(kind: EventType, enrollment_id: UUID, step: int, at: datetime) -> NewEvent:
    return NewEvent(kind, EFFECTS[kind].channel, at, enrollment_id=enrollment_id, step_number=step, provider="demo")


def play(
    database: Database, campaign_id: UUID, people: Sequence[ContactFields], start: datetime, now: datetime, seed: int
) -> None:
    """Let weeks pass: each person gets the steps whose days have come, and does what people do."""
    random, days = Random(seed), min(30, (now - start).days)
    given: list[NewEvent] = []
    for day in range(days):
        today = _workday(start + timedelta(days=day), random)
        ids = enroll(database, campaign_id, people[day::days], today)
        variants = _variants(database, campaign_id)
        for id_ in ids:
            begun = today + timedelta(minutes=random.randrange(400))
            given += _life(random, id_, begun, now, lucky=variants[id_] == "B")
    given.sort(key=lambda one: one.occurred_at)
    for at in range(0, len(given), 2_000):
        record(database, *given[at : at + 2_000])


def _variants(database: Database, campaign_id: UUID) -> dict[UUID, str]:
    statement = text("SELECT id, a_b_variant FROM campaign_enrollments WHERE instance_id = :id")
    rows = database.run("variants", lambda session: session.execute(statement, {"id": campaign_id}).all())
    return dict(tuple(row) for row in rows)


def _workday(moment: datetime, random: Random) -> datetime:
    return moment + timedelta(days=random.randrange(2, 6)) if moment.weekday() > 4 else moment


def _life(random: Random, id_: UUID, begun: datetime, now: datetime, *, lucky: bool) -> Iterator[NewEvent]:
    replies = (0.105 if lucky else 0.045, 0.05, 0.04)
    for step, days in ((1, 0), (2, 2), (3, 5)):
        at = _workday(begun + timedelta(days=days), random)
        if at > now:
            return
        if step == 2:
            yield event(EventType.CONNECTION_SENT, id_, 2, at)
            if random.random() < 0.41:
                yield event(EventType.CONNECTION_ACCEPTED, id_, 2, min(now, at + timedelta(hours=9)))
            continue
        yield event(EventType.SENT, id_, step, at)
        if random.random() < 0.025:
            yield event(EventType.BOUNCED, id_, step, at + timedelta(minutes=1))
            return
        yield event(EventType.DELIVERED, id_, step, at + timedelta(minutes=1))
        later = min(now, at + timedelta(minutes=random.randrange(5, 2_000)))
        if random.random() < (0.56 if step == 1 else 0.44):
            yield event(EventType.OPENED, id_, step, later)
            if random.random() < 0.24:
                yield event(EventType.CLICKED, id_, step, min(now, later + timedelta(minutes=2)))
        if random.random() < replies[step - 1]:
            yield event(EventType.REPLIED, id_, step, min(now, later + timedelta(minutes=30)))
            return
        if random.random() < 0.012:
            yield event(EventType.UNSUBSCRIBED, id_, step, min(now, later + timedelta(minutes=3)))
            return


def _contacts(count: int, tag: str) -> list[ContactFields]:
    with (resources.files("mcp_server.demo") / "contacts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: list[ContactFields] = []
    for index in range(count):
        row = rows[index % len(rows)]
        local = normalize("NFKD", f"{row['first_name']}.{row['last_name']}{index}.{tag}").encode("ascii", "ignore")
        found.append(
            ContactFields(
                email=f"{local.decode().lower().replace(' ', '')}@example.com",
                first_name=row.get("first_name"),
                last_name=row.get("last_name"),
                company=row.get("company"),
            )
        )
    return found


def _odds_and_ends(database: Database, now: datetime) -> None:
    lost = NewEvent(
        EventType.OPENED, EFFECTS[EventType.OPENED].channel, now, provider_message_id=HOSTILE, provider="demo"
    )
    record(database, lost)
    database.run(
        "suppress",
        lambda session: suppressions.suppress(
            session, email="no-thanks@example.com", reason=SuppressionReason.MANUAL, source=HOSTILE
        ),
    )


@dataclass(frozen=True)
class Site:
    """A server, its data, and the way to both. It is open, as servers on loopback without a token are."""

    base: str
    scene: Scene
    database: Database
    now: datetime
    home: Path
    """Where the server's local store is."""

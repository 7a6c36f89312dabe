"""What is due when, against a naive model that is written from the documentation and looks at every minute.

People in several zones go through a campaign of three steps, while its settings, their zones and its steps change.
Whoever comes at each moment that next_due_at names must find what the model finds, and nothing in between.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings as examples, strategies as st
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services import actions, campaigns, claims, contacts, enrollments, explaining, templates
from tests.services.scene import make_campaign

START = datetime(2026, 10, 23, 7, 0, tzinfo=UTC)  # a Friday; two days later Europe leaves summer time, then America
MINUTE = timedelta(minutes=1)
VISITS, HORIZON = 12, 8 * 24 * 60
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Auckland", None)
DELAYS = {1: 0, 2: 5, 3: 30}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

chosen: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "timezone": st.sampled_from(ZONES[:4]),
        "use_contact_timezone": st.sampled_from([True, True, False]),
        "sending_window": st.sampled_from(
            [
                {"days": [*DAYS[:5]], "start": "09:00", "end": "17:00"},
                {"days": [*DAYS], "start": "22:30", "end": "02:30"},
                {"days": ["mon", "thu", "sun"], "start": "01:15", "end": "03:45"},
            ]
        ),
    },
    optional={
        "holidays": st.sampled_from([["2026-10-26"], ["2026-10-25", "2026-10-27"]]),
        "daily_limit": st.integers(1, 3),
        "min_gap_seconds": st.sampled_from([0, 600, 3 * 3600]),
        "senders": st.sampled_from(
            [
                {"email": {"account": "ann@example.com", "daily_limit": 2}},
                {"email": {"account": "ann@example.com", "daily_limit": 2, "timezone": "Asia/Tokyo"}},
            ]
        ),
    },
)
change = st.tuples(st.integers(1, 6), st.sampled_from(["settings", "zone", "step"]), chosen, st.sampled_from(ZONES[:4]))


@dataclass
class Person:
    zone: str | None
    done: int = 0
    since: datetime = START


@dataclass
class Model:
    """The rules as they are documented."""

    settings: dict[str, Any]
    people: dict[UUID, Person]
    steps: set[int] = field(default_factory=lambda: set(DELAYS))
    sent: list[datetime] = field(default_factory=list[datetime])

    def due(self, person: Person) -> datetime | None:
        left = [number for number in sorted(self.steps) if number > person.done]
        return person.since + timedelta(hours=DELAYS[left[0]]) if left else None

    def is_open(self, person: Person, now: datetime) -> bool:
        own = person.zone if self.settings.get("use_contact_timezone") else None
        wall = now.astimezone(ZoneInfo(own or self.settings["timezone"]))
        window = self.settings.get("sending_window")

        def counts(days_ago: int) -> bool:
            day = wall.date() - timedelta(days=days_ago)
            is_holiday = day.isoformat() in self.settings.get("holidays", ())
            return not is_holiday and (window is None or DAYS[day.weekday()] in window["days"])

        if window is None:
            return counts(0)
        clock = f"{wall:%H:%M}"
        if window["start"] < window["end"]:
            return counts(0) and window["start"] <= clock < window["end"]
        return (counts(0) and clock >= window["start"]) or (counts(1) and clock < window["end"])

    def places(self, now: datetime) -> int:
        """How many may go out at that moment."""
        sender = self.settings.get("senders", {}).get("email", {})
        limits = [
            (self.settings.get("daily_limit"), self.settings["timezone"]),
            (sender.get("daily_limit"), sender.get("timezone", "UTC")),
        ]
        left = [100]
        for limit, zone in limits:
            if limit is not None:
                today = now.astimezone(ZoneInfo(zone)).date()
                used = sum(moment.astimezone(ZoneInfo(zone)).date() == today for moment in self.sent)
                left.append(max(0, limit - used))
        gap = self.settings.get("min_gap_seconds", 0)
        if gap:
            left.append(0 if self.sent and now < self.sent[-1] + timedelta(seconds=gap) else 1)
        return min(left)

    def ready(self, now: datetime) -> list[UUID]:
        """Whose step may go out then, whoever gets the places."""
        return [
            id_
            for id_, person in self.people.items()
            if (due := self.due(person)) is not None and due <= now and self.is_open(person, now)
        ]

    def next_moment(self, now: datetime) -> datetime | None:
        """The first minute from then on at which something may go out, looking at each."""
        for minutes in range(HORIZON):
            moment = now + minutes * MINUTE
            if self.ready(moment) and self.places(moment):
                return moment
        return None


@dataclass
class Story:
    session: Session
    campaign_id: UUID
    model: Model

    def visit(self, now: datetime) -> datetime | None:
        """Take and send what is due, as the model has it; when to come back."""
        ready, places = self.model.ready(now), self.model.places(now)
        told = explaining.campaign(self.session, campaign_id=self.campaign_id, now=now)
        claim = self._claim(now)
        handed = [due.enrollment.id for due in claim.actions]
        assert set(handed) <= set(ready)
        assert len(handed) == min(len(ready), places)
        assert told.is_due == bool(handed)
        for due in claim.actions:
            actions.complete(
                self.session,
                action_id=due.action_id,
                lease_token=due.lease_token,
                outcome=ActionOutcome.SENT,
                provider=None,
                provider_message_id=None,
                error=None,
                now=now,
            )
            person = self.model.people[due.enrollment.id]
            person.done, person.since = due.step.step_number, now
            self.model.sent.append(now)
        if claim.actions:
            claim = self._claim(now)
            if claim.actions:  # the next step has no delay, or is open to others
                raise AssertionError("a claim of more than are due leaves something behind")
        expected = self.model.next_moment(now)
        if expected is not None:
            assert claim.next_due_at == expected
            whole = explaining.campaign(self.session, campaign_id=self.campaign_id, now=now)
            assert whole.next_at == expected
        return expected

    def _claim(self, now: datetime) -> claims.Claim:
        return claims.claim(
            self.session, campaign_id=self.campaign_id, channel=None, limit=100, lease_seconds=300, now=now
        )

    def change(self, what: str, settings: Mapping[str, Any], zone: str | None, now: datetime) -> None:
        if what == "settings":
            fields = {"settings": dict(settings)}
            campaigns.update(self.session, campaign_id=self.campaign_id, fields=fields, now=now)
            self.model.settings = dict(settings)
        elif what == "zone":
            person = ContactFields(email="p0@example.com", timezone=zone)
            contacts.find_or_create(self.session, people={0: person}, overwrite=True)
            next(iter(self.model.people.values())).zone = zone
        else:
            is_active = 2 not in self.model.steps
            template_id = campaigns.get(self.session, campaign_id=self.campaign_id).template_id
            templates.update(
                self.session,
                template_id=template_id,
                fields={},
                email_steps=[step(2, is_active=is_active)],
                linkedin_steps=[],
            )
            self.model.steps ^= {2}


def step(number: int, *, is_active: bool = True) -> EmailStep:
    return EmailStep(number, "Hello", "A text for everybody", delay_hours=DELAYS[number], is_active=is_active)


class _Undo(Exception):
    """Ends a transaction without keeping it."""


@examples(
    max_examples=18,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chosen, st.lists(change, min_size=3, max_size=5))
def test_what_is_due_is_what_a_naive_reading_finds(
    database: Database, settings: dict[str, Any], changes: list[tuple[int, str, dict[str, Any], str]]
) -> None:
    with suppress(_Undo), database.transaction("story") as session:
        steps = [step(number) for number in DELAYS]
        campaign_id = make_campaign(session, email_steps=steps, settings=settings, start_at=START)
        refs = {
            index: ContactRef(None, ContactFields(email=f"p{index}@example.com", timezone=zone))
            for index, zone in enumerate(ZONES)
        }
        answers = enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=None, now=START)
        people = {answers[index].enrollment_id or UUID(int=0): Person(zone) for index, zone in enumerate(ZONES)}
        story = Story(session, campaign_id, Model(dict(settings), people))
        now = START
        for visit in range(VISITS):
            for at, what, new, zone in changes:
                if at == visit:
                    story.change(what, new, zone, now)
            then = story.visit(now)
            if then is None:
                break
            now = then
        raise _Undo

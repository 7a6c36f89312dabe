"""What is due when, against a naive model that is written from the documentation (due_model.py).

People in several zones go through a year of emails and LinkedIn steps, while the settings, their zones, the steps and
the delays change, people are paused and away, and leases run out. Whoever comes at each moment that next_due_at names,
or days later, must find what the model finds, and nothing in between.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings as examples, strategies as st
from sqlalchemy.orm import Session

from db.domain import conditions
from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType, NewEvent
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, Channel, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims, explain
from db.services.enrollments import enrollments
from db.services.events import events
from db.services.people import absences, contacts
from tests.support.campaigns import make_campaign
from tests.support.due_model import Condition, Model, Person

START = datetime(2026, 10, 23, 7, 0, tzinfo=UTC)  # a Friday; two days later Europe leaves summer time, then America
VISITS, HORIZON = 26, timedelta(days=8)
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Auckland", None)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EMAIL, LINKEDIN = str(Channel.EMAIL), str(Channel.LINKEDIN)
CHANNELS = {1: EMAIL, 2: EMAIL, 3: LINKEDIN, 4: EMAIL, 5: LINKEDIN, 6: EMAIL}
DELAYS = {1: 0, 2: 5, 3: 30, 4: 720, 5: 720, 6: 720}
# When each person begins: the last of them ends a year after the first began.
DAYS_LATER = (0, 0, 0, 110, 270)
SWITCHED, DELAYED = 2, (3, 4)
LIMITS = {HoldReason.DAILY_LIMIT, HoldReason.MIN_GAP, HoldReason.SENDER_DAILY_LIMIT, HoldReason.SENDER_MIN_GAP}


HOLDS = ("pause until", "pause until", "pause", "resume", "away", "away", "back")


def sender(*accounts: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"account": st.sampled_from(accounts)},
        optional={
            "daily_limit": st.integers(1, 3),
            "min_gap_seconds": st.sampled_from([0, 900]),
            "timezone": st.sampled_from(["Asia/Tokyo", "America/New_York"]),
        },
    )


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
        "holidays": st.sampled_from([["2026-10-26"], ["2026-10-25", "2026-12-25", "2027-03-28"]]),
        "daily_limit": st.integers(1, 4),
        "ramp_up": st.fixed_dictionaries({"start": st.integers(1, 2), "increase": st.just(1)}),
        "min_gap_seconds": st.sampled_from([0, 600, 3 * 3600]),
        "senders": st.fixed_dictionaries(
            {}, optional={EMAIL: sender("ann@example.com", "bob@example.com"), LINKEDIN: sender("Ann")}
        ),
    },
)
change = st.tuples(
    st.integers(1, VISITS - 1),
    st.sampled_from(["settings", "settings", "zone", "switch", "delay", "stay away", "open", "open", *HOLDS]),
    chosen,
    st.sampled_from(ZONES[:4]),
    st.integers(1, 40),
)
# What becomes of each step that is handed out, one after the other and from the start again.
fates = st.lists(st.sampled_from(["sent", "sent", "sent", "skipped", "lost"]), min_size=5, max_size=9)


@dataclass
class Story:
    session: Session
    campaign_id: UUID
    model: Model
    fates: list[str]
    contacts: dict[UUID, UUID]
    handed: int = 0

    def visit(self, now: datetime) -> datetime | None:
        """Take what is due, as the model has it, and report some of it; when to come back."""
        told = explain.campaign(self.session, campaign_id=self.campaign_id, now=now)
        one = list(self.model.people)[self.handed % len(self.model.people)]
        of_one = explain.enrollment(self.session, enrollment_id=one, now=now)
        opening = self.model.opening(self.model.people[one], now, HORIZON)
        is_false = self.model.is_false(self.model.people[one])
        handed, claim = self._claim(now)
        assert told.is_due == bool(handed)
        assert of_one.is_due == (one in handed)
        if opening is not None and not is_false and not {hold.reason for hold in of_one.holds} & LIMITS:
            assert of_one.next_at == opening
        while claim.actions:
            for due in claim.actions:
                self._end(due, self.fates[self.handed % len(self.fates)], now)
                self.handed += 1
            _, claim = self._claim(now)  # a step that is passed over leaves its place to others
        moment = self.model.next_moment(now, HORIZON)
        if moment is not None:
            whole = explain.campaign(self.session, campaign_id=self.campaign_id, now=now)
            assert (claim.next_due_at, whole.next_at) == (moment, moment)
        return moment or claim.next_due_at

    def _claim(self, now: datetime) -> tuple[dict[UUID, int], claims.Claim]:
        """Whose step of which number is handed out, as the model has it."""
        expected = self.model.hand_out(now)
        claim = claims.claim(
            self.session, campaign_id=self.campaign_id, channel=None, limit=100, lease_seconds=300, now=now
        )
        assert {due.enrollment.id: due.step.step_number for due in claim.actions} == expected
        return expected, claim

    def _end(self, due: claims.DueAction, fate: str, now: datetime) -> None:
        if fate == "lost":
            return
        actions.complete(
            self.session,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome(fate),
            provider=None,
            provider_message_id=None,
            error=None,
            now=now,
        )
        self.model.report(due.enrollment.id, now, is_sent=fate == "sent")

    def change(self, what: str, settings: Mapping[str, Any], zone: str | None, number: int, now: datetime) -> None:
        if what == "settings":
            fields = {"settings": dict(settings)}
            campaigns.update(self.session, campaign_id=self.campaign_id, fields=fields, now=now)
            self.model.settings = dict(settings)
        elif what == "zone":
            person = ContactFields(email="p0@example.com", timezone=zone)
            contacts.find_or_create(self.session, people={0: person}, overwrite=True)
            next(iter(self.model.people.values())).zone = zone
        elif what == "switch":
            with self._looking_again():
                self.model.steps ^= {SWITCHED}
            self._write(SWITCHED)
        elif what == "delay":
            step = DELAYED[number % len(DELAYED)]
            with self._looking_again():
                self.model.delays[step] = number * 7
            self._write(step)
        elif what == "open":
            self._open(list(self.model.people)[number % len(self.model.people)], now)
        elif what in HOLDS:
            self._hold(what, list(self.model.people)[number % len(self.model.people)], number, now)

    @contextmanager
    def _looking_again(self) -> Generator[None]:
        """Whoever waits for a condition is looked at again if another step comes, or the same after another delay."""
        people = self.model.people.values()
        before = [(step := self.model.next_step(person), self.model.delays.get(step or 0)) for person in people]
        yield
        for person, known in zip(people, before, strict=True):
            step = self.model.next_step(person)
            person.waits = person.waits and (step, self.model.delays.get(step or 0)) == known

    def _open(self, id_: UUID, now: datetime) -> None:
        person = self.model.people[id_]
        new = [number for number in person.sent if CHANNELS[number] == EMAIL]
        opened = [NewEvent(EventType.OPENED, Channel.EMAIL, now, enrollment_id=id_, step_number=n) for n in new]
        events.record_events(self.session, events=opened)
        self.model.open_all(person)

    def _hold(self, what: str, id_: UUID, number: int, now: datetime) -> None:
        """Pause somebody, or learn that they are away; and the other way round."""
        model, person = self.model, self.model.people[id_]
        step, handed = self.model.next_step(person), person.handed
        if step is None or (handed is not None and handed.step != step):
            return
        is_paused = person.is_paused_at(now)
        if what == "pause until":
            until = now + timedelta(hours=number * 5)
            self._update(id_, EnrollmentAction.PAUSE, now, until=until)
            model.pause(person, until, now)
        elif what == "pause" and not person.is_paused:
            self._update(id_, EnrollmentAction.PAUSE, now)
            model.pause(person, None, now)
        elif what == "resume" and is_paused:
            self._update(id_, EnrollmentAction.RESUME, now)
            model.resume(person, now)
        elif what == "away":
            place = ZoneInfo(person.zone or "UTC")
            until = now.astimezone(place).date() + timedelta(days=number // 5)
            end = datetime.combine(until + timedelta(days=1), time(), place).astimezone(UTC)
            contact_id = self.contacts[id_]
            absences.begin(self.session, contact_id=contact_id, began_at=now, until=until, now=now)
            if person.absent_until is None or end > person.absent_until:
                model.go_away(person, end, now)
        elif what == "back":
            absences.end(self.session, contact_id=self.contacts[id_], now=now)
            if person.absent_until is not None and person.absent_until > now:
                model.go_away(person, None, now)
            person.absent_until = None

    def _update(self, id_: UUID, action: EnrollmentAction, now: datetime, *, until: datetime | None = None) -> None:
        enrollments.update(self.session, enrollment_id=id_, action=action, until=until, now=now)

    def _write(self, number: int) -> None:
        step = make_step(number, self.model.delays[number], is_active=number in self.model.steps)
        templates.update(
            self.session,
            template_id=campaigns.get(self.session, campaign_id=self.campaign_id).template_id,
            fields={},
            email_steps=[step] if isinstance(step, EmailStep) else [],
            linkedin_steps=[step] if isinstance(step, LinkedInStep) else [],
        )


CONDITIONS = {3: Condition(1, timedelta(hours=40)), 5: Condition(4, None)}


def make_step(number: int, delay: int, *, is_active: bool = True) -> EmailStep | LinkedInStep:
    if CHANNELS[number] == EMAIL:
        return EmailStep(number, "Hello", "A text for everybody", delay_hours=delay, is_active=is_active)
    asked = CONDITIONS[number]
    wait = None if asked.wait is None else asked.wait // timedelta(hours=1)
    kept = {"fact": "opened", "step_number": asked.opened, "else": "skip" if wait is None else "wait"}
    condition = conditions.of_json({**kept, **({} if wait is None else {"wait_hours": wait})})
    return LinkedInStep(number, LinkedInStepType.MESSAGE, "Hello", delay, is_active, condition)


def begin(session: Session, settings: dict[str, Any], how: list[str]) -> Story:
    steps = [make_step(number, delay) for number, delay in DELAYS.items()]
    campaign_id = make_campaign(
        session,
        email_steps=[step for step in steps if isinstance(step, EmailStep)],
        linkedin_steps=[step for step in steps if isinstance(step, LinkedInStep)],
        settings=settings,
        start_at=START,
    )
    refs = {
        index: ContactRef(None, ContactFields(email=f"p{index}@example.com", timezone=zone))
        for index, zone in enumerate(ZONES)
    }
    people: dict[UUID, Person] = {}
    contact_ids: dict[UUID, UUID] = {}
    for index, ref in refs.items():
        since = START + timedelta(days=DAYS_LATER[index])
        answers = enrollments.enroll(session, campaign_id=campaign_id, people={0: ref}, start_at=since, now=START)
        id_ = answers[0].enrollment_id or UUID(int=0)
        people[id_] = Person(ZONES[index], since)
        contact_ids[id_] = answers[0].contact_id or UUID(int=0)
    model = Model(dict(settings), people, CHANNELS, dict(DELAYS), set(DELAYS), START, CONDITIONS)
    return Story(session, campaign_id, model, how, contact_ids)


class _Undo(Exception):
    """Ends a transaction without keeping it."""


@examples(
    max_examples=examples.default.max_examples // 16 if examples.default else 6,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chosen, st.lists(change, min_size=4, max_size=9), fates)
@example(
    {"timezone": "Asia/Tokyo", "daily_limit": 2, "ramp_up": {"start": 1, "increase": 1}}, [], ["sent", "lost", "sent"]
)
def test_what_is_due_is_what_a_naive_reading_finds(
    database: Database,
    settings: dict[str, Any],
    changes: list[tuple[int, str, dict[str, Any], str, int]],
    how: list[str],
) -> None:
    with suppress(_Undo), database.transaction("story") as session:
        story = begin(session, settings, how)
        now = START
        for visit in range(VISITS):
            for at, what, new, zone, number in changes:
                if at == visit and what == "stay away":
                    now += timedelta(days=number)
                elif at == visit:
                    story.change(what, new, zone, number, now)
            then = story.visit(now)
            if then is None and not any(person.is_paused for person in story.model.people.values()):
                break
            now = then or now + timedelta(days=1)
        raise _Undo

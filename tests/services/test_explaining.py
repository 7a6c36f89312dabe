"""explain_due and claim_due_actions agree, whatever has happened to a campaign before."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy.event import listen
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import Refused, SalesAutomationError
from db.domain.events import EventType, NewEvent
from db.domain.holds import HoldReason
from db.domain.states import (
    ActionOutcome,
    Channel,
    EnrollmentAction,
    LinkedInStepType,
    SuppressionReason,
)
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, plans
from db.services.dispatch import actions, claims, explain
from db.services.dispatch.explain import Explanation
from db.services.enrollments import enrollments
from db.services.events.events import record_events
from db.services.people import suppressions
from tests.support.campaigns import NOW, make_campaign, new_scene
from tests.support.steps import claim_at, report_at

PEOPLE = 6
ZONES = (None, "Asia/Tokyo", "America/New_York")

limits: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"daily_limit": st.integers(1, 4), "min_gap_seconds": st.integers(0, 7200)}
)
sending: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"timezone": st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia"])},
    optional={
        "use_contact_timezone": st.booleans(),
        "sending_window": st.fixed_dictionaries(
            {
                "days": st.lists(st.sampled_from(["mon", "tue", "wed", "sun"]), min_size=1, unique=True),
                "start": st.sampled_from(["00:00", "08:30"]),
                "end": st.sampled_from(["09:30", "24:00"]),
            }
        ),
        "holidays": st.just(["2026-11-03"]),
        "daily_limit": st.integers(1, 4),
        "min_gap_seconds": st.integers(0, 7200),
        "ramp_up": st.just({"start": 1, "increase": 1}),
        "senders": st.fixed_dictionaries(
            {},
            optional={
                channel: limits.map(lambda given, name=name: {"account": name, **given})
                for channel, name in (("email", "sales@example.com"), ("linkedin", "Ann"))
            },
        ),
    },
)
happening = st.tuples(
    st.sampled_from(["claim", "sent", "failed", "skipped", "suppress", "pause", "resume", "pause_campaign", "start"]),
    st.integers(0, PEOPLE - 1),
    # Leases last an hour: some run out on the day on which they were given, others on the next.
    st.integers(0, 2) | st.integers(0, 40),
)


@dataclass
class Story:
    """One campaign, what was claimed in it and not reported, and the moment it has come to."""

    session: Session
    campaign_id: UUID
    enrollments: list[UUID]
    held: list[claims.DueAction]
    now: datetime = NOW
    sent: list[claims.DueAction] = field(default_factory=list[claims.DueAction])

    def happens(self, what: str, person: int, hours: int) -> None:
        self.now += timedelta(hours=hours)
        if what == "claim":
            self.held += self.claim(limit=person + 1)
        elif what in ("sent", "failed", "skipped"):
            self._report(ActionOutcome(what))
        elif what == "suppress":
            reason = SuppressionReason.MANUAL
            suppressions.suppress(self.session, email=f"p{person}@example.com", reason=reason, source=None)
        elif what in ("pause", "resume"):
            action = EnrollmentAction(what)
            enrollments.update(self.session, enrollment_id=self.enrollments[person], action=action, now=self.now)
        elif what == "pause_campaign":
            campaigns.pause(self.session, campaign_id=self.campaign_id, now=self.now)
        else:
            campaigns.start(self.session, campaign_id=self.campaign_id, now=self.now)

    def claim(self, *, limit: int) -> list[claims.DueAction]:
        claim = claims.claim(
            self.session,
            campaign_id=self.campaign_id,
            channel=None,
            limit=limit,
            lease_seconds=3600,
            now=self.now,
        )
        return claim.actions

    def _report(self, outcome: ActionOutcome) -> None:
        if self.held:
            due = self.held.pop()
            actions.complete(
                self.session,
                action_id=due.action_id,
                lease_token=due.lease_token,
                outcome=outcome,
                provider=None,
                provider_message_id=None,
                error=None,
                now=self.now,
            )
            self.sent += [due] if outcome is ActionOutcome.SENT else []

    def keeps_to_the_daily_limit(self) -> bool:
        """Whether no day has more reservations than its limit allows."""
        sending = plans.of_campaigns(self.session, campaign_ids=[self.campaign_id])[self.campaign_id].sending
        days = Counter(sending.today(due.reserved_at) for due in self.sent if due.reserved_at is not None)
        most = {day: sending.limits_on(day).daily for day in days}
        return all(limit is None or days[day] <= limit for day, limit in most.items())


def begin(session: Session, chosen: dict[str, Any], *, start: bool) -> Story:
    campaign_id = make_campaign(
        session,
        email_steps=[
            EmailStep(1, "Hello", "The first of all"),
            EmailStep(3, "Again", "Dear {{ first_name }}, the last", delay_hours=24),
        ],
        linkedin_steps=[LinkedInStep(2, LinkedInStepType.MESSAGE, "Hello", delay_hours=5)],
        settings=chosen,
        start_at=NOW if start else None,
    )
    people = {
        index: ContactRef(
            None,
            ContactFields(
                email=f"p{index}@example.com",
                first_name="Ann" if index % 2 else None,
                timezone=ZONES[index % len(ZONES)],
            ),
        )
        for index in range(PEOPLE)
    }
    answers = enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
    ids = [answers[index].enrollment_id for index in range(PEOPLE)]
    return Story(session, campaign_id, [id_ for id_ in ids if id_ is not None], [])


def enroll_one(session: Session, campaign_id: UUID, name: str | None, *, start_at: datetime) -> UUID:
    person = ContactRef(None, ContactFields(email=f"{str(name).lower()}@example.com", first_name=name))
    answers = enrollments.enroll(session, campaign_id=campaign_id, people={0: person}, start_at=start_at, now=NOW)
    enrollment_id = answers[0].enrollment_id
    assert enrollment_id is not None
    return enrollment_id


def test_a_reservation_that_is_released_goes_to_the_next_in_line_whatever_the_channel(database: Database) -> None:
    """The channels are queues of their own where accounts are named, and the campaign's limit is one for both."""
    with database.transaction("story") as session:
        campaign_id = make_campaign(
            session,
            email_steps=[EmailStep(1, "Hello", "Dear {{ first_name }}, hello")],
            linkedin_steps=[LinkedInStep(2, LinkedInStepType.MESSAGE, "Hello")],
            settings={"daily_limit": 1, "senders": {"email": {"account": "sales@example.com"}}},
        )
        later, nameless, first = (
            enroll_one(session, campaign_id, name, start_at=NOW + timedelta(minutes=minutes))
            for minutes, name in enumerate(["Ann", None, "Bob"])
        )
        advance, now = EnrollmentAction.ADVANCE, NOW + timedelta(hours=1)
        enrollments.update(session, enrollment_id=later, action=advance, now=now)
        explained = [explain.enrollment(session, enrollment_id=id_, now=now).is_due for id_ in (nameless, first, later)]
        assert explained == [False, True, False]
        told = Story(session, campaign_id, [], [], now)
        assert [due.enrollment.id for due in told.claim(limit=10)] == [first]


def test_who_waits_for_an_account_takes_no_reservation_of_another_channel(database: Database) -> None:
    with database.transaction("story") as session:
        campaign_id = make_campaign(
            session,
            email_steps=[EmailStep(1, "Hello", "The first of all")],
            linkedin_steps=[LinkedInStep(2, LinkedInStepType.MESSAGE, "Hello")],
            settings={"daily_limit": 3, "senders": {"email": {"account": "sales@example.com", "daily_limit": 1}}},
        )
        third, second, first = (
            enroll_one(session, campaign_id, name, start_at=NOW - timedelta(minutes=minutes))
            for minutes, name in enumerate(["Ann", "Bob", "Cid"])
        )
        enrollments.update(session, enrollment_id=third, action=EnrollmentAction.ADVANCE, now=NOW)
        explained = [explain.enrollment(session, enrollment_id=id_, now=NOW) for id_ in (first, second, third)]
        assert [[hold.reason for hold in explanation.holds] for explanation in explained] == [
            [],
            [HoldReason.SENDER_DAILY_LIMIT],
            [],
        ]
        told = Story(session, campaign_id, [], [])
        assert {due.enrollment.id for due in told.claim(limit=10)} == {first, third}


def test_a_campaign_whose_first_step_is_claimed_says_so(database: Database) -> None:
    with database.transaction("story") as session:
        told = begin(session, {"timezone": "UTC"}, start=True)
        assert len(told.claim(limit=PEOPLE)) == PEOPLE
        (hold,) = explain.campaign(session, campaign_id=told.campaign_id, now=NOW).holds
        assert (hold.reason, hold.until) == (HoldReason.LEASE_HELD, NOW + timedelta(hours=1))


def nameless(session: Session, count: int) -> UUID:
    """A campaign in which so many lack what its text needs, and one behind them does not."""
    steps = [EmailStep(1, "Hello", "Dear {{ first_name }}, hello")]
    campaign_id = make_campaign(session, email_steps=steps)
    people = {number: ContactRef(None, ContactFields(email=f"p{number}@example.com")) for number in range(count)}
    early = NOW - timedelta(hours=1)
    enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=early, now=NOW)
    enroll_one(session, campaign_id, "Ann", start_at=NOW)
    return campaign_id


@pytest.mark.parametrize("count", [200, 450])
def test_one_who_is_due_behind_many_who_lack_something_is_seen(database: Database, count: int) -> None:
    with database.transaction("story") as session:
        campaign_id = nameless(session, count)
        assert explain.campaign(session, campaign_id=campaign_id, now=NOW).is_due
        told = Story(session, campaign_id, [], [])
        assert [due.contact.first_name for due in told.claim(limit=500)] == ["Ann"]


def test_where_too_many_are_held_back_to_look_at_them_all_it_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_LOOKED_AT_MAX", 200)
    with database.transaction("story") as session:
        campaign_id = nameless(session, 200)
        (hold,) = explain.campaign(session, campaign_id=campaign_id, now=NOW).holds
        assert hold.reason is HoldReason.MISSING_VARIABLE
        assert "first 200" in hold.detail


class _Undo(Exception):
    """Ends a transaction without keeping it."""


LIMITS = {
    HoldReason.DAILY_LIMIT,
    HoldReason.MIN_GAP,
    HoldReason.SENDER_DAILY_LIMIT,
    HoldReason.SENDER_MIN_GAP,
}


@settings(
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sending, st.booleans(), st.lists(happening, max_size=14), st.integers(0, 60))
def test_what_is_explained_as_due_is_what_a_claim_hands_out(
    database: Database, chosen: dict[str, Any], start: bool, story: list[tuple[str, int, int]], hours: int
) -> None:
    with suppress(_Undo), database.transaction("story") as session:
        told = begin(session, chosen, start=start)
        for what, person, later in story:
            # Refusals are part of the story.
            with suppress(SalesAutomationError), database.transaction("part"):
                told.happens(what, person, later)
        assert told.keeps_to_the_daily_limit()
        told.now += timedelta(hours=hours)
        explained = {id_: explain.enrollment(session, enrollment_id=id_, now=told.now) for id_ in told.enrollments}
        whole = explain.campaign(session, campaign_id=told.campaign_id, now=told.now)
        for id_, each in explained.items():
            if each.next_at is not None:
                then = explain.enrollment(session, enrollment_id=id_, now=each.next_at)
                assert {hold.reason for hold in then.holds} <= LIMITS
        claimed = set[UUID]()
        with suppress(Refused):
            claimed = {due.enrollment.id for due in told.claim(limit=500)}
        assert {id_ for id_, each in explained.items() if each.is_due} == claimed
        assert whole.is_due == bool(claimed)
        raise _Undo


def test_whoever_waits_behind_others_for_a_limit_is_told_the_place_in_the_queue(database: Database) -> None:
    steps = [EmailStep(1, "Hello", "Good morning, all")]
    campaign_id = database.run("scene", partial(make_campaign, email_steps=steps, settings={"daily_limit": 1}))
    people = {number: ContactRef(None, ContactFields(email=f"p{number}@example.com")) for number in range(4)}
    for number, person in people.items():
        at = NOW + timedelta(minutes=number)
        database.run(
            "enroll",
            lambda session, number=number, person=person, at=at: enrollments.enroll(
                session, campaign_id=campaign_id, people={number: person}, start_at=at, now=NOW
            ),
        )
    later = NOW + timedelta(hours=1)

    def waits(session: Session) -> list[tuple[bool, int | None, bool]]:
        listed = enrollments.list_(session, campaign_id=campaign_id, status=None, contact_id=None, limit=9, cursor=None)
        in_order = sorted(listed.rows, key=lambda row: row.enrollment.next_action_at or NOW)
        told = [explain.enrollment(session, enrollment_id=row.enrollment.id, now=later) for row in in_order]
        return [
            (
                explanation.is_due,
                explanation.holds[0].position if explanation.holds else None,
                "stand before" in str(explanation.holds),
            )
            for explanation in told
        ]

    assert database.run("look", waits) == [(True, None, False), (False, 2, True), (False, 3, True), (False, 4, True)]
    (due,) = claim_at(database, campaign_id, later, limit=1).actions
    report_at(database, due, ActionOutcome.SENT, later)
    positions = [position for _, position, _ in database.run("look", waits)]
    assert sorted(position for position in positions if position is not None) == [1, 2, 3]


def test_a_step_that_is_recorded_as_sent_while_it_is_explained_is_no_fault(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    scene = new_scene(database, 1)
    asked: list[str] = []

    def meanwhile(statement: str) -> None:
        if "FROM campaign_actions" not in statement or asked:
            return
        asked.append(statement)
        with ThreadPoolExecutor(1) as other:
            event = NewEvent(EventType.SENT, Channel.EMAIL, NOW, scene.enrollments[0], step_number=1)
            other.submit(database.run, "record", partial(record_events, events=[event])).result()

    def look(session: Session) -> Explanation:
        def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            meanwhile(statement)

        listen(session.connection(), "before_cursor_execute", before)
        return explain.campaign(session, campaign_id=scene.campaign_id, now=NOW)

    found = database.run("explain", look, read_only=True)
    assert asked
    assert HoldReason.INTERNAL_FAULT not in {hold.reason for hold in found.holds}
    assert "next again" not in caplog.text

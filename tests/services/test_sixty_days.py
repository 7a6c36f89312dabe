"""A campaign of sixty days on a clock that jumps from one due moment to the next."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.dispatch import actions, claims
from db.services.enrollments import enrollments
from tests.support.campaigns import assert_counters_are_exact, event, make_campaign, record

BERLIN = ZoneInfo("Europe/Berlin")
# Summer time begins in between, on 29 March.
START = datetime(2026, 2, 23, 6, 0, tzinfo=UTC)
HOLIDAY = date(2026, 4, 3)
PEOPLE, STEPS, LIMIT, DELAY = 120, 4, 25, 16
SETTINGS: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "sending_window": {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "12:00"},
    "holidays": [HOLIDAY.isoformat()],
    "daily_limit": LIMIT,
    "min_gap_seconds": 240,
    "ramp_up": {"start": 10, "increase": 5},
}


STEPS_OF_IT = [
    EmailStep(number, "Hello", f"Step {number} of four", delay_hours=0 if number == 1 else 24 * DELAY)
    for number in range(1, STEPS + 1)
]


def people(database: Database, campaign_id: UUID) -> list[UUID]:
    refs = {n: ContactRef(None, ContactFields(email=f"p{n}@example.com")) for n in range(PEOPLE)}
    enroll = partial(enrollments.enroll, campaign_id=campaign_id, people=refs, start_at=None, now=START)
    answers = database.run("enroll", enroll)
    return [answer.enrollment_id for answer in answers.values() if answer.enrollment_id is not None]


def run(database: Database, replies: set[UUID]) -> list[tuple[UUID, int, datetime]]:
    """Work off what is due, at the moment it is due, until nothing is left: (who, step, when) of every send."""
    sent: list[tuple[UUID, int, datetime]] = []
    now: datetime | None = START
    while now is not None:
        claim = database.run(
            "claim", partial(claims.claim, campaign_id=None, channel=None, limit=50, lease_seconds=60, now=now)
        )
        for due in claim.actions:
            report = partial(
                actions.complete,
                action_id=due.action_id,
                lease_token=due.lease_token,
                outcome=ActionOutcome.SENT,
                provider=None,
                provider_message_id=None,
                error=None,
                now=now,
            )
            database.run("complete", report)
            sent.append((due.enrollment.id, due.step.step_number, now))
            if due.enrollment.id in replies and due.step.step_number == 2:
                answered = event(EventType.REPLIED, due.enrollment.id)
                answered.occurred_at = now
                record(database, answered)
        now = now if claim.actions else claim.next_due_at
    return sent


def test_sixty_days_keep_to_the_window_the_limits_and_the_delays(database: Database) -> None:
    make = partial(make_campaign, email_steps=STEPS_OF_IT, settings=SETTINGS, start_at=START)
    campaign_id = database.run("make", make)
    everybody = people(database, campaign_id)
    replies = set(everybody[:30])
    sent = run(database, replies)
    local = [(who, step, at.astimezone(BERLIN)) for who, step, at in sent]
    assert len(sent) == PEOPLE * STEPS - len(replies) * (STEPS - 2)
    assert all(at.weekday() < 5 and time(9) <= at.time() < time(12) for _, _, at in local)
    by_day = Counter(at.date() for _, _, at in local)
    before, after = HOLIDAY - timedelta(days=1), HOLIDAY + timedelta(days=3)
    assert (by_day[before] > 0, by_day[HOLIDAY], by_day[after] > 0) == (True, 0, True)
    first_day = min(by_day)
    assert all(count <= min(LIMIT, 10 + 5 * (day - first_day).days) for day, count in by_day.items())
    assert by_day[first_day] == 10
    moments = [at for _, _, at in sent]
    assert all(after - before >= timedelta(seconds=240) for before, after in pairwise(moments))
    when = {(who, step): at for who, step, at in sent}
    assert len(when) == len(sent)
    assert all(at - when[who, step - 1] >= timedelta(days=DELAY) for (who, step), at in when.items() if step > 1)
    assert timedelta(days=55) < max(moments) - START < timedelta(days=65)
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT status, stop_reason, count(*) FROM campaign_enrollments GROUP BY 1, 2"))
        assert {tuple(row) for row in rows} == {("completed", "finished", 90), ("completed", "replied", 30)}
    assert_counters_are_exact(database)

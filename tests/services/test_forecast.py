"""A forecast says what the claims of the next days will hand out, row by row."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from db.domain import conditions
from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidInput, Refused
from db.domain.events import EventType
from db.domain.forecast import Forecast
from db.domain.states import ActionOutcome, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.dispatch import forecast
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW, enroll, event, make_campaign, record, statements_of
from tests.support.outgoing import ANN, BEN, connect, running
from tests.support.simulated_days import Rows, run_days
from tests.support.steps import claim, report, run_sql

DAYS = 6
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
WEEK = ["mon", "tue", "wed", "thu", "fri"]
ZONES = (BERLIN, "Asia/Tokyo", NEW_YORK, None)


def told(database: Database, now: datetime = NOW, days: int = DAYS, **of: Any) -> Forecast:
    look = partial(forecast.read, **{"campaign_id": None, "mailbox": None, **of}, days=days, now=now)
    return database.run("forecast", look, read_only=True)()


def counted(found: Forecast) -> Rows:
    return Rows({(day.date, day.mailbox): day.planned for day in found.days if day.planned})


def when(fact: str, /, **said: Any) -> conditions.Condition:
    return conditions.of_json({"fact": fact, "else": "wait" if "wait_hours" in said else "skip", **said})


def person(campaign_id: UUID, number: int, *, has_profile: bool) -> ContactRef:
    """Somebody who may lack a name, an address or a city."""
    fields = ContactFields(
        email=f"p{number}@{campaign_id}.example.com" if number % 17 or not has_profile else None,
        linkedin_url=f"https://www.linkedin.com/in/p{number}-{campaign_id}" if has_profile else None,
        first_name="Ada" if number % 11 else None,
        timezone=ZONES[number % 4],
        attributes={"city": "Berlin"} if number % 3 else {},
    )
    return ContactRef(None, fields)


def make(database: Database, steps: Sequence[EmailStep | LinkedInStep], people: int, **settings: Any) -> UUID:
    make_it = partial(
        make_campaign,
        email_steps=[step for step in steps if isinstance(step, EmailStep)],
        linkedin_steps=[step for step in steps if isinstance(step, LinkedInStep)],
        settings=settings,
    )
    campaign_id = database.run("make", make_it)
    for group in range(3):  # some begin later
        start_at = NOW + timedelta(hours=20 * group) if group else None
        refs = {n: person(campaign_id, n, has_profile=len(steps) > 3) for n in range(group, people, 3)}
        enroll_them = partial(enrollments.enroll, campaign_id=campaign_id, people=refs, start_at=start_at, now=NOW)
        database.run("enroll", enroll_them)
    return campaign_id


def three_campaigns(database: Database) -> dict[UUID | str | None, str]:
    """Windows, zones, limits, a ramp-up, mailboxes and conditions. Returns address or campaign -> its zone."""
    connect(database, ANN, daily_limit=14, ramp_up={"start": 5, "increase": 4}, timezone=BERLIN)
    connect(database, BEN, hourly_limit=4, timezone=NEW_YORK, window={"days": WEEK, "start": "08:00", "end": "12:00"})
    one = make(
        database,
        [
            EmailStep(1, "Hello", "Hello to {{ first_name }}"),
            EmailStep(2, None, "You opened it", 30, condition=when("opened", step_number=1)),
            EmailStep(3, None, "From Berlin", 40, condition=when("attribute", name="city", wait_hours=30)),
        ],
        90,
        mailboxes=[ANN, BEN],
        use_contact_timezone=True,
        timezone=BERLIN,
        sending_window={"days": [*WEEK, "sat"], "start": "09:00", "end": "17:00"},
    )
    two = make(
        database,
        [
            EmailStep(1, "Hi A", "A text for everybody", a_b_variant="A"),
            EmailStep(1, "Hi B", "A text for {{ first_name }}", a_b_variant="B", delay_hours=5),
            EmailStep(2, None, "For A alone", 24, condition=when("variant", **{"is": "A"})),
        ],
        60,
        mailboxes=[ANN],
        timezone=NEW_YORK,
        daily_limit=9,
        holidays=["2026-11-05"],
    )
    three = make(
        database,
        [
            EmailStep(1, "Hello", "A text for everybody"),
            LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello", 20),
            LinkedInStep(3, LinkedInStepType.MESSAGE, "Thank you", 24, condition=when("accepted", wait_hours=24)),
            EmailStep(4, "Again", "The last of all", 24),
        ],
        80,
        timezone="Asia/Tokyo",
        senders={"email": {"account": "carl", "daily_limit": 15}, "linkedin": {"account": "Carl", "daily_limit": 10}},
        ramp_up={"start": 12, "increase": 6},
    )
    return {ANN: BERLIN, BEN: NEW_YORK, one: BERLIN, two: NEW_YORK, three: "Asia/Tokyo"}


def test_what_happens_is_what_was_forecast(database: Database) -> None:
    zones = three_campaigns(database)
    mailboxes = run_sql(database, "SELECT id FROM mailboxes ORDER BY address").scalars().all()
    # Something has happened before, and somebody holds a step that is never reported.
    start = NOW + timedelta(hours=3)
    opened = run_days(database, NOW, NOW + timedelta(minutes=1), mailboxes=mailboxes, zones=zones)
    assert opened
    sent = run_sql(database, "SELECT enrollment_id FROM campaign_actions WHERE status = 'sent' AND step_number = 1")
    record(database, *(event(EventType.OPENED, id_, hours=1, step_number=1) for id_ in sent.scalars().all()[::2]))
    claim(database, next(id_ for id_, zone in zones.items() if zone == "Asia/Tokyo" and isinstance(id_, UUID)), hours=2)
    found = told(database, start)
    assert told(database, start) == found
    last = max(day.date for day in found.days)
    happened = run_days(database, start, start + timedelta(days=DAYS + 1), mailboxes=mailboxes, zones=zones)
    assert counted(found) == Rows({row: n for row, n in happened.items() if row[0] <= last})
    assert {day.binding_limit for day in found.days} >= {"ramp_up", "daily_limit", "hourly_limit"}


def test_the_limit_that_binds_is_named(database: Database) -> None:
    connect(database, ANN, daily_limit=5, ramp_up={"start": 2, "increase": 2}, timezone="UTC")
    campaign_id = running(database, ANN, people=9)
    found = told(database, days=6, campaign_id=campaign_id)
    day = NOW.date()
    assert [(one.date - day, one.planned, one.binding_limit) for one in found.days] == [
        (timedelta(0), 2, "ramp_up"),
        (timedelta(1), 4, "ramp_up"),
        (timedelta(2), 5, "daily_limit"),
        (timedelta(3), 5, "daily_limit"),
        (timedelta(4), 2, None),
    ]
    assert {one.mailbox for one in found.days} == {ANN}
    assert found.ends_on == day + timedelta(4)
    assert told(database, days=1).ends_on == found.ends_on
    assert told(database, mailbox=ANN, days=6) == found


def test_a_day_without_mail_says_why(database: Database) -> None:
    campaign_id = running(
        database, people=3, sending_window={"days": ["wed"], "start": "09:00", "end": "10:00"}, daily_limit=4
    )
    rows = [(day.date, day.planned, day.binding_limit) for day in told(database, days=10).days]
    assert rows[:3] == [
        (date(2026, 11, 2), 0, "outside_window"),
        (date(2026, 11, 3), 0, "outside_window"),
        (date(2026, 11, 4), 4, "daily_limit"),
    ]
    assert rows[-1] == (date(2026, 11, 11), 2, None)
    run_sql(
        database, "UPDATE campaign_instances SET status = 'paused', paused_at = now() WHERE id = :id", id=campaign_id
    )
    paused = told(database, campaign_id=campaign_id)
    assert [(day.planned, day.binding_limit) for day in paused.days] == [(0, "campaign_paused")]
    assert told(database).days == []


def test_what_waits_for_a_person_is_not_forecast(database: Database) -> None:
    make_it = partial(make_campaign, email_steps=[EmailStep(1, "One", "A text for {{ company }}")])
    campaign_id = database.run("make", make_it)
    enroll(database, campaign_id, ["a@example.com", "b@example.com"])
    assert told(database).days == []
    run_sql(database, "UPDATE contacts SET company = 'Acme' WHERE email = 'a@example.com'")
    assert [day.planned for day in told(database).days] == [1]
    run_sql(database, 'UPDATE campaign_instances SET settings = \'{"approval": "all"}\'')
    assert told(database).days == []


def test_a_claimed_step_goes_out_when_its_lease_ends(database: Database) -> None:
    campaign_id = running(database, people=1, daily_limit=2)
    (due,) = claim(database, campaign_id)
    assert [day.planned for day in told(database, days=1).days] == [2]
    report(database, due, ActionOutcome.SENT)
    assert [day.planned for day in told(database, days=1).days] == [1]


@pytest.mark.parametrize("days", [0, 91, 3650])
def test_a_forecast_of_ten_years_is_refused(database: Database, days: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 90"):
        told(database, days=days)


def test_who_asks_about_too_many_people_is_refused_before_they_are_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "PEOPLE_MOST", 3)
    campaign_id = make(database, [EmailStep(1, "Hello", "A text for everybody")], 4)

    def refused() -> None:
        with pytest.raises(Refused, match="More than 3 people wait"):
            told(database, campaign_id=campaign_id)

    assert not [statement for statement in statements_of(database, refused) if "JOIN contacts" in statement]

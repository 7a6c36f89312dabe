"""Who is away gets nothing in any campaign until the day after the return, and keeps the delay of each step; who has
left gets nothing any more."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.aside import Fate
from db.domain.errors import NotFound
from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType
from db.domain.templates import LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.ops import settings
from db.services.people import absences
from tests.support.campaigns import NOW, Scene, enroll, event, new_scene, record, state
from tests.support.steps import claim, claim_at, report, run_sql

AWAY = date(2026, 11, 10)
END = datetime(2026, 11, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)


def person_of(database: Database, enrollment_id: UUID) -> UUID:
    with database.transaction("look") as session:
        return enrollments.get(session, enrollment_id=enrollment_id).contact.id


def begin(
    database: Database, contact_id: UUID, until: date | None = AWAY, *, began_at: datetime = NOW, now: datetime = NOW
) -> datetime:
    work = partial(absences.begin, contact_id=contact_id, began_at=began_at, until=until, now=now)
    return database.run("begin", work)


def finish(database: Database, contact_id: UUID, now: datetime) -> None:
    database.run("end", partial(absences.end, contact_id=contact_id, now=now))


def due(database: Database, enrollment_id: UUID) -> datetime:
    at: datetime = state(database, enrollment_id)["next_action_at"]
    return at


def told(database: Database, enrollment_id: UUID, now: datetime) -> explain.Explanation:
    return database.run("explain", partial(explain.enrollment, enrollment_id=enrollment_id, now=now), read_only=True)


def absence_of(database: Database, contact_id: UUID) -> tuple[datetime | None, datetime | None]:
    with database.transaction("look") as session:
        row = session.execute(text("SELECT absent_from, absent_until FROM contacts WHERE id = :id"), {"id": contact_id})
        return tuple(row.one())


@pytest.fixture
def scene(database: Database) -> Scene:
    """Its person waits for the second step, due 24 hours after NOW, one hour of which is spent."""
    scene = new_scene(database, 1)
    (first,) = claim(database, scene.campaign_id)
    report(database, first, ActionOutcome.SENT)
    return scene


def test_the_delay_that_is_left_is_left_after_the_return_in_every_campaign(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    other = enroll(database, new_scene(database, 0).campaign_id, ["p0@example.com"])[0]  # due at once
    person = person_of(database, one)
    assert begin(database, person, now=NOW + HOUR) == END
    assert absence_of(database, person) == (NOW, END)
    assert (due(database, one), due(database, other)) == (END + 23 * HOUR, END)
    at = NOW + HOUR
    holds = told(database, one, at).holds
    assert [(hold.reason, hold.until) for hold in holds] == [
        (HoldReason.STEP_DELAY, END + 23 * HOUR),
        (HoldReason.ABSENT, END),
    ]
    assert told(database, one, at).next_at == END + 23 * HOUR
    assert claim_at(database, scene.campaign_id, END).actions == []
    assert [handed.enrollment.id for handed in claim_at(database, scene.campaign_id, END + 23 * HOUR).actions] == [one]


def test_a_longer_absence_counts_on_and_a_shorter_one_changes_nothing(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    person = person_of(database, one)
    begin(database, person)
    assert begin(database, person, AWAY - timedelta(days=3), now=NOW + HOUR) == END
    assert due(database, one) == END + 24 * HOUR
    later = END + timedelta(days=4)
    assert begin(database, person, AWAY + timedelta(days=4), began_at=NOW + HOUR, now=NOW + HOUR) == later
    assert absence_of(database, person) == (NOW, later)
    assert due(database, one) == later + 24 * HOUR


def test_an_absence_after_another_spends_what_lies_between(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    person = person_of(database, one)
    begin(database, person)
    between = END + 10 * HOUR
    then = begin(database, person, date(2026, 11, 20), began_at=between, now=between)
    assert absence_of(database, person) == (between, then)
    assert due(database, one) == then + 14 * HOUR


def test_an_absence_without_a_date_lasts_a_week_and_none_more_than_a_year(database: Database, scene: Scene) -> None:
    person = person_of(database, scene.enrollments[0])
    assert begin(database, person, None, began_at=NOW - HOUR) == NOW - HOUR + timedelta(days=7)
    assert begin(database, person, date(2029, 1, 1)) == datetime(2027, 11, 3, tzinfo=UTC)
    # A date that a mail forged bounds it all the same.
    assert begin(database, person, None, began_at=NOW + timedelta(days=4_000)) == datetime(2027, 11, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "began_at"), [(date(2026, 11, 1), NOW), (date(1, 1, 1), NOW), (None, NOW - timedelta(days=7))]
)
def test_an_absence_that_is_over_changes_nothing(
    database: Database, scene: Scene, until: date | None, began_at: datetime
) -> None:
    person = person_of(database, scene.enrollments[0])
    assert begin(database, person, until, began_at=began_at) <= NOW
    assert absence_of(database, person) == (None, None)
    assert due(database, scene.enrollments[0]) == NOW + 24 * HOUR


@pytest.mark.parametrize(
    ("own", "workspace", "end"),
    [
        ("Asia/Tokyo", "America/New_York", datetime(2026, 11, 10, 15, tzinfo=UTC)),
        (None, "America/New_York", datetime(2026, 11, 11, 5, tzinfo=UTC)),
        ("No/Where", None, END),
    ],
)
def test_the_day_is_that_of_the_person_or_else_of_the_workspace(
    database: Database, scene: Scene, own: str | None, workspace: str | None, end: datetime
) -> None:
    person = person_of(database, scene.enrollments[0])
    run_sql(database, "UPDATE contacts SET timezone = :zone", zone=own)
    if workspace is not None:
        database.run("set", partial(settings.update, timezone=workspace))
    assert begin(database, person) == end


def test_a_verdict_that_is_overruled_gives_the_delay_back(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    person = person_of(database, one)
    begin(database, person, now=NOW + HOUR)
    back = NOW + 2 * HOUR
    finish(database, person, back)
    assert (due(database, one), absence_of(database, person)) == (back + 23 * HOUR, (None, None))
    finish(database, person, back + HOUR)
    assert due(database, one) == back + 23 * HOUR
    with pytest.raises(NotFound):
        finish(database, UUID(int=9), back)


def test_an_absence_that_is_over_is_taken_back_without_a_change(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    person = person_of(database, one)
    begin(database, person)
    finish(database, person, END + 30 * HOUR)
    assert (due(database, one), absence_of(database, person)) == (END + 24 * HOUR, (None, None))


def test_who_is_enrolled_during_an_absence_waits_for_its_end(database: Database, scene: Scene) -> None:
    person = person_of(database, scene.enrollments[0])
    begin(database, person)
    database.run("end", partial(campaigns.complete, campaign_id=scene.campaign_id, now=NOW))  # else the person is busy
    second = new_scene(database, 0).campaign_id
    (newcomer,) = enroll(database, second, ["p0@example.com"])
    assert not told(database, newcomer, NOW).is_due
    assert [(hold.reason, hold.until) for hold in told(database, newcomer, NOW).holds] == [(HoldReason.ABSENT, END)]
    nothing = claim_at(database, second, NOW)
    assert (nothing.actions, nothing.next_due_at) == ([], END)
    assert [(aside.fate, aside.reason, aside.count) for aside in nothing.set_aside] == [
        (Fate.MOVED, HoldReason.ABSENT, 1)
    ]
    assert [handed.enrollment.id for handed in claim_at(database, second, END).actions] == [newcomer]


def test_a_later_start_stays_where_it_is_when_the_absence_turns_out_to_be_none(
    database: Database, scene: Scene
) -> None:
    person = person_of(database, scene.enrollments[0])
    begin(database, person)
    run_sql(database, "UPDATE campaign_enrollments SET next_action_at = :at", at=NOW + 48 * HOUR)  # as if enrolled now
    finish(database, person, NOW + HOUR)
    assert due(database, scene.enrollments[0]) == NOW + 48 * HOUR


def test_a_shorter_delay_of_a_step_ends_no_absence(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    begin(database, person_of(database, one), now=NOW + 20 * HOUR)
    for hours, then in ((48, END + 28 * HOUR), (1, END)):
        with database.transaction("edit") as session:
            template_id = campaigns.get(session, campaign_id=scene.campaign_id).template_id
            templates.lock_steps(session, template_id=template_id)
            step = LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=hours)
            templates.update(session, template_id=template_id, fields={}, email_steps=[], linkedin_steps=[step])
        assert due(database, one) == then


def test_who_resumes_during_an_absence_waits_for_its_end(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    person = person_of(database, one)
    for action in (EnrollmentAction.PAUSE, EnrollmentAction.RESUME):
        database.run("do", partial(enrollments.update, enrollment_id=one, action=action, now=NOW))
    begin(database, person)
    assert due(database, one) == END + 24 * HOUR


def test_a_step_under_lease_when_the_absence_begins_comes_after_it(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    claim(database, scene.campaign_id)
    person = person_of(database, one)
    begin(database, person)
    lease = timedelta(minutes=5)
    assert told(database, one, NOW).next_at == END + lease
    assert claim_at(database, scene.campaign_id, NOW + lease).actions == []
    assert len(claim_at(database, scene.campaign_id, END + lease).actions) == 1


def test_nothing_is_kept_of_the_absence_of_who_is_erased(database: Database, scene: Scene) -> None:
    person = person_of(database, scene.enrollments[0])
    begin(database, person)
    database.run("erase", partial(erasure.erase, contact_id=person, now=NOW))
    begin(database, person)
    assert absence_of(database, person) == (None, None)


LEFT = {"automatic": "has_left"}


def test_who_has_left_is_stopped_and_not_suppressed(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    (other,) = enroll(database, new_scene(database, 0).campaign_id, ["p0@example.com"])
    record(database, event(EventType.AUTO_REPLIED, one, step_number=1, hours=1, metadata=LEFT))
    after = state(database, one)
    assert (after["status"], after["stop_reason"]) == ("completed", "has_left")
    assert state(database, other)["status"] == "active"
    assert run_sql(database, "SELECT count(*) FROM suppressions").scalar_one() == 0


@pytest.mark.parametrize("said", ["absence", "Has left", None, True])
def test_any_other_automatic_reply_stops_nothing(database: Database, scene: Scene, said: object) -> None:
    (one,) = scene.enrollments
    record(database, event(EventType.AUTO_REPLIED, one, step_number=1, hours=1, metadata={"automatic": said}))
    assert state(database, one)["status"] == "active"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (EventType.REPLIED, "replied"),
        (EventType.BOUNCED, "bounced"),
        (EventType.UNSUBSCRIBED, "unsubscribed"),
        (EventType.COMPLAINED, "complained"),
    ],
)
@pytest.mark.parametrize("is_later", [True, False])
def test_what_the_person_does_says_more_than_that_they_have_left(
    database: Database, scene: Scene, kind: EventType, reason: str, *, is_later: bool
) -> None:
    (one,) = scene.enrollments
    left = event(EventType.AUTO_REPLIED, one, step_number=1, hours=1, metadata=LEFT)
    for happened in (left, event(kind, one, step_number=1, hours=2))[:: 1 if is_later else -1]:
        record(database, happened)
    assert state(database, one)["stop_reason"] == reason


def test_who_has_left_says_more_than_that_nothing_was_left_to_send(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    for _ in range(2):
        database.run("do", partial(enrollments.update, enrollment_id=one, action=EnrollmentAction.ADVANCE, now=NOW))
    assert state(database, one)["stop_reason"] == "finished"
    record(database, event(EventType.AUTO_REPLIED, one, step_number=1, hours=1, metadata=LEFT))
    assert state(database, one)["stop_reason"] == "has_left"


@pytest.mark.parametrize(("count", "status"), [(5, "bounced"), (9, "bounced"), (4, "active"), ("5", "active")])
def test_the_fifth_soft_bounce_in_a_row_stops_and_suppresses_nobody(
    database: Database, scene: Scene, count: object, status: str
) -> None:
    (one,) = scene.enrollments
    metadata = {"bounce_type": "soft", "in_a_row": count}
    record(database, event(EventType.BOUNCED, one, step_number=1, hours=1, metadata=metadata))
    assert state(database, one)["status"] == status
    assert run_sql(database, "SELECT count(*) FROM suppressions").scalar_one() == 0


def test_soft_bounces_of_before_their_address_was_said_to_work_stop_nobody(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    run_sql(database, "INSERT INTO consents (address, works_at) VALUES ('p0@example.com', :at)", at=NOW + 2 * HOUR)
    for hours, status in ((1, "active"), (3, "bounced")):
        metadata = {"bounce_type": "soft", "in_a_row": 5}
        record(database, event(EventType.BOUNCED, one, step_number=1, hours=hours, metadata=metadata))
        assert state(database, one)["status"] == status

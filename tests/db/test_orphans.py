"""An event that comes before its enrollment waits, is counted by nothing, and is recorded as soon as it has a place."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType, EventVerdict, NewEvent
from db.domain.metrics import GroupBy
from db.domain.states import Channel, EnrollmentStatus
from db.domain.templates import EmailStep
from db.models import CampaignEvent, OrphanedEvent
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.events import events, orphans
from db.services.reports import metrics
from tests.support.campaigns import make_campaign

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ADA = "ada@example.com"


def campaign(session: Session) -> UUID:
    steps = [EmailStep(1, "Hello", "Nice to meet you."), EmailStep(2, "Again", "Still there, I hope.", 24)]
    return make_campaign(session, email_steps=steps, start_at=NOW)


def enroll(session: Session, campaign_id: UUID) -> UUID:
    ref = ContactRef(None, ContactFields(email=ADA))
    answer = enrollments.enroll(session, campaign_id=campaign_id, people={0: ref}, start_at=None, now=NOW)[0]
    assert answer.enrollment_id is not None
    return answer.enrollment_id


def record(session: Session, *given: NewEvent) -> list[EventVerdict]:
    return [outcome.verdict for outcome in events.record_events(session, events=given)]


def of_person(type_: EventType, campaign_id: UUID, event_id: str) -> NewEvent:
    return NewEvent(
        type_, Channel.EMAIL, NOW, campaign_id=campaign_id, email=ADA, step_number=1, provider_event_id=event_id
    )


def of_message(type_: EventType, event_id: str) -> NewEvent:
    return NewEvent(type_, Channel.EMAIL, NOW, provider_message_id="message-1", provider_event_id=event_id)


def kept(session: Session) -> tuple[int, int]:
    """(events recorded, events that wait)"""
    recorded = session.scalar(select(func.count()).select_from(CampaignEvent)) or 0
    return recorded, session.scalar(select(func.count()).select_from(OrphanedEvent)) or 0


def totals(session: Session, campaign_id: UUID) -> dict[str, int]:
    report = metrics.report(session, campaign_id=campaign_id, group_by=GroupBy.TOTAL, since=None, until=None)
    return {name: count for name, count in report.total.totals.items() if count}


def test_an_event_of_somebody_unknown_waits_and_is_counted_when_they_are_enrolled(database: Database) -> None:
    with database.transaction("orphan") as session:
        campaign_id = campaign(session)
        opened = of_person(EventType.OPENED, campaign_id, "1")
        assert record(session, opened) == [EventVerdict.ORPHANED]
        assert record(session, opened) == [EventVerdict.DUPLICATE]
        assert kept(session) == (0, 1)
        assert totals(session, campaign_id) == {}
        enroll(session, campaign_id)
        assert kept(session) == (1, 0)
        assert totals(session, campaign_id) == {"sent": 1, "delivered": 1, "opened": 1, "total_opens": 1}
        assert record(session, opened) == [EventVerdict.DUPLICATE]
        assert kept(session) == (1, 0)


def test_an_event_of_an_unknown_message_waits_for_the_message(database: Database) -> None:
    with database.transaction("orphan") as session:
        campaign_id = campaign(session)
        enrollment_id = enroll(session, campaign_id)
        assert record(session, of_message(EventType.CLICKED, "1")) == [EventVerdict.ORPHANED]
        sent = NewEvent(EventType.SENT, Channel.EMAIL, NOW, enrollment_id, "message-1", provider_event_id="2")
        assert record(session, sent) == [EventVerdict.RECORDED]
        assert kept(session) == (2, 0)
        assert totals(session, campaign_id)["clicked"] == 1


def test_an_event_that_waits_can_reveal_the_message_of_another(database: Database) -> None:
    with database.transaction("orphan") as session:
        campaign_id = campaign(session)
        first = of_person(EventType.SENT, campaign_id, "1")
        first.provider_message_id = "message-1"
        assert record(session, of_message(EventType.OPENED, "2"), first) == [EventVerdict.ORPHANED] * 2
        enroll(session, campaign_id)
        assert kept(session) == (2, 0)
        assert totals(session, campaign_id)["opened"] == 1


def test_an_unsubscribe_that_came_too_early_is_not_lost(database: Database) -> None:
    with database.transaction("orphan") as session:
        campaign_id = campaign(session)
        assert record(session, of_person(EventType.UNSUBSCRIBED, campaign_id, "1")) == [EventVerdict.ORPHANED]
        enrollment_id = enroll(session, campaign_id)
        found = enrollments.get(session, enrollment_id=enrollment_id).enrollment
        assert (found.status, found.next_action_at) == (EnrollmentStatus.UNSUBSCRIBED, None)
        assert totals(session, campaign_id)["unsubscribed"] == 1
        ref = ContactRef(None, ContactFields(email=ADA))
        elsewhere = enrollments.enroll(session, campaign_id=campaign(session), people={0: ref}, start_at=None, now=NOW)
        assert elsewhere[0].verdict == "suppressed"


def test_an_event_waits_for_its_own_campaign_and_no_other(database: Database) -> None:
    with database.transaction("orphan") as session:
        one, other = campaign(session), campaign(session)
        record(session, of_person(EventType.OPENED, one, "1"))
        enroll(session, other)
        assert kept(session) == (0, 1)
        assert totals(session, other) == {}
        enroll(session, one)
        assert kept(session) == (1, 0)


def test_an_event_of_a_provider_counts_once_whatever_campaign_it_is_said_to_be_of(database: Database) -> None:
    with database.transaction("repeat") as session:
        one, other = campaign(session), campaign(session)
        enroll(session, one)
        enroll(session, other)
        assert record(session, of_person(EventType.OPENED, one, "1")) == [EventVerdict.RECORDED]
        assert record(session, of_person(EventType.OPENED, other, "1")) == [EventVerdict.DUPLICATE]
        both = [of_person(EventType.OPENED, email, "2") for email in (one, other)]
        assert record(session, *both) == [EventVerdict.RECORDED, EventVerdict.DUPLICATE]
        assert (totals(session, one)["total_opens"], totals(session, other)) == (2, {})


def test_an_event_that_was_recorded_does_not_wait_for_another_campaign(database: Database) -> None:
    with database.transaction("repeat") as session:
        one, other = campaign(session), campaign(session)
        enroll(session, one)
        record(session, of_person(EventType.OPENED, one, "1"))
        assert record(session, of_person(EventType.OPENED, other, "1")) == [EventVerdict.DUPLICATE]
        assert kept(session) == (1, 0)


def test_an_event_that_is_sent_again_after_it_expired_waits_anew(database: Database) -> None:
    with database.transaction("expire") as session:
        campaign_id = campaign(session)
        opened = of_person(EventType.OPENED, campaign_id, "1")
        record(session, opened)
        later = datetime.now(UTC) + timedelta(days=31)
        assert orphans.expire_some(session, before=later, now=later, limit=10) == {"none": 1}
        opened.metadata = {"attempt": 2}
        assert record(session, opened) == [EventVerdict.ORPHANED]
        assert record(session, opened) == [EventVerdict.DUPLICATE]
        row = session.scalars(select(OrphanedEvent)).one()
        assert (row.status, row.expired_at, row.details) == ("waiting", None, {"attempt": 2})
        enroll(session, campaign_id)
        assert kept(session) == (1, 0)


def test_a_batch_that_tells_the_same_twice_keeps_it_once(database: Database) -> None:
    twice = [of_message(EventType.OPENED, "1"), of_message(EventType.OPENED, "1"), of_message(EventType.OPENED, "2")]
    told = [EventVerdict.ORPHANED, EventVerdict.DUPLICATE, EventVerdict.ORPHANED]
    with database.transaction("twice") as session:
        assert record(session, *twice) == told
        assert record(session, *twice) == [EventVerdict.DUPLICATE] * 3
        session.execute(text("UPDATE orphaned_events SET status = 'expired', expired_at = now()"))
        assert record(session, *twice) == told
        session.rollback()


def test_what_has_expired_is_deleted_in_the_end(database: Database) -> None:
    with database.transaction("expire") as session:
        campaign_id = campaign(session)
        record(session, *[of_person(EventType.OPENED, campaign_id, str(number)) for number in range(5)])
        now = datetime.now(UTC)
        assert orphans.expire_some(session, before=now + timedelta(days=1), now=now, limit=3) == {"none": 3}
        # As somebody may write them by hand, five years ago.
        session.execute(text("UPDATE orphaned_events SET status = 'expired' WHERE status = 'waiting'"))
        session.execute(
            text("UPDATE orphaned_events SET created_at = now() - interval '5 years' WHERE expired_at IS NULL")
        )
        assert orphans.delete_some(session, before=now, limit=10) == 2
        assert orphans.delete_some(session, before=now + timedelta(seconds=1), limit=10) == 3
        assert kept(session) == (0, 0)

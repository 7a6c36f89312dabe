"""Whoever locks or makes many rows goes by their key, in whatever order they were given: so two never wait for each
other. One row in the middle is held, and what was locked before it was reached is looked at."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType, NewEvent
from db.domain.ids import new_ids
from db.domain.metrics import COUNTERS
from db.domain.states import Channel, EnrollmentAction, EnrollmentStatus, SuppressionReason
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.events import events
from db.services.people import contacts, suppressions
from db.services.state import counters
from tests.support.campaigns import NOW, enroll, event, new_scene
from tests.support.meeting import Work, done_first, locked_first

COUNT = 9
MIDDLE = COUNT // 2


def people_in_falling_order(database: Database) -> list[UUID]:
    """The ids of people, least first, whose rows were written greatest first. Sets have them in yet another order."""
    dice = Random(COUNT)
    ids = sorted(UUID(int=dice.getrandbits(128), version=4) for _ in range(COUNT))
    given = [
        {"id": id_, "email": f"p{number}@example.com", "url": f"https://www.linkedin.com/in/p{number}"}
        for number, id_ in enumerate(ids, 1)
    ]
    made = text("INSERT INTO contacts (id, email, linkedin_url) VALUES (:id, :email, :url)")
    with database.transaction("people") as session:
        for person in reversed(given):
            session.execute(made, person)
    return ids


def enrolled_in_falling_order(database: Database, contact_ids: Sequence[UUID]) -> list[UUID]:
    """The ids of their enrollments in a campaign, least first; the first person has the greatest, written first."""
    campaign_id = new_scene(database, 0).campaign_id
    ids = sorted(new_ids(COUNT))
    made = text("""
        INSERT INTO campaign_enrollments (instance_id, id, contact_id, status, next_action_at)
        VALUES (:campaign, :id, :contact, 'active', now())
    """)
    with database.transaction("enrolled") as session:
        for id_, contact_id in zip(reversed(ids), contact_ids, strict=True):
            session.execute(made, {"campaign": campaign_id, "id": id_, "contact": contact_id})
        counters.add_statuses(session, {(campaign_id, EnrollmentStatus.ACTIVE): COUNT})
    return ids


def take_in(campaign_id: UUID, contact_ids: Sequence[UUID]) -> Work[Any]:
    people = {row: ContactRef(contact_id, ContactFields()) for row, contact_id in enumerate(contact_ids)}
    return partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)


def assert_locks_in_order(database: Database, table: str, keys: Sequence[UUID], work: Work[Any]) -> None:
    assert locked_first(database, table, "id", keys[MIDDLE], keys, work) == set(keys[:MIDDLE])


def recording(kind: EventType, enrollment_ids: Sequence[UUID]) -> Work[Any]:
    given = [event(kind, who, step_number=1) for who in reversed(enrollment_ids)]
    return partial(events.record_events, events=given)


def test_events_lock_enrollments_by_their_key(database: Database) -> None:
    people = sorted(new_scene(database, COUNT).enrollments)
    assert_locks_in_order(database, "campaign_enrollments", people, recording(EventType.OPENED, people))


def test_events_that_stop_people_lock_them_and_their_enrollments_by_their_keys(database: Database) -> None:
    contact_ids = people_in_falling_order(database)
    people = enrolled_in_falling_order(database, contact_ids)
    assert_locks_in_order(database, "contacts", contact_ids, recording(EventType.COMPLAINED, people))
    assert_locks_in_order(database, "campaign_enrollments", people, recording(EventType.UNSUBSCRIBED, people))


def test_an_enrolment_locks_people_by_their_key(database: Database) -> None:
    scene = new_scene(database, 0)
    contact_ids = people_in_falling_order(database)
    work = take_in(scene.campaign_id, contact_ids[::-1])
    assert_locks_in_order(database, "contacts", contact_ids, work)


def test_a_suppression_locks_people_and_then_enrollments_by_their_keys(database: Database) -> None:
    contact_ids = people_in_falling_order(database)
    people = enrolled_in_falling_order(database, contact_ids)
    work = partial(suppressions.suppress, domain="example.com", reason=SuppressionReason.MANUAL, source=None)
    assert_locks_in_order(database, "campaign_enrollments", people, work)
    assert_locks_in_order(database, "contacts", contact_ids, work)


def test_an_unsubscribe_by_hand_locks_the_enrollments_of_the_person_by_campaign(database: Database) -> None:
    campaigns = [new_scene(database, 0).campaign_id for _ in range(COUNT)]
    people = [enroll(database, campaign_id, ["one@example.com"])[0] for campaign_id in reversed(campaigns)][::-1]
    work = partial(enrollments.update, enrollment_id=people[0], action=EnrollmentAction.UNSUBSCRIBE, now=NOW)
    assert_locks_in_order(database, "campaign_enrollments", people, work)


def test_corrections_of_people_lock_them_by_their_key(database: Database) -> None:
    contact_ids = people_in_falling_order(database)
    given = {
        row: ContactFields(f"p{number}@example.com", f"https://www.linkedin.com/in/p{number}", title="Baker")
        for row, number in enumerate(range(COUNT, 0, -1))
    }
    both = partial(contacts.find_or_create, people=given, overwrite=True)
    assert_locks_in_order(database, "contacts", contact_ids, both)
    one = {row: ContactFields(fields.email, title="Cook") for row, fields in given.items()}
    assert_locks_in_order(
        database, "contacts", contact_ids, partial(contacts.find_or_create, people=one, overwrite=True)
    )


def metrics_row(campaign_id: UUID, step_number: int) -> dict[str, Any]:
    key = {"instance_id": campaign_id, "step_number": step_number, "channel": "email", "a_b_variant": ""}
    return {**key, "cohort_day": NOW.date(), **dict.fromkeys(COUNTERS, 1)}


def adding_metrics(campaign_id: UUID, steps: Sequence[int]) -> Work[Any]:
    rows = [metrics_row(campaign_id, step) for step in steps]
    return partial(counters.METRICS.add, rows=rows)


def adding_statuses(campaign_id: UUID, statuses: Sequence[EnrollmentStatus]) -> Work[Any]:
    rows = [{"instance_id": campaign_id, "status": str(status), "total": 1} for status in statuses]
    return partial(counters.STATUSES.add, rows=rows)


STEPS = range(1, COUNT + 1)
STATUSES = sorted(EnrollmentStatus)


def test_counters_are_locked_by_their_key(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    for step in reversed(STEPS):
        database.run("make", adding_metrics(campaign_id, [step]))
    found = locked_first(
        database, "campaign_metrics", "step_number", 5, STEPS, adding_metrics(campaign_id, STEPS[::-1])
    )
    assert found == {1, 2, 3, 4}
    for status in reversed(STATUSES):
        database.run("make", adding_statuses(campaign_id, [status]))
    middle = STATUSES[2]
    totals = adding_statuses(campaign_id, STATUSES[::-1])
    found = locked_first(database, "campaign_enrollment_totals", "status", middle, STATUSES, totals)
    assert found == set(STATUSES[:2])


def test_counters_are_made_by_their_key(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    probes: dict[Any, Work[Any]] = {step: adding_metrics(campaign_id, [step]) for step in STEPS}
    work = adding_metrics(campaign_id, STEPS[::-1])
    assert done_first(database, probes[5], work, probes, 5) == {1, 2, 3, 4}


def test_enrollments_are_made_by_person(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    contact_ids = people_in_falling_order(database)
    # No others count in the way of these: the campaign's totals are locked by whoever has made an enrollment.
    probes: dict[Any, Work[Any]] = {contact_id: bare_enrollment(campaign_id, contact_id) for contact_id in contact_ids}
    middle = contact_ids[MIDDLE]
    work = take_in(campaign_id, contact_ids[::-1])
    assert done_first(database, probes[middle], work, probes, middle) == set(contact_ids[:MIDDLE])


def bare_enrollment(campaign_id: UUID, contact_id: UUID) -> Work[Any]:
    statement = text("""
        INSERT INTO campaign_enrollments (instance_id, id, contact_id, status)
        VALUES (:campaign, gen_random_uuid(), :contact, 'enrolled')
    """)
    return lambda session: session.execute(statement, {"campaign": campaign_id, "contact": contact_id})


@pytest.mark.parametrize("target", ["email", "linkedin_url"])
def test_suppressions_are_made_by_address(database: Database, target: str) -> None:
    contact_ids = people_in_falling_order(database)
    given = dict.fromkeys(contact_ids[::-1], SuppressionReason.UNSUBSCRIBED)
    addresses = {
        contact_id: f"p{number}@example.com" if target == "email" else f"https://www.linkedin.com/in/p{number}"
        for number, contact_id in enumerate(contact_ids, 1)
    }
    insert = text(f"INSERT INTO suppressions (id, {target}, reason) VALUES (gen_random_uuid(), :address, 'manual')")

    def probe(address: str) -> Work[Any]:
        return lambda session: session.execute(insert, {"address": address})

    probes: dict[Any, Work[Any]] = {contact_id: probe(address) for contact_id, address in addresses.items()}
    middle = contact_ids[MIDDLE]
    work = partial(suppressions.add_for_contacts, reasons=given, source="test")
    assert done_first(database, probes[middle], work, probes, middle) == set(contact_ids[:MIDDLE])


def test_people_are_made_by_address(database: Database) -> None:
    insert = text("INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), :address)")
    emails = [f"p{number}@example.com" for number in STEPS]

    def probe(email: str) -> Work[Any]:
        return lambda session: session.execute(insert, {"address": email})

    probes: dict[Any, Work[Any]] = {email: probe(email) for email in emails}
    given = {row: ContactFields(email) for row, email in enumerate(reversed(emails))}
    work = partial(contacts.find_or_create, people=given, overwrite=False)
    assert done_first(database, probes[emails[MIDDLE]], work, probes, emails[MIDDLE]) == set(emails[:MIDDLE])


def test_events_that_wait_are_kept_by_their_identity(database: Database) -> None:
    keys = [f"e-{number}" for number in STEPS]

    def lost(key: str) -> NewEvent:
        return NewEvent(
            EventType.OPENED, Channel.EMAIL, NOW, provider="mail", provider_message_id="m", provider_event_id=key
        )

    def keeping(*names: str) -> Work[Any]:
        return partial(events.record_events, events=[lost(name) for name in names])

    probes: dict[Any, Work[Any]] = {key: keeping(key) for key in keys}
    work = keeping(*reversed(keys))
    assert done_first(database, probes[keys[MIDDLE]], work, probes, keys[MIDDLE]) == set(keys[:MIDDLE])

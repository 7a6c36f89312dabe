"""Erasures that meet enrolments, events and other erasures of the same people."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact, new_scene
from tests.support.patience import PATIENCE
from tests.support.races import race
from tests.support.traces import erase, take_in


def active_with_address(database: Database) -> int:
    with database.transaction("look") as session:
        return (
            session.scalar(
                text("""
                SELECT count(*) FROM campaign_enrollments e JOIN contacts c ON c.id = e.contact_id
                WHERE e.status IN ('enrolled', 'active', 'paused')
            """)
            )
            or 0
        )


@pytest.mark.parametrize("known", [True, False])
def test_nobody_who_is_erased_while_being_enrolled_stays_active(
    database: Database, database_url: str, known: bool
) -> None:
    one, two = new_scene(database, 60 if known else 0), new_scene(database, 0)
    emails = [f"p{i}@example.com" for i in range(60)]
    enrol = [{"do": "enroll", "campaign": str(two.campaign_id), "emails": [email]} for email in emails]
    batch = {"do": "enroll", "campaign": str(two.campaign_id), "emails": emails}
    race(database_url, {"do": "erase", "emails": emails[::-1]}, {"do": "many", "works": enrol}, batch)
    assert active_with_address(database) == 0
    assert len(one.enrollments) == (60 if known else 0)
    with database.transaction("look") as session:
        held = session.scalar(text("SELECT count(*) FROM suppressions WHERE address_hash IS NOT NULL"))
    assert held == 60
    assert_counters_are_exact(database)


def test_erasures_events_and_suppressions_of_the_same_people_settle(database: Database, database_url: str) -> None:
    scene = new_scene(database, 40)
    emails = [f"p{i}@example.com" for i in range(40)]
    events = [[["bounced", str(who), f"b-{who}"]] for who in scene.enrollments]
    race(
        database_url,
        {"do": "erase", "emails": emails},
        {"do": "erase", "emails": emails[::-1]},
        {"do": "record", "batches": events},
    )
    assert active_with_address(database) == 0
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM contacts WHERE erased_at IS NULL")) == 0
        assert session.scalar(text("SELECT count(*) FROM suppressions WHERE address_hash IS NULL")) == 0
    assert_counters_are_exact(database)


def test_an_enrolment_by_id_that_meets_an_erasure_never_stays_active(database: Database) -> None:
    scene, other = new_scene(database, 20), new_scene(database, 0)
    with database.transaction("look") as session:
        ids = list(session.scalars(text("SELECT id FROM contacts ORDER BY id")))
    gate = Barrier(2)

    def enrol() -> None:
        gate.wait()
        for contact_id in ids:
            take_in(database, other.campaign_id, ContactRef(contact_id, ContactFields()))

    def forget() -> None:
        gate.wait()
        for contact_id in ids:
            erase(database, contact_id=contact_id)

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(enrol), threads.submit(forget)]:
            future.result(timeout=PATIENCE)
    assert active_with_address(database) == 0
    assert scene.enrollments
    assert_counters_are_exact(database)

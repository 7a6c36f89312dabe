"""Lists of suppressions: each address fares as if it had been suppressed alone."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from db.domain.contacts import CONSENT, ContactFields, SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.states import SuppressionReason
from db.postgres.database import Database
from db.services.erasure import erasure
from db.services.people import contacts, suppression_lists, suppressions
from tests.support.campaigns import NOW, new_scene, state

LINK = "https://www.linkedin.com/in/jane"
TARGETS = (
    SuppressionTarget(email="p0@example.com"),
    SuppressionTarget(domain="example.com"),
    SuppressionTarget(linkedin_url=LINK),
)
MANUAL, UNSUBSCRIBED = SuppressionReason.MANUAL, SuppressionReason.UNSUBSCRIBED
PERSON = {0: ContactFields(email="p0@example.com")}
END = NOW + timedelta(hours=1)


def suppress_all(
    database: Database,
    reasons: dict[SuppressionTarget, SuppressionReason],
    source: str = "list",
    expires_at: datetime | None = None,
) -> suppression_lists.Suppressed:
    return database.run(
        "suppress all",
        lambda session: suppression_lists.suppress_all(session, reasons=reasons, source=source, expires_at=expires_at),
    )


def one_by_one(database: Database, target: SuppressionTarget, reason: SuppressionReason, source: str) -> None:
    given: dict[str, Any] = {target.kind: target.value}
    database.run("suppress", lambda session: suppressions.suppress(session, **given, reason=reason, source=source))


def rows(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction("look") as session:
        found = session.execute(
            text("""
                SELECT coalesce(email, domain, linkedin_url) AS address, reason, source, expires_at
                FROM suppressions ORDER BY address
            """)
        )
        return [tuple(row) for row in found]


@pytest.mark.parametrize("later", SuppressionReason)
@pytest.mark.parametrize("earlier", SuppressionReason)
def test_a_list_changes_a_suppression_as_one_call_does(
    database: Database, earlier: SuppressionReason, later: SuppressionReason
) -> None:
    for target in TARGETS:
        one_by_one(database, target, earlier, "first")
    answer = suppress_all(database, dict.fromkeys(TARGETS, later))
    assert (answer.added, answer.known) == (0, 3)
    listed = rows(database)
    with database.transaction("again") as session:
        session.execute(text("DELETE FROM suppressions"))
    for target in TARGETS:
        one_by_one(database, target, earlier, "first")
        one_by_one(database, target, later, "list")
    assert listed == rows(database)


@pytest.mark.parametrize("later", SuppressionReason)
@pytest.mark.parametrize("wish", sorted(CONSENT))
def test_a_wish_stays_as_it_was_recorded_whatever_a_list_says(
    database: Database, wish: SuppressionReason, later: SuppressionReason
) -> None:
    suppress_all(database, dict.fromkeys(TARGETS, wish), source="the person")
    suppress_all(database, dict.fromkeys(TARGETS, later))
    assert {row[1:3] for row in rows(database)} == {(wish, "the person")}


def test_a_list_stops_its_people_and_counts_what_is_new(database: Database) -> None:
    scene = new_scene(database, 3)
    targets = [SuppressionTarget(email=f"p{number}@example.com") for number in range(2)]
    one_by_one(database, targets[0], UNSUBSCRIBED, "earlier")
    answer = suppress_all(database, dict.fromkeys([*targets, SuppressionTarget(email="x@example.com")], MANUAL))
    assert (answer.added, answer.known, answer.stopped_enrollments) == (2, 1, 1)
    assert state(database, scene.enrollments[1])["stop_reason"] == "suppressed"
    assert state(database, scene.enrollments[2])["stop_reason"] is None


def test_a_wish_in_a_list_holds_for_the_persons_other_addresses(database: Database) -> None:
    both = {
        0: ContactFields(email="a@example.com", linkedin_url=LINK),
        1: ContactFields(email="b@example.com", linkedin_url=LINK),
    }
    for number in both:
        database.run(
            "people", lambda session, n=number: contacts.find_or_create(session, people={n: both[n]}, overwrite=True)
        )
    suppress_all(database, {TARGETS[2]: UNSUBSCRIBED, SuppressionTarget(email="c@example.com"): MANUAL})
    held = {(row[0], row[1]) for row in rows(database)}
    assert held == {(LINK, "unsubscribed"), ("a@example.com", "unsubscribed"), ("c@example.com", "manual")}


def test_the_address_of_an_erased_person_is_not_written_down_again(database: Database) -> None:
    database.run("person", lambda session: contacts.find_or_create(session, people=PERSON, overwrite=True))
    database.run("erase", lambda session: erasure.erase(session, target=TARGETS[0], now=NOW))
    answer = suppress_all(database, {TARGETS[0]: UNSUBSCRIBED})
    assert (answer.added, answer.known) == (0, 1)
    assert [row[0] for row in rows(database)] == [None]


def test_a_list_by_hand_may_end_and_a_wish_never_does(database: Database) -> None:
    suppress_all(database, {TARGETS[0]: MANUAL}, expires_at=END)
    assert [row[3] for row in rows(database)] == [END]
    with pytest.raises(InvalidInput, match="manual alone"):
        suppress_all(database, {TARGETS[0]: MANUAL, TARGETS[1]: UNSUBSCRIBED}, expires_at=END)


@pytest.mark.parametrize("reasons", [(MANUAL, UNSUBSCRIBED), (UNSUBSCRIBED, MANUAL)])
def test_an_address_in_two_spellings_gets_the_stronger_reason(
    database: Database, reasons: tuple[SuppressionReason, SuppressionReason]
) -> None:
    id_ = "https://www.linkedin.com/in/ACoAAB"
    targets = [SuppressionTarget(linkedin_url=spelled) for spelled in (id_, id_.lower())]
    answer = suppress_all(database, dict(zip(targets, reasons, strict=True)))
    assert (answer.added, answer.known) == (1, 1)
    assert [row[1] for row in rows(database)] == [UNSUBSCRIBED]

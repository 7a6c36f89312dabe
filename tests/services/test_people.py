"""Who is who: rows of one call about one person, and wishes that hold for every address that a person has or had."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.events import EventType
from db.domain.states import EnrollmentAction, SuppressionReason
from db.postgres.database import Database
from db.services.dispatch import claims
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.events import orphans
from db.services.people import contacts, suppressions
from db.services.people.contacts import Found
from tests.support.campaigns import NOW, event, new_scene, record, state

Row = dict[str, Any]
GONE, PRIVATE = "gone@a.example", "priv@a.example"


def profile(name: str) -> str:
    return f"https://www.linkedin.com/in/{name}"


PER = profile("per")


def upsert(database: Database, *rows: Row) -> list[Found]:
    people = {index: ContactFields(**row) for index, row in enumerate(rows)}
    found = database.run("upsert", partial(contacts.find_or_create, people=people, overwrite=True))
    return [found[index] for index in range(len(rows))]


def statuses(database: Database, *rows: Row) -> list[str]:
    return [found.status for found in upsert(database, *rows)]


def enroll(database: Database, campaign_id: UUID, *rows: Row) -> list[enrollments.Enrolled]:
    people = {
        index: ContactRef(row.get("contact_id"), ContactFields(**{k: v for k, v in row.items() if k != "contact_id"}))
        for index, row in enumerate(rows)
    }
    answers = database.run(
        "enroll", partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
    )
    return [answers[index] for index in range(len(rows))]


def verdicts(database: Database, campaign_id: UUID, *rows: Row) -> list[str]:
    return [str(answer.verdict) for answer in enroll(database, campaign_id, *rows)]


def suppress(database: Database, reason: SuppressionReason = SuppressionReason.UNSUBSCRIBED, **target: str) -> None:
    database.run("suppress", partial(suppressions.suppress, **target, reason=reason, source="me"))


def erase(database: Database, **target: str) -> None:
    database.run("erase", partial(erasure.erase, target=SuppressionTarget(**target), now=NOW))


def people_of(database: Database) -> list[tuple[str | None, str | None, str | None]]:
    with database.transaction("look") as session:
        rows = session.execute(
            text("SELECT email, linkedin_url, first_name FROM contacts ORDER BY email, linkedin_url")
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def campaign(database: Database) -> UUID:
    return new_scene(database, 0).campaign_id


def test_the_wish_of_an_address_that_the_contact_does_not_take_holds_the_person(
    database: Database, campaign: UUID
) -> None:
    suppress(database, email=GONE)
    upsert(database, {"email": PRIVATE, "linkedin_url": PER})
    (answer,) = enroll(database, campaign, {"email": GONE, "linkedin_url": PER})
    assert (str(answer.verdict), answer.reason) == ("suppressed", "suppressed: unsubscribed")
    assert people_of(database) == [(PRIVATE, PER, None)]
    assert verdicts(database, campaign, {"email": PRIVATE}, {"email": GONE}) == ["suppressed"] * 2


def test_the_wish_of_a_profile_that_the_contact_does_not_take_holds_the_person(
    database: Database, campaign: UUID
) -> None:
    suppress(database, linkedin_url=PER)
    upsert(database, {"email": PRIVATE, "linkedin_url": profile("other")})
    assert verdicts(database, campaign, {"email": PRIVATE, "linkedin_url": PER}) == ["suppressed"]
    assert verdicts(database, campaign, {"email": PRIVATE}) == ["suppressed"]


def test_an_erased_address_beside_a_known_one_holds_the_person(database: Database, campaign: UUID) -> None:
    upsert(database, {"email": GONE})
    erase(database, email=GONE)
    upsert(database, {"linkedin_url": PER, "email": PRIVATE})
    assert verdicts(database, campaign, {"email": GONE, "linkedin_url": PER}) == ["suppressed"]
    assert verdicts(database, campaign, {"linkedin_url": PER}, {"email": PRIVATE}) == ["suppressed"] * 2


def test_an_erasure_follows_the_person_to_the_next_address(database: Database, campaign: UUID) -> None:
    upsert(database, {"email": "er@e.example"})
    erase(database, email="er@e.example")
    assert verdicts(database, campaign, {"email": "er@e.example", "linkedin_url": PER}) == ["suppressed"]
    upsert(database, {"email": "er2@e.example", "linkedin_url": PER})
    assert verdicts(database, campaign, {"linkedin_url": PER}, {"email": "er2@e.example"}) == ["suppressed"] * 2
    # Erased again by the address that was erased first, the person is gone under each.
    erase(database, email="er@e.example")
    assert people_of(database) == [(None, None, None)] * 2
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM contact_addresses")) == 0
        assert session.scalar(text("SELECT count(*) FROM suppressions WHERE address_hash IS NULL")) == 0
    upsert(database, {"email": "er3@e.example"})
    assert verdicts(database, campaign, {"email": "er2@e.example"}, {"linkedin_url": PER}) == ["suppressed"] * 2


def test_a_row_with_an_id_is_held_by_its_address_too(database: Database, campaign: UUID) -> None:
    suppress(database, email=GONE)
    (known, bare) = upsert(database, {"email": PRIVATE}, {"linkedin_url": PER})
    assert verdicts(
        database,
        campaign,
        {"contact_id": known.contact_id, "email": GONE},
        {"contact_id": bare.contact_id, "email": "new@a.example"},
    ) == ["suppressed", "enrolled"]
    assert people_of(database) == [("new@a.example", PER, None), (PRIVATE, None, None)]
    (other,) = enroll(database, campaign, {"contact_id": known.contact_id, "email": "new@a.example"})
    assert (str(other.verdict), other.reason) == ("invalid", "email and linkedin_url belong to two contacts: give one")


def test_an_address_that_the_contact_does_not_take_is_told_and_kept(database: Database, campaign: UUID) -> None:
    upsert(database, {"email": PRIVATE, "linkedin_url": PER})
    (answer,) = enroll(database, campaign, {"email": "third@a.example", "linkedin_url": PER})
    assert str(answer.verdict) == "enrolled"
    assert "another email: this one was kept besides" in (answer.reason or "")
    suppress(database, email="third@a.example")
    assert verdicts(database, new_scene(database, 0).campaign_id, {"linkedin_url": PER}) == ["suppressed"]


@pytest.mark.parametrize("reason", [SuppressionReason.MANUAL, SuppressionReason.BOUNCED])
def test_what_is_no_wish_stays_with_the_address(database: Database, campaign: UUID, reason: SuppressionReason) -> None:
    upsert(database, {"email": "old@l.example", "linkedin_url": PER})
    suppress(database, reason, email="old@l.example")
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    assert verdicts(database, campaign, {"linkedin_url": PER}) == ["enrolled"]


def test_a_wish_holds_an_address_that_the_person_had(database: Database, campaign: UUID) -> None:
    upsert(database, {"email": "old@l.example", "linkedin_url": PER})
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    suppress(database, email="new@l.example")
    assert verdicts(database, campaign, {"email": "old@l.example"}) == ["suppressed"]


def claim_one(database: Database) -> claims.DueAction:
    work = partial(claims.claim, campaign_id=None, channel=None, limit=1, lease_seconds=60, now=NOW)
    (due,) = database.run("claim", work).actions
    return due


def moved(database: Database, campaign_id: UUID) -> UUID:
    """The enrollment of somebody whose first step went to old@l, and who is at new@l now."""
    (answer,) = enroll(database, campaign_id, {"email": "old@l.example", "linkedin_url": PER})
    claim_one(database)
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    # By another program, so that nothing is known of it but where the mail went to.
    with database.transaction("forget") as session:
        session.execute(text("DELETE FROM contact_addresses"))
    assert answer.enrollment_id is not None
    return answer.enrollment_id


def held(database: Database) -> dict[str, str]:
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT coalesce(email, linkedin_url), reason FROM suppressions"))
        return dict(tuple(row) for row in rows)


EVERYWHERE = ["old@l.example", "new@l.example", PER]


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_unsubscribe_holds_the_address_that_the_mail_went_to(
    database: Database, campaign: UUID, by_hand: bool
) -> None:
    enrollment_id = moved(database, campaign)
    if by_hand:
        work = partial(enrollments.update, enrollment_id=enrollment_id, action=EnrollmentAction.UNSUBSCRIBE, now=NOW)
        database.run("unsubscribe", work)
    else:
        record(database, event(EventType.UNSUBSCRIBED, enrollment_id, step_number=1))
    assert held(database) == dict.fromkeys(EVERYWHERE, "unsubscribed")
    assert verdicts(database, campaign, {"email": "old@l.example"}) == ["suppressed"]


def test_a_bounce_holds_the_address_that_the_mail_went_to_alone(database: Database, campaign: UUID) -> None:
    record(database, event(EventType.BOUNCED, moved(database, campaign), step_number=1))
    assert held(database) == {"old@l.example": "bounced"}
    assert verdicts(database, new_scene(database, 0).campaign_id, {"linkedin_url": PER}) == ["enrolled"]


def test_an_unsubscribe_in_one_batch_with_a_bounce_is_not_lost(database: Database, campaign: UUID) -> None:
    enrollment_id = moved(database, campaign)
    kinds = (EventType.BOUNCED, EventType.UNSUBSCRIBED)
    record(database, *(event(kind, enrollment_id, step_number=1, hours=at) for at, kind in enumerate(kinds)))
    assert held(database) == dict.fromkeys(EVERYWHERE, "unsubscribed")


@pytest.mark.parametrize("names_campaign", [False, True])
def test_an_event_that_names_an_earlier_address_finds_the_person(
    database: Database, campaign: UUID, names_campaign: bool
) -> None:
    upsert(database, {"email": "old@l.example", "linkedin_url": PER})
    (answer,) = enroll(database, campaign, {"linkedin_url": PER})
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    named: Row = {"campaign_id": campaign} if names_campaign else {}
    record(database, event(EventType.COMPLAINED, None, email="old@l.example", step_number=1, **named))
    assert held(database) == dict.fromkeys(EVERYWHERE, "complained")
    assert state(database, answer.enrollment_id or UUID(int=0))["status"] == "unsubscribed"


@pytest.mark.parametrize("kind", [EventType.OPENED, EventType.COMPLAINED])
def test_what_waits_under_an_earlier_address_is_recorded_as_the_person_is_enrolled(
    database: Database, campaign: UUID, kind: EventType
) -> None:
    upsert(database, {"email": "old@l.example", "linkedin_url": PER})
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    record(database, event(kind, None, email="old@l.example", campaign_id=campaign, step_number=1))
    (answer,) = enroll(database, campaign, {"email": "new@l.example"})
    assert answer.enrollment_id is not None
    assert waiting(database) == 0
    ended = kind is EventType.COMPLAINED
    assert state(database, answer.enrollment_id)["status"] == ("unsubscribed" if ended else "active")


def test_what_waits_under_an_address_that_became_an_earlier_one_is_recorded_later(
    database: Database, campaign: UUID
) -> None:
    (answer,) = enroll(database, campaign, {"email": "new@l.example", "linkedin_url": PER})
    record(database, event(EventType.OPENED, None, email="old@l.example", campaign_id=campaign, step_number=1))
    enroll(database, campaign, {"email": "old@l.example", "linkedin_url": PER})
    database.run("match", partial(orphans.match_some, after=UUID(int=0), limit=10))
    assert waiting(database) == 0
    assert state(database, answer.enrollment_id or UUID(int=0))["current_step"] == 1


def test_a_wish_that_waits_lets_nobody_in_who_only_had_its_address(database: Database, campaign: UUID) -> None:
    upsert(database, {"email": "old@l.example", "linkedin_url": PER})
    upsert(database, {"email": "new@l.example", "linkedin_url": PER})
    upsert(database, {"email": "old@l.example"})
    wish = event(EventType.UNSUBSCRIBED, None, email="old@l.example", campaign_id=campaign, step_number=1)
    record(database, wish)
    had, has = enroll(database, campaign, {"email": "new@l.example"}, {"email": "old@l.example"})
    assert (str(had.verdict), str(has.verdict)) == ("suppressed", "enrolled")
    assert state(database, has.enrollment_id or UUID(int=0))["status"] == "unsubscribed"


def waiting(database: Database) -> int:
    with database.transaction("look") as session:
        return session.scalar(text("SELECT count(*) FROM orphaned_events")) or 0


SENDS: dict[str, list[tuple[EventType, dict[str, Any]]]] = {
    "sent": [(EventType.SENT, {"step_number": 1})],
    "opened": [(EventType.OPENED, {"step_number": 1})],
    "no step": [(EventType.SENT, {})],
    "placed again": [(EventType.OPENED, {"hours": 3}), (EventType.SENT, {"hours": 1})],
}


@pytest.mark.parametrize("told", SENDS.values(), ids=SENDS.keys())
def test_a_send_that_is_reported_without_an_address_keeps_that_of_the_moment(
    database: Database, campaign: UUID, told: list[tuple[EventType, dict[str, Any]]]
) -> None:
    (answer,) = enroll(database, campaign, {"email": "old@l.example", "linkedin_url": PER})
    assert answer.enrollment_id is not None
    for kind, details in told:
        record(database, event(kind, answer.enrollment_id, **details))
    assert sent_to(database) == ["old@l.example"]
    with database.transaction("by another program") as session:
        session.execute(text("UPDATE contacts SET email = 'new@l.example'"))
    record(database, event(EventType.CLICKED, answer.enrollment_id, step_number=1, hours=4))
    assert sent_to(database) == ["old@l.example"]
    record(database, event(EventType.UNSUBSCRIBED, answer.enrollment_id, step_number=1, hours=5))
    assert held(database) == dict.fromkeys(EVERYWHERE, "unsubscribed")


def test_a_step_of_linkedin_keeps_the_profile_that_it_went_to(database: Database) -> None:
    (answer,) = enroll(database, new_scene(database, 0).campaign_id, {"email": PRIVATE, "linkedin_url": PER})
    record(database, event(EventType.CONNECTION_SENT, answer.enrollment_id, step_number=2))
    assert sent_to(database) == [PER]


def test_what_was_sent_before_the_address_was_kept_is_not_taken_for_sent_to_todays(
    database: Database, campaign: UUID
) -> None:
    (answer,) = enroll(database, campaign, {"email": "old@l.example"})
    assert answer.enrollment_id is not None
    record(database, event(EventType.SENT, answer.enrollment_id, step_number=1))
    with database.transaction("as it was") as session:
        session.execute(text("UPDATE campaign_actions SET sent_to = NULL"))
    record(database, event(EventType.OPENED, answer.enrollment_id, step_number=1, hours=1))
    assert sent_to(database) == [None]


def sent_to(database: Database) -> list[str | None]:
    with database.transaction("look") as session:
        return list(session.scalars(text("SELECT sent_to FROM campaign_actions")))


def test_an_erasure_removes_where_mail_went_to(database: Database, campaign: UUID) -> None:
    moved(database, campaign)
    erase(database, email="new@l.example")
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM campaign_actions WHERE sent_to IS NOT NULL")) == 0
    assert verdicts(database, campaign, {"email": "old@l.example"}) == ["suppressed"]


def lift(database: Database, at: datetime, **target: str) -> None:
    work = partial(suppressions.unsuppress, target=SuppressionTarget(**target), has_new_consent=True, now=at)
    database.run("lift", work)


@pytest.mark.parametrize(("hours", "holds"), [(-1, False), (1, True)])
def test_the_later_of_a_wish_and_a_new_consent_holds(
    database: Database, campaign: UUID, hours: int, holds: bool
) -> None:
    """An unsubscribe waits for its enrollment, the person consents again, is enrolled, and it is matched."""
    (elsewhere,) = enroll(database, new_scene(database, 0).campaign_id, {"linkedin_url": PER})
    record(database, event(EventType.UNSUBSCRIBED, None, campaign_id=campaign, email=PRIVATE, hours=hours))
    lift(database, NOW, email=PRIVATE)
    upsert(database, {"email": "x@l.example", "linkedin_url": PER}, {"linkedin_url": PER})
    upsert(database, {"email": PRIVATE, "linkedin_url": PER})
    (answer,) = enroll(database, campaign, {"email": PRIVATE})
    assert answer.enrollment_id is not None
    assert elsewhere.enrollment_id is not None
    found = [state(database, id_)["status"] for id_ in (answer.enrollment_id, elsewhere.enrollment_id)]
    assert found == ["unsubscribed" if holds else "active"] * 2
    assert set(held(database)) == ({PRIVATE, PER, "x@l.example"} if holds else set())
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM campaign_events")) == 1
        assert session.scalar(text("SELECT count(*) FROM orphaned_events")) == 0


def test_a_late_report_of_a_wish_from_before_the_consent_suppresses_nobody(database: Database) -> None:
    record(database, event(EventType.UNSUBSCRIBED, None, email=PRIVATE, hours=-2))
    lift(database, NOW, email=PRIVATE)
    record(database, event(EventType.COMPLAINED, None, email=PRIVATE, hours=-1))
    assert held(database) == {}
    record(database, event(EventType.COMPLAINED, None, email=PRIVATE, hours=1))
    assert held(database) == {PRIVATE: "complained"}


SAME = profile("same")


@pytest.mark.parametrize("are_known", [True, False])
def test_rows_that_give_one_profile_to_two_people_are_refused_and_fail_no_other(
    database: Database, campaign: UUID, are_known: bool
) -> None:
    if are_known:
        upsert(database, {"email": "s1@s.example"}, {"email": "s2@s.example"})
    before = people_of(database)
    rows = [
        {"email": "s1@s.example", "linkedin_url": SAME},
        {"email": "s2@s.example", "linkedin_url": SAME},
        {"email": "s3@s.example"},
    ]
    found = upsert(database, *rows)
    assert [verdict.status for verdict in found] == ["invalid", "invalid", "created"]
    assert [verdict.reason for verdict in found[:2]] == [
        f"linkedin_url is that of another person in row {other} of this call: give it to one of them"
        for other in (1, 0)
    ]
    assert verdicts(database, campaign, *rows) == ["invalid", "invalid", "enrolled"]
    assert sorted(people_of(database)) == sorted([*before, ("s3@s.example", None, None)])


def test_two_contacts_that_claim_one_email_are_refused(database: Database) -> None:
    upsert(database, {"linkedin_url": profile("a")}, {"linkedin_url": profile("b")})
    rows = [{"email": "e@s.example", "linkedin_url": profile(name)} for name in "ab"]
    assert statuses(database, *rows, {"email": "e@s.example"}) == ["invalid", "invalid", "created"]


def test_a_call_gives_a_person_one_email(database: Database) -> None:
    upsert(database, {"email": "a@s.example", "linkedin_url": PER})
    rows = [{"email": "new@s.example", "linkedin_url": PER}, {"email": "a@s.example", "first_name": "Al"}]
    assert statuses(database, *rows) == ["invalid", "updated"]
    assert people_of(database) == [("a@s.example", PER, "Al")]


@pytest.mark.parametrize("others", [0, 300])
@pytest.mark.parametrize("are_known", [True, False])
def test_rows_about_one_person_are_merged_in_their_order(database: Database, are_known: bool, others: int) -> None:
    if are_known:
        upsert(database, {"email": "a@s.example", "linkedin_url": PER, "first_name": "Old"})
    rest = [{"email": f"x{number}@s.example"} for number in range(others)]
    rows: list[Row] = [
        {"email": "a@s.example", "first_name": "First", "company": "One", "attributes": {"a": 1, "b": 1}},
        *rest,
        {"email": "a@s.example", "linkedin_url": PER, "first_name": "Second", "attributes": {"b": 2}},
        {"linkedin_url": PER, "title": "Third"},
    ]
    found = upsert(database, *rows)
    assert [verdict.status for verdict in (found[0], *found[-2:])] == [
        "updated" if are_known else "created",
        "merged",
        "merged",
    ]
    assert len({verdict.contact_id for verdict in (found[0], *found[-2:])}) == 1
    with database.transaction("look") as session:
        row = session.execute(
            text(
                "SELECT first_name, company, title, linkedin_url, attributes FROM contacts WHERE email = 'a@s.example'"
            )
        ).one()
    assert tuple(row) == ("Second", "One", "Third", PER, {"a": 1, "b": 2})


def test_an_enrolment_fills_with_the_first_of_its_rows(database: Database, campaign: UUID) -> None:
    answers = enroll(
        database,
        campaign,
        {"email": "a@s.example", "first_name": "First"},
        {"email": "a@s.example", "first_name": "Second", "linkedin_url": PER},
    )
    assert [str(answer.verdict) for answer in answers] == ["enrolled", "already_enrolled"]
    assert "merged with an earlier row" in (answers[1].reason or "")
    assert people_of(database) == [("a@s.example", PER, "First")]


def test_what_was_lifted_is_not_suppressed_again_by_looking(database: Database, campaign: UUID) -> None:
    row = {"email": PRIVATE, "linkedin_url": PER}
    upsert(database, row)
    suppress(database, email=PRIVATE)
    suppress(database, linkedin_url=PER)
    for target in (SuppressionTarget(email=PRIVATE), SuppressionTarget(linkedin_url=PER)):
        lift = partial(suppressions.unsuppress, target=target, has_new_consent=True)
        assert verdicts(database, campaign, row) == ["suppressed"]
        database.run("lift", lift)
    assert verdicts(database, campaign, row) == ["enrolled"]


def test_an_erasure_forgets_that_the_person_consented(database: Database) -> None:
    upsert(database, {"email": PRIVATE})
    suppress(database, email=PRIVATE)
    lift(database, NOW, email=PRIVATE)
    erase(database, email=PRIVATE)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM consents")) == 0

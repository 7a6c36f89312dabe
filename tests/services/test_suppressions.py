"""Suppressions: what holds, what ends, what is never weakened, and what lifts it."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.states import SuppressionReason, SuppressionState
from db.postgres.database import Database
from db.services.dispatch import claims
from db.services.enrollments import enrollments
from db.services.events import events
from db.services.people import contacts, suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, event, new_scene, record, state
from tests.support.races import race

LINK = "https://www.linkedin.com/in/jane"
JANE = "p0@example.com"
MANUAL, BOUNCED = SuppressionReason.MANUAL, SuppressionReason.BOUNCED
UNSUBSCRIBED, COMPLAINED = SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED
TARGETS: list[dict[str, Any]] = [{"email": JANE}, {"domain": "example.com"}, {"linkedin_url": LINK}]
HOUR = timedelta(hours=1)


def suppress(
    database: Database, reason: SuppressionReason = MANUAL, expires_at: datetime | None = None, **target: str
) -> tuple[str, datetime | None]:
    """(reason, end) as they stand then."""
    row, _ = database.run(
        "suppress",
        lambda session: suppressions.suppress(
            session, **target, reason=reason, source=f"by {reason}", expires_at=expires_at
        ),
    )
    return row.reason, row.expires_at


def lift(database: Database, *, has_new_consent: bool = False, **target: str) -> None:
    database.run(
        "unsuppress",
        lambda session: suppressions.unsuppress(
            session, target=SuppressionTarget(**target), has_new_consent=has_new_consent
        ),
    )


def verdict_of(database: Database, campaign_id: Any, at: datetime = NOW) -> str:
    ref = ContactRef(None, ContactFields(email=JANE, linkedin_url=LINK))
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people={0: ref}, start_at=None, now=at),
    )
    return answers[0].reason or str(answers[0].verdict)


def claimed(database: Database, at: datetime) -> int:
    claim = database.run(
        "claim",
        lambda session: claims.claim(session, campaign_id=None, channel=None, limit=10, lease_seconds=60, now=at),
    )
    return len(claim.actions)


@pytest.mark.parametrize("target", TARGETS)
def test_a_suppression_ends_at_its_moment_for_enrolments(database: Database, target: dict[str, Any]) -> None:
    scene = new_scene(database, 0)
    suppress(database, expires_at=NOW + HOUR, **target)
    assert verdict_of(database, scene.campaign_id, NOW + HOUR - timedelta(microseconds=1)) == "suppressed: manual"
    assert verdict_of(database, scene.campaign_id, NOW + HOUR) == "enrolled"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("after", "due"), [(HOUR, 0), (2 * HOUR, 1)])
def test_a_suppression_ends_at_its_moment_for_claims(
    database: Database, target: dict[str, Any], after: timedelta, due: int
) -> None:
    scene = new_scene(database, 0)
    verdict_of(database, scene.campaign_id)
    with database.transaction("suppressed by another program") as session:
        column, value = next(iter(target.items()))
        session.execute(
            text(f"INSERT INTO suppressions (id, {column}, reason, expires_at) VALUES (:id, :value, 'manual', :end)"),
            {"id": "00000000-0000-7000-8000-000000000001", "value": value, "end": NOW + 2 * HOUR},
        )
    assert claimed(database, NOW + after) == due


def test_what_a_temporary_suppression_stopped_stays_stopped(database: Database) -> None:
    scene = new_scene(database, 1)
    suppress(database, email=JANE, expires_at=NOW + HOUR)
    assert state(database, scene.enrollments[0])["stop_reason"] == "suppressed"
    assert claimed(database, NOW + 2 * HOUR) == 0


@pytest.mark.parametrize("reason", [UNSUBSCRIBED, COMPLAINED, BOUNCED])
def test_only_a_suppression_by_hand_ends_by_itself(database: Database, reason: SuppressionReason) -> None:
    with pytest.raises(InvalidInput, match="never ends by itself"):
        suppress(database, reason, NOW + HOUR, email=JANE)


@pytest.mark.parametrize(("kind", "kept"), [("unsubscribed", 2), ("complained", 2), ("bounced", 1)])
def test_what_an_event_suppressed_is_not_made_temporary(database: Database, kind: str, kept: int) -> None:
    scene = new_scene(database, 1)
    record(database, event(EventType(kind), scene.enrollments[0], step_number=1))
    with pytest.raises(Refused, match=f"for good, as {kind}.*unsuppress"):
        suppress(database, expires_at=NOW + HOUR, email=JANE)
    assert suppress(database, email=JANE) == (kind, None)
    assert suppress(database, BOUNCED, email=JANE) == (kind, None)


@pytest.mark.parametrize("end", [None, NOW + HOUR, NOW - HOUR])
@pytest.mark.parametrize("kind", ["unsubscribed", "complained", "bounced"])
def test_an_event_outweighs_a_suppression_by_hand(database: Database, kind: str, end: datetime | None) -> None:
    scene = new_scene(database, 1)
    with database.transaction("by hand") as session:
        suppressions.suppress(session, email=JANE, reason=MANUAL, source="me", expires_at=end)
    record(database, event(EventType(kind), scene.enrollments[0], step_number=1))
    with database.transaction("look") as session:
        row = session.execute(text("SELECT reason, source, expires_at FROM suppressions")).one()
    assert tuple(row) == (kind, "event", None)


def test_suppressing_again_by_hand_replaces_source_and_end(database: Database) -> None:
    assert suppress(database, email=JANE, expires_at=NOW + HOUR) == ("manual", NOW + HOUR)
    assert suppress(database, email=JANE) == ("manual", None)
    assert suppress(database, email=JANE, expires_at=NOW + 2 * HOUR) == ("manual", NOW + 2 * HOUR)
    assert suppress(database, UNSUBSCRIBED, email=JANE) == ("unsubscribed", None)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reason", [MANUAL, BOUNCED])
def test_one_by_hand_or_by_a_bounce_is_lifted_freely(
    database: Database, target: dict[str, Any], reason: SuppressionReason
) -> None:
    scene = new_scene(database, 0)
    suppress(database, reason, **target)
    assert verdict_of(database, scene.campaign_id) == f"suppressed: {reason}"
    lift(database, **target)
    assert verdict_of(database, scene.campaign_id) == "enrolled"


@pytest.mark.parametrize("reason", [UNSUBSCRIBED, COMPLAINED])
def test_a_persons_own_wish_is_lifted_by_their_own_wish_alone(database: Database, reason: SuppressionReason) -> None:
    scene = new_scene(database, 0)
    suppress(database, reason, email=JANE)
    with pytest.raises(Refused, match=f"asked not to be written to .reason {reason}.*has_new_consent=true"):
        lift(database, email=JANE)
    assert verdict_of(database, scene.campaign_id) == f"suppressed: {reason}"
    lift(database, email=JANE, has_new_consent=True)
    assert verdict_of(database, scene.campaign_id) == "enrolled"


@pytest.mark.parametrize("target", TARGETS)
def test_lifting_what_is_not_suppressed_says_where_to_look(database: Database, target: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="list_suppressions"):
        lift(database, **target)


def test_what_else_holds_the_person_is_told(database: Database) -> None:
    scene = new_scene(database, 0)
    verdict_of(database, scene.campaign_id)
    for target in TARGETS:
        suppress(database, **target)
    suppress(database, domain="elsewhere.example")
    with database.transaction("look") as session:
        for target in TARGETS:
            suppressions.unsuppress(session, target=SuppressionTarget(**target), has_new_consent=False)
            held = suppressions.still_holding(session, target=SuppressionTarget(**target), now=NOW)
            others = [other for other in TARGETS if other != target] if "domain" not in target else []
            assert sorted(row.email or row.domain or str(row.linkedin_url) for row in held) == sorted(
                value for other in others for value in other.values()
            )
            suppressions.suppress(session, **target, reason=MANUAL, source=None)


def test_a_domain_covers_no_subdomain(database: Database) -> None:
    suppress(database, domain="example.com")
    (below,) = new_scene(database, 1, domain="mail.example.com").enrollments
    assert state(database, below)["status"] == "active"
    assert verdict_of(database, new_scene(database, 0).campaign_id) == "suppressed: manual"


def test_the_ended_are_listed_apart(database: Database) -> None:
    suppress(database, email="now@example.com")
    suppress(database, email="then@example.com", expires_at=NOW + HOUR)

    def listed(wanted: SuppressionState | None, at: datetime) -> list[str]:
        with database.transaction("look") as session:
            page = suppressions.list_(session, reason=None, search=None, state=wanted, limit=9, cursor=None, now=at)
        return sorted(row.email or "" for row in page.rows)

    assert listed(None, NOW) == listed(SuppressionState.ACTIVE, NOW) == ["now@example.com", "then@example.com"]
    assert listed(SuppressionState.ACTIVE, NOW + HOUR) == ["now@example.com"]
    assert listed(SuppressionState.EXPIRED, NOW + HOUR) == ["then@example.com"]
    assert listed(SuppressionState.EXPIRED, NOW) == []


def test_processes_that_suppress_one_address_at_once_agree(database: Database, database_url: str) -> None:
    emails = [f"new{i}@example.com" for i in range(50)]
    works = [{"do": "suppress", "emails": order} for order in (emails, emails[::-1], emails)]
    race(database_url, *works)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM suppressions")) == 50


def upsert(database: Database, email: str, linkedin_url: str) -> None:
    people = {0: ContactFields(email=email, linkedin_url=linkedin_url)}
    database.run("upsert", lambda session: contacts.find_or_create(session, people=people, overwrite=True))


def test_a_wish_goes_with_the_person_to_a_new_address(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(EventType.UNSUBSCRIBED, scene.enrollments[0]))
    upsert(database, email=JANE, linkedin_url=LINK)
    upsert(database, email="new@example.com", linkedin_url=LINK)
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT coalesce(email, linkedin_url), reason FROM suppressions"))
        held = dict(tuple(row) for row in rows)
    assert held == dict.fromkeys([JANE, LINK, "new@example.com"], "unsubscribed")
    assert claimed(database, NOW + HOUR) == 0


@pytest.mark.parametrize("reason", [MANUAL, BOUNCED])
def test_what_is_said_of_an_address_alone_stays_with_it(database: Database, reason: SuppressionReason) -> None:
    upsert(database, email=JANE, linkedin_url=LINK)
    suppress(database, reason, email=JANE)
    upsert(database, email="new@example.com", linkedin_url=LINK)
    with database.transaction("look") as session:
        assert session.scalars(text("SELECT coalesce(email, linkedin_url) FROM suppressions")).all() == [JANE]


def test_a_profile_is_held_in_whatever_case_it_was_written(database: Database) -> None:
    scene = new_scene(database, 0)
    suppress(database, UNSUBSCRIBED, linkedin_url="https://www.linkedin.com/in/acoaabcd")
    written = "https://www.linkedin.com/in/ACoAABcD"
    ref = ContactRef(None, ContactFields(linkedin_url=written))
    enroll = partial(enrollments.enroll, campaign_id=scene.campaign_id, people={0: ref}, start_at=None, now=NOW)
    assert str(database.run("enroll", enroll)[0].verdict) == "suppressed"
    with database.transaction("look") as session:
        assert session.scalars(text("SELECT linkedin_url FROM contacts")).all() == [written]


def bounce(hours: float, **more: Any) -> NewEvent:
    return event(EventType.BOUNCED, None, hours=hours, provider="p", **more)


def record_at_all(database: Database, *given: NewEvent) -> None:
    database.run("record", partial(events.record_events, events=given, from_provider=True))


def lifted(database: Database, at: datetime = NOW + 5 * HOUR, *, has_new_consent: bool = False, **target: str) -> None:
    target_ = SuppressionTarget(**target)
    work = partial(suppressions.unsuppress, target=target_, has_new_consent=has_new_consent, now=at)
    database.run("unsuppress", work)


def held_addresses(database: Database) -> dict[str, str]:
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT coalesce(email, linkedin_url), reason FROM suppressions"))
        return dict(tuple(row) for row in rows)


@pytest.mark.parametrize("kind", [EventType.BOUNCED, EventType.COMPLAINED])
def test_what_is_told_again_undoes_no_lifting_and_what_is_new_does(database: Database, kind: EventType) -> None:
    """Of an address alone nothing is stored by which a repetition could be known."""
    new_scene(database, 1)
    told = partial(event, kind, None, provider="p", email=JANE)
    record_at_all(database, told(hours=1))
    lifted(database, email=JANE, has_new_consent=kind is EventType.COMPLAINED)
    record_at_all(database, told(hours=1), told(hours=4))
    assert held_addresses(database) == {}
    record_at_all(database, told(hours=6))
    assert held_addresses(database) == {JANE: str(kind)}


def test_a_wish_is_not_lifted_with_a_bounce(database: Database) -> None:
    record_at_all(database, bounce(1, email=JANE))
    lifted(database, email=JANE)
    record_at_all(database, event(EventType.UNSUBSCRIBED, None, hours=2, email=JANE))
    assert held_addresses(database) == {JANE: "unsubscribed"}


def test_a_bounce_is_not_lifted_with_what_somebody_suppressed_by_hand(database: Database) -> None:
    suppress(database, email=JANE)
    lifted(database, email=JANE)
    record_at_all(database, bounce(4, email=JANE))
    assert held_addresses(database) == {JANE: "bounced"}


@pytest.mark.parametrize(("hours", "ends"), [(4, False), (6, True)])
def test_a_bounce_from_before_its_lifting_stops_nobody_who_is_enrolled_since(
    database: Database, hours: float, ends: bool
) -> None:
    """It waits for its message, which is reported after somebody lifted the suppression."""
    scene = new_scene(database, 0)
    record_at_all(database, bounce(hours, email=JANE, provider_message_id="m"))
    lifted(database, email=JANE)
    assert verdict_of(database, scene.campaign_id) == "enrolled"
    (who,) = enrolled_in(database, scene.campaign_id)
    record(database, event(EventType.SENT, who, hours=3, step_number=1, provider="p", provider_message_id="m"))
    assert state(database, who)["status"] == ("bounced" if ends else "active")
    assert held_addresses(database) == ({JANE: "bounced"} if ends else {})
    assert_counters_are_exact(database)


@pytest.mark.parametrize(("hours", "verdict"), [(4, "suppressed: manual"), (6, "enrolled")])
def test_who_is_suppressed_is_enrolled_for_a_bounce_that_waits_unless_it_was_lifted(
    database: Database, hours: float, verdict: str
) -> None:
    scene = new_scene(database, 0)
    record_at_all(database, bounce(hours, email=JANE, campaign_id=scene.campaign_id))
    lifted(database, email=JANE)
    suppress(database, domain="example.com")
    assert verdict_of(database, scene.campaign_id) == verdict
    ends = [state(database, who)["status"] for who in enrolled_in(database, scene.campaign_id)]
    assert ends == (["bounced"] if verdict == "enrolled" else [])


def test_a_wish_of_an_address_alone_is_older_than_the_consent_of_its_person(database: Database) -> None:
    scene = new_scene(database, 0)
    assert verdict_of(database, scene.campaign_id) == "enrolled"
    suppress(database, UNSUBSCRIBED, linkedin_url=LINK)
    lifted(database, linkedin_url=LINK, has_new_consent=True)
    for address in held_addresses(database):
        lifted(database, email=address, has_new_consent=True, at=NOW)
    record_at_all(database, event(EventType.COMPLAINED, None, hours=4, email=JANE))
    assert held_addresses(database) == {}
    record_at_all(database, event(EventType.COMPLAINED, None, hours=6, email=JANE))
    assert held_addresses(database) == {JANE: "complained", LINK: "complained"}


def enrolled_in(database: Database, campaign_id: UUID) -> list[UUID]:
    with database.transaction("look") as session:
        statement = text("SELECT id FROM campaign_enrollments WHERE instance_id = :id")
        return list(session.scalars(statement, {"id": campaign_id}))

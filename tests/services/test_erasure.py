"""Erasure: nothing of the person is left in any table, the counts stay, and the person stays suppressed."""

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.domain.contacts import CONTACT_FIELDS, ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.states import ActionOutcome, Channel, EnrollmentAction, SuppressionReason
from db.postgres.database import Database
from db.services.dispatch import actions, claims
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.ops import idempotency
from db.services.people import contacts, suppressions
from db.services.reports import metrics
from tests.support.campaigns import NOW, assert_counters_are_exact, event, new_scene, record, state, totals
from tests.support.traces import (
    EMAIL,
    LINK,
    OTHER,
    PERSON,
    TRACES,
    by_email,
    erase,
    everything,
    full_life,
    say,
    take_in,
    without_others,
)


def counts(database: Database, campaign_id: UUID) -> tuple[object, ...]:
    with database.transaction("look") as session:
        report = metrics.report(session, campaign_id=campaign_id, group_by=metrics.GroupBy.STEP, since=None, until=None)
        rows = [
            session.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("campaign_events", "campaign_actions")
        ]
    return totals(database, campaign_id), report.groups, rows


WHOM: list[Callable[[UUID], dict[str, Any]]] = [
    lambda contact_id: {"contact_id": contact_id},
    lambda _: by_email(),
    lambda _: {"target": SuppressionTarget(linkedin_url=LINK)},
]


@pytest.mark.parametrize("whom", WHOM)
def test_nothing_of_the_person_is_left_in_any_table(database: Database, whom: Callable[[UUID], dict[str, Any]]) -> None:
    contact_id, *_ = full_life(database)
    before = everything(database)
    assert all(trace in before for trace in TRACES)
    done = erase(database, **whom(contact_id))
    after = without_others(everything(database))
    assert [line for line in after.splitlines() if any(trace in line for trace in TRACES)] == []
    assert (done.contact_id, done.stopped_enrollments, done.orphaned_events, done.kept_answers) == (contact_id, 1, 3, 4)
    assert not done.was_erased_before
    assert (done.webhook_bodies, done.messages) == (6, 1)
    assert after.count("somebody.else@example.com") == 1


def test_counts_stay_but_for_the_enrollment_that_stops(database: Database) -> None:
    contact_id, campaign_id, ended, running = full_life(database)
    before = counts(database, campaign_id)
    then = state(database, ended)
    erase(database, contact_id=contact_id)
    assert counts(database, campaign_id) == before
    assert state(database, ended) == then
    assert state(database, running)["status"] == "unsubscribed"
    assert state(database, running)["stop_reason"] == "suppressed"
    assert_counters_are_exact(database)


def test_what_decides_how_an_event_counts_is_kept(database: Database) -> None:
    contact_id, _, ended, _ = full_life(database)
    erase(database, contact_id=contact_id)
    with database.transaction("look") as session:
        rows = session.execute(
            text("SELECT event_type, metadata FROM campaign_events WHERE enrollment_id = :id AND metadata <> '{}'"),
            {"id": ended},
        ).all()
    assert [tuple(row) for row in rows] == [("bounced", {"bounce_type": "soft"})]


def test_a_late_event_of_an_erased_person_still_finds_its_action(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(EventType.SENT, scene.enrollments[0], step_number=1, provider_message_id="plain"))
    erase(database, **by_email("p0@example.com"))
    details = {"agent": "quux mail", "bounce_type": "soft"}
    late = NewEvent(EventType.OPENED, Channel.EMAIL, NOW, provider_message_id="plain", metadata=details)
    assert [str(outcome.verdict) for outcome in record(database, late)] == ["recorded"]
    with database.transaction("look") as session:
        kept = session.scalars(text("SELECT metadata FROM campaign_events ORDER BY id DESC LIMIT 1")).one()
    assert kept == {"bounce_type": "soft"}
    assert totals(database, scene.campaign_id)["opened"] == 1


def test_the_erased_stay_suppressed_by_each_of_their_addresses(database: Database) -> None:
    contact_id, campaign_id, *_ = full_life(database)
    erase(database, contact_id=contact_id)
    fresh = new_scene(database, 0).campaign_id
    upserted = database.run(
        "upsert", lambda session: contacts.find_or_create(session, people={0: PERSON}, overwrite=True)
    )[0]
    assert upserted.is_new
    assert upserted.contact_id != contact_id
    people = [
        ContactRef(None, PERSON),
        ContactRef(None, ContactFields(email=EMAIL)),
        ContactRef(None, ContactFields(linkedin_url=LINK)),
        ContactRef(upserted.contact_id, ContactFields()),
    ]
    for campaign in (campaign_id, fresh):
        assert {str(outcome.verdict) for outcome in take_in(database, campaign, *people)} == {"suppressed"}
    (gone, other) = take_in(
        database, fresh, ContactRef(contact_id, ContactFields()), ContactRef(None, ContactFields(email=OTHER))
    )
    assert (str(gone.verdict), str(other.verdict)) == ("invalid", "enrolled")
    claim = database.run(
        "claim",
        lambda session: claims.claim(
            session, campaign_id=None, channel=None, limit=50, lease_seconds=60, now=NOW + timedelta(days=9)
        ),
    )
    assert contact_id not in {due.contact.id for due in claim.actions}
    assert claim.actions


def test_who_had_the_address_of_the_erased_before_stays_suppressed_without_it(database: Database) -> None:
    scene = new_scene(database, 0)
    link = "https://www.linkedin.com/in/who-moved"
    for person in (
        ContactFields(email="shared@example.com", linkedin_url=link),
        ContactFields(email="new@example.com", linkedin_url=link),
        ContactFields(email="shared@example.com"),
    ):
        database.run("upsert", partial(contacts.find_or_create, people={0: person}, overwrite=True))
    erase(database, **by_email("shared@example.com"))
    assert "shared@example.com" not in everything(database)
    for address in (ContactFields(email="new@example.com"), ContactFields(linkedin_url=link)):
        (answer,) = take_in(database, scene.campaign_id, ContactRef(None, address))
        assert answer.reason == "suppressed: unsubscribed"


@pytest.mark.parametrize(
    ("earlier", "kept"),
    [(None, "unsubscribed"), (SuppressionReason.MANUAL, "manual"), (SuppressionReason.COMPLAINED, "complained")],
)
def test_the_hash_takes_the_reason_over(database: Database, earlier: SuppressionReason | None, kept: str) -> None:
    scene = new_scene(database, 1)
    if earlier is not None:
        database.run("s", partial(suppressions.suppress, email="p0@example.com", reason=earlier, source="Zoë"))
    erase(database, **by_email("p0@example.com"))
    (again,) = take_in(database, scene.campaign_id, ContactRef(None, ContactFields(email="p0@example.com")))
    assert again.reason == f"suppressed: {kept}"


def test_nothing_lifts_the_suppression_of_the_erased_or_writes_their_address_again(database: Database) -> None:
    contact_id, *_ = full_life(database)
    erase(database, contact_id=contact_id)
    for target in (SuppressionTarget(email=EMAIL), SuppressionTarget(linkedin_url=LINK)):
        with pytest.raises(Refused, match="erased, and stays suppressed for ever"):
            database.run("u", partial(suppressions.unsuppress, target=target, has_new_consent=True))
    row, _ = database.run(
        "s", partial(suppressions.suppress, email=EMAIL, reason=SuppressionReason.MANUAL, source=None)
    )
    assert row.is_erased
    with database.transaction("look") as session:
        page = suppressions.list_(session, reason=None, search=None, limit=9, cursor=None)
    assert [(row.email, row.is_erased) for row in page.rows] == [(None, True)] * 2


def test_erasing_again_is_answered_and_removes_what_came_in_since(database: Database) -> None:
    contact_id, *_ = full_life(database)
    first = erase(database, contact_id=contact_id)
    again = erase(database, contact_id=contact_id)
    by_address = erase(database, **by_email())
    assert (again.was_erased_before, by_address.was_erased_before) == (True, True)
    assert (again.contact_id, again.erased_at, by_address.contact_id) == (contact_id, first.erased_at, None)
    assert (again.stopped_enrollments, again.events, again.kept_answers) == (0, 0, 0)
    database.run("upsert", lambda session: contacts.find_or_create(session, people={0: PERSON}, overwrite=True))
    say(database, "later", {"email": EMAIL})
    third = erase(database, **by_email())
    assert (third.kept_answers, third.was_erased_before) == (1, False)
    after = without_others(everything(database))
    assert [line for line in after.splitlines() if any(trace in line for trace in TRACES)] == []


def test_nobody_known_is_not_found_and_leaves_nothing_behind(database: Database) -> None:
    for whom in (
        {"contact_id": uuid4()},
        by_email("nobody@example.com"),
        {"target": SuppressionTarget(None, None, LINK)},
    ):
        with pytest.raises(NotFound, match="find_contacts"):
            erase(database, **whom)
    with database.transaction("look") as session:
        for table in ("contacts", "suppressions", "secrets"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_somebody_who_is_no_contact_is_erased_where_an_address_was_kept(database: Database) -> None:
    database.run("s", partial(suppressions.suppress, email=EMAIL, reason=SuppressionReason.BOUNCED, source="Zoë"))
    done = erase(database, **by_email())
    assert (done.contact_id, done.suppressions) == (None, 1)
    assert [trace for trace in TRACES if trace in everything(database)] == []
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM contacts")) == 0


def test_a_kept_answer_that_was_deleted_refuses_its_repetition(database: Database) -> None:
    scene = new_scene(database, 1)
    say(database, "k", {"email": "p0@example.com"})
    erase(database, **by_email("p0@example.com"))
    with pytest.raises(Refused, match=r"done before.*Nothing was done now"), database.transaction("again") as session:
        idempotency.replay(session, key="k", tool="t", request_hash="h")
    assert scene.enrollments


def test_an_erased_contact_is_found_by_id_alone_and_takes_no_change(database: Database) -> None:
    contact_id, *_ = full_life(database)
    erase(database, contact_id=contact_id)
    with database.transaction("look") as session:
        find = partial(contacts.find, session, limit=50, cursor=None)
        assert contact_id not in {row.id for row in find(search=None, email=None, company=None).rows}
        (row,) = find(search=None, email=None, company=None, contact_id=contact_id).rows
        assert row.erased_at == NOW + timedelta(days=1)
        assert ContactFields(**{name: getattr(row, name) for name in CONTACT_FIELDS}) == ContactFields()
    # An update that found the person before the erasure, and comes to write after it.
    with database.transaction("late") as session:
        given = [{"row": 0, "id": str(contact_id), **ContactFields(email=EMAIL).values()}]
        for statement in (contacts._FILL, contacts._OVERWRITE):  # pyright: ignore[reportPrivateUsage] - no call can be stopped between its statements
            session.execute(statement, contacts.rows_parameter(given))
    assert "quux" not in without_others(everything(database))


def test_an_unsubscribe_after_the_erasure_writes_no_address(database: Database) -> None:
    contact_id, _, ended, running = full_life(database)
    erase(database, contact_id=contact_id)
    database.run(
        "unsubscribe",
        partial(enrollments.update, enrollment_id=ended, action=EnrollmentAction.UNSUBSCRIBE, now=NOW),
    )
    record(database, event(EventType.UNSUBSCRIBED, running, step_number=1))
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM suppressions WHERE address_hash IS NULL")) == 0


def test_who_holds_a_step_of_the_erased_can_still_report_it(database: Database) -> None:
    scene = new_scene(database, 1)
    soon = NOW + timedelta(hours=1)
    claim = database.run(
        "claim", partial(claims.claim, campaign_id=None, channel=None, limit=1, lease_seconds=60, now=soon)
    )
    erase(database, **by_email("p0@example.com"))
    (due,) = claim.actions
    assert due.action_id is not None
    database.run(
        "complete",
        partial(
            actions.complete,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome.SENT,
            provider="p",
            provider_message_id="m",
            error=None,
            now=soon,
        ),
    )
    assert totals(database, scene.campaign_id)["sent"] == 1
    assert state(database, scene.enrollments[0])["stop_reason"] == "suppressed"
    assert_counters_are_exact(database)


def test_the_key_is_made_once_and_the_hash_depends_on_it(database: Database) -> None:
    new_scene(database, 2)
    for index in range(2):
        erase(database, **by_email(f"p{index}@example.com"))
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM secrets")) == 1
        assert erasure.erased_among(session, addresses=["p0@example.com", "p1@example.com", "p2@example.com"]) == {
            "p0@example.com",
            "p1@example.com",
        }
        session.execute(text("UPDATE secrets SET value = sha256(value)"))
        assert erasure.erased_among(session, addresses=["p0@example.com"]) == set()
        session.rollback()


def test_what_others_waiting_events_say_of_the_person_goes_in_every_encoding(database: Database) -> None:
    shapes = [f"Hi\n{EMAIL}", f"a\t{EMAIL}", quote(EMAIL), f"_{EMAIL}_", json.dumps(EMAIL), f"Met {LINK}."]
    shapes.append(b64encode(f"to {EMAIL}".encode()).decode())
    for index, shape in enumerate(shapes):
        record(database, event(EventType.OPENED, uuid4(), provider_event_id=f"o{index}", metadata={"text": shape}))
    record(database, event(EventType.OPENED, uuid4(), provider_event_id="other", metadata={"text": f"x{EMAIL}"}))
    database.run("u", lambda session: contacts.find_or_create(session, people={0: PERSON}, overwrite=True))
    for key in (EMAIL, quote(EMAIL, safe=""), json.dumps(EMAIL)[1:-1], LINK.removeprefix("https://")):
        say(database, f"imp-{key}", {"rows": []})
    assert erase(database, **by_email()).orphaned_events == len(shapes)
    with database.transaction("look") as session:
        kept = session.scalars(text("SELECT metadata ->> 'text' FROM orphaned_events WHERE metadata <> '{}'")).all()
        assert session.scalar(text("SELECT count(*) FROM idempotency_keys")) == 0
    assert kept == [f"x{EMAIL}"]

"""Erasure: nothing of the person is left in any table, the counts stay, and the person stays suppressed."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from hashlib import sha256
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.states import ActionOutcome, Channel, DeliveryStatus, EnrollmentAction, SuppressionReason
from db.domain.webhooks import NewDelivery, Settled, StoreVerdict
from db.models import Base
from db.postgres.database import Database
from db.services import actions, claims, contacts, enrollments, erasure, idempotency, metrics, suppressions, webhooks
from db.services.erasure import Erased
from tests.services.scene import NOW, assert_counters_are_exact, event, new_scene, record, state, totals
from tests.services.test_processes import race

EMAIL = "zoë.quux@bücher.example"
LINK = "https://www.linkedin.com/in/zoe-quux"
TRACES = ("quux", "zoë", "bücher", "secretcorp", "sommelier", "pacific/apia", "plover")
OTHER = "a.quu@bücher-laden.example"
PERSON = ContactFields(
    EMAIL, LINK, "Zoë", "Quux", "SecretCorp", "Sommelier", "Pacific/Apia", {"nick": "plover", "n": 1}
)


def erase(database: Database, **whom: Any) -> Erased:
    return database.run("erase", partial(erasure.erase, now=NOW + timedelta(days=1), **whom))


def by_email(email: str = EMAIL) -> dict[str, Any]:
    return {"target": SuppressionTarget(email=email)}


def take_in(database: Database, campaign_id: UUID, *people: ContactRef) -> list[enrollments.Enrolled]:
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(
            session, campaign_id=campaign_id, people=dict(enumerate(people)), start_at=None, now=NOW
        ),
    )
    return [answers[index] for index in range(len(people))]


def everything(database: Database) -> str:
    """All that stands in any column of any table that can hold a text, in lower case."""
    with database.transaction("look") as session:
        columns = session.execute(
            text("""
                SELECT c.table_name, c.column_name, c.data_type = 'bytea' FROM information_schema.columns c
                JOIN information_schema.tables t USING (table_schema, table_name)
                WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
                  AND data_type NOT IN ('uuid', 'integer', 'bigint', 'boolean', 'date', 'timestamp with time zone')
            """)
        ).all()
        # All but one have a column that can.
        assert {table for table, *_ in columns} >= set(Base.metadata.tables) - {"campaign_usage"}
        assert len(columns) > 60
        found: list[str] = []
        for table, column, is_binary in columns:
            shown = f'"{column}"' if is_binary else f'"{column}"::text'
            values = session.scalars(text(f'SELECT {shown} FROM "{table}" WHERE "{column}" IS NOT NULL')).all()
            found += [value.decode(errors="replace") if is_binary else value for value in values]
    return "\n".join(found).lower()


def without_others(found: str) -> str:
    """Two people have addresses that hold this person's, or a part of it; theirs are left alone."""
    return found.replace(f"x{EMAIL}", "").replace("xother@bücher.example", "")


def counts(database: Database, campaign_id: UUID) -> tuple[object, ...]:
    with database.transaction("look") as session:
        report = metrics.report(session, campaign_id=campaign_id, group_by=metrics.GroupBy.STEP, since=None, until=None)
        rows = [
            session.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("campaign_events", "campaign_actions")
        ]
    return totals(database, campaign_id), report.groups, rows


def say(database: Database, key: str, response: dict[str, Any], arguments: object = "") -> None:
    """An answer that was kept under a key."""
    with database.transaction("answer") as session:
        assert idempotency.replay(session, key=key, tool="t", request_hash=f"h{arguments}") is None
        idempotency.keep(session, key=key, response=response)


def deliver(database: Database, *bodies: str, status: DeliveryStatus = DeliveryStatus.RECORDED) -> None:
    """Requests of a provider, which were understood or not."""
    requests = [NewDelivery("brevo", each.encode(), sha256(each.encode()).digest(), NOW) for each in bodies]
    with database.transaction("deliver") as session:
        assert webhooks.store(session, deliveries=requests) == [StoreVerdict.STORED] * len(bodies)
        settled = [
            Settled(each.id, status, error="unknown" if status is DeliveryStatus.FAILED else None)
            for each in webhooks.next_waiting(session, limit=len(bodies))
        ]
        webhooks.settle(session, settled=settled, now=NOW)


def full_life(database: Database) -> tuple[UUID, UUID, UUID, UUID]:
    """A person with traces in every place; (contact, campaign, an ended enrollment, an open one)."""
    one, two = new_scene(database, 2), new_scene(database, 1)
    (mine,) = take_in(database, one.campaign_id, ContactRef(None, PERSON))
    assert mine.contact_id is not None
    assert mine.enrollment_id is not None
    payload = {"from": f"Zoë <{EMAIL}>", "bounce_type": "soft", "nick": "plover"}
    record(
        database,
        event(EventType.SENT, mine.enrollment_id, step_number=1, provider="ses", provider_message_id=f"m1 {EMAIL}"),
        event(EventType.BOUNCED, mine.enrollment_id, step_number=1, provider_event_id=f"e1-{EMAIL}", metadata=payload),
        event(EventType.OPENED, mine.enrollment_id, step_number=1, metadata={"bounce_type": "plover"}),
        event(EventType.REPLIED, mine.enrollment_id, step_number=1, metadata={"text": "I am Zoë Quux"}),
    )
    (open_one,) = take_in(database, two.campaign_id, ContactRef(mine.contact_id, ContactFields()))
    assert open_one.enrollment_id is not None
    lost: dict[str, Any] = {"event_type": EventType.OPENED, "channel": Channel.EMAIL, "occurred_at": NOW}
    record(
        database,
        NewEvent(**lost, campaign_id=uuid4(), email=EMAIL, provider_event_id="o1", metadata={"nick": "plover"}),
        NewEvent(**lost, provider_message_id="unknown", provider_event_id="o2", metadata={"to": EMAIL.upper()}),
        NewEvent(**lost, provider_message_id=f"unknown {EMAIL}", provider_event_id="o3"),
        NewEvent(**lost, provider_message_id="theirs", provider_event_id="o4", metadata={"to": f"x{EMAIL}"}),
    )
    with database.transaction("other traces") as session:
        session.execute(
            text("UPDATE campaign_actions SET error = 'Zoë Quux said no' WHERE enrollment_id = :id"),
            {"id": mine.enrollment_id},
        )
        session.execute(
            text('UPDATE campaign_enrollments SET metadata = \'{"nick": "plover"}\' WHERE id = :id'),
            {"id": mine.enrollment_id},
        )
        # By another program: suppress() would stop the enrollment that is to be found open.
        session.execute(
            text("""
                INSERT INTO suppressions (id, linkedin_url, reason, source)
                VALUES (:id, :url, 'manual', 'Zoë Quux rang up')
            """),
            {"id": uuid4(), "url": LINK},
        )
    deliver(
        database,
        json.dumps({"email": EMAIL, "nick": "plover"}),
        json.dumps({"to": [EMAIL.upper()]}, ensure_ascii=False),
        json.dumps({"Message": json.dumps({"to": EMAIL})}),
        json.dumps({"profile": LINK}).replace("/", "\\/"),
        json.dumps({"sales_enrollment_id": str(mine.enrollment_id), "nick": "plover"}),
    )
    deliver(database, json.dumps({"odd": EMAIL}), status=DeliveryStatus.FAILED)
    deliver(database, '{"to": "somebody.else@example.com"}')
    session_answers = {"contact": {"id": str(mine.contact_id), "first_name": "Zoë"}, "note": "a\nzoë.quux@x.example"}
    say(database, "by id", session_answers)
    say(database, "by email", {"rows": [{"email": EMAIL, "company": "SecretCorp"}]})
    say(database, "by profile", {"rows": [{"linkedin_url": LINK, "title": "Sommelier"}]})
    say(database, f"made of {EMAIL}", {"rows": []})
    say(database, "another's", {"rows": [{"email": f"x{EMAIL}".replace("zoë.quux", "other")}]})
    return mine.contact_id, one.campaign_id, mine.enrollment_id, open_one.enrollment_id


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
    assert done.webhook_bodies == 6
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
        assert {str(each.verdict) for each in take_in(database, campaign, *people)} == {"suppressed"}
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
    assert [(each.email, each.is_erased) for each in page.rows] == [(None, True)] * 2


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
        assert {getattr(row, name) for name in ContactFields.__slots__ if name != "attributes"} == {None}
    # An update that found the person before the erasure, and comes to write after it.
    with database.transaction("late") as session:
        given = [{"row": 0, "id": str(contact_id), **dict.fromkeys(ContactFields.__slots__), "email": EMAIL}]
        given[0]["attributes"] = {}
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
            future.result(timeout=60)
    assert active_with_address(database) == 0
    assert scene.enrollments
    assert_counters_are_exact(database)

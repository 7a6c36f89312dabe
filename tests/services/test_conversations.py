"""A person hears from one campaign at a time: the others wait, say why, and go on by themselves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import conditions
from db.domain.aside import Fate
from db.domain.events import EventType
from db.domain.holds import BUSY_AGAIN, HoldReason
from db.domain.states import ActionOutcome, EnrollmentAction
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import claims, explain
from db.services.enrollments import enrollments, moving
from db.services.events import withdrawal
from db.services.ops import settings
from db.services.state import conversation_rows
from tests.support.campaigns import (
    NOW,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    new_scene,
    record,
    state,
    verdicts,
)
from tests.support.outgoing import ANN, connect, running
from tests.support.patience import PATIENCE
from tests.support.steps import claim_at, claim_for, report_at, run_sql

ADA, BEN = "ada@example.com", "ben@example.com"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SENT, FAILED, SKIPPED = ActionOutcome.SENT, ActionOutcome.FAILED, ActionOutcome.SKIPPED


def campaign(database: Database, *emails: str, name: str = "C", steps: int = 2) -> tuple[UUID, list[UUID]]:
    """A campaign of emails a day apart, with these people in it."""
    first = EmailStep(1, "Hello", "Nice to meet you.")
    texts = [first, *(replace(first, step_number=number, delay_hours=24) for number in range(2, steps + 1))]
    made = database.run("campaign", partial(make_campaign, name=name, email_steps=texts))
    return made, enroll(database, made, list(emails))


def two(database: Database, *, steps: int = 2) -> tuple[UUID, UUID, UUID, UUID]:
    """Two campaigns with Ada in both, and her enrollments."""
    (one, (in_one,)), (other, (in_other,)) = (campaign(database, ADA, name=name, steps=steps) for name in "AB")
    return one, in_one, other, in_other


def hand_out(database: Database, campaign_id: UUID, now: datetime = NOW) -> list[UUID]:
    return [due.enrollment.id for due in claim_at(database, campaign_id, now).actions]


def send(database: Database, campaign_id: UUID, now: datetime = NOW, outcome: ActionOutcome = SENT) -> list[UUID]:
    """Whom a claim of the campaign hands out, each reported."""
    handed = claim_at(database, campaign_id, now).actions
    for due in handed:
        report_at(database, due, outcome, now, error=None if outcome is SENT else "no")
    return [due.enrollment.id for due in handed]


def told(database: Database, enrollment_id: UUID, now: datetime = NOW) -> explain.Explanation:
    return database.run("explain", partial(explain.enrollment, enrollment_id=enrollment_id, now=now), read_only=True)


def holds_of(database: Database, enrollment_id: UUID, now: datetime = NOW) -> list[tuple[HoldReason, datetime | None]]:
    return [(hold.reason, hold.until) for hold in told(database, enrollment_id, now).holds]


def due_at(database: Database, enrollment_id: UUID) -> datetime:
    at: datetime = state(database, enrollment_id)["next_action_at"]
    return at


def holders(database: Database) -> list[UUID]:
    with database.transaction("look") as session:
        return list(session.scalars(text("SELECT enrollment_id FROM conversations ORDER BY contact_id")))


def between(database: Database, **rules: Any) -> None:
    """Other rules of the workspace, as update_settings makes them."""

    def work(session: Session) -> None:
        settings.update(session, **rules)
        conversation_rows.wake_all(session)

    database.run("settings", work)


def update(database: Database, enrollment_id: UUID, action: EnrollmentAction, now: datetime = NOW) -> None:
    work = partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=now)
    database.run("update", work)


def test_who_is_in_one_campaign_alone_gets_each_step_when_it_is_due(database: Database) -> None:
    between(database, days_between_campaigns=30)
    one, (ada, ben) = campaign(database, ADA, BEN)
    assert set(send(database, one)) == {ada, ben}
    assert set(send(database, one, NOW + DAY)) == {ada, ben}


def test_a_second_campaign_waits_until_the_first_has_ended_and_then_goes_on_at_once(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    assert send(database, one) == [in_one]
    claim = claim_at(database, other, NOW)
    assert claim.actions == []
    assert [(aside.fate, aside.reason) for aside in claim.set_aside] == [(Fate.MOVED, HoldReason.CONTACT_BUSY)]
    assert claim.next_due_at == due_at(database, in_other) == NOW + BUSY_AGAIN
    assert hand_out(database, other, NOW + BUSY_AGAIN) == []
    assert send(database, one, NOW + DAY) == [in_one]
    assert hand_out(database, other, NOW + DAY) == [in_other]
    assert holders(database) == [in_other]
    assert_counters_are_exact(database)


def test_the_hold_names_the_other_campaign_and_hides_when_the_claim_looks_again(database: Database) -> None:
    one, _, other, in_other = two(database)
    hand_out(database, one)
    assert holds_of(database, in_other) == [(HoldReason.CONTACT_BUSY, None)]
    hand_out(database, other)
    explained = told(database, in_other)
    assert [hold.reason for hold in explained.holds] == [HoldReason.CONTACT_BUSY]
    assert f"Campaign A ({one})" in explained.holds[0].detail
    assert explained.next_at is None


def test_the_whole_campaign_tells_that_its_people_are_busy(database: Database) -> None:
    one, _, other, _ = two(database)
    hand_out(database, one)
    work = partial(explain.campaign, campaign_id=other, now=NOW)
    assert database.run("explain", work).holds[0].reason is HoldReason.CONTACT_BUSY
    hand_out(database, other)
    assert database.run("explain", work).holds[0].reason is HoldReason.CONTACT_BUSY


def test_a_claim_holds_the_person_before_anything_is_sent(database: Database) -> None:
    one, in_one, other, _ = two(database)
    assert hand_out(database, one) == [in_one]
    assert hand_out(database, other) == []
    assert hand_out(database, other, NOW + DAY) == [], "the lease is over, and nobody knows what was sent"


def test_a_first_step_that_fails_or_is_skipped_frees_the_person(database: Database) -> None:
    for outcome in (FAILED, SKIPPED):
        one, in_one, other, in_other = two(database)
        (due,) = claim_at(database, one, NOW).actions
        assert hand_out(database, other) == []
        report_at(database, due, outcome, NOW, error="no")
        assert due_at(database, in_other) == NOW, "it is woken"
        assert send(database, other) == [in_other]
        if outcome is FAILED:
            update(database, in_one, EnrollmentAction.RESUME)
        assert hand_out(database, one, NOW + DAY) == []
        assert (HoldReason.CONTACT_BUSY, None) in holds_of(database, in_one, NOW + DAY)
        for campaign_id in (one, other):
            database.run("end", partial(campaigns.complete, campaign_id=campaign_id, now=NOW))


def test_a_later_step_that_is_skipped_frees_nobody(database: Database) -> None:
    one, in_one, other, _ = two(database, steps=3)
    assert send(database, one) == [in_one]
    assert send(database, one, NOW + DAY, SKIPPED) == [in_one]
    assert hand_out(database, other, NOW + DAY) == []


def test_days_between_campaigns_count_from_the_last_touch(database: Database) -> None:
    between(database, days_between_campaigns=7)
    one, in_one, other, in_other = two(database)
    send(database, one)
    send(database, one, NOW + DAY)
    over = NOW + 8 * DAY
    assert holds_of(database, in_other, NOW + 2 * DAY) == [(HoldReason.CONTACT_BUSY, over)]
    assert hand_out(database, other, NOW + 2 * DAY) == []
    assert due_at(database, in_other) == NOW + 3 * DAY, "it is looked at again each day"
    assert hand_out(database, other, over - HOUR) == []
    assert due_at(database, in_other) == over
    assert hand_out(database, other, over) == [in_other]
    assert state(database, in_one)["stop_reason"] == "finished"


def test_fewer_days_between_wake_who_waits(database: Database) -> None:
    between(database, days_between_campaigns=30)
    one, _, other, in_other = two(database, steps=1)
    send(database, one)
    assert hand_out(database, other) == []
    between(database, days_between_campaigns=0)
    assert hand_out(database, other) == [in_other]


def test_a_sent_that_is_told_by_hand_is_recorded_and_counts_as_a_touch(database: Database) -> None:
    between(database, days_between_campaigns=7)
    one, in_one, other, in_other = two(database)
    third, (in_third,) = campaign(database, ADA)
    send(database, one)
    assert verdicts(database, event(EventType.SENT, in_other, hours=2, step_number=1)) == ["recorded"]
    assert holders(database) == [in_one]
    assert send(database, one, NOW + DAY) == [in_one], "who has the conversation goes on"
    update(database, in_other, EnrollmentAction.COMPLETE)
    record(database, event(EventType.SENT, in_other, hours=48, step_number=2))
    assert hand_out(database, third, NOW + 8 * DAY) == []
    assert hand_out(database, third, NOW + 9 * DAY) == [in_third]
    assert other


def test_without_days_between_campaigns_no_touch_holds_another_one(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    record(database, event(EventType.SENT, in_one, hours=3, step_number=1))  # by a clock that goes before ours
    assert hand_out(database, other) == [in_other]
    assert one


def test_touches_per_week_hold_every_campaign_that_much(database: Database) -> None:
    between(database, touches_per_week=2)
    one, (in_one,) = campaign(database, ADA, steps=4)
    assert send(database, one) == [in_one]
    assert send(database, one, NOW + DAY) == [in_one]
    assert hand_out(database, one, NOW + 2 * DAY) == []
    assert holds_of(database, in_one, NOW + 2 * DAY) == [(HoldReason.CONTACT_BUSY, NOW + 7 * DAY)]
    assert send(database, one, NOW + 7 * DAY) == [in_one]
    assert hand_out(database, one, NOW + 8 * DAY - HOUR) == []


def test_whatever_ends_an_enrollment_wakes_the_other(database: Database) -> None:
    def by_hand(_: UUID, in_one: UUID) -> None:
        update(database, in_one, EnrollmentAction.COMPLETE)

    def by_bounce(_: UUID, in_one: UUID) -> None:
        record(database, event(EventType.AUTO_REPLIED, in_one, hours=1, metadata={"automatic": "has_left"}))

    def with_campaign(one: UUID, _: UUID) -> None:
        database.run("end", partial(campaigns.complete, campaign_id=one, now=NOW))

    for end in (by_hand, by_bounce, with_campaign):
        one, in_one, other, in_other = two(database)
        send(database, one)
        assert hand_out(database, other) == []
        end(one, in_one)
        assert due_at(database, in_other) == NOW, end
        assert hand_out(database, other) == [in_other]
        database.run("end", partial(campaigns.complete, campaign_id=other, now=NOW))


def test_the_lowest_days_wait_for_nobody_who_was_never_written_to(database: Database) -> None:
    between(database, days_between_campaigns=365)
    one, in_one, other, in_other = two(database)
    update(database, in_one, EnrollmentAction.COMPLETE)
    assert hand_out(database, other) == [in_other]
    assert one


def test_a_person_who_is_moved_goes_on_in_the_other_campaign_at_once(database: Database) -> None:
    between(database, days_between_campaigns=30)
    one, (in_one,) = campaign(database, ADA)
    other, _ = campaign(database)
    third, _ = campaign(database, ADA)
    send(database, one)
    moved = database.run("move", partial(moving.move, enrollment_id=in_one, campaign_id=other, now=NOW))
    assert hand_out(database, third) == []
    assert hand_out(database, other) == [moved.enrollment_id]


def test_a_claim_passes_over_many_who_are_busy_and_does_not_read_them_again(database: Database) -> None:
    people = [f"p{number}@example.com" for number in range(300)]
    one, _ = campaign(database, *people)
    other, in_other = campaign(database, *people, "last@example.com")
    for _ in range(3):
        assert len(hand_out(database, one)) == 100
    assert [due.enrollment.id for due in claim_at(database, other, NOW, limit=10).actions] == [in_other[-1]]
    with database.transaction("look") as session:
        waiting = text("SELECT count(*) FROM campaign_enrollments WHERE next_action_at <= :now")
        assert session.scalar(waiting, {"now": NOW}) == 0


def test_an_answer_holds_the_other_campaigns_of_the_person_until_somebody_lets_them_go_on(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    draft = database.run("draft", partial(make_campaign, email_steps=[EmailStep(1, "A", "A" * 10)], start_at=None))
    (in_draft,) = enroll(database, draft, [ADA])
    send(database, one)
    record(database, event(EventType.REPLIED, in_one, hours=1))
    assert state(database, in_one)["stop_reason"] == "replied"
    assert [hold for hold, _ in holds_of(database, in_other)] == [HoldReason.REPLIED_ELSEWHERE]
    assert str(one) in told(database, in_other).holds[0].detail
    assert state(database, in_draft)["status"] == "paused"
    assert hand_out(database, other, NOW + DAY) == []
    update(database, in_other, EnrollmentAction.RESUME, NOW + DAY)
    assert hand_out(database, other, NOW + DAY) == [in_other]
    assert_counters_are_exact(database)


def test_a_linkedin_answer_holds_them_too_and_an_automatic_one_does_not(database: Database) -> None:
    (in_one,) = new_scene(database, 1).enrollments
    _, (in_other,) = campaign(database, "p0@example.com")
    record(database, event(EventType.SENT, in_one, step_number=1), event(EventType.AUTO_REPLIED, in_one, hours=1))
    assert state(database, in_other)["status"] == "active"
    record(database, event(EventType.MESSAGE_REPLIED, in_one, hours=2, step_number=2))
    assert state(database, in_other)["status"] == "paused"


def test_an_answer_holds_nobody_else_and_no_enrollment_that_waits_for_a_person_already(database: Database) -> None:
    one, (in_one, _) = campaign(database, ADA, BEN)
    _, (in_other, of_ben) = campaign(database, ADA, BEN)
    update(database, in_other, EnrollmentAction.PAUSE)
    record(database, event(EventType.REPLIED, in_one))
    assert [hold for hold, _ in holds_of(database, in_other)] == [HoldReason.ENROLLMENT_PAUSED]
    assert state(database, of_ben)["status"] == "active"
    assert one


def test_an_answer_that_is_taken_back_takes_its_holds_back(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    draft = database.run("draft", partial(make_campaign, email_steps=[EmailStep(1, "A", "A" * 10)], start_at=None))
    (in_draft,) = enroll(database, draft, [ADA])
    send(database, one)
    before = [state(database, id_) for id_ in (in_one, in_other, in_draft)]
    for key in ("1", "2"):
        record(database, event(EventType.REPLIED, in_one, hours=1, provider="p", provider_event_id=key))
    withdraw = partial(withdrawal.withdraw, provider="p", now=NOW + DAY)
    database.run("withdraw", partial(withdraw, provider_event_ids=["1"]))
    assert state(database, in_other)["status"] == "paused", "the other answer stands"
    database.run("withdraw", partial(withdraw, provider_event_ids=["2"]))
    assert [state(database, id_) for id_ in (in_one, in_other, in_draft)] == before
    assert hand_out(database, other) == []
    assert_counters_are_exact(database)


def test_a_claim_does_not_wait_for_who_has_locked_the_person(database: Database) -> None:
    one, (in_one,) = campaign(database, ADA)
    with database.transaction("stop") as session, ThreadPoolExecutor(1) as beside:
        session.execute(text("SELECT id FROM contacts FOR UPDATE"))  # as an unsubscribe does, and then the enrollments
        assert beside.submit(hand_out, database, one).result(PATIENCE) == [in_one]


def test_one_claim_of_all_campaigns_writes_to_a_person_once(database: Database) -> None:
    between(database, days_between_campaigns=7)
    ids = [campaign(database, ADA, BEN, steps=1)[1] for _ in range(3)]
    handed = claim_at(database, None, NOW)
    assert {due.enrollment.id for due in handed.actions} == set(ids[0])
    assert [(aside.reason, aside.count) for aside in handed.set_aside] == [(HoldReason.CONTACT_BUSY, 4)]
    assert holders(database) == [due.enrollment.id for due in sorted(handed.actions, key=lambda due: due.contact.id)]


def test_two_claims_of_one_moment_never_wait_and_the_second_leaves_the_person(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    with database.transaction("claim") as session, ThreadPoolExecutor(1) as beside:
        first = claims.claim(session, campaign_id=one, channel=None, limit=9, lease_seconds=300, now=NOW)
        assert [due.enrollment.id for due in first.actions] == [in_one]
        assert beside.submit(hand_out, database, other).result(PATIENCE) == [], "it did not wait"
        assert due_at(database, in_other) == NOW, "nobody knows yet what becomes of the first"
    assert hand_out(database, other) == []
    assert due_at(database, in_other) == NOW + BUSY_AGAIN


def test_the_server_sends_to_nobody_whom_an_agent_writes_to_and_the_other_way_round(database: Database) -> None:
    mailbox_id = connect(database, ANN)
    by_server = running(database, ANN, people=2)
    with database.transaction("look") as session:
        people = text("SELECT c.email FROM campaign_enrollments e JOIN contacts c ON c.id = e.contact_id ORDER BY e.id")
        first, second = session.scalars(people)
    by_agent, _ = campaign(database, first)
    assert len(hand_out(database, by_agent)) == 1
    assert [due.contact.email for due in claim_for(database, mailbox_id).actions] == [second]
    also, _ = campaign(database, second)
    assert hand_out(database, also) == []
    assert by_server


def test_what_a_person_does_meanwhile_ends_the_note_that_somebody_waits(database: Database) -> None:
    one, in_one, other, in_other = two(database)
    send(database, one)
    hand_out(database, other)
    update(database, in_other, EnrollmentAction.PAUSE)
    update(database, in_one, EnrollmentAction.COMPLETE)
    busy: Any = run_sql(database, "SELECT busy_since FROM campaign_enrollments WHERE id = :id", id=in_other)
    assert busy.scalar_one() is None
    assert hand_out(database, other, NOW + 2 * HOUR) == []


def limited(database: Database, *emails: str, **settings: Any) -> tuple[UUID, list[UUID]]:
    """A campaign of one step with these people, due half an hour after one another."""
    make = partial(make_campaign, email_steps=[EmailStep(1, "Hello", "Nice to meet you.")], settings=settings)
    made = database.run("campaign", make)
    found: list[UUID] = []
    for number, email in enumerate(emails):
        (id_,) = enroll(database, made, [email])
        found.append(id_)
        at = {"id": id_, "at": NOW + number * HOUR / 2}
        run_sql(database, "UPDATE campaign_enrollments SET next_action_at = :at, delay_from = :at WHERE id = :id", **at)
    return made, found


def test_who_waits_for_another_campaign_keeps_the_place_however_often_a_claim_looks(database: Database) -> None:
    one, (in_one,) = campaign(database, ADA)
    assert send(database, one) == [in_one]
    other, (of_ada, of_ben) = limited(database, ADA, BEN, daily_limit=1, timezone="UTC")
    assert hand_out(database, other) == []
    run_sql(database, "UPDATE campaign_enrollments SET next_action_at = :at WHERE id = :id", id=of_ada, at=NOW + HOUR)
    run_sql(database, "UPDATE campaign_enrollments SET next_action_at = :at WHERE id = :id", id=of_ben, at=NOW + DAY)
    assert hand_out(database, other, NOW + HOUR) == [], "it is looked at for the second time"
    run_sql(
        database, "UPDATE campaign_enrollments SET next_action_at = :at WHERE id = :id", id=of_ben, at=NOW + HOUR / 2
    )
    assert send(database, one, NOW + DAY) == [in_one]
    assert due_at(database, of_ada) == NOW
    assert hand_out(database, other, NOW + DAY) == [of_ada]


def test_whoever_is_busy_and_stands_behind_a_limit_is_not_looked_at(database: Database) -> None:
    one, (in_one,) = campaign(database, BEN)
    assert send(database, one) == [in_one]
    carl = {"senders": {"email": {"account": "carl", "daily_limit": 1}}}
    first, (of_ada,) = limited(database, ADA, **carl)
    second, (of_ben,) = limited(database, BEN, **carl)
    handed = claim_at(database, None, NOW)
    assert [due.enrollment.id for due in handed.actions] == [of_ada]
    assert handed.set_aside == []
    assert due_at(database, of_ben) == NOW
    assert first
    assert second


def test_whose_enrollment_ends_in_a_claim_gets_nothing_else_in_it_but_in_the_next_one(database: Database) -> None:
    condition = conditions.of_json({"fact": "attribute", "name": "city", "else": "skip"})
    steps = [EmailStep(1, "Hello", "Nice to meet you.", condition=condition)]
    skipping = database.run("campaign", partial(make_campaign, email_steps=steps))
    (skipped,) = enroll(database, skipping, [ADA])
    other, (in_other, of_ben) = campaign(database, ADA, BEN)
    claim = claim_at(database, None, NOW)
    assert [due.enrollment.id for due in claim.actions] == [of_ben]
    assert state(database, skipped)["status"] == "completed"
    assert due_at(database, in_other) == NOW, "it is woken"
    assert hand_out(database, other) == [in_other]


def test_a_claim_that_only_ends_what_others_wait_for_says_that_more_is_due(database: Database) -> None:
    condition = conditions.of_json({"fact": "attribute", "name": "city", "else": "skip"})
    steps = [EmailStep(1, "A", "Nice to meet you."), EmailStep(2, "B", "Nice to meet you.", 24, condition=condition)]
    one = database.run("campaign", partial(make_campaign, email_steps=steps))
    (in_one,) = enroll(database, one, [ADA])
    assert send(database, one) == [in_one]
    other, (in_other,) = campaign(database, ADA)
    assert hand_out(database, other, NOW + DAY) == []
    claim = claim_at(database, one, NOW + DAY)
    assert (claim.actions, claim.is_more) == ([], True)
    assert due_at(database, in_other) == NOW + DAY - DAY

"""What was written to rows by hand in SQL refuses no stop, and sends no step twice: counters that don't fit are
recounted from the rows."""

import logging
from functools import partial
from uuid import UUID, uuid4

import pytest

from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction, SuppressionReason
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import templates
from db.services.enrollments import enrollments
from db.services.people import suppressions
from db.services.state import recount
from tests.support.campaigns import (
    NOW,
    Scene,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    new_scene,
    record,
    state,
    totals,
    verdicts,
)
from tests.support.steps import claim, report, run_sql


def activated_by_hand(database: Database, people: int = 1) -> Scene:
    """Somebody was paused, and made active again where no counter hears of it."""
    scene = new_scene(database, people)
    with database.transaction("pause") as session:
        for id_ in scene.enrollments:
            enrollments.update(session, enrollment_id=id_, action=EnrollmentAction.PAUSE, now=NOW)
    run_sql(database, "UPDATE campaign_enrollments SET status = 'active'")
    return scene


@pytest.mark.parametrize("kind", [EventType.UNSUBSCRIBED, EventType.BOUNCED, EventType.REPLIED])
def test_a_stop_is_recorded_whatever_the_totals_say(
    database: Database, caplog: pytest.LogCaptureFixture, kind: EventType
) -> None:
    scene = activated_by_hand(database, 2)
    with caplog.at_level(logging.ERROR):
        assert verdicts(database, event(kind, scene.enrollments[0], step_number=1)) == ["recorded"]
    assert any(getattr(entry, "fault", None) for entry in caplog.records)
    assert state(database, scene.enrollments[0])["status"] not in ("active", "paused")
    assert_counters_are_exact(database)


def test_a_suppression_stops_whatever_the_totals_say(database: Database) -> None:
    scene = activated_by_hand(database)
    with database.transaction("suppress") as session:
        suppressions.suppress(session, email="p0@example.com", reason=SuppressionReason.MANUAL, source=None)
    assert claim(database, scene.campaign_id) == []
    assert_counters_are_exact(database)


def test_an_enrollment_inserted_by_hand_gets_each_step_once(database: Database) -> None:
    campaign_id = database.run("make", partial(make_campaign, email_steps=[EmailStep(1, "S", "A body of it")]))
    run_sql(database, "INSERT INTO contacts (id, email) VALUES (:id, 'hand@example.com')", id=(person := uuid4()))
    run_sql(
        database,
        "INSERT INTO campaign_enrollments (instance_id, id, contact_id, status, next_action_at)"
        " VALUES (:campaign, :id, :person, 'active', :now)",
        campaign=campaign_id, id=uuid4(), person=person, now=NOW,
    )  # fmt: skip
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    assert claim(database, campaign_id, hours=24) == []
    assert state(database, due.enrollment.id)["status"] == "completed"
    assert_counters_are_exact(database)


@pytest.mark.parametrize("counter", ["sent = 0, delivered = 0", "sent = 2147483647", "failed = 0"])
def test_events_count_whatever_the_counters_say(database: Database, counter: str) -> None:
    scene = new_scene(database, 3)
    one, two, three = scene.enrollments
    record(database, event(EventType.DELIVERED, one, step_number=3), event(EventType.FAILED, three, step_number=3))
    run_sql(database, f"UPDATE campaign_metrics SET {counter}")
    record(database, event(EventType.SENT, two, step_number=3))
    # The send turns out to have been a day earlier, so that what was counted is taken away again.
    record(database, event(EventType.SENT, one, step_number=3, hours=-24))
    record(database, event(EventType.SENT, three, step_number=3, hours=-48))
    assert totals(database, scene.campaign_id)["sent"] == 3
    assert_counters_are_exact(database)


def test_a_step_that_failed_in_one_variant_counts_in_the_one_it_is_sent_in(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    campaign_id = database.run("make", partial(make_campaign, email_steps=[EmailStep(1, "S", "A body of it")]))
    (one,) = enroll(database, campaign_id, ["one@example.com"])
    (first,) = claim(database, campaign_id)
    report(database, first, ActionOutcome.FAILED, hours=-24)
    template_id = run_sql(database, "SELECT template_id FROM campaign_instances").scalar_one()
    with database.transaction("split") as session:
        plain = EmailStep(1, "S", "A body of it", is_active=False)
        variants = [EmailStep(1, "S", "A body of it", a_b_variant=name) for name in "AB"]
        templates.update(session, template_id=template_id, fields={}, email_steps=[plain, *variants], linkedin_steps=[])
        enrollments.update(session, enrollment_id=one, action=EnrollmentAction.RESUME, now=NOW)
    (again,) = claim(database, campaign_id, hours=1)
    assert again.step.a_b_variant in ("A", "B")
    assert_counters_are_exact(database)
    report(database, again, ActionOutcome.SENT, hours=1)
    assert verdicts(database, event(EventType.REPLIED, one, step_number=1, hours=2)) == ["recorded"]
    assert not any(getattr(entry, "fault", None) for entry in caplog.records)
    assert_counters_are_exact(database)


def test_a_campaign_is_mended_once_and_others_are_let_be(database: Database) -> None:
    wrong, right = activated_by_hand(database), new_scene(database, 2, domain="other.example.com")
    record(database, event(EventType.OPENED, wrong.enrollments[0], step_number=1))
    run_sql(database, "UPDATE campaign_metrics SET sent = 5 WHERE instance_id = :id", id=wrong.campaign_id)
    for expected in (True, False):
        with database.transaction("mend") as session:
            chosen = recount.turn(session, limit=5, rows=100)
            mended = {id_: recount.mend(session, campaign_id=id_) for id_ in chosen}
        assert mended == {wrong.campaign_id: expected, right.campaign_id: False}
    assert_counters_are_exact(database)


def turns(database: Database, *, times: int, limit: int = 20, rows: int = 100) -> list[list[UUID]]:
    look = partial(recount.turn, limit=limit, rows=rows)
    return [database.run("turn", look) for _ in range(times)]


def test_each_campaign_has_its_turn(database: Database) -> None:
    one, two, three, four, five = sorted(new_scene(database, 0).campaign_id for _ in range(5))
    assert turns(database, times=4, limit=2) == [[one, two], [three, four], [five, one], [two, three]]
    run_sql(database, "DELETE FROM campaign_instances WHERE id IN (:one, :three)", one=one, three=three)
    assert turns(database, times=2, limit=2) == [[four, five], [two, four]]


def test_a_turn_ends_after_a_large_campaign(database: Database) -> None:
    small, large, last = sorted((new_scene(database, 2) for _ in range(3)), key=lambda scene: scene.campaign_id)
    record(database, *(event(EventType.SENT, id_, step_number=1) for id_ in large.enrollments))
    ids = [scene.campaign_id for scene in (small, large, last)]
    assert turns(database, times=2, rows=6) == [ids[:2], [ids[2], *ids[:2]]]
    assert turns(database, times=3, rows=1) == [ids[2:], ids[:1], ids[1:2]]
    run_sql(database, "UPDATE campaign_metrics SET sent = 2147483647, failed = 2147483647")
    assert turns(database, times=2) == [[ids[2], *ids[:2]], [ids[2], *ids[:2]]]


def test_nobody_has_a_turn_without_campaigns(database: Database) -> None:
    assert turns(database, times=2) == [[], []]


def test_those_who_unsubscribed_with_no_step_are_recounted_too(database: Database) -> None:
    scene = new_scene(database, 2)
    record(database, event(EventType.UNSUBSCRIBED, scene.enrollments[0]))
    assert not database.run("mend", partial(recount.mend, campaign_id=scene.campaign_id))
    run_sql(database, "UPDATE campaign_metrics SET unsubscribed = 5 WHERE step_number = 0")
    assert database.run("mend", partial(recount.mend, campaign_id=scene.campaign_id))
    assert totals(database, scene.campaign_id)["unsubscribed"] == 1
    # That it was with a step after all takes it away from there.
    run_sql(database, "DELETE FROM campaign_metrics WHERE step_number = 0")
    record(database, event(EventType.SENT, scene.enrollments[0], hours=-1, step_number=1))
    assert totals(database, scene.campaign_id)["unsubscribed"] == 1
    assert_counters_are_exact(database)

"""Events: each counts once, in any order, and does to its enrollment what it says."""

import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.domain.contacts import SuppressionTarget
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.states import Channel, SuppressionReason
from db.postgres.database import Database
from db.services.events import events
from db.services.people import suppressions
from tests.support.campaigns import (
    NOW,
    assert_counters_are_exact,
    enroll,
    event,
    new_scene,
    record,
    state,
    statements_of,
    totals,
    verdicts,
)

E = EventType


def test_what_happened_later_implies_what_came_before(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.CLICKED, scene.enrollments[0], step_number=1))
    counted = totals(database, scene.campaign_id)
    assert [counted[name] for name in ("sent", "delivered", "opened", "clicked")] == [1, 1, 1, 1]
    assert (counted["total_opens"], counted["total_clicks"]) == (0, 1)


def test_repeated_opens_count_once_and_in_total(database: Database) -> None:
    scene = new_scene(database, 1)
    opens = [event(E.OPENED, scene.enrollments[0], step_number=1, hours=hour) for hour in range(3)]
    record(database, *opens)
    assert (totals(database, scene.campaign_id)["opened"], totals(database, scene.campaign_id)["total_opens"]) == (1, 3)


def test_an_id_counts_once_within_a_batch_and_across_batches(database: Database) -> None:
    scene = new_scene(database, 1)
    given = event(E.OPENED, scene.enrollments[0], step_number=1, provider="p", provider_event_id="1")
    assert verdicts(database, given, given) == ["recorded", "duplicate"]
    assert verdicts(database, given) == ["duplicate"]
    nameless = event(E.OPENED, scene.enrollments[0], step_number=1, provider_event_id="1")
    assert verdicts(database, nameless) == ["recorded"]
    assert verdicts(database, nameless) == ["duplicate"]
    assert_counters_are_exact(database)


def test_sent_advances_and_the_last_step_finishes(database: Database) -> None:
    scene = new_scene(database, 1)
    (enrollment,) = scene.enrollments
    record(database, event(E.SENT, enrollment))
    assert state(database, enrollment)["next_action_at"] == NOW + timedelta(hours=24)
    record(database, event(E.CONNECTION_SENT, enrollment, hours=30))
    after = state(database, enrollment)
    assert (after["current_step"], after["next_action_at"]) == (2, NOW + timedelta(hours=78))
    record(database, event(E.SENT, enrollment, hours=80))
    assert state(database, enrollment) == {
        "status": "completed", "current_step": 3, "next_action_at": None, "stop_reason": "finished",
    }  # fmt: skip


def test_a_late_sent_moves_the_action_to_its_day(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.OPENED, scene.enrollments[0], step_number=1, hours=48))
    record(database, event(E.SENT, scene.enrollments[0], step_number=1))
    with database.transaction("look") as session:
        days = session.execute(text("SELECT cohort_day, opened FROM campaign_metrics ORDER BY cohort_day")).all()
    assert [(day.isoformat(), opened) for day, opened in days] == [("2026-11-02", 1), ("2026-11-04", 0)]
    assert_counters_are_exact(database)


def test_a_message_id_finds_its_step(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.SENT, scene.enrollments[0], step_number=1, provider="p", provider_message_id="m1"))
    assert verdicts(database, event(E.OPENED, None, provider="p", provider_message_id="m1")) == ["recorded"]
    assert verdicts(database, event(E.OPENED, None, provider="q", provider_message_id="m1")) == ["orphaned"]
    assert totals(database, scene.campaign_id)["opened"] == 1


def test_wrong_steps_fail_alone(database: Database) -> None:
    scene = new_scene(database, 1)
    given = [
        event(E.SENT, scene.enrollments[0], step_number=9),
        event(E.SENT, scene.enrollments[0], step_number=2),
        event(E.SENT, scene.enrollments[0], step_number=1),
    ]
    outcomes = record(database, *given)
    assert [str(outcome.verdict) for outcome in outcomes] == ["invalid", "invalid", "recorded"]
    assert "1, 2, 3" in str(outcomes[0].reason)
    assert "belongs to linkedin" in str(outcomes[1].reason)


def test_an_orphan_is_kept_once_and_counted_when_its_person_is_enrolled(database: Database) -> None:
    scene = new_scene(database, 0)
    early = event(
        E.OPENED, None, campaign_id=scene.campaign_id, email="late@example.com", provider="p", provider_event_id="1"
    )
    assert verdicts(database, early) == ["orphaned"]
    assert verdicts(database, early) == ["duplicate"]
    assert totals(database, scene.campaign_id)["opened"] == 0
    enroll(database, scene.campaign_id, ["late@example.com"])
    assert totals(database, scene.campaign_id)["opened"] == 1
    assert verdicts(database, early) == ["duplicate"]
    assert_counters_are_exact(database)


def test_orphans_of_a_message_follow_when_it_becomes_known(database: Database) -> None:
    scene = new_scene(database, 1)
    assert verdicts(database, event(E.CLICKED, None, provider_message_id="m7")) == ["orphaned"]
    record(database, event(E.SENT, scene.enrollments[0], step_number=1, provider_message_id="m7"))
    assert totals(database, scene.campaign_id)["clicked"] == 1
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM orphaned_events")) == 0


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        (E.UNSUBSCRIBED, "unsubscribed", SuppressionReason.UNSUBSCRIBED),
        (E.COMPLAINED, "unsubscribed", SuppressionReason.COMPLAINED),
        (E.BOUNCED, "bounced", SuppressionReason.BOUNCED),
    ],
)
def test_a_stop_suppresses_the_person_in_every_campaign(
    database: Database, kind: EventType, status: str, reason: SuppressionReason
) -> None:
    one, two = new_scene(database, 1), new_scene(database, 1)
    record(database, event(kind, one.enrollments[0], step_number=1, metadata={"bounce_type": "hard"}))
    assert state(database, one.enrollments[0])["status"] == status
    assert state(database, two.enrollments[0])["stop_reason"] == "suppressed"
    with database.transaction("look") as session:
        row = session.execute(text("SELECT email, reason FROM suppressions")).one()
    assert tuple(row) == ("p0@example.com", reason)
    assert_counters_are_exact(database)


def test_a_soft_bounce_counts_and_stops_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.BOUNCED, scene.enrollments[0], step_number=1, metadata={"bounce_type": "soft"}))
    assert totals(database, scene.campaign_id)["bounced"] == 1
    assert state(database, scene.enrollments[0])["status"] == "active"


def test_machine_opens_and_automatic_replies_drive_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.MACHINE_OPENED, scene.enrollments[0]), event(E.MACHINE_CLICKED, scene.enrollments[0]))
    assert set(totals(database, scene.campaign_id).values()) == {0}
    record(database, event(E.AUTO_REPLIED, scene.enrollments[0], step_number=1))
    assert totals(database, scene.campaign_id)["replied"] == 0
    assert state(database, scene.enrollments[0])["status"] == "active"


@pytest.mark.parametrize("order", list(permutations([E.UNSUBSCRIBED, E.BOUNCED, E.REPLIED])))
def test_an_unsubscribe_wins_in_every_order(database: Database, order: tuple[EventType, ...]) -> None:
    scene = new_scene(database, 1)
    for hour, kind in enumerate(order):
        record(database, event(kind, scene.enrollments[0], step_number=1, hours=hour))
    assert state(database, scene.enrollments[0])["status"] == "unsubscribed"
    counted = totals(database, scene.campaign_id)
    assert (counted["unsubscribed"], counted["bounced"], counted["replied"]) == (1, 1, 1)
    assert_counters_are_exact(database)


def test_an_unsubscribe_without_any_send_is_counted(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(E.UNSUBSCRIBED, scene.enrollments[0]), event(E.UNSUBSCRIBED, scene.enrollments[0]))
    counted = totals(database, scene.campaign_id)
    assert (counted["unsubscribed"], counted["sent"]) == (1, 0)


@pytest.mark.parametrize("kind", [E.SENT, E.OPENED, E.UNSUBSCRIBED])
def test_the_number_of_statements_does_not_grow_with_the_batch(database: Database, kind: EventType) -> None:
    scene = new_scene(database, 400)

    def batch(people: list[UUID]) -> list[NewEvent]:
        return [event(kind, person, step_number=1, provider_message_id=f"m{person}") for person in people]

    small = len(statements_of(database, lambda: record(database, *batch(scene.enrollments[:2]))))
    large = len(statements_of(database, lambda: record(database, *batch(scene.enrollments[2:]))))
    # The first batch of a day also makes its counter rows.
    assert large <= small


@pytest.mark.parametrize("seed", range(4))
def test_counters_equal_a_recount_of_any_stream_in_any_order(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    scenes = [new_scene(database, 6), new_scene(database, 6)]
    kinds = [kind for kind in E if EFFECTS[kind].channel is Channel.EMAIL]
    stream = [
        event(
            dice.choice(kinds),
            dice.choice([*dice.choice(scenes).enrollments, uuid4()]),
            step_number=dice.choice([1, 3]),
            hours=dice.uniform(0, 200),
            provider="p",
            provider_event_id=str(dice.randrange(150)),
            metadata={"bounce_type": dice.choice(["hard", "soft"])},
        )
        for _ in range(250)
    ]
    at = 0
    while at < len(stream):
        size = dice.randrange(1, 60)
        record(database, *stream[at : at + size])
        at += size
    assert_counters_are_exact(database)
    with database.transaction("look") as session:
        opens = session.scalar(text("SELECT count(*) FROM campaign_events WHERE event_type = 'opened'"))
    assert sum(totals(database, scene.campaign_id)["total_opens"] for scene in scenes) == opens


def test_a_machine_that_opens_and_clicks_for_a_provider_counts_for_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    (who,) = scene.enrollments
    given = [
        event(EventType.DELIVERED, who, step_number=1),
        event(EventType.OPENED, who, step_number=1, metadata={"user_agent": "Mimecast"}),
        event(EventType.CLICKED, who, hours=0.001, step_number=1),
        event(EventType.CLICKED, who, hours=2, step_number=1),
    ]
    database.run("record", partial(events.record_events, events=given, from_provider=True))
    counted = totals(database, scene.campaign_id)
    assert (counted["total_opens"], counted["total_clicks"], counted["clicked"]) == (0, 1, 1)
    with database.transaction("look") as session:
        kinds = session.scalars(text("SELECT event_type FROM campaign_events ORDER BY occurred_at, id")).all()
    assert kinds == ["delivered", "machine_opened", "machine_clicked", "clicked"]


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        (E.BOUNCED, ("bounced", "bounced")),
        (E.REPLIED, ("completed", "replied")),
        (E.COMPLAINED, ("unsubscribed", "complained")),
        (E.UNSUBSCRIBED, ("unsubscribed", "unsubscribed")),
    ],
)
def test_what_stops_a_person_at_the_last_step_is_not_taken_for_its_end(
    database: Database, kind: EventType, ends: tuple[str, str]
) -> None:
    (who,) = new_scene(database, 1).enrollments
    record(database, event(kind, who, step_number=3))
    found = state(database, who)
    assert (found["status"], found["stop_reason"], found["current_step"]) == (*ends, 3)
    assert_counters_are_exact(database)


def kinds(database: Database) -> list[str]:
    with database.transaction("look") as session:
        return list(session.scalars(text("SELECT event_type FROM campaign_events ORDER BY occurred_at, id")))


def test_a_click_is_not_hasty_for_what_only_implies_a_delivery(database: Database) -> None:
    (one, other) = new_scene(database, 2).enrollments
    for given in (
        event(E.OPENED, one, step_number=1),
        event(E.CLICKED, one, hours=0.001, step_number=1),
        event(E.CLICKED, other, hours=1, step_number=1),
        event(E.CLICKED, other, hours=1.001, step_number=1),
    ):
        database.run("record", partial(events.record_events, events=[given], from_provider=True))
    assert kinds(database) == ["opened", "clicked", "clicked", "clicked"]


STOPS = [(E.UNSUBSCRIBED, "unsubscribed"), (E.COMPLAINED, "complained"), (E.BOUNCED, "bounced")]


def suppressed(database: Database) -> dict[str, str]:
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT coalesce(email, linkedin_url), reason FROM suppressions"))
        return dict(tuple(row) for row in rows)


@pytest.mark.parametrize(("kind", "reason"), STOPS)
@pytest.mark.parametrize("reference", ["campaign", "message", "nothing"])
def test_an_address_is_suppressed_by_whatever_mail_it_came_from(
    database: Database, kind: EventType, reason: str, reference: str
) -> None:
    scene, elsewhere = new_scene(database, 1), new_scene(database, 0)
    (who,) = scene.enrollments
    unknown: dict[str, dict[str, Any]] = {
        "campaign": {"campaign_id": elsewhere.campaign_id},
        "message": {"provider_message_id": "m"},
    }
    for email in ("p0@example.com", "nobody@example.com"):
        given = event(kind, None, email=email, provider="p", provider_event_id=email, **unknown.get(reference, {}))
        assert verdicts(database, given) == ["orphaned"]
    assert suppressed(database) == {"p0@example.com": reason, "nobody@example.com": reason}
    assert state(database, who)["status"] == "unsubscribed"
    assert state(database, who)["stop_reason"] == "suppressed"
    assert_counters_are_exact(database)


def test_one_that_has_waited_before_does_not_suppress_again(database: Database) -> None:
    scene = new_scene(database, 0)
    given = event(E.BOUNCED, None, campaign_id=scene.campaign_id, email="a@example.com", provider="p")
    given = replace(given, provider_event_id="1")
    assert verdicts(database, given) == ["orphaned"]
    with database.transaction("lift") as session:
        suppressions.unsuppress(session, target=SuppressionTarget(email="a@example.com"), has_new_consent=False)
    assert verdicts(database, given) == ["duplicate"]
    assert suppressed(database) == {}


def test_what_stops_nobody_for_good_suppresses_no_address(database: Database) -> None:
    scene = new_scene(database, 0)
    soft: dict[str, Any] = {"metadata": {"bounce_type": "soft"}}
    for kind, more in ((E.REPLIED, {}), (E.OPENED, {}), (E.BOUNCED, soft)):
        record(database, event(kind, None, campaign_id=scene.campaign_id, email="a@example.com", **more))
    assert suppressed(database) == {}


@pytest.mark.parametrize("kind", [E.UNSUBSCRIBED, E.COMPLAINED, E.BOUNCED])
def test_a_step_that_does_not_exist_does_not_keep_a_provider_from_stopping_somebody(
    database: Database, kind: EventType
) -> None:
    (who,) = new_scene(database, 1).enrollments
    given = event(kind, who, step_number=99)
    assert verdicts(database, given) == ["invalid"], "whoever calls a tool can correct it"
    (outcome,) = database.run("record", partial(events.record_events, events=[given], from_provider=True))
    assert outcome.verdict == "recorded"
    assert state(database, who)["status"] in ("unsubscribed", "bounced")
    assert_counters_are_exact(database)

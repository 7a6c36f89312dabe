"""What a history of events means depends on what happened, and not on how it was told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise, permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import text

from db.domain.events import EventType, NewEvent
from db.domain.states import Channel, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.dispatch import claims
from db.services.enrollments import enrollments
from db.services.events import events
from tests.support.campaigns import (
    NOW,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    record,
    state,
    totals,
    verdicts,
)

E = EventType
DAYS = 24


def emails(database: Database) -> tuple[UUID, UUID]:
    """A campaign of three emails (0, 48, 72 h) and the one person in it: their ids."""
    steps = [EmailStep(n, f"No {n}", "Text enough for all", delay_hours=h) for n, h in ((1, 0), (2, 48), (3, 72))]
    campaign_id = database.run("scene", partial(make_campaign, email_steps=steps, linkedin_steps=[], start_at=NOW))
    return campaign_id, enroll(database, campaign_id, ["p@example.com"])[0]


def steps_of(database: Database, kind: EventType) -> list[int | None]:
    with database.transaction("look") as session:
        return list(
            session.scalars(
                text("SELECT step_number FROM campaign_events WHERE event_type = :kind ORDER BY occurred_at, id"),
                {"kind": kind},
            )
        )


def test_each_send_of_a_call_is_the_step_after_the_one_before(database: Database) -> None:
    campaign_id, who = emails(database)
    assert verdicts(database, event(E.SENT, who), event(E.SENT, who, hours=2 * DAYS)) == ["recorded", "recorded"]
    assert totals(database, campaign_id)["sent"] == 2
    after = state(database, who)
    assert (after["current_step"], after["next_action_at"]) == (2, NOW + timedelta(hours=48 + 72))
    # Step 2 is not handed out again.
    later = NOW + timedelta(hours=48 + 72)
    claim = partial(claims.claim, campaign_id=campaign_id, channel=None, limit=9, lease_seconds=60, now=later)
    assert [due.step.step_number for due in database.run("claim", claim).actions] == [3]


def test_what_names_no_step_is_about_what_the_same_call_says_was_sent(database: Database) -> None:
    _, who = emails(database)
    record(
        database,
        event(E.OPENED, who, hours=50),
        event(E.SENT, who, hours=48, step_number=2),
        event(E.UNSUBSCRIBED, who, hours=51),
        event(E.SENT, who, step_number=1),
    )
    assert (steps_of(database, E.OPENED), steps_of(database, E.UNSUBSCRIBED)) == ([2], [2])
    assert_counters_are_exact(database)


def test_a_send_that_comes_late_moves_those_after_it(database: Database) -> None:
    _, who = emails(database)
    record(database, event(E.SENT, who, hours=48), event(E.OPENED, who, hours=49))
    record(database, event(E.SENT, who))
    assert (steps_of(database, E.SENT), steps_of(database, E.OPENED)) == ([1, 2], [2])
    assert state(database, who)["next_action_at"] == NOW + timedelta(hours=48 + 72)
    assert_counters_are_exact(database)


def test_the_messages_of_one_call_belong_to_their_steps(database: Database) -> None:
    _, who = emails(database)
    given_ = [event(E.SENT, who, hours=48 * n, provider_message_id=f"m{n}", provider="p") for n in (1, 0)]
    opens = [event(E.OPENED, None, hours=48 * n + 1, provider_message_id=f"m{n}", provider="p") for n in (1, 0)]
    assert verdicts(database, *opens, *given_) == ["orphaned", "orphaned", "recorded", "recorded"]
    assert steps_of(database, E.OPENED) == [1, 2]
    assert_counters_are_exact(database)


def test_an_event_that_comes_again_pushes_nothing_on(database: Database) -> None:
    _, who = emails(database)
    first = event(E.SENT, who, provider="p", provider_event_id="1")
    second = event(E.SENT, who, hours=48, provider="p", provider_event_id="2")
    assert verdicts(database, first, first, second) == ["recorded", "duplicate", "recorded"]
    assert verdicts(database, first, second) == ["duplicate", "duplicate"]
    assert steps_of(database, E.SENT) == [1, 2]


@pytest.mark.parametrize("in_one_call", [False, True])
def test_an_event_that_was_told_of_somebody_else_pushes_nothing_on(database: Database, in_one_call: bool) -> None:
    campaign_id, who = emails(database)
    other = enroll(database, campaign_id, ["other@example.com"])[0]
    record(database, event(E.OPENED, other, step_number=1, provider="p", provider_event_id="1"))
    repeated = event(E.SENT, who, provider="p", provider_event_id="1")
    sent = event(E.SENT, who, hours=1)
    calls = [[repeated, sent]] if in_one_call else [[sent], [repeated]]
    assert [verdict for call in calls for verdict in verdicts(database, *call)].count("duplicate") == 1
    assert steps_of(database, E.SENT) == [1]
    assert_counters_are_exact(database)


def test_sends_beyond_the_last_step_count_for_none(database: Database) -> None:
    campaign_id, who = emails(database)
    outcomes = record(database, *[event(E.SENT, who, hours=n, provider_message_id=f"m{n}") for n in range(4)])
    assert [str(outcome.verdict) for outcome in outcomes] == ["recorded"] * 4
    assert [bool(outcome.reason) for outcome in outcomes] == [False, False, False, True]
    assert "counts for no step" in str(outcomes[3].reason)
    # What comes of that message finds the person, and counts for no step either; a reply still ends the writing.
    assert verdicts(database, event(E.OPENED, None, hours=5, provider_message_id="m3")) == ["recorded"]
    assert verdicts(database, event(E.REPLIED, None, hours=6, provider_message_id="m3")) == ["recorded"]
    assert (steps_of(database, E.SENT), steps_of(database, E.OPENED)) == ([1, 2, 3, None], [None])
    counted = totals(database, campaign_id)
    assert (counted["sent"], counted["opened"], counted["replied"]) == (3, 0, 0)
    assert state(database, who)["stop_reason"] == "replied"
    # Once somebody says that two of the messages were one step, there is room for it.
    record(database, event(E.DELIVERED, who, hours=2, provider_message_id="m2", step_number=2))
    assert (steps_of(database, E.SENT), steps_of(database, E.OPENED)) == ([1, 2, 2, 3], [3])
    assert totals(database, campaign_id)["replied"] == 1
    assert_counters_are_exact(database)


def test_each_message_of_a_step_finds_it(database: Database) -> None:
    campaign_id, who = emails(database)
    opened = [event(E.OPENED, None, hours=n + 2, provider_message_id=f"m{n}") for n in range(3)]
    assert verdicts(database, opened[2]) == ["orphaned"]
    for hours in (1, 0, 2):
        record(database, event(E.SENT, who, hours=hours, step_number=1, provider_message_id=f"m{hours}"))
    assert verdicts(database, *opened[:2]) == ["recorded", "recorded"]
    assert steps_of(database, E.OPENED) == [1, 1, 1]
    counted = totals(database, campaign_id)
    assert (counted["sent"], counted["opened"], counted["total_opens"]) == (1, 1, 3)
    # The step holds the first of them.
    assert known_of(database, who)["actions"][0][3] == "m0"
    assert_counters_are_exact(database)


@pytest.mark.parametrize("kind", [E.CLICKED, E.MACHINE_OPENED])
def test_a_message_that_is_told_with_two_steps_is_of_the_lower_in_any_order(
    database: Database, kind: EventType
) -> None:
    told = [
        Told(E.SENT, 0, 3, 1, by_address=False, soft=False, by="enrollment"),
        Told(kind, 1, 1, 1, by_address=False, soft=False, by="enrollment"),
        Told(E.OPENED, 2, None, 1, by_address=False, soft=False, by="message"),
    ]
    campaign_id = outline(database)
    for order in permutations(range(3)):
        for ends in ((), (1, 2)):
            who = tell(database, campaign_id, told, order, ends, f"{''.join(map(str, order))}-{len(ends)}")
            # Step, message, opened at, opens.
            known = [(row[0], row[3], row[6], row[-3]) for row in known_of(database, who)["actions"]]
            assert known == [
                (1, "m1", NOW + timedelta(minutes=2 if kind is E.MACHINE_OPENED else 1), 1),
                (3, None, None, 0),
            ]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("numbers", [(1, 3), (3, 1)])
def test_of_two_steps_that_one_call_names_for_a_message_the_lower_holds_it(
    database: Database, numbers: tuple[int, int]
) -> None:
    _, who = emails(database)
    told = [event(E.SENT, who, hours=n, step_number=step, provider_message_id="m") for n, step in enumerate(numbers)]
    record(database, *told)
    assert [(row[0], row[3]) for row in known_of(database, who)["actions"]] == [(1, "m"), (3, None)]


def test_what_waits_for_a_message_that_is_of_no_step_is_placed_when_it_comes(database: Database) -> None:
    _, who = emails(database)
    record(database, event(E.SENT, who, hours=3, step_number=3), event(E.SENT, who, hours=6))
    assert verdicts(database, event(E.OPENED, None, hours=5, provider_message_id="m")) == ["orphaned"]
    # It changes nothing but what is known of messages.
    record(database, event(E.SENT, who, hours=4, provider="p", provider_event_id="1", provider_message_id="m"))
    assert (steps_of(database, E.SENT), steps_of(database, E.OPENED)) == ([3, None, None], [None])


def test_a_long_history_ends_alike_in_one_call_and_in_several(database: Database) -> None:
    campaign_id, who = emails(database)
    other = enroll(database, campaign_id, ["long@example.com"])[0]

    def history(enrollment_id: UUID) -> list[NewEvent]:
        opens = [event(E.OPENED, enrollment_id, hours=1 + n / 3600) for n in range(1_500)]
        return [event(E.SENT, enrollment_id, hours=0.5), *opens, event(E.SENT, enrollment_id)]

    record(database, *history(who))
    *told, late = history(other)
    record(database, *told)
    record(database, late)
    assert known_of(database, other) == known_of(database, who)
    assert [row[:2] + row[-3:-1] for row in known_of(database, who)["actions"]] == [
        (1, "email", 0, 0), (2, "email", 1_500, 0)
    ]  # fmt: skip


# Histories of one person: what was sent, and what came of it.


@dataclass(frozen=True)
class Told:
    """An event, and the ways in which it is told: with the number of its step or without, by a message or by the
    person's address."""

    kind: EventType
    minutes: int
    step_number: int | None
    message: int | None
    by_address: bool
    soft: bool
    by: str | None = None
    """What it names: the person's address or enrollment (and the message, if it has one), or the message alone."""


BY = ("address", "enrollment", "message")
LINKEDIN = {kind for kind in E if kind.startswith(("connection", "message", "voice", "profile"))}
SENDING = [E.SENT, E.CONNECTION_SENT, E.SENT, E.MESSAGE_SENT]
AFTER = [
    E.DELIVERED, E.OPENED, E.CLICKED, E.REPLIED, E.BOUNCED, E.COMPLAINED, E.UNSUBSCRIBED, E.FAILED, E.DEFERRED,
    E.MESSAGE_REPLIED, E.AUTO_REPLIED,
]  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """Up to four steps sent in order, some of them told with their number; each email has a message of its own, if any,
    by which some of what came of it is told."""
    told: list[Told] = []
    count = draw(st.integers(0, 4))
    at = sorted(draw(st.lists(st.integers(0, 30), min_size=count, max_size=count, unique=True)))
    # Providers tell whole seconds, so that several things happen at one moment.
    minutes = st.integers(0, 40) | st.sampled_from([*at, 31])
    numbered = draw(st.booleans())
    for number, (kind, moment) in enumerate(zip(SENDING, at, strict=False), 1):
        message = number if kind is E.SENT and draw(st.booleans()) else None
        step = number if numbered or draw(st.booleans()) else None
        told.append(Told(kind, moment, step, message, draw(st.booleans()), soft=False))
    messages = [entry.message for entry in told if entry.message]
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(AFTER))
        of_email = kind not in LINKEDIN
        message = draw(st.sampled_from(messages)) if messages and of_email and draw(st.booleans()) else None
        step = None
        if message is None and draw(st.booleans()):
            step = draw(st.sampled_from([1, 3] if of_email else [2, 4]))
        told.append(Told(kind, draw(minutes), step, message, draw(st.booleans()), soft=draw(st.booleans())))
    return told


def as_event(each: Told, index: int, name: str, who: UUID, campaign_id: UUID) -> NewEvent:
    only_message = each.by == "message" if each.by else each.message is not None and each.kind is not E.SENT
    address = {"campaign_id": campaign_id, "email": f"{name}@example.com"}
    reference: dict[str, Any] = {} if only_message else address if each.by_address else {"enrollment_id": who}
    return NewEvent(
        each.kind,
        Channel.LINKEDIN if each.kind in LINKEDIN else Channel.EMAIL,
        NOW + timedelta(minutes=each.minutes),
        step_number=each.step_number,
        provider_message_id=f"{name}-m{each.message}" if each.message else None,
        provider="p",
        provider_event_id=f"{name}-{index}" if index % 2 else None,
        metadata={"bounce_type": "soft"} if each.soft and each.kind is E.BOUNCED else {},
        **reference,
    )


def outline(database: Database) -> UUID:
    """A campaign of four steps: email, LinkedIn, email, LinkedIn."""
    steps = [EmailStep(1, "One", "Text enough for all"), EmailStep(3, "Three", "Text enough for all", delay_hours=72)]
    moves = [
        LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=48),
        LinkedInStep(4, LinkedInStepType.MESSAGE, "Hello again", delay_hours=24),
    ]
    return database.run("scene", partial(make_campaign, email_steps=steps, linkedin_steps=moves))


def tell(
    database: Database, campaign_id: UUID, history: Sequence[Told], order: Sequence[int], cuts: Sequence[int], name: str
) -> UUID:
    """Tell the events of a new person in this order, in calls that end where `cuts` say: the enrollment."""
    is_late = name == "late"  # what names the address waits until the person is enrolled
    who = UUID(int=0) if is_late else enroll(database, campaign_id, [f"{name}@example.com"])[0]
    told = [replace(entry, by_address=True) for entry in history] if is_late else history
    given_ = [as_event(each, index, name, who, campaign_id) for index, each in enumerate(told)]
    for start, end in pairwise([0, *sorted(cuts), len(given_)]):
        batch = [replace(given_[index]) for index in order[start:end]]
        if batch:
            record(database, *batch)
    return enroll(database, campaign_id, [f"{name}@example.com"])[0] if is_late else who


def known_of(database: Database, who: UUID) -> dict[str, Any]:
    with database.transaction("look") as session:
        actions = session.execute(
            text("""
                SELECT step_number, channel, status, right(provider_message_id, 2), sent_at, delivered_at, opened_at,
                       clicked_at, replied_at, bounced_at, hard_bounced_at, unsubscribed_at, complained_at, accepted_at,
                       failed_at, open_count, click_count, sent_source
                FROM campaign_actions WHERE enrollment_id = :id ORDER BY step_number
            """),
            {"id": who},
        ).all()
        enrollment = session.execute(
            text("""
                SELECT status, current_step, next_action_at, stop_reason, unsubscribed_at
                FROM campaign_enrollments WHERE id = :id
            """),
            {"id": who},
        ).one()
    return {"actions": [tuple(row) for row in actions], "enrollment": tuple(enrollment)}


@st.composite
def tangled_histories(draw: st.DrawFn) -> list[Told]:
    """What people tell who repeat and contradict themselves: several sends and messages of one step, messages that are
    said to be of two steps, more sends than steps, some with the number of the step and some without, each message by
    itself or with the person."""
    steps_of_message = draw(
        st.fixed_dictionaries({message: st.sets(st.sampled_from([1, 3])) for message in range(1, 6)})
    )
    told: list[Told] = []
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.one_of(st.sampled_from([E.SENT, E.SENT, E.SENT, E.CONNECTION_SENT]), st.sampled_from(AFTER)))
        if kind in LINKEDIN:
            step, message = draw(st.sampled_from([None, 2 if kind is E.CONNECTION_SENT else 4])), None
        else:
            message = draw(st.sampled_from([None, *steps_of_message]))
            steps = {1, 3} if message is None else steps_of_message[message]
            step = draw(st.sampled_from([None, *sorted(steps)]))
        by = draw(st.sampled_from(BY if message else BY[:2]))
        told.append(Told(kind, draw(st.integers(0, 30)), step, message, by == "address", draw(st.booleans()), by))
    return told


def each_way_ends_alike(
    database: Database, history: list[Told], chance: Any, data: st.DataObject, assert_alike: Callable[[Any, Any], None]
) -> None:
    with database.transaction("empty") as session:
        for table in ("orphaned_events", "campaign_instances", "suppressions", "contacts"):
            session.execute(text(f"DELETE FROM {table}"))
    campaign_id = outline(database)
    as_it_happened = sorted(range(len(history)), key=lambda index: history[index].minutes)
    order = list(range(len(history)))
    chance.shuffle(order)
    cuts = data.draw(st.lists(st.integers(0, len(history)), max_size=3))
    each_alone = range(1, len(history))
    expected = known_of(database, tell(database, campaign_id, history, as_it_happened, each_alone, "first"))
    for name, ends in (("split", cuts), ("alone", each_alone), ("whole", ())):
        assert_alike(known_of(database, tell(database, campaign_id, history, order, ends, name)), expected)
    if not any(entry.kind in (E.BOUNCED, E.COMPLAINED, E.UNSUBSCRIBED) for entry in history):
        # Who must not be written to is never enrolled.
        assert_alike(known_of(database, tell(database, campaign_id, history, order, cuts, "late")), expected)
    assert_counters_are_exact(database)


def assert_same(known: dict[str, Any], expected: dict[str, Any]) -> None:
    assert known == expected


def assert_same_but_for_steps_passed(known: dict[str, Any], expected: dict[str, Any]) -> None:
    """Both ended alike. A step that was passed stays passed, also if it turns out that another one was sent, so that
    nothing is sent twice: who heard of it in between may be further on."""
    (_, step, *_, left_at), (_, expected_step, *_, expected_left_at) = known["enrollment"], expected["enrollment"]
    assert (known["actions"], left_at) == (expected["actions"], expected_left_at)
    last_sent = max((row[0] for row in known["actions"] if row[4] is not None), default=0)
    assert min(step, expected_step) >= last_sent
    if step == expected_step:
        assert known == expected


any_history = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(any_history, max_examples=20)
@given(histories(), st.randoms(use_true_random=False), st.data())
def test_any_order_and_any_split_of_a_history_ends_alike(
    database: Database, history: list[Told], chance: Any, data: st.DataObject
) -> None:
    each_way_ends_alike(database, history, chance, data, assert_same)


@settings(any_history, max_examples=20)
@given(tangled_histories(), st.randoms(use_true_random=False), st.data())
def test_any_order_and_any_split_of_a_tangled_history_ends_alike(
    database: Database, history: list[Told], chance: Any, data: st.DataObject
) -> None:
    each_way_ends_alike(database, history, chance, data, assert_same_but_for_steps_passed)


def linkedin(database: Database) -> tuple[UUID, UUID]:
    """A campaign of a visit, a connection request and a message, and the one person in it: their ids."""
    kinds = (LinkedInStepType.PROFILE_VISIT, LinkedInStepType.CONNECTION_REQUEST, LinkedInStepType.MESSAGE)
    moves = [
        LinkedInStep(n, kind, None if kind is LinkedInStepType.PROFILE_VISIT else "Hello", delay_hours=24)
        for n, kind in enumerate(kinds, 1)
    ]
    campaign_id = database.run("scene", partial(make_campaign, email_steps=[], linkedin_steps=moves))
    return campaign_id, enroll(database, campaign_id, ["p@example.com"])[0]


def test_an_acceptance_is_of_the_connection_request_and_not_of_what_was_sent_last(database: Database) -> None:
    campaign_id, who = linkedin(database)
    record(
        database,
        event(E.MESSAGE_SENT, who, hours=3, provider_message_id="m3", provider="p"),
        event(E.CONNECTION_SENT, who, hours=2),
        event(E.PROFILE_VISITED, who, hours=1),
        event(E.CONNECTION_ACCEPTED, who, hours=4),
    )
    sent = (steps_of(database, E.PROFILE_VISITED), steps_of(database, E.CONNECTION_SENT))
    assert (*sent, steps_of(database, E.MESSAGE_SENT)) == ([1], [2], [3])
    assert steps_of(database, E.CONNECTION_ACCEPTED) == [2]
    # By the message of another step, too.
    answers = [event(kind, None, hours=5, provider_message_id="m3") for kind in (E.CONNECTION_ACCEPTED,)]
    assert verdicts(database, *answers) == ["recorded"]
    assert steps_of(database, E.CONNECTION_ACCEPTED) == [2, 2]
    assert totals(database, campaign_id)["accepted"] == 1
    assert_counters_are_exact(database)


@pytest.mark.parametrize("reply_is_first", [False, True])
def test_an_acceptance_is_of_the_request_in_whose_message_it_comes(database: Database, reply_is_first: bool) -> None:
    moves = [LinkedInStep(n, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=24) for n in (1, 2)]
    campaign_id = database.run("scene", partial(make_campaign, email_steps=[], linkedin_steps=moves))
    who = enroll(database, campaign_id, ["p@example.com"])[0]
    reply = event(E.MESSAGE_REPLIED, who, hours=4)
    told = [
        event(E.CONNECTION_SENT, who, step_number=1, provider_message_id="m1"),
        event(E.CONNECTION_SENT, who, hours=1, step_number=2),
        event(E.CONNECTION_ACCEPTED, None, hours=2, provider_message_id="m1"),
    ]
    for told_event in [reply, *told] if reply_is_first else [*told, reply]:
        record(database, told_event)
    assert steps_of(database, E.CONNECTION_ACCEPTED) == [1]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("is_known_first", [False, True])
def test_what_comes_in_a_message_of_the_other_channel_is_placed_by_its_moment(
    database: Database, is_known_first: bool
) -> None:
    campaign_id = outline(database)
    who = enroll(database, campaign_id, ["p@example.com"])[0]
    named = event(E.SENT, who, step_number=3, provider_message_id="m")
    record(database, event(E.CONNECTION_SENT, who, step_number=2))
    replied = event(E.MESSAGE_REPLIED, who, hours=1, provider_message_id="m")
    for told_event in (named, replied) if is_known_first else (replied, named):
        assert verdicts(database, told_event) == ["recorded"]
    assert steps_of(database, E.MESSAGE_REPLIED) == [2]
    assert_counters_are_exact(database)


def test_nothing_but_a_connection_request_can_be_accepted(database: Database) -> None:
    _, who = linkedin(database)
    record(database, event(E.MESSAGE_SENT, who, hours=3, step_number=3))
    for number in (1, 3):
        (outcome,) = record(database, event(E.CONNECTION_ACCEPTED, who, hours=4, step_number=number))
        assert str(outcome.verdict) == "invalid"
        assert "answers a connection_request" in str(outcome.reason)


def machine_labels(database: Database) -> list[tuple[str, int | None]]:
    with database.transaction("look") as session:
        rows = session.execute(
            text("SELECT event_type, metadata ->> 'machine_rule' FROM campaign_events ORDER BY occurred_at, event_type")
        )
        return [tuple(row) for row in rows]


def test_a_click_is_hasty_whenever_its_delivery_is_told(database: Database) -> None:
    campaign_id, who = emails(database)
    click = event(E.CLICKED, who, hours=0.001, step_number=1)
    later = event(E.CLICKED, who, hours=1, step_number=1)
    delivered = event(E.DELIVERED, who, step_number=1)
    for given_ in (click, later, delivered):
        database.run("record", partial(events.record_events, events=[given_], from_provider=True))
    assert machine_labels(database) == [("delivered", None), ("machine_clicked", "haste"), ("clicked", None)]
    assert totals(database, campaign_id)["total_clicks"] == 1
    # An earlier delivery shows that it took its time.
    early = event(E.DELIVERED, who, hours=-1, step_number=1)
    database.run("record", partial(events.record_events, events=[early], from_provider=True))
    assert ("machine_clicked", "haste") not in machine_labels(database)
    assert totals(database, campaign_id)["total_clicks"] == 2
    assert_counters_are_exact(database)


def test_what_waited_is_labelled_as_what_came_in_time(database: Database) -> None:
    campaign_id, _ = emails(database)
    reference: dict[str, Any] = {"campaign_id": campaign_id, "email": "late@example.com", "step_number": 1}
    waiting = [
        event(E.DELIVERED, None, **reference),
        event(E.CLICKED, None, hours=0.001, **reference),
        event(E.OPENED, None, hours=1, metadata={"sg_machine_open": True}, **reference),
    ]
    database.run("record", partial(events.record_events, events=waiting, from_provider=True))
    enroll(database, campaign_id, ["late@example.com"])
    assert machine_labels(database) == [
        ("delivered", None), ("machine_clicked", "haste"), ("machine_opened", "provider"),
    ]  # fmt: skip


def test_agents_report_machines_as_providers_do(database: Database) -> None:
    campaign_id, who = emails(database)
    record(
        database,
        event(E.OPENED, who, step_number=1, metadata={"sg_machine_open": True}),
        event(E.CLICKED, who, step_number=1, metadata={"user_agent": "Barracuda"}),
        # Without a clock of the provider's, no click is hasty.
        event(E.DELIVERED, who, hours=1, step_number=1),
        event(E.CLICKED, who, hours=1, step_number=1),
    )
    counted = totals(database, campaign_id)
    assert (counted["total_opens"], counted["total_clicks"]) == (0, 1)


def test_a_wish_taken_by_hand_is_an_event_as_any_other(database: Database) -> None:
    campaign_id, who = emails(database)
    record(database, event(E.SENT, who, step_number=1))
    for hours in (5, 6):
        by_hand = partial(
            enrollments.update,
            enrollment_id=who,
            action=EnrollmentAction.UNSUBSCRIBE,
            now=NOW + timedelta(hours=hours),
        )
        database.run("unsubscribe", by_hand)
    assert steps_of(database, E.UNSUBSCRIBED) == [1, 1]
    known = known_of(database, who)["enrollment"]
    assert known == ("unsubscribed", 1, None, "unsubscribed", NOW + timedelta(hours=5))
    # Told of by the provider before, with another step: still one person.
    record(database, event(E.UNSUBSCRIBED, who, hours=4, step_number=2))
    assert totals(database, campaign_id)["unsubscribed"] == 1
    assert known_of(database, who)["enrollment"][-1] == NOW + timedelta(hours=4)
    assert_counters_are_exact(database)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT source FROM suppressions")) == "manual"


def test_what_happened_at_one_moment_ends_alike_in_any_order(database: Database) -> None:
    seen: list[list[int | None]] = []
    for order in permutations((E.OPENED, E.AUTO_REPLIED, E.DELIVERED)):
        _, who = emails(database)
        record(database, event(E.SENT, who, step_number=1))
        for kind in order:
            record(database, event(kind, who, hours=5, step_number=None if kind is E.OPENED else 2))
        seen.append(steps_of(database, E.OPENED))
        with database.transaction("empty") as session:
            session.execute(text("DELETE FROM campaign_instances"))
    assert seen == [[2]] * 6


def test_a_send_for_which_no_step_is_left_gives_its_message_to_none(database: Database) -> None:
    _, who = emails(database)
    record(database, event(E.SENT, who, hours=1), event(E.SENT, who, hours=2))
    record(database, event(E.SENT, who, hours=3, provider="p", provider_message_id="m"))
    # It turns out that one more was sent before them all.
    record(database, event(E.DELIVERED, who))
    assert steps_of(database, E.SENT) == [2, 3, None]
    assert [action[3] for action in known_of(database, who)["actions"]] == [None, None, None]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("by_hand_first", [False, True])
def test_of_two_wishes_of_one_moment_that_which_names_its_step_counts(database: Database, by_hand_first: bool) -> None:
    campaign_id, who = emails(database)

    def by_hand() -> None:
        wish = partial(enrollments.update, enrollment_id=who, action=EnrollmentAction.UNSUBSCRIBE, now=NOW)
        database.run("unsubscribe", wish)

    def told() -> None:
        record(database, event(E.UNSUBSCRIBED, who, step_number=1))

    for act in (by_hand, told) if by_hand_first else (told, by_hand):
        act()
    with database.transaction("look") as session:
        counted = "SELECT step_number FROM campaign_metrics WHERE instance_id = :id AND unsubscribed > 0"
        assert session.scalars(text(counted), {"id": campaign_id}).all() == [1]
    assert_counters_are_exact(database)


def test_of_two_wishes_of_one_call_the_earlier_counts(database: Database) -> None:
    campaign_id, who = emails(database)
    record(database, *(event(E.UNSUBSCRIBED, who, hours=hours, step_number=hours) for hours in (2, 1)))
    assert totals(database, campaign_id)["unsubscribed"] == 1
    assert known_of(database, who)["enrollment"][-1] == NOW + timedelta(hours=1)
    assert_counters_are_exact(database)


SOFT, HARD = {"bounce_type": "soft"}, {"bounce_type": "hard"}


def test_a_soft_bounce_that_was_delivered_afterwards_counts_as_none(database: Database) -> None:
    campaign_id, who = emails(database)

    def bounces() -> tuple[int, int]:
        counted = totals(database, campaign_id)
        return counted["bounced"], counted["hard_bounced"]

    record(
        database, event(E.DELIVERED, who, step_number=1), event(E.BOUNCED, who, hours=1, step_number=1, metadata=SOFT)
    )
    assert bounces() == (1, 0)
    record(database, event(E.OPENED, who, hours=2, step_number=1))
    assert bounces() == (0, 0)
    assert steps_of(database, E.BOUNCED) == [1]
    record(database, event(E.BOUNCED, who, hours=3, step_number=1, metadata=SOFT))
    assert bounces() == (1, 0)
    record(database, event(E.BOUNCED, who, hours=50, step_number=2, metadata=HARD))
    record(database, event(E.BOUNCED, who, hours=90, step_number=3))
    assert bounces() == (3, 2)
    assert_counters_are_exact(database)

"""The rules without a database: states, the funnel's arithmetic, rates and schedules."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from db.domain.action import Action
from db.domain.counting import CounterKey, Deltas, contribution
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidTransition
from db.domain.events import EFFECTS, IMPLIES, EventType, NewEvent
from db.domain.metrics import COUNTERS, MILESTONES, RATES, Milestone, rates
from db.domain.scheduling import Plan, Step, due_at
from db.domain.states import (
    CAMPAIGN_TRANSITIONS,
    ENROLLMENT_TRANSITIONS,
    CampaignCommand,
    CampaignStatus,
    Channel,
    EnrollmentAction,
    EnrollmentCommand,
    EnrollmentStatus,
    StopReason,
    move_campaign,
    move_enrollment,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CAMPAIGN, ENROLLMENT, PERSON = UUID(int=1), UUID(int=2), UUID(int=3)
EMAIL = [type_ for type_, effect in EFFECTS.items() if effect.channel is Channel.EMAIL]
STEPS = [Step(1, Channel.EMAIL, 0), Step(2, Channel.EMAIL, 24), Step(3, Channel.EMAIL, 48)]
PLAN = Plan(STEPS)

# An event of the email channel: its type, its step, and its minute after noon.
Happened = tuple[EventType, int, int]
happenings = st.lists(st.tuples(st.sampled_from(EMAIL), st.integers(1, 3), st.integers(0, 5_000)), max_size=12)
quick = settings(max_examples=150, deadline=None, database=None)


@pytest.mark.parametrize(("state", "command"), [*product(CampaignStatus, CampaignCommand)])
def test_a_campaign_moves_as_its_table_says_or_names_what_is_allowed(
    state: CampaignStatus, command: CampaignCommand
) -> None:
    if (state, command) in CAMPAIGN_TRANSITIONS:
        assert move_campaign(state, command) == CAMPAIGN_TRANSITIONS[state, command]
        return
    allowed = [str(able) for at, able in CAMPAIGN_TRANSITIONS if at == state and able is not CampaignCommand.FAIL]
    with pytest.raises(InvalidTransition) as refusal:
        move_campaign(state, command)
    assert f"The campaign is {state}, which {command} can't change." in str(refusal.value)
    assert f"Allowed from {state}: {', '.join(allowed) or 'nothing: this state is final'}." in str(refusal.value)


@pytest.mark.parametrize(("state", "command"), [*product(EnrollmentStatus, EnrollmentCommand)])
def test_an_enrollment_moves_as_its_table_says_or_names_what_is_allowed(
    state: EnrollmentStatus, command: EnrollmentCommand
) -> None:
    if (state, command) in ENROLLMENT_TRANSITIONS:
        assert move_enrollment(state, command) == ENROLLMENT_TRANSITIONS[state, command]
        return
    with pytest.raises(InvalidTransition) as refusal:
        move_enrollment(state, command)
    allowed = [str(able) for at, able in ENROLLMENT_TRANSITIONS if at == state and able in tuple(EnrollmentAction)]
    assert f"The enrollment is {state}, which {command} can't change." in str(refusal.value)
    assert f"Allowed from {state}: {', '.join(allowed)}." in str(refusal.value)


def test_the_tables_are_those_of_the_design() -> None:
    campaign = {(str(a), str(b)) for (a, _), b in CAMPAIGN_TRANSITIONS.items()}
    open_ = ("draft", "active", "paused")
    assert campaign == {
        ("draft", "active"),
        ("active", "paused"),
        ("paused", "active"),
        ("active", "completed"),
        ("paused", "completed"),
        *((state, "failed") for state in open_),
    }
    ended = {EnrollmentStatus.COMPLETED, EnrollmentStatus.BOUNCED, EnrollmentStatus.UNSUBSCRIBED}
    from_the_end = {(command, to) for (at, command), to in ENROLLMENT_TRANSITIONS.items() if at in ended}
    assert from_the_end == {
        (EnrollmentCommand.UNSUBSCRIBE, EnrollmentStatus.UNSUBSCRIBED),
        (EnrollmentCommand.RESUME, EnrollmentStatus.ACTIVE),
    }
    assert (EnrollmentStatus.UNSUBSCRIBED, EnrollmentCommand.RESUME) not in ENROLLMENT_TRANSITIONS


def test_no_table_can_be_changed() -> None:
    for table in (CAMPAIGN_TRANSITIONS, ENROLLMENT_TRANSITIONS, EFFECTS, IMPLIES):
        assert not hasattr(table, "__setitem__")


def moment(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def counted(events: Sequence[Happened]) -> tuple[dict[int, Action], dict[CounterKey, list[int]]]:
    """The actions and the counters after the events, each event a call of its own."""
    actions: dict[int, Action] = {}
    deltas = Deltas()
    for type_, number, minute in events:
        action = actions.setdefault(number, Action(CAMPAIGN, ENROLLMENT, number, Channel.EMAIL, "A"))
        before = contribution(action)
        action.apply(EFFECTS[type_], moment(minute))
        deltas.change(before, contribution(action))
    return actions, dict(deltas.rows())


@quick
@given(happenings, st.randoms(use_true_random=False))
def test_counters_do_not_depend_on_the_order_of_events(events: list[Happened], chance: random.Random) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    actions, counters = counted(events)
    assert counted(shuffled) == (actions, counters)
    final = Deltas()
    for action in actions.values():
        final.change(None, contribution(action))
    assert counters == dict(final.rows())


@quick
@given(happenings)
def test_counters_always_keep_the_rules_of_the_funnel(events: list[Happened]) -> None:
    for end in range(len(events) + 1):
        for row in counted(events[:end])[1].values():
            count = dict(zip(COUNTERS, row, strict=True))
            assert min(row) >= 0
            assert count["clicked"] <= count["opened"] <= count["delivered"] <= count["sent"]
            assert count["replied"] <= count["delivered"]
            assert max(count["bounced"], count["unsubscribed"]) <= count["sent"]
            assert count["complained"] <= count["delivered"]
            assert count["clicked"] <= count["total_clicks"]


@quick
@given(happenings)
def test_no_milestone_is_earlier_than_what_it_implies(events: list[Happened]) -> None:
    for action in counted(events)[0].values():
        at = dict(zip(MILESTONES, action.times, strict=True))
        for milestone, implied in IMPLIES.items():
            reached = at[milestone]
            if reached is not None:
                assert all((at[earlier] or moment(9_999)) <= reached for earlier in implied)


@quick
@given(happenings)
def test_totals_count_every_open_and_click(events: list[Happened]) -> None:
    rows = counted(events)[1].values()
    sums = Counter({name: sum(row[COUNTERS.index(name)] for row in rows) for name in ("total_opens", "total_clicks")})
    types = Counter(type_ for type_, _, _ in events)
    assert (sums["total_opens"], sums["total_clicks"]) == (types[EventType.OPENED], types[EventType.CLICKED])


def test_a_machine_that_opens_or_clicks_counts_for_nothing() -> None:
    _, counters = counted([(EventType.MACHINE_OPENED, 1, 0), (EventType.MACHINE_CLICKED, 1, 1)])
    assert counters == {}


def test_a_late_message_of_an_earlier_send_moves_the_action_to_its_day() -> None:
    _, counters = counted([(EventType.OPENED, 1, 1_440), (EventType.SENT, 1, 0)])
    ((key, row),) = counters.items()
    assert key == CounterKey(CAMPAIGN, 1, "email", "A", NOON.date())
    assert dict(zip(COUNTERS, row, strict=True))["opened"] == 1


def enrollment(status: EnrollmentStatus = EnrollmentStatus.ACTIVE) -> Enrollment:
    is_open = status in (EnrollmentStatus.ENROLLED, EnrollmentStatus.ACTIVE, EnrollmentStatus.PAUSED)
    return Enrollment(CAMPAIGN, ENROLLMENT, PERSON, status, 0, NOON if is_open else None, "A")


def stopped_by(*types: EventType, status: EnrollmentStatus = EnrollmentStatus.ACTIVE) -> Enrollment:
    person = enrollment(status)
    for type_ in types:
        stop = NewEvent(type_, Channel.EMAIL, NOON).stop
        if stop is not None:
            person.stop(stop)
    return person


@quick
@given(st.lists(st.sampled_from(EMAIL), max_size=6), st.integers(0, 6), st.sampled_from(EnrollmentStatus))
def test_an_unsubscribe_wins_in_whatever_order(others: list[EventType], place: int, status: EnrollmentStatus) -> None:
    person = stopped_by(*others[:place], EventType.UNSUBSCRIBED, *others[place:], status=status)
    assert person.status is EnrollmentStatus.UNSUBSCRIBED
    assert person.next_action_at is None
    person.advance(sent(1, 0), PLAN)
    assert (person.status, person.current_step) == (EnrollmentStatus.UNSUBSCRIBED, 1)


@pytest.mark.parametrize(
    ("types", "status", "reason"),
    [
        ([EventType.REPLIED], EnrollmentStatus.COMPLETED, StopReason.REPLIED),
        ([EventType.BOUNCED], EnrollmentStatus.BOUNCED, StopReason.BOUNCED),
        ([EventType.COMPLAINED], EnrollmentStatus.UNSUBSCRIBED, StopReason.COMPLAINED),
        ([EventType.BOUNCED, EventType.REPLIED], EnrollmentStatus.BOUNCED, StopReason.BOUNCED),
        ([EventType.REPLIED, EventType.BOUNCED], EnrollmentStatus.BOUNCED, StopReason.BOUNCED),
        ([EventType.COMPLAINED, EventType.UNSUBSCRIBED], EnrollmentStatus.UNSUBSCRIBED, StopReason.UNSUBSCRIBED),
        ([EventType.UNSUBSCRIBED, EventType.COMPLAINED], EnrollmentStatus.UNSUBSCRIBED, StopReason.UNSUBSCRIBED),
        ([EventType.DELIVERED, EventType.CLICKED, EventType.AUTO_REPLIED], EnrollmentStatus.ACTIVE, None),
    ],
)
def test_what_stops_an_enrollment(types: list[EventType], status: EnrollmentStatus, reason: StopReason | None) -> None:
    person = stopped_by(*types)
    assert (person.status, person.stop_reason) == (status, reason)


def test_a_soft_bounce_stops_nothing_and_one_that_does_not_say_is_hard() -> None:
    assert NewEvent(EventType.BOUNCED, Channel.EMAIL, NOON, metadata={"bounce_type": "soft"}).stop is None
    assert NewEvent(EventType.BOUNCED, Channel.EMAIL, NOON, metadata={"bounce_type": "hard"}).stop is not None
    assert NewEvent(EventType.BOUNCED, Channel.EMAIL, NOON).stop is not None


def sent(number: int, minute: int) -> Action:
    action = Action(CAMPAIGN, ENROLLMENT, number, Channel.EMAIL, "A")
    action.apply(EFFECTS[EventType.SENT], moment(minute))
    return action


def test_a_send_makes_the_next_step_due_after_its_delay() -> None:
    person = enrollment()
    person.advance(sent(1, 30), PLAN)
    assert (person.current_step, person.next_action_at) == (1, moment(30) + timedelta(hours=24))


def test_the_last_send_finishes_the_enrollment() -> None:
    person = enrollment()
    person.advance(sent(3, 0), PLAN)
    assert (person.status, person.stop_reason) == (EnrollmentStatus.COMPLETED, StopReason.FINISHED)
    assert person.next_action_at is None


def test_a_late_message_of_an_earlier_step_moves_nothing() -> None:
    person = enrollment()
    person.advance(sent(2, 60), PLAN)
    before = replace(person)
    person.advance(sent(1, 90), PLAN)
    assert person == before


def test_what_has_ended_knows_what_was_sent_and_has_nothing_due() -> None:
    person = stopped_by(EventType.REPLIED)
    person.advance(sent(2, 0), PLAN)
    assert (person.current_step, person.next_action_at) == (2, None)
    person.advance(sent(3, 0), PLAN)
    assert (person.status, person.stop_reason) == (EnrollmentStatus.COMPLETED, StopReason.REPLIED)


def test_a_rate_over_nothing_is_null_and_not_zero() -> None:
    nothing = dict.fromkeys(COUNTERS, 0)
    for channel in (*Channel, None):
        assert rates(nothing, channel) == {rate.slug: None for rate in RATES}
    assert rates({**nothing, "sent": 4}, Channel.EMAIL)["delivery_rate"] == 0.0


def test_the_rates_are_those_of_the_design() -> None:
    totals = dict.fromkeys(COUNTERS, 0) | {"sent": 8, "delivered": 6, "opened": 3, "clicked": 2, "replied": 1}
    totals |= {"bounced": 2, "unsubscribed": 3, "accepted": 4}
    of_email = {
        "delivery_rate": 0.75,
        "open_rate": 0.5,
        "click_rate": 0.333333,
        "click_through_rate": 0.666667,
        "reply_rate": 0.166667,
        "bounce_rate": 0.25,
        "unsubscribe_rate": 0.5,
        "acceptance_rate": None,
    }
    assert rates(totals, Channel.EMAIL) == of_email
    of_linkedin = {"reply_rate": 0.125, "acceptance_rate": 0.5}
    assert rates(totals, Channel.LINKEDIN) == dict.fromkeys(of_email) | of_linkedin
    assert rates(totals, None) == dict.fromkeys(of_email)


def test_a_rate_never_passes_1() -> None:
    totals = dict.fromkeys(COUNTERS, 0) | {"sent": 8, "delivered": 2, "unsubscribed": 3}
    assert rates(totals, Channel.EMAIL)["unsubscribe_rate"] is None
    assert rates(totals | {"unsubscribed": 2}, Channel.EMAIL)["unsubscribe_rate"] == 1


def test_every_milestone_says_what_it_implies_and_every_event_what_it_does() -> None:
    assert set(IMPLIES) == set(Milestone)
    assert set(EFFECTS) == set(EventType)
    for milestone, implied in IMPLIES.items():
        # What is implied by the implied is implied.
        assert {deep for earlier in implied for deep in IMPLIES[earlier]} <= set(implied), milestone


def test_a_step_falls_due_after_its_delay() -> None:
    assert due_at(NOON, Step(1, Channel.EMAIL, 36)) == datetime(2026, 3, 4, 0, tzinfo=UTC)

"""Whatever several clients do, in whatever order, the books stay right: a random walk over all commands."""

from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction
from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.walk.machine import Walk, counted_ids
from tests.support.walk.moves import ANY, About, Drawn, make

SETTINGS: list[dict[str, Any]] = [
    {},
    {"daily_limit": 2},
    {"min_gap_seconds": 600},
    {"sending_window": {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}},
]
AT = st.sampled_from([0, 0, 0, 0, *range(1, 9)])


class RandomWalk(RuleBasedStateMachine):
    """Each step is a command of some client, or two that cross; the checks run after each of them."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk(self.database)
        self.resources = ExitStack()
        self.resources.enter_context(counted_ids())

    def teardown(self) -> None:
        self.resources.close()
        assert_counters_are_exact(self.database)

    @initialize(settings=st.sampled_from(SETTINGS))
    def begin(self, settings: dict[str, Any]) -> None:
        self.walk.begin(settings)

    @rule(first=ANY, second=ANY, at=AT)
    def step(self, first: Drawn, second: Drawn | None, at: int) -> None:
        """Two commands of two clients: one after the other, or where `at` is not 0, the second in the first."""
        one = make(self.walk, first)
        if at and second and one is not None and (two := make(self.walk, second)) is not None:
            self.walk.cross(one, two, at)
            return
        for drawn in [first, *([second] if second else [])]:
            command = make(self.walk, drawn)
            if command is not None:
                self.walk.do(command)


# What a walk has found, at its shortest; the places at which two commands cross are tried one after the other.
FOUND: dict[str, list[tuple[Any, ...]]] = {
    "a late skip": [
        ("claim", (0, 10, 30)),
        ("record", [About(0, EventType.MESSAGE_SENT, 3, 0)]),
        ("complete", (1, ActionOutcome.SKIPPED, False)),
        ("claim", (0, 10, 30)),
    ],
    "a variant that comes after the failure": [
        ("claim", (0, 10, 1)),
        ("record", [About(who, EventType.FAILED, 1, 24) for who in range(3)]),
        ("split", 0),
        ("pass_time", 2),
        ("claim", (0, 10, 1)),
        ("complete", (0, ActionOutcome.SENT, False)),
    ],
    "a failure that the provider tells first": [
        ("claim", (0, 10, 1)),
        ("webhook", [About(who, EventType.FAILED, 1, 0) for who in range(3)]),
        ("complete", (0, ActionOutcome.FAILED, False)),
    ],
    "a send that the provider denies first": [
        ("claim", (0, 10, 1)),
        ("webhook", [About(who, EventType.REJECTED, 1, 0) for who in range(3)]),
        ("complete", (0, ActionOutcome.SENT, False)),
        ("pass_time", 2),
        ("claim", (0, 10, 1)),
    ],
    "a pause while the campaign starts": [
        ("move", (1, 0)),
        ("X", ("update", (3, EnrollmentAction.PAUSE))),
        ("update", (3, EnrollmentAction.RESUME)),
    ],
    "a pause before the campaign starts": [
        ("update", (3, EnrollmentAction.PAUSE)),
        ("update", (3, EnrollmentAction.RESUME)),
        ("move", (1, 0)),
        ("claim", (1, 10, 1)),
    ],
    "a resume while the campaign is completed": [
        ("update", (0, EnrollmentAction.PAUSE)),
        ("move", (0, 2)),
        ("X", ("update", (0, EnrollmentAction.RESUME))),
    ],
    "a completion while the campaign is completed": [
        ("update", (0, EnrollmentAction.PAUSE)),
        ("update", (0, EnrollmentAction.COMPLETE)),
        ("X", ("move", (0, 2))),
    ],
    "a send that turns out to be of an earlier step": [
        ("switch", 0),
        ("record", [About(who, EventType.SENT, None, 24) for who in range(4)]),
        ("switch", 0),
        ("record", [About(who, EventType.OPENED, None, 12) for who in range(4)]),
        ("claim", (0, 10, 1)),
    ],
    "a send that turns out to be of an earlier step of a completed campaign": [
        ("move", (0, 2)),
        ("switch", 0),
        ("record", [About(who, EventType.SENT, None, 24) for who in range(4)]),
        ("switch", 0),
        ("record", [About(who, EventType.OPENED, None, 12) for who in range(4)]),
    ],
    "a send that is told after the skip": [
        ("move", (1, 0)),
        ("claim", (1, 10, 30)),
        ("complete", (0, ActionOutcome.SKIPPED, False)),
        ("record", [About(who, EventType.SENT, 1, of_held=True) for who in range(2)]),
    ],
    "a skip of what was sent": [
        ("move", (1, 0)),
        ("claim", (1, 10, 30)),
        ("record", [About(who, EventType.SENT, 1, of_held=True) for who in range(2)]),
        ("complete", (0, ActionOutcome.SKIPPED, False)),
        ("complete", (1, ActionOutcome.FAILED, False)),
    ],
    "a failure of a step that was advanced past": [
        ("claim", (0, 10, 1)),
        *(("update", (who, EnrollmentAction.ADVANCE)) for who in range(2)),
        ("complete", (0, ActionOutcome.FAILED, False)),
    ],
    "an earlier send that was told of somebody else before": [
        ("record", [About(0, EventType.OPENED, 1, 0, event_id=1)]),
        ("record", [About(1, EventType.SENT, None, 1)]),
        ("record", [About(1, EventType.SENT, None, 24, event_id=1)]),
    ],
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_walk_has_found_stays_mended(database: Database, name: str) -> None:
    trace = FOUND[name]
    for at in range(1, 9) if any(name == "X" for name, _ in trace) else (0,):
        machine = bound(database)()
        machine.begin(settings={"daily_limit": 2})
        for position, (command, given) in enumerate(trace):
            if command == "X":
                continue
            crossing = trace[position + 1] if position + 1 < len(trace) else ("", None)
            is_crossed = crossing[0] == "X"
            machine.step(first=(command, given), second=crossing[1] if is_crossed else None, at=at if is_crossed else 0)
        machine.teardown()


def bound(database: Database) -> type[RandomWalk]:
    return type("Bound", (RandomWalk,), {"database": database})


def test_a_random_walk_of_several_clients_finds_nothing_wrong(database: Database) -> None:
    is_long = settings.get_current_profile_name() == "long"
    short = settings(max_examples=12, stateful_step_count=20)
    run_state_machine_as_test(bound(database), settings=settings() if is_long else short)

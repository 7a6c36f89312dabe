"""What a random walk draws: commands by name, with a few small numbers each, the important ones most often."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from hypothesis import strategies as st

from db.domain.events import EventType, NewEvent
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType, SuppressionReason
from tests.support.walk import commands
from tests.support.walk.machine import Command, Walk


class Move(NamedTuple):
    """A command, what it is drawn with, and how often among the others."""

    often: int
    given: st.SearchStrategy[Any]
    make: Callable[[Walk, Any], Command | None]


class About(NamedTuple):
    """Whom and what an event is about. `of_held`: the step that number `who` of those handed out was handed."""

    who: int
    event_type: EventType
    step: int | None = None
    hours_ago: int = 0
    event_id: int | None = None
    of_held: bool = False
    by_message: bool = False


Drawn: TypeAlias = tuple[str, Any]
"""The name of a move and what was drawn for it."""

_PEOPLE, _CAMPAIGNS = st.integers(0, 3), st.sampled_from([0, 0, 1])
_STEPS = st.sampled_from([1, 2, 3, 4, 5])
# What ends an enrollment is told seldom, since little happens after it.
_OFTEN_TOLD = (EventType.SENT, EventType.OPENED, EventType.FAILED, EventType.REJECTED, EventType.MESSAGE_SENT)
_OFTEN_DONE = (EnrollmentAction.PAUSE, EnrollmentAction.RESUME, EnrollmentAction.ADVANCE)
_ABOUT = st.builds(
    About,
    st.integers(0, 3),
    st.sampled_from([*EventType, *_OFTEN_TOLD * 4]),
    st.none() | _STEPS,
    st.sampled_from([0, 1, 24, 30, 72]),
    st.none() | st.integers(0, 5),
    st.sampled_from([True, True, False]),
    st.booleans(),
)
_EVENTS = st.lists(_ABOUT, min_size=1, max_size=3)


def _spread(command: Callable[..., Command | None]) -> Callable[[Walk, Any], Command | None]:
    """What was drawn as its arguments, one by one."""

    def made(walk: Walk, given: Any) -> Command | None:
        return command(walk, *given)

    return made


def _told(command: Callable[[Walk, list[NewEvent]], Command]) -> Callable[[Walk, list[About]], Command]:
    """What was drawn as events."""

    def made(walk: Walk, given: list[About]) -> Command:
        return command(walk, [commands.new_event(walk, *about) for about in given])

    return made


MOVES: dict[str, Move] = {
    "claim": Move(
        8,
        st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([10, 1, 2]), st.sampled_from([1, 30])),
        _spread(commands.claim),
    ),
    "complete": Move(
        8,
        st.tuples(st.integers(0, 3), st.sampled_from(ActionOutcome), st.booleans()),
        _spread(commands.complete),
    ),
    "pass_time": Move(5, st.sampled_from([2, 0.5, 24, 49]), commands.pass_time),
    "record": Move(5, _EVENTS, _told(commands.record)),
    "webhook": Move(4, _EVENTS, _told(commands.webhook)),
    "update": Move(
        6,
        st.tuples(st.integers(0, 3), st.sampled_from([*EnrollmentAction, *_OFTEN_DONE * 3])),
        _spread(commands.update),
    ),
    "pause_until": Move(
        2,
        st.tuples(st.integers(0, 3), st.sampled_from([1, 3, 60])),
        _spread(commands.pause_until),
    ),
    "away": Move(
        2,
        st.tuples(st.integers(0, 3), st.sampled_from([0, 2, None])),
        _spread(commands.away),
    ),
    "move": Move(
        3,
        st.tuples(_CAMPAIGNS, st.sampled_from([0, 0, 1, 2])),
        _spread(commands.move),
    ),
    "enroll": Move(
        1,
        st.tuples(_CAMPAIGNS, st.lists(_PEOPLE, min_size=1, max_size=3, unique=True)),
        _spread(commands.enroll),
    ),
    "add_step": Move(
        2,
        st.tuples(st.sampled_from([2, 5, 6]), st.sampled_from([0, 24])),
        _spread(commands.add_step),
    ),
    "switch": Move(3, st.integers(0, 7), commands.switch),
    "delay": Move(
        1,
        st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 72])),
        _spread(commands.delay),
    ),
    "split": Move(2, st.integers(0, 2), commands.split),
    "change_type": Move(1, st.sampled_from(LinkedInStepType), commands.change_type),
    "suppress": Move(
        1,
        st.tuples(_PEOPLE, st.sampled_from(SuppressionReason), st.sampled_from([None, 1, 48])),
        _spread(commands.suppress),
    ),
    "suppress_domain": Move(1, _PEOPLE, commands.suppress_domain),
    "unsuppress": Move(
        1,
        st.tuples(_PEOPLE, st.booleans()),
        _spread(commands.unsuppress),
    ),
    "erase": Move(1, _PEOPLE, commands.erase),
}

ANY: st.SearchStrategy[Drawn] = st.sampled_from(
    [name for name, move in MOVES.items() for _ in range(move.often)]
).flatmap(lambda name: st.tuples(st.just(name), MOVES[name].given))


def make(walk: Walk, drawn: Drawn) -> Command | None:
    """The command in the world as it is now; None where there is nothing to do it to."""
    name, given = drawn
    return MOVES[name].make(walk, given)

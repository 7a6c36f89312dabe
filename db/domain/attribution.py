"""Which step an event is about."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from db.domain.errors import InvalidInput
from db.domain.events import EFFECTS, SENDS, NewEvent
from db.domain.funnel import Action
from db.domain.metrics import Milestone
from db.domain.scheduling import Step
from db.domain.states import ActionStatus, Channel

# These stand on their own; all others are about something that was sent.
_STEPLESS = frozenset({None, Milestone.UNSUBSCRIBED})


def check_step(channel: Channel, number: int, actions: Mapping[int, Action], steps: Sequence[Step]) -> None:
    """InvalidInput when the campaign has no step of this number and channel, and never had."""
    action = actions.get(number)
    if action is not None and action.channel == channel:
        return
    channels = {step.step_number: step.channel for step in steps}
    if number not in channels:
        known = ", ".join(str(each) for each in sorted(channels)) or "none"
        raise InvalidInput(f"step_number {number} is not a step of this campaign. Its active steps: {known}.")
    if channels[number] != channel:
        raise InvalidInput(f"step_number {number} belongs to {channels[number]}, and the event's channel is {channel}.")


def infer_step(event: NewEvent, actions: Mapping[int, Action], steps: Sequence[Step]) -> int | None:
    """The step of an event that names none; None for one that needs none.

    It is decided by what was sent up to the moment of the event. What tells of sending is about the next step of its
    channel, all else about the last one that was sent, or else about the one that must have been. InvalidInput when
    there is no such step.
    """
    at = event.occurred_at
    own = [action for action in actions.values() if action.channel == event.channel]
    if event.event_type not in SENDS:
        sent = [action.step_number for action in own if _is_sent(action, at)]
        if sent:
            return max(sent)
        if EFFECTS[event.event_type].milestone in _STEPLESS:
            return None
    numbers = {step.step_number for step in steps if step.channel == event.channel}
    numbers.update(action.step_number for action in own)
    if not numbers:
        raise InvalidInput(f"The campaign has no active {event.channel} step, so channel can't be {event.channel}.")
    if event.event_type in SENDS:
        return _next(event.channel, sorted(numbers), actions, at)
    behind = max((number for number, action in actions.items() if _is_passed(action, at)), default=0)
    return max((number for number in numbers if number <= behind), default=min(numbers))


def _next(channel: Channel, numbers: Sequence[int], actions: Mapping[int, Action], at: datetime) -> int:
    last = max((number for number, action in actions.items() if _is_sent(action, at)), default=0)
    skipped = {number for number, action in actions.items() if action.known_status is ActionStatus.SKIPPED}
    later = [number for number in numbers if number > last and number not in skipped]
    if not later:
        raise InvalidInput(f"Every {channel} step of this enrollment is done. Give step_number to name one.")
    return later[0]


def _is_sent(action: Action, at: datetime) -> bool:
    first = action.first_sign
    return first is not None and first <= at


def _is_passed(action: Action, at: datetime) -> bool:
    return action.known_status is ActionStatus.SKIPPED or _is_sent(action, at)

"""Which step an event is about."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from db.domain.action import Action
from db.domain.errors import InvalidInput
from db.domain.events import ANSWERS, EFFECTS, SENDS, STEP_TYPES, NewEvent
from db.domain.metrics import Milestone
from db.domain.scheduling import Step
from db.domain.states import ActionStatus, LinkedInStepType

# These stand on their own; all others are about something that was sent.
_STEPLESS = frozenset({None, Milestone.UNSUBSCRIBED})


def check_step(event: NewEvent, number: int, actions: Mapping[int, Action], steps: Sequence[Step]) -> None:
    """Raises InvalidInput if the event can't be about the step of this number: the campaign has none and never had, it
    is of another channel, or it is nothing that can be accepted."""
    channel, action = event.channel, actions.get(number)
    if event.event_type in ANSWERS:
        _check_answer(event, number, steps)
    if action is not None and action.channel == channel:
        return
    channels = {step.step_number: step.channel for step in steps}
    if number not in channels:
        known = ", ".join(str(channel) for channel in sorted(channels)) or "none"
        raise InvalidInput(f"step_number {number} is not a step of this campaign. Its active steps: {known}.")
    if channels[number] != channel:
        raise InvalidInput(f"step_number {number} belongs to {channels[number]}, and the event's channel is {channel}.")


def _check_answer(event: NewEvent, number: int, steps: Sequence[Step]) -> None:
    kind = next((step.linkedin_type for step in steps if step.step_number == number), None)
    if kind not in (None, LinkedInStepType.CONNECTION_REQUEST):
        raise InvalidInput(
            f"step_number {number} is a {kind}, and {event.event_type} answers a connection_request. Leave step_number "
            "out, or give that of the request."
        )


def infer_step(event: NewEvent, actions: Mapping[int, Action], steps: Sequence[Step]) -> int | None:
    """Returns the step of an event that names none; None if it needs none, or tells of more sends than there are steps.

    It depends on what was sent up to the moment of the event. An event that tells of a send belongs to the next step of
    its channel (and kind, if the campaign has one of it). Any other belongs to the last step that was sent, or to the
    one that must have been. An answer to a connection request belongs to the last request. InvalidInput if the campaign
    has no step of its channel, or no connection request.
    """
    if event.event_type in ANSWERS:
        return _request(event, actions, steps)
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
        return _next(event, numbers, actions, steps)
    return _behind(numbers, actions, at)


def _request(event: NewEvent, actions: Mapping[int, Action], steps: Sequence[Step]) -> int | None:
    requests = [step.step_number for step in steps if step.linkedin_type is LinkedInStepType.CONNECTION_REQUEST]
    if not requests:
        if EFFECTS[event.event_type].milestone is None:
            return None
        raise InvalidInput("The campaign has no active connection_request step, so nothing of it can be accepted.")
    sent = [number for number in requests if number in actions and _is_sent(actions[number], event.occurred_at)]
    return max(sent) if sent else _behind(requests, actions, event.occurred_at)


def _behind(numbers: Collection[int], actions: Mapping[int, Action], at: datetime) -> int:
    """Returns the step that must have been sent although nobody reported it."""
    behind = max((number for number, action in actions.items() if _is_passed(action, at)), default=0)
    return max((number for number in numbers if number <= behind), default=min(numbers))


def _next(
    event: NewEvent, numbers: Collection[int], actions: Mapping[int, Action], steps: Sequence[Step]
) -> int | None:
    at, kind = event.occurred_at, STEP_TYPES.get(event.event_type)
    last = max((number for number, action in actions.items() if _is_sent(action, at)), default=0)
    skipped = {number for number, action in actions.items() if action.known_status is ActionStatus.SKIPPED}
    of_kind = {step.step_number for step in steps if kind is not None and step.linkedin_type is kind}
    return min((number for number in of_kind or numbers if number > last and number not in skipped), default=None)


def _is_sent(action: Action, at: datetime) -> bool:
    first = action.first_sign
    return first is not None and first <= at


def _is_passed(action: Action, at: datetime) -> bool:
    return action.known_status is ActionStatus.SKIPPED or _is_sent(action, at)

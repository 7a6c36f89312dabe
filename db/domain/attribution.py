"""Which step an event is about, when the event does not say so itself."""

from collections.abc import Iterable, Sequence

from db.domain.errors import InvalidInput
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.funnel import Action, Enrollment
from db.domain.metrics import Milestone
from db.domain.scheduling import Step
from db.domain.states import Channel

# These say that a step was done, so without a number they are about the next one.
_SENDS = frozenset(
    {
        EventType.SENT,
        EventType.PROFILE_VISITED,
        EventType.CONNECTION_SENT,
        EventType.MESSAGE_SENT,
        EventType.VOICE_MESSAGE_SENT,
    }
)
# These stand on their own; all others are about something that was sent.
_STEPLESS = frozenset({None, Milestone.UNSUBSCRIBED})


def step_of(
    event: NewEvent, enrollment: Enrollment, actions: Iterable[Action], steps: Sequence[Step], hint: int | None
) -> int | None:
    """The step number, or None for an event that needs none. `hint` is the step that the message id belongs to.

    Named by the event, else by its message id, else the latest sent step of its channel, else the one that must have
    been sent. InvalidInput when the campaign has no such step.
    """
    own = [action for action in actions if action.channel == event.channel]
    number = event.step_number or hint
    if number is not None:
        if all(action.step_number != number for action in own):
            _check(event.channel, number, steps)
        return number
    sent = [action.step_number for action in own if action.sent_at is not None]
    if event.event_type not in _SENDS and sent:
        return max(sent)
    if event.event_type not in _SENDS and EFFECTS[event.event_type].milestone in _STEPLESS:
        return None
    return _next_of_channel(event, enrollment, steps)


def _check(channel: Channel, number: int, steps: Sequence[Step]) -> None:
    channels = {step.step_number: step.channel for step in steps}
    if number not in channels:
        known = ", ".join(str(each) for each in sorted(channels)) or "none"
        raise InvalidInput(f"step_number {number} is not a step of this campaign. Its active steps: {known}.")
    if channels[number] != channel:
        raise InvalidInput(f"step_number {number} belongs to {channels[number]}, and the event's channel is {channel}.")


def _next_of_channel(event: NewEvent, enrollment: Enrollment, steps: Sequence[Step]) -> int:
    numbers = sorted({step.step_number for step in steps if step.channel == event.channel})
    if not numbers:
        raise InvalidInput(f"The campaign has no active {event.channel} step, so channel can't be {event.channel}.")
    later = [number for number in numbers if number > enrollment.current_step]
    if event.event_type in _SENDS:
        if not later:
            raise InvalidInput(f"Every {event.channel} step of this enrollment is done. Give step_number to name one.")
        return later[0]
    earlier = [number for number in numbers if number <= enrollment.current_step]
    return earlier[-1] if earlier else numbers[0]

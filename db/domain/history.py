"""Replays the events of one enrollment, from the first to the last.

An event that names no step is about what was sent before it, so a late event may change the steps of those after it.
Then all of them are placed again, in the order in which they happened. The result does not depend on the order in which
they came, or in which calls.
"""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID

from db.domain.action import Action
from db.domain.attribution import check_step, infer_step
from db.domain.bots import with_haste
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.events import ANSWERS, EFFECTS, REACHED, SENDS, Effect, EventType, NewEvent
from db.domain.metrics import Milestone
from db.domain.scheduling import Plan, step_for
from db.domain.states import SentSource

_TYPE_ORDER = {kind: rank for rank, kind in enumerate(EventType)}


@dataclass(slots=True)
class Entry:
    """One event of an enrollment, and the step that it is about."""

    id: UUID
    event: NewEvent
    step_number: int | None
    is_inferred: bool
    """Nobody named the step, neither by its number nor by a message of it."""
    follows_message: bool
    """It has no number, and its step is the lowest that was named for its message."""


Position: TypeAlias = tuple[datetime, int, bool, int, str, str]
_NOTHING: Mapping[str, int | None] = MappingProxyType({})


def position(entry: Entry, messages: Mapping[str, int | None] = _NOTHING) -> Position:
    """Returns the position of the event in its history. At one moment, sends come first, and named steps before
    inferred ones; the rest depends on what the events say alone, and not on when they came.

    messages: the steps of messages, as far as somebody named them.
    """
    event = entry.event
    told = None if entry.is_inferred else entry.step_number
    if entry.is_inferred or entry.follows_message:
        told = messages.get(event.provider_message_id or "", told)
    rank = 0 if event.event_type in SENDS else 1 + _TYPE_ORDER[event.event_type]
    return (
        event.occurred_at, rank, told is None, told or 0, event.provider_message_id or "", event.provider_event_id or ""
    )  # fmt: skip


def source_of(event: NewEvent) -> SentSource:
    """Returns how an event knows when its step was sent."""
    if event.is_report:
        return SentSource.REPORTED
    return SentSource.TOLD if event.event_type in SENDS else SentSource.IMPLIED


@dataclass(slots=True)
class Replayed:
    """What came of reading a history again."""

    actions: dict[int, Action]
    unsubscribed_at: datetime | None
    refused: dict[UUID, str]
    """event -> why it can have no step, of those that are new"""
    messages: Mapping[str, int | None]
    """message -> the step that it is of, if any"""


def replay(
    enrollment: Enrollment,
    actions: Mapping[int, Action],
    stored: Sequence[Entry],
    new: Sequence[Entry],
    plan: Plan,
    withdrawn: Collection[UUID] = (),
) -> Replayed:
    """Places all events again, and counts them from the beginning. Entries get their steps; `actions` stay as they are.

    What `actions` know beyond the stored events (what the holder of a step reported, rows from elsewhere) is kept.
    withdrawn: those of the stored events that count no more.
    """
    state = _State(enrollment, _beyond(enrollment, actions, stored), plan)
    if _has_stepless_fact(enrollment, stored):
        state.unsubscribed_at = enrollment.unsubscribed_at
    stored = [entry for entry in stored if entry.id not in withdrawn] if withdrawn else stored
    messages = _named([*stored, *new], actions)
    entries = sorted([*stored, *new], key=partial(position, messages=dict(messages)))
    fresh = {entry.id for entry in new}
    refused: dict[UUID, str] = {}
    for entry in entries:
        if entry.is_inferred or entry.follows_message:
            try:
                _place(entry, messages, state.actions, plan)
            except InvalidInput as refusal:
                entry.step_number = None
                if entry.id in fresh and not (entry.event.from_provider and entry.event.suppresses):
                    refused[entry.id] = str(refusal)
                    continue
        state.apply(entry)
    state.count_soft_bounces()
    state.bind(entries, messages)
    return Replayed(state.actions, state.unsubscribed_at, refused, messages)


def _place(entry: Entry, messages: MutableMapping[str, int | None], actions: Mapping[int, Action], plan: Plan) -> None:
    """Gives the step to an event without a number: that of its message, if it can be about it, else the inferred one.
    Notes that step as the message's, if nobody named one."""
    event, message = entry.event, entry.event.provider_message_id
    if message is not None and message in messages and _can_be(event, messages[message], actions, plan):
        entry.step_number = messages[message]
        return
    entry.is_inferred, entry.follows_message = True, False
    entry.step_number = infer_step(event, actions, plan.steps)
    # What answers a connection request may come in a message of another step. What comes of a message that was sent
    # beyond the last step is about no step either.
    if message is not None and event.event_type not in ANSWERS and (entry.step_number or event.event_type in SENDS):
        messages.setdefault(message, entry.step_number)


def _can_be(event: NewEvent, number: int | None, actions: Mapping[int, Action], plan: Plan) -> bool:
    if number is None:
        return event.event_type not in ANSWERS
    try:
        check_step(event, number, actions, plan.steps)
    except InvalidInput:
        return False
    return True


class _State:
    """The actions of an enrollment while its events are read."""

    def __init__(self, enrollment: Enrollment, actions: dict[int, Action], plan: Plan) -> None:
        self.actions = actions
        self.unsubscribed_at: datetime | None = None
        self._soft_bounces: dict[int, list[datetime]] = {}
        self._enrollment = enrollment
        self._plan = plan

    def apply(self, entry: Entry) -> None:
        number, event = entry.step_number, entry.event
        action = self.actions.get(number) if number is not None else None
        entry.event = event = with_haste(event, action.delivery_told_at if action else None)
        effect = event.effect
        if effect.milestone is None:
            return
        if effect.milestone is Milestone.UNSUBSCRIBED:
            effect = first_unsubscribe(effect, event.occurred_at, self.unsubscribed_at)
            if effect.milestone is Milestone.UNSUBSCRIBED:
                self._withdraw_unsubscribe(event.occurred_at)
        if number is not None:
            note(action or self._make(number, event), event, effect)
            self._watch_bounces(number, event)

    def _watch_bounces(self, number: int, event: NewEvent) -> None:
        """Counts a soft bounce, unless something shows that the step was delivered after all."""
        if event.is_soft_bounce:
            self._soft_bounces.setdefault(number, []).append(event.occurred_at)
        elif Milestone.DELIVERED in REACHED[event.event_type]:
            # Entries are read in the order in which things happened, so this came after all bounces so far.
            self._soft_bounces.pop(number, None)

    def count_soft_bounces(self) -> None:
        """Settles what can be decided only after all events are read."""
        for number, moments in self._soft_bounces.items():
            self.actions[number].note_soft_bounce(moments[0])

    def _withdraw_unsubscribe(self, at: datetime) -> None:
        self.unsubscribed_at = at
        for action in self.actions.values():
            action.forget_unsubscribe()

    def _make(self, number: int, event: NewEvent) -> Action:
        step = step_for(self._plan.steps, number, self._enrollment.recipient)
        variant = step.a_b_variant if step else None
        action = Action(self._enrollment.campaign_id, self._enrollment.id, number, event.channel, variant)
        self.actions[number] = action
        return action

    def bind(self, entries: Sequence[Entry], messages: Mapping[str, int | None]) -> None:
        """Gives each action the first message that events tell of it, unless it has one of which none tells."""
        told = {entry.event.provider_message_id for entry in entries}
        for action in self.actions.values():
            if action.provider_message_id in told:
                action.provider_message_id = None
        for entry in entries:
            message = entry.event.provider_message_id
            action = self.actions.get(messages.get(message) or 0) if message is not None else None
            if action and action.provider_message_id is None and EFFECTS[entry.event.event_type].milestone:
                action.provider_message_id = message
                action.provider = action.provider or entry.event.provider


def note(action: Action, event: NewEvent, effect: Effect) -> None:
    """Applies an event to the action of its step."""
    action.apply(effect, event.occurred_at, source_of(event))
    if event.event_type is EventType.DELIVERED and (
        action.delivery_told_at is None or event.occurred_at < action.delivery_told_at
    ):
        action.delivery_told_at = event.occurred_at


def first_unsubscribe(effect: Effect, at: datetime, known: datetime | None) -> Effect:
    """Returns the effect of an unsubscribe: a person unsubscribes once, and a repetition only says that the step was
    sent."""
    return effect if known is None or at < known else replace(effect, milestone=Milestone.SENT)


def _named(entries: Sequence[Entry], actions: Mapping[int, Action]) -> dict[str, int | None]:
    """Returns message -> the lowest step that was named for it, by an event or by what holds it from elsewhere."""
    named = [
        (entry.event.provider_message_id, entry.step_number)
        for entry in entries
        if not (entry.is_inferred or entry.follows_message)
    ]
    inferred = {entry.event.provider_message_id for entry in entries if entry.is_inferred}
    named += [
        (action.provider_message_id, action.step_number)
        for action in actions.values()
        if action.provider_message_id not in inferred
    ]
    messages: dict[str, int | None] = {}
    for message, number in named:
        if message is not None and number is not None:
            messages[message] = min(number, messages.get(message) or number)
    return messages


def _beyond(enrollment: Enrollment, actions: Mapping[int, Action], stored: Sequence[Entry]) -> dict[int, Action]:
    """Returns the actions with only what the stored events do not say."""
    said = _said(enrollment, actions, stored)
    beyond: dict[int, Action] = {}
    for number, action in actions.items():
        explained = said.get(number)
        fact = replace(action, times=list(action.times))
        if explained is not None:
            fact.subtract(explained)
        beyond[number] = fact
    return beyond


def _said(
    enrollment: Enrollment, actions: Mapping[int, Action], stored: Sequence[Entry]
) -> MutableMapping[int, Action]:
    """Returns the actions as the stored events alone make them, at their present places."""
    state = _State(enrollment, {number: action.before_events() for number, action in actions.items()}, Plan(()))
    for entry in sorted(stored, key=position):
        shown = replace(entry)
        state.apply(shown)
    state.count_soft_bounces()
    return state.actions


def _has_stepless_fact(enrollment: Enrollment, stored: Sequence[Entry]) -> bool:
    """Returns whether the enrollment knows of an unsubscribe that no event tells of."""
    at = enrollment.unsubscribed_at
    return at is not None and not any(
        entry.event.event_type is EventType.UNSUBSCRIBED and entry.event.occurred_at == at for entry in stored
    )

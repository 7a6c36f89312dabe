"""Event types, and what each does: to the action it is about, and to the enrollment.

The funnel rule: what happened later implies what came before, so that webhooks that arrive out of order can neither
break `delivered <= sent` nor be lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from db.domain.metrics import Milestone, Total
from db.domain.states import Channel, EnrollmentCommand, LinkedInStepType, StopReason


class EventType(StrEnum):
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    AUTO_REPLIED = "auto_replied"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FAILED = "failed"
    MACHINE_OPENED = "machine_opened"
    MACHINE_CLICKED = "machine_clicked"
    PROFILE_VISITED = "profile_visited"
    CONNECTION_SENT = "connection_sent"
    CONNECTION_ACCEPTED = "connection_accepted"
    CONNECTION_REJECTED = "connection_rejected"
    MESSAGE_SENT = "message_sent"
    MESSAGE_REPLIED = "message_replied"
    VOICE_MESSAGE_SENT = "voice_message_sent"


class BounceType(StrEnum):
    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Stop:
    """How an event ends an enrollment."""

    command: EnrollmentCommand
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Effect:
    """What one event type does. An event without a milestone is kept, and drives nothing in the funnel."""

    channel: Channel
    milestone: Milestone | None = None
    total: Total | None = None
    stop: Stop | None = None

    @property
    def suppresses(self) -> bool:
        """Whether it ends all writing to the person: an unsubscribe, a complaint, a hard bounce."""
        return self.stop is not None and self.stop.reason is not StopReason.REPLIED


IMPLIES: Mapping[Milestone, tuple[Milestone, ...]] = MappingProxyType(
    {
        Milestone.SENT: (),
        Milestone.DELIVERED: (Milestone.SENT,),
        Milestone.OPENED: (Milestone.DELIVERED, Milestone.SENT),
        Milestone.CLICKED: (Milestone.OPENED, Milestone.DELIVERED, Milestone.SENT),
        Milestone.REPLIED: (Milestone.DELIVERED, Milestone.SENT),
        Milestone.BOUNCED: (Milestone.SENT,),
        Milestone.HARD_BOUNCED: (Milestone.BOUNCED, Milestone.SENT),
        # Somebody can unsubscribe on a page or by telephone, so it proves the send, and not its delivery.
        Milestone.UNSUBSCRIBED: (Milestone.SENT,),
        Milestone.COMPLAINED: (Milestone.DELIVERED, Milestone.SENT),
        Milestone.ACCEPTED: (Milestone.SENT,),
        Milestone.FAILED: (),
    }
)

_REPLY = Stop(EnrollmentCommand.COMPLETE, StopReason.REPLIED)
_UNSUBSCRIBE = Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.UNSUBSCRIBED)
_COMPLAINT = Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.COMPLAINED)
_BOUNCE = Stop(EnrollmentCommand.BOUNCE, StopReason.BOUNCED)
_DEPARTURE = Stop(EnrollmentCommand.COMPLETE, StopReason.HAS_LEFT)

HAS_LEFT: Final = "has_left"
"""What the detail `automatic` of an automatic reply says where the person has left."""
SOFT_BOUNCES_MAX: Final = 5
"""So many soft bounces in a row end an enrollment. The detail `in_a_row` of the last one counts them."""

EFFECTS: Mapping[EventType, Effect] = MappingProxyType(
    {
        EventType.SENT: Effect(Channel.EMAIL, Milestone.SENT),
        EventType.DELIVERED: Effect(Channel.EMAIL, Milestone.DELIVERED),
        EventType.DEFERRED: Effect(Channel.EMAIL, Milestone.SENT),
        EventType.OPENED: Effect(Channel.EMAIL, Milestone.OPENED, Total.TOTAL_OPENS),
        EventType.CLICKED: Effect(Channel.EMAIL, Milestone.CLICKED, Total.TOTAL_CLICKS),
        EventType.REPLIED: Effect(Channel.EMAIL, Milestone.REPLIED, stop=_REPLY),
        EventType.AUTO_REPLIED: Effect(Channel.EMAIL, Milestone.DELIVERED),
        EventType.BOUNCED: Effect(Channel.EMAIL, Milestone.HARD_BOUNCED, stop=_BOUNCE),
        EventType.REJECTED: Effect(Channel.EMAIL, Milestone.FAILED),
        EventType.COMPLAINED: Effect(Channel.EMAIL, Milestone.COMPLAINED, stop=_COMPLAINT),
        EventType.UNSUBSCRIBED: Effect(Channel.EMAIL, Milestone.UNSUBSCRIBED, stop=_UNSUBSCRIBE),
        EventType.FAILED: Effect(Channel.EMAIL, Milestone.FAILED),
        EventType.MACHINE_OPENED: Effect(Channel.EMAIL),
        EventType.MACHINE_CLICKED: Effect(Channel.EMAIL),
        EventType.PROFILE_VISITED: Effect(Channel.LINKEDIN, Milestone.SENT),
        EventType.CONNECTION_SENT: Effect(Channel.LINKEDIN, Milestone.SENT),
        EventType.CONNECTION_ACCEPTED: Effect(Channel.LINKEDIN, Milestone.ACCEPTED),
        EventType.CONNECTION_REJECTED: Effect(Channel.LINKEDIN),
        EventType.MESSAGE_SENT: Effect(Channel.LINKEDIN, Milestone.SENT),
        EventType.MESSAGE_REPLIED: Effect(Channel.LINKEDIN, Milestone.REPLIED, stop=_REPLY),
        EventType.VOICE_MESSAGE_SENT: Effect(Channel.LINKEDIN, Milestone.SENT),
    }
)


SENDS = frozenset(
    {
        EventType.SENT,
        EventType.PROFILE_VISITED,
        EventType.CONNECTION_SENT,
        EventType.MESSAGE_SENT,
        EventType.VOICE_MESSAGE_SENT,
    }
)
"""These say that a step was sent, and when."""

FACTS = frozenset({EventType.OPENED, EventType.CLICKED, EventType.CONNECTION_ACCEPTED, EventType.AUTO_REPLIED})
"""These may make the condition of a later step true. A reply of a person ends the enrollment."""

STEP_TYPES: Mapping[EventType, LinkedInStepType] = MappingProxyType(
    {
        EventType.PROFILE_VISITED: LinkedInStepType.PROFILE_VISIT,
        EventType.CONNECTION_SENT: LinkedInStepType.CONNECTION_REQUEST,
        EventType.MESSAGE_SENT: LinkedInStepType.MESSAGE,
        EventType.VOICE_MESSAGE_SENT: LinkedInStepType.VOICE_MESSAGE,
        EventType.CONNECTION_ACCEPTED: LinkedInStepType.CONNECTION_REQUEST,
        EventType.CONNECTION_REJECTED: LinkedInStepType.CONNECTION_REQUEST,
    }
)
"""What kind of LinkedIn step an event is about."""

ANSWERS = frozenset({EventType.CONNECTION_ACCEPTED, EventType.CONNECTION_REJECTED})
"""These can be about nothing but a connection request."""

ABOUT_ADDRESS = frozenset({EventType.BOUNCED, EventType.COMPLAINED})
"""These are about the address that they name, which need not be the one that the mail was for."""

MOST_AHEAD = timedelta(days=1)
"""How far ahead of our clock a moment may lie at which something is said to have happened: clocks differ, by an hour
where a time zone was mistaken."""


REACHED: Mapping[EventType, frozenset[Milestone]] = MappingProxyType(
    {
        kind: frozenset(() if effect.milestone is None else (effect.milestone, *IMPLIES[effect.milestone]))
        for kind, effect in EFFECTS.items()
    }
)
"""The milestones that a step has reached when an event of this type has happened to it."""

# Asked of every event several times, and true of few.
_STOPS = frozenset(kind for kind, effect in EFFECTS.items() if effect.stop is not None) | {EventType.AUTO_REPLIED}
REPLIES = frozenset({EventType.REPLIED, EventType.MESSAGE_REPLIED})
_SUPPRESSES = frozenset(kind for kind, effect in EFFECTS.items() if effect.suppresses)

SOFT_BOUNCE = Effect(Channel.EMAIL, Milestone.SENT)
"""What a soft bounce does by itself: it says that the step was sent."""


@dataclass(slots=True)
class NewEvent:
    """An event as it arrives, before it is known whose it is. At least one way to find the enrollment is set:
    enrollment_id, provider_message_id, or campaign_id with email. Of several, the first that is known here counts.
    Only what ends all writing to a person may have an email alone."""

    event_type: EventType
    channel: Channel
    occurred_at: datetime
    enrollment_id: UUID | None = None
    provider_message_id: str | None = None
    campaign_id: UUID | None = None
    email: str | None = None
    step_number: int | None = None
    provider: str | None = None
    provider_event_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    from_provider: bool = False
    """A provider reports it, so opens and clicks may be those of machines, and nobody is there to correct it."""
    is_report: bool = False
    """The holder of the step reports it, which outweighs events."""

    @property
    def has_reference(self) -> bool:
        """Whether there is a way to find its enrollment."""
        return bool(self.enrollment_id or self.provider_message_id or (self.campaign_id and self.email))

    def forget_references(self) -> None:
        """Makes it an event of its address alone."""
        self.enrollment_id = self.provider_message_id = self.campaign_id = self.step_number = None

    @property
    def stop(self) -> Stop | None:
        """How this event ends its enrollment. A soft bounce ends nothing, unless it is one of many in a row; a bounce
        that does not say is hard, since writing again to a dead address costs the sender's reputation. An automatic
        reply ends nothing, unless it says that the person has left."""
        if self.event_type not in _STOPS:
            return None
        if self.event_type is EventType.AUTO_REPLIED:
            return _DEPARTURE if self.metadata.get("automatic") == HAS_LEFT else None
        if self.is_soft_bounce and not _is_last_of_many(self.metadata):
            return None
        return EFFECTS[self.event_type].stop

    @property
    def is_soft_bounce(self) -> bool:
        """Whether it came back for now: it may be delivered after all."""
        return self.event_type is EventType.BOUNCED and self.metadata.get("bounce_type") == BounceType.SOFT

    @property
    def effect(self) -> Effect:
        """What it does. Whether a soft bounce counts depends on what came after it."""
        return SOFT_BOUNCE if self.is_soft_bounce else EFFECTS[self.event_type]

    @property
    def suppresses(self) -> bool:
        """Whether it ends all writing to the person; a soft bounce does not."""
        return self.event_type in _SUPPRESSES and not self.is_soft_bounce

    @property
    def is_reply(self) -> bool:
        """Whether a person has answered, who then gets nothing of other campaigns until somebody lets them go on."""
        return self.event_type in REPLIES

    @property
    def is_wish(self) -> bool:
        """Whether it suppresses the person by their own wish, and not since mail can't be delivered."""
        return self.event_type is not EventType.BOUNCED and self.suppresses


def _is_last_of_many(metadata: Mapping[str, Any]) -> bool:
    count = metadata.get("in_a_row")
    return isinstance(count, int) and count >= SOFT_BOUNCES_MAX


def provider_name(text: str) -> str:
    """Returns a provider's name as it is stored and compared: people write SendGrid, and webhooks sendgrid."""
    return text.strip().lower()


def message_id(text: str) -> str:
    """Returns a Message-ID as it is stored and compared: without the angle brackets of its header."""
    return text.strip().removeprefix("<").removesuffix(">").strip()


def impersonal(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of an event's details that decides how it counts."""
    kind = metadata.get("bounce_type")
    return {"bounce_type": kind} if kind in tuple(BounceType) else {}


class EventVerdict(StrEnum):
    """What became of one event of a call."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    ORPHANED = "orphaned"
    INVALID = "invalid"

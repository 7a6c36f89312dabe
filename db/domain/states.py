"""The vocabularies and the state machines. The value of a member is the stored text and the wire text.

Each machine is one immutable table (state, command) -> state; what is not in the table is refused.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from db.domain.errors import InvalidTransition


class TemplateType(StrEnum):
    EMAIL = "email"
    LINKEDIN = "linkedin"
    MULTI_CHANNEL = "multi_channel"


class PathType(StrEnum):
    STRUCTURED = "structured"
    DYNAMIC_AI = "dynamic_ai"


class Channel(StrEnum):
    EMAIL = "email"
    LINKEDIN = "linkedin"


class LinkedInStepType(StrEnum):
    PROFILE_VISIT = "profile_visit"
    CONNECTION_REQUEST = "connection_request"
    MESSAGE = "message"
    VOICE_MESSAGE = "voice_message"


class CampaignStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


class CampaignCommand(StrEnum):
    START = "start_campaign"
    PAUSE = "pause_campaign"
    COMPLETE = "complete_campaign"
    FAIL = "fail"


_CAMPAIGN_TOOLS = (CampaignCommand.START, CampaignCommand.PAUSE, CampaignCommand.COMPLETE)

CAMPAIGN_TRANSITIONS: Mapping[tuple[CampaignStatus, CampaignCommand], CampaignStatus] = MappingProxyType(
    {
        (CampaignStatus.DRAFT, CampaignCommand.START): CampaignStatus.ACTIVE,
        (CampaignStatus.DRAFT, CampaignCommand.FAIL): CampaignStatus.FAILED,
        (CampaignStatus.ACTIVE, CampaignCommand.PAUSE): CampaignStatus.PAUSED,
        (CampaignStatus.ACTIVE, CampaignCommand.COMPLETE): CampaignStatus.COMPLETED,
        (CampaignStatus.ACTIVE, CampaignCommand.FAIL): CampaignStatus.FAILED,
        (CampaignStatus.PAUSED, CampaignCommand.START): CampaignStatus.ACTIVE,
        (CampaignStatus.PAUSED, CampaignCommand.COMPLETE): CampaignStatus.COMPLETED,
        (CampaignStatus.PAUSED, CampaignCommand.FAIL): CampaignStatus.FAILED,
    }
)


class EnrollmentStatus(StrEnum):
    ENROLLED = "enrolled"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"


class EnrollmentCommand(StrEnum):
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    ADVANCE = "advance"
    COMPLETE = "complete"
    MOVE = "move"
    BOUNCE = "bounce"
    UNSUBSCRIBE = "unsubscribe"


class EnrollmentAction(StrEnum):
    """What a person can do to one enrollment; the values are commands."""

    PAUSE = "pause"
    RESUME = "resume"
    ADVANCE = "advance"
    UNSUBSCRIBE = "unsubscribe"
    COMPLETE = "complete"
    MOVE = "move"


class EnrollVerdict(StrEnum):
    """What became of one person of an enrolment."""

    ENROLLED = "enrolled"
    REOPENED = "reopened"
    ALREADY_ENROLLED = "already_enrolled"
    SUPPRESSED = "suppressed"
    INVALID = "invalid"


class SuppressVerdict(StrEnum):
    """What became of one address of a suppression."""

    SUPPRESSED = "suppressed"
    ALREADY_SUPPRESSED = "already_suppressed"
    REFUSED = "refused"


OPEN = (EnrollmentStatus.ENROLLED, EnrollmentStatus.ACTIVE, EnrollmentStatus.PAUSED)
"""Enrollments of these states have not ended."""

ENROLLMENT_TRANSITIONS: Mapping[tuple[EnrollmentStatus, EnrollmentCommand], EnrollmentStatus] = MappingProxyType(
    {
        (EnrollmentStatus.ENROLLED, EnrollmentCommand.START): EnrollmentStatus.ACTIVE,
        (EnrollmentStatus.ENROLLED, EnrollmentCommand.PAUSE): EnrollmentStatus.PAUSED,
        (EnrollmentStatus.ACTIVE, EnrollmentCommand.PAUSE): EnrollmentStatus.PAUSED,
        (EnrollmentStatus.PAUSED, EnrollmentCommand.RESUME): EnrollmentStatus.ACTIVE,
        **{(state, EnrollmentCommand.ADVANCE): state for state in OPEN},
        **{(state, EnrollmentCommand.COMPLETE): EnrollmentStatus.COMPLETED for state in OPEN},
        **{(state, EnrollmentCommand.MOVE): EnrollmentStatus.COMPLETED for state in OPEN},
        **{(state, EnrollmentCommand.BOUNCE): EnrollmentStatus.BOUNCED for state in OPEN},
        # Only a person opens what has ended; and nobody what the other side has ended.
        (EnrollmentStatus.COMPLETED, EnrollmentCommand.RESUME): EnrollmentStatus.ACTIVE,
        (EnrollmentStatus.BOUNCED, EnrollmentCommand.RESUME): EnrollmentStatus.ACTIVE,
        # An unsubscribe wins over every other state, in whatever order events arrive, and repeating it changes nothing.
        **{(state, EnrollmentCommand.UNSUBSCRIBE): EnrollmentStatus.UNSUBSCRIBED for state in EnrollmentStatus},
    }
)


class StopReason(StrEnum):
    """Why an enrollment takes no further step."""

    FINISHED = "finished"
    REPLIED = "replied"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    CAMPAIGN_COMPLETED = "campaign_completed"
    MANUAL = "manual"
    MOVED = "moved"
    HAS_LEFT = "has_left"
    COLLEAGUE_REPLIED = "colleague_replied"


STOP_RANKS: Mapping[StopReason, int] = MappingProxyType(
    {
        # Somebody ended it before its time, so that what is known of it later says more.
        StopReason.SUPPRESSED: 0,
        StopReason.CAMPAIGN_COMPLETED: 0,
        StopReason.MANUAL: 0,
        StopReason.MOVED: 0,
        StopReason.COLLEAGUE_REPLIED: 0,
        # Nothing was left to send, which says nothing of the person.
        StopReason.FINISHED: 1,
        # A program says so. What the person does afterwards says more.
        StopReason.HAS_LEFT: 2,
        StopReason.REPLIED: 3,
        StopReason.BOUNCED: 4,
        StopReason.COMPLAINED: 5,
        StopReason.UNSUBSCRIBED: 6,
    }
)
"""Of two reasons why an enrollment has ended the one with the higher rank holds, whichever came first; of two with the
same rank, the first."""

ENDS: Mapping[EnrollmentCommand, EnrollmentStatus] = MappingProxyType(
    {
        EnrollmentCommand.COMPLETE: EnrollmentStatus.COMPLETED,
        EnrollmentCommand.MOVE: EnrollmentStatus.COMPLETED,
        EnrollmentCommand.BOUNCE: EnrollmentStatus.BOUNCED,
        EnrollmentCommand.UNSUBSCRIBE: EnrollmentStatus.UNSUBSCRIBED,
    }
)
"""The commands that end an enrollment, and how."""


class SuppressionReason(StrEnum):
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    MANUAL = "manual"


class SuppressionState(StrEnum):
    """Whether a suppression holds at a moment."""

    ACTIVE = "active"
    EXPIRED = "expired"


class ActionStatus(StrEnum):
    CLAIMED = "claimed"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class SentSource(StrEnum):
    """How the moment at which a step was sent is known. Of two sources the later in this list wins."""

    IMPLIED = "implied"
    """Something happened to the step that can only happen once it is sent."""
    TOLD = "told"
    """An event says that it was sent."""
    REPORTED = "reported"
    """Whoever held the step reported it."""


class ActionOutcome(StrEnum):
    """How the holder of a claimed action reports it; each is the status that the action then has."""

    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class ReportVerdict(StrEnum):
    """What became of one report. REPEATED: the step was reported so before."""

    COMPLETED = "completed"
    REPEATED = "repeated"
    REFUSED = "refused"


class MessageDirection(StrEnum):
    """Whether a message came in, or was handed out to be sent."""

    IN = "in"
    OUT = "out"


class MessageStatus(StrEnum):
    """Of a message that came in: `pending` until it is judged and its events are recorded. Of a mail that this server
    sends: the others. What an agent sends has none."""

    PENDING = "pending"
    RECORDED = "recorded"
    QUEUED = "queued"
    """Claimed, or to be tried again."""
    SENDING = "sending"
    """The server is about to be told the mail, or is being told."""
    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The connection ended before the server said whether it took the mail."""
    NOT_SENT = "not_sent"
    """It did not go out, and nobody waits for it."""


class MessageCommand(StrEnum):
    """What happens to a mail that this server sends."""

    QUEUE = "queue"
    """Its step is claimed, once more or for the first time."""
    BEGIN = "begin"
    SEND = "send"
    """The server took it, or somebody has a sign that it did."""
    REFUSE = "refuse"
    DEFER = "defer"
    LOSE = "lose"
    """Nobody knows whether the server took it."""
    DROP = "drop"
    """It did not go out, and is not to."""


MESSAGE_TRANSITIONS: Mapping[tuple[MessageStatus, MessageCommand], MessageStatus] = MappingProxyType(
    {
        (MessageStatus.QUEUED, MessageCommand.QUEUE): MessageStatus.QUEUED,
        (MessageStatus.NOT_SENT, MessageCommand.QUEUE): MessageStatus.QUEUED,
        (MessageStatus.QUEUED, MessageCommand.BEGIN): MessageStatus.SENDING,
        # A refusal of sender or recipient comes before the mail begins; an answer of a sender that was taken for dead
        # comes after its mail was given up as unknown.
        **{
            (state, command): after
            for state in (MessageStatus.QUEUED, MessageStatus.SENDING, MessageStatus.UNKNOWN)
            for command, after in (
                (MessageCommand.REFUSE, MessageStatus.REFUSED),
                (MessageCommand.DEFER, MessageStatus.QUEUED),
            )
        },
        (MessageStatus.SENDING, MessageCommand.LOSE): MessageStatus.UNKNOWN,
        # A sign that it was sent holds, whatever was thought before.
        **{
            (state, MessageCommand.SEND): MessageStatus.SENT
            for state in (
                MessageStatus.QUEUED,
                MessageStatus.SENDING,
                MessageStatus.SENT,
                MessageStatus.UNKNOWN,
                MessageStatus.NOT_SENT,
            )
        },
        (MessageStatus.QUEUED, MessageCommand.DROP): MessageStatus.NOT_SENT,
        (MessageStatus.UNKNOWN, MessageCommand.DROP): MessageStatus.NOT_SENT,
    }
)
"""The states of a mail that this server sends. `sending` and `unknown` are never queued again by a claim."""


STATES_BEFORE: Mapping[MessageCommand, tuple[MessageStatus, ...]] = MappingProxyType(
    {command: tuple(state for state, known in MESSAGE_TRANSITIONS if known is command) for command in MessageCommand}
)
"""The states in which each command is allowed."""
STATE_AFTER: Mapping[MessageCommand, MessageStatus] = MappingProxyType(
    {command: after for (_, command), after in MESSAGE_TRANSITIONS.items()}
)
"""The state after each command: the same whatever was before."""


class SettledAs(StrEnum):
    """What a person says became of a mail of which nobody knows whether it went out; each is the status it then has."""

    SENT = "sent"
    NOT_SENT = "not_sent"


class Interest(StrEnum):
    """What an agent or a person reads in an answer."""

    INTERESTED = "interested"
    NOT_NOW = "not_now"
    NOT_INTERESTED = "not_interested"
    QUESTION = "question"


class ThreadState(StrEnum):
    """`waiting`: nobody has answered yet, or only programs have."""

    WAITING = "waiting"
    NEEDS_ANSWER = "needs_answer"
    ANSWERED = "answered"
    CLOSED = "closed"


class ThreadsIn(StrEnum):
    """What threads are listed by: their state, or that nobody knows whether a mail of theirs went out."""

    WAITING = "waiting"
    NEEDS_ANSWER = "needs_answer"
    ANSWERED = "answered"
    CLOSED = "closed"
    DELIVERY_UNKNOWN = "delivery_unknown"


class OrphanStatus(StrEnum):
    WAITING = "waiting"
    EXPIRED = "expired"


class DeliveryStatus(StrEnum):
    """Of a webhook's request: `held` is for an operator, and never normalised."""

    WAITING = "waiting"
    RECORDED = "recorded"
    FAILED = "failed"
    HELD = "held"


def move_campaign(state: CampaignStatus, command: CampaignCommand) -> CampaignStatus:
    """Returns the campaign's state after `command`; InvalidTransition names the tools that are allowed instead."""
    after = CAMPAIGN_TRANSITIONS.get((state, command))
    if after is None:
        able = _allowed(CAMPAIGN_TRANSITIONS, state, _CAMPAIGN_TOOLS)
        raise InvalidTransition("campaign", state, command, able)
    return after


def move_enrollment(state: EnrollmentStatus, command: EnrollmentCommand) -> EnrollmentStatus:
    """Returns the enrollment's state after `command`; InvalidTransition names what is allowed instead."""
    after = ENROLLMENT_TRANSITIONS.get((state, command))
    if after is None:
        able = _allowed(ENROLLMENT_TRANSITIONS, state, tuple(EnrollmentAction))
        raise InvalidTransition("enrollment", state, command, able)
    return after


def _allowed(table: Mapping[Any, StrEnum], state: StrEnum, offered: Sequence[StrEnum]) -> tuple[str, ...]:
    """Returns the allowed commands among what is `offered` to callers. Events and claims give the other commands."""
    return tuple(str(command) for at, command in table if at == state and command in offered)

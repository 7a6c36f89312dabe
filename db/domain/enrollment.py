"""The part of an enrollment that events move. No input or output here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.domain.action import Action
from db.domain.events import Stop
from db.domain.scheduling import Plan, Recipient, due_at, next_step
from db.domain.states import (
    ENDS,
    STOP_RANKS,
    EnrollmentCommand,
    EnrollmentStatus,
    StopReason,
    move_enrollment,
)

_FINISH = Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED)
_TERMINAL = frozenset({EnrollmentStatus.COMPLETED, EnrollmentStatus.BOUNCED, EnrollmentStatus.UNSUBSCRIBED})


@dataclass(slots=True)
class Enrollment:
    """The part of an enrollment that events move."""

    instance_id: UUID
    id: UUID
    contact_id: UUID
    status: EnrollmentStatus
    current_step: int
    next_action_at: datetime | None
    a_b_variant: str | None
    stop_reason: StopReason | None = None
    is_erased: bool = False
    """Whether the person's data was erased, so that later reports are stored without details."""
    delay_from: datetime | None = None
    """The moment from which the delay of the next step counts: the end of the last step, or the start."""
    zone: str | None = None
    """The time zone in which the sending window is read for this person; None where it is the campaign's for all."""
    unsubscribed_at: datetime | None = None
    """When the person first unsubscribed from this campaign."""
    inferred_until: datetime | None = None
    """The latest moment of an event whose step was inferred. An earlier event may change that step."""
    pause_reason: str | None = None
    """Why the server paused it; None if a person did, or if it is not paused."""

    @property
    def is_open(self) -> bool:
        return self.status not in _TERMINAL

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.instance_id, self.contact_id, self.a_b_variant)

    def advance(self, action: Action, plan: Plan) -> None:
        """Notes that `action` was sent: its step is done, and the next one is due after its delay, or none is left.

        A late message about an earlier step moves nothing; one about the current step may correct the moment.
        """
        if action.sent_at is not None and action.step_number >= self.current_step:
            self.pass_step(action.step_number, action.sent_at, plan)

    def pass_step(self, step_number: int, at: datetime, plan: Plan) -> None:
        """Passes the step at `at`: the next one is due after its delay, or none is left. Nothing moves if a later step
        was passed already."""
        if step_number < self.current_step:
            return
        self.current_step, self.delay_from = step_number, at
        upcoming = next_step(plan.steps, step_number, self.recipient)
        if upcoming is None:
            self.stop(_FINISH)
        elif self.is_open:
            self.next_action_at = due_at(at, upcoming)

    def hand_out(self, step_number: int, until: datetime) -> None:
        """Gives the step to its holder until then. Steps with lower numbers are passed, so that one that is added or
        switched on meanwhile is never sent after it."""
        self.current_step = max(self.current_step, step_number - 1)
        self.next_action_at = until

    def pause(self, reason: str | None = None) -> None:
        """Pauses it until somebody resumes it."""
        self.status = move_enrollment(self.status, EnrollmentCommand.PAUSE)
        self.pause_reason = reason

    def follow(self, before: Mapping[int, datetime | None], actions: Mapping[int, Action], plan: Plan) -> None:
        """Notes all that is known to be sent now, which may be less than before.

        before: step -> when it was sent, as far as was known.

        A passed step stays passed, and an ended enrollment stays ended: a step that turns out not to be sent may have
        been handed out or passed by hand meanwhile, and only a person reopens an enrollment.
        """
        last = max([self.current_step, *(number for number, action in actions.items() if action.is_passed)])
        at = actions[last].sent_at if last in actions else None
        is_news = last > self.current_step or at != before.get(last)
        self.current_step = last
        if at is not None and is_news:
            self.pass_step(last, at, plan)

    def stop(self, stop: Stop) -> None:
        """Ends the enrollment. One that has ended already changes only for a reason of a higher rank."""
        known = -1 if self.stop_reason is None else STOP_RANKS[self.stop_reason]
        if self.is_open or STOP_RANKS[stop.reason] > known:
            self.status = ENDS[stop.command]
            self.stop_reason = stop.reason
            self.next_action_at = None

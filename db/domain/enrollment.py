"""The part of an enrollment that events move. No input or output here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from db.domain.action import Action
from db.domain.drafts import WAITING_FOR_APPROVAL
from db.domain.events import Stop
from db.domain.scheduling import Plan, Recipient, Step, due_at, next_step
from db.domain.states import (
    ENDS,
    STOP_RANKS,
    EnrollmentCommand,
    EnrollmentStatus,
    StopReason,
    move_enrollment,
)

REPLIED_ELSEWHERE: Final = "replied_elsewhere"
_FINISH = Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED)
_TERMINAL = frozenset({EnrollmentStatus.COMPLETED, EnrollmentStatus.BOUNCED, EnrollmentStatus.UNSUBSCRIBED})


@dataclass(slots=True)
class Enrollment:
    """The part of an enrollment that events move."""

    campaign_id: UUID
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
    mailbox_id: UUID | None = None
    """The mailbox that writes to the person. It stays the same."""
    pause_reason: str | None = None
    """Why the server paused it; None if a person did, or if it is not paused."""
    paused_until: datetime | None = None
    """When its pause ends by itself; None if that takes a person, or if it is not paused."""
    busy_since: datetime | None = None
    """When its step was due that has to wait for another campaign of the person. It is written, and read nowhere: any
    other change of the enrollment ends the note."""

    @property
    def is_open(self) -> bool:
        return self.status not in _TERMINAL

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.campaign_id, self.contact_id, self.a_b_variant)

    @property
    def waits_for_approval(self) -> bool:
        """Whether it is paused until a person approves the words of its next step."""
        return self.status is EnrollmentStatus.PAUSED and (self.pause_reason or "").startswith(WAITING_FOR_APPROVAL)

    def end_wait(self) -> None:
        """Lets it go on, if it waits for an approval: that was given, or may be asked for no more. Whatever changes
        what comes next for it ends the wait, and the next claim holds it again where an approval is asked for still."""
        if self.waits_for_approval:
            self.status = move_enrollment(self.status, EnrollmentCommand.RESUME)
            self.pause_reason = None

    def advance(self, action: Action, plan: Plan) -> None:
        """Notes that `action` was sent: its step is done, and the next one is due after its delay, or none is left.

        A late message about an earlier step moves nothing; one about the current step may correct the moment.
        """
        self.end_wait()
        if action.sent_at is not None and action.step_number >= self.current_step:
            self.pass_step(action.step_number, action.sent_at, plan)

    def pass_step(self, step_number: int, at: datetime, plan: Plan) -> None:
        """Passes the step at `at`: the next one is due after its delay, or none is left. Nothing moves if a later step
        was passed already."""
        if step_number < self.current_step:
            return
        self.end_wait()
        if self.paused_until is not None and step_number > self.current_step:
            at = max(at, self.paused_until)  # no delay is spent in a pause
        self.current_step, self.delay_from = step_number, at
        upcoming = next_step(plan.steps, step_number, self.recipient)
        if upcoming is None:
            self.stop(_FINISH)
        elif self.is_open:
            due = due_at(at, upcoming)
            self.next_action_at = due if self.paused_until is None else max(due, self.paused_until)

    def hand_out(self, step_number: int, until: datetime) -> None:
        """Gives the step to its holder until then. Steps with lower numbers are passed, so that one that is added or
        switched on meanwhile is never sent after it."""
        self.current_step = max(self.current_step, step_number - 1)
        self.next_action_at = until

    def wait_for_others(self, until: datetime, since: datetime | None) -> None:
        """Lets its step, which is due, wait until then for another campaign of the person, or until that wakes it.
        since: when the step was due that waits already, which keeps its place however often it is looked at."""
        self.busy_since, self.next_action_at = since or self.next_action_at, until

    def pause(self, reason: str | None = None) -> None:
        """Pauses it until somebody resumes it, also if its pause would have ended by itself."""
        if self.paused_until is None:
            self.status = move_enrollment(self.status, EnrollmentCommand.PAUSE)
        self.paused_until = None
        self.pause_reason = reason

    def wait_for_a_person(self, reason: str) -> None:
        """Pauses it until somebody resumes it, unless it has ended or waits for a person already. An approval is none:
        it would let the enrollment go on all the same."""
        if self.is_open:
            self.end_wait()
            if self.status is not EnrollmentStatus.PAUSED or self.paused_until is not None:
                self.pause(reason)

    def is_held_by_reply(self, enrollment_id: UUID) -> bool:
        """Returns whether it waits because the person has answered that other enrollment."""
        reason = self.pause_reason or ""
        is_held = self.status is EnrollmentStatus.PAUSED and reason.startswith(REPLIED_ELSEWHERE)
        return is_held and str(enrollment_id) in reason

    def go_on(self, *, is_draft: bool) -> None:
        """Takes back what it waited for a person for: its step is due when it was before."""
        self.status = EnrollmentStatus.ENROLLED if is_draft else EnrollmentStatus.ACTIVE
        self.pause_reason = None

    def pause_until(self, until: datetime, absent_until: datetime | None, now: datetime) -> None:
        """Pauses it until then, or changes until when it is paused. The step is due at the end, plus what is left of
        its delay."""
        was = self._held_until(absent_until, now)
        if self.status is not EnrollmentStatus.PAUSED:
            self.status = move_enrollment(self.status, EnrollmentCommand.PAUSE)
        self.paused_until, self.pause_reason = until, None
        self.move_hold(was, self._held_until(absent_until, now))

    def give_back_delay(self, absent_until: datetime | None, now: datetime) -> None:
        """Lets the step wait no longer for the end of its pause: what is left of its delay counts from now."""
        was, self.paused_until = self._held_until(absent_until, now), None
        self.move_hold(was, self._held_until(absent_until, now))

    def end_pause(self, now: datetime, *, is_draft: bool = False) -> None:
        """Makes it active again, or enrolled in a draft, if its pause is over."""
        if self.paused_until is not None and self.paused_until <= now:
            self.status = EnrollmentStatus.ENROLLED if is_draft else EnrollmentStatus.ACTIVE
            self.paused_until = None

    def note_absence(self, was: datetime | None, becomes: datetime | None, now: datetime) -> None:
        """Notes that the person is away until `becomes`, and not until `was`; None if they are not away."""
        self.move_hold(self._held_until(was, now), self._held_until(becomes, now))

    def _held_until(self, absent_until: datetime | None, now: datetime) -> datetime:
        """Returns the end of what holds the step by time: the pause and the absence; now if nothing does."""
        return max(now, self.paused_until or now, absent_until or now)

    def move_hold(self, was: datetime, becomes: datetime) -> None:
        """Notes that what holds the next step ends at `becomes`, and not at `was`. What is left of the delay then is
        what would have been left before. A delay that ends within the hold is spent."""
        if self.next_action_at is None:
            return
        moved = becomes + (self.next_action_at - was)
        if self.next_action_at < was:
            moved = max(self.next_action_at, becomes)
        if self.delay_from is not None:
            self.delay_from += moved - self.next_action_at
        self.next_action_at = moved

    def follow(self, before: Mapping[int, datetime | None], actions: Mapping[int, Action], plan: Plan) -> None:
        """Notes all that is known to be sent now, which may be less than before.

        before: step -> when it was sent, as far as was known.

        A passed step stays passed, and an ended enrollment stays ended: a step that turns out not to be sent may have
        been handed out or passed by hand meanwhile, and only a person reopens an enrollment.
        """
        last = max([self.current_step, *(number for number, action in actions.items() if action.is_passed)])
        at = actions[last].sent_at if last in actions else None
        is_news = last > self.current_step or at != before.get(last)
        if any(action.sent_at != before.get(number) for number, action in actions.items()) or is_news:
            self.end_wait()
        self.current_step = last
        if at is not None and is_news:
            self.pass_step(last, at, plan)

    def reopen(self, behind: int, upcoming: Step, now: datetime) -> None:
        """Opens it again after it has ended: the steps up to `behind` are passed, and `upcoming` is due after the delay
        that it had, at once if that is over."""
        self.status = move_enrollment(self.status, EnrollmentCommand.RESUME)
        self.stop_reason = None
        self.current_step = behind
        self.next_action_at = now if self.delay_from is None else max(now, due_at(self.delay_from, upcoming))

    def take_up(self, upcoming: Step | None, stops: Iterable[Stop], now: datetime) -> None:
        """Takes back what ended it: it goes on with `upcoming`, due after the delay that it had, unless one of `stops`
        ends it too, or no step is left."""
        self.status, self.stop_reason = EnrollmentStatus.ACTIVE, None
        for stop in stops:
            self.stop(stop)
        if upcoming is None:
            self.stop(_FINISH)
        elif self.is_open:
            self.next_action_at = now if self.delay_from is None else max(now, due_at(self.delay_from, upcoming))

    def stop(self, stop: Stop) -> None:
        """Ends the enrollment. One that has ended already changes only for a reason of a higher rank."""
        known = -1 if self.stop_reason is None else STOP_RANKS[self.stop_reason]
        if self.is_open or STOP_RANKS[stop.reason] > known:
            self.status = ENDS[stop.command]
            self.stop_reason = stop.reason
            self.next_action_at = self.paused_until = None

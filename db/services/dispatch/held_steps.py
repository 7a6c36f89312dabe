"""Claimed steps whose holder reports them: each locked with its enrollment, and read as the last holder left it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound
from db.domain.events import EventType
from db.domain.scheduling import Plan
from db.domain.states import ActionOutcome, ActionStatus, EnrollmentStatus, LinkedInStepType
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.campaigns import plans
from db.services.state import action_rows, enrollment_rows

_SENT_EVENTS = {
    LinkedInStepType.PROFILE_VISIT: EventType.PROFILE_VISITED,
    LinkedInStepType.CONNECTION_REQUEST: EventType.CONNECTION_SENT,
    LinkedInStepType.MESSAGE: EventType.MESSAGE_SENT,
    LinkedInStepType.VOICE_MESSAGE: EventType.VOICE_MESSAGE_SENT,
}


@dataclass(slots=True)
class Held:
    """A claimed step and its enrollment, both locked, with the plan that says what comes next."""

    id: UUID
    status: str
    lease_token: UUID | None
    error: str | None
    linkedin_type: str | None
    created_at: datetime
    updated_at: datetime
    """Both of the enrollment."""
    began_at: datetime
    """The transaction: the `updated_at` of what it writes."""
    has_message_elsewhere: bool
    """The message of the report is known of another step, or of none."""
    enrollment: Enrollment
    action: Action
    plan: Plan

    @property
    def sent_event_type(self) -> EventType:
        """What says that it was sent."""
        return EventType.SENT if self.linkedin_type is None else _SENT_EVENTS[LinkedInStepType(self.linkedin_type)]

    @property
    def is_passed_by_hand(self) -> bool:
        """Whether somebody has advanced past it, so that nothing waits for a report that it was not sent."""
        return self.status == ActionStatus.SKIPPED

    def skip(self, now: datetime) -> None:
        """Passes the step: the next one is scheduled as if this one had been sent now, unless events tell when it
        was."""
        if self.enrollment.is_open and self.action.sent_at is None:
            self.enrollment.pass_step(self.action.step_number, now, self.plan)

    def fail(self, now: datetime) -> None:
        """Pauses the enrollment of an unsent step until somebody resumes it (the step comes again) or advances it. Also
        if an event tells that the step was sent, unless the enrollment has moved on since."""
        behind = self.enrollment.current_step
        is_running = self.enrollment.status is EnrollmentStatus.ACTIVE or self.enrollment.paused_until is not None
        if is_running and self.action.step_number >= behind:
            self.enrollment.pause()
            if self.action.step_number > behind:
                self.enrollment.next_action_at = now

    def settle(self, outcome: ActionOutcome) -> None:
        """Gives the step its status: what anybody says was sent is sent."""
        self.status = ActionStatus.SENT if self.action.sent_at is not None else ActionStatus(outcome)


_NO_PLAN = Plan(())

# All that a report needs, in one statement. It locks the enrollment first, as recording events does, and both rows.
_OWN = f"""
    a.id, a.status, a.lease_token, a.error,
    CASE WHEN a.channel = 'linkedin' THEN coalesce(a.linkedin_type, (
        SELECT type FROM linkedin_sequences WHERE template_id = i.template_id AND step_number = a.step_number
    )) END,
    e.created_at, e.updated_at, now(),
    EXISTS (SELECT FROM campaign_actions x
            WHERE x.enrollment_id = a.enrollment_id AND x.provider_message_id = {{message}} AND x.id <> a.id)
    OR EXISTS (SELECT FROM campaign_messages m
               WHERE m.instance_id = a.instance_id AND m.enrollment_id = a.enrollment_id
                 AND m.provider_message_id = {{message}}),
    {enrollment_rows.COLUMNS}, {action_rows.COLUMNS}
"""
_ROWS = """
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    JOIN campaign_instances i ON i.id = a.instance_id
"""
_OWN_NAMES = named(
    "action_id", "status", "lease_token", "error", "linkedin_type", "created_at", "updated_at", "began_at",
    "has_message_elsewhere",
)  # fmt: skip
_NAMES = (*_OWN_NAMES, *enrollment_rows.NAMES, *action_rows.NAMES)
_HOLD = text(f"""
    SELECT {plans.COLUMNS}, {_OWN.format(message=":message")} FROM campaign_actions a {_ROWS}
    WHERE a.id = :id FOR NO KEY UPDATE OF e, a
""").columns(*plans.NAMES, *_NAMES)
_HOLD_ALL = text(f"""
    SELECT {_OWN.format(message="w.message")}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, message text)
    JOIN campaign_actions a ON a.id = w.id {_ROWS}
    ORDER BY e.instance_id, e.id, a.id FOR NO KEY UPDATE OF e, a
""").columns(*_NAMES)


def _held(row: Sequence[object], plan: Plan) -> Held:
    own, rest = row[: len(_OWN_NAMES)], row[len(_OWN_NAMES) :]
    enrollment = enrollment_rows.from_row(rest[: len(enrollment_rows.NAMES)])
    key = enrollment_rows.Key(enrollment.campaign_id, enrollment.id)
    action = action_rows.from_row(key, rest[len(enrollment_rows.NAMES) :])
    return Held(*own, enrollment=enrollment, action=action, plan=plan)  # pyright: ignore[reportArgumentType]


def hold(session: Session, *, action_id: UUID, provider_message_id: str | None) -> Held:
    """Returns a claimed step, locked with its enrollment. NotFound if there is none of that id."""
    found = session.execute(_HOLD, {"id": action_id, "message": provider_message_id}).one_or_none()
    if found is None:
        raise NotFound("action", action_id)
    return _held(found[len(plans.NAMES) :], plans.from_row(*found[: len(plans.NAMES)]))


def hold_all(session: Session, *, messages: Mapping[UUID, str | None], with_plans: bool = True) -> dict[UUID, Held]:
    """Returns claimed steps, locked with their enrollments in the order in which everybody locks them: action -> the
    step. `messages`: action -> the provider's message of its report. Actions that do not exist are left out.
    with_plans: False for those after which nothing is scheduled, and whose plans are not read."""
    rows = [{"id": id_, "message": message} for id_, message in messages.items()]
    found = [tuple(row) for row in session.execute(_HOLD_ALL, rows_parameter(rows))]
    place = len(_OWN_NAMES)
    known = plans.of_campaigns(session, campaign_ids={row[place] for row in found}) if with_plans else {}
    return {row[0]: _held(row, known.get(row[place], _NO_PLAN)) for row in found}


_REPORTED = text("SELECT reported FROM campaign_actions WHERE id = :id")


def reported(session: Session, *, action_id: UUID) -> str | None:
    """Returns how the holder of a step has reported it, if it has."""
    return session.scalar(_REPORTED, {"id": action_id})

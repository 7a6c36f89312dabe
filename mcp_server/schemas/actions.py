"""Due steps, and what agents report of them."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import Field

from db.domain.aside import Fate
from db.domain.field_limits import DESCRIPTION_MAX
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, Channel, ReportVerdict, SuppressionReason
from mcp_server.schemas.base import (
    Answer,
    Given,
    InternetMessageId,
    Maybe,
    MessageId,
    Prose,
    ProviderName,
    RowOut,
    is_nothing,
    untold,
)
from mcp_server.schemas.contacts import ContactOut
from mcp_server.schemas.enrollments import ActionOut, EnrollmentOut

if TYPE_CHECKING:
    from db.services.dispatch.claims import DueAction
    from db.services.dispatch.explain import Explanation


Headers = Annotated[
    Maybe[dict[str, str]],
    Field(description="Header fields to send the email with: its thread, and how people unsubscribe."),
]


class DueActionOut(Answer):
    action_id: UUID
    lease_token: UUID
    lease_until: datetime
    campaign_id: UUID
    enrollment_id: UUID
    contact: ContactOut
    channel: Channel
    sender: Annotated[Maybe[str], Field(description="The account to send from, where the campaign names one.")] = None
    mailbox: Annotated[Maybe[str], Field(description="The address that the email comes from.")] = None
    step_number: int
    step_type: Annotated[str, Field(description="email, or the type of the LinkedIn step.")]
    a_b_variant: Maybe[str] = None
    subject: Maybe[str] = None
    body: Maybe[str] = None
    headers: Headers = None

    @classmethod
    def of(cls, due: "DueAction") -> Self:
        return cls(
            action_id=due.action_id,
            lease_token=due.lease_token,
            lease_until=due.lease_until,
            campaign_id=due.enrollment.campaign_id,
            enrollment_id=due.enrollment.id,
            contact=ContactOut.model_validate(due.contact),
            channel=due.step.channel,
            sender=due.sender,
            mailbox=due.mailbox,
            step_number=due.step.step_number,
            step_type=due.text.step_type,
            a_b_variant=due.step.a_b_variant,
            subject=due.text.subject,
            body=due.text.body,
            headers={**(due.text.headers or {}), **due.mailbox_headers} or None,
        )


class SetAsideOut(Answer):
    """People whose steps were not handed out: paused (takes a person), ended, or moved to later; or campaigns that are
    paused."""

    fate: Fate
    reason: HoldReason
    count: int
    detail: Annotated[str, Field(description="Why the first of them, and what to do.")]


class ClaimDueAnswer(Answer):
    actions: list[DueActionOut]
    set_aside: Annotated[
        list[SetAsideOut],
        Field(
            exclude_if=is_nothing, description="What was paused, ended or moved instead, and why; nothing if left out."
        ),
    ] = []
    next_due_at: Annotated[Maybe[datetime], Field(description="When the next step falls due, if none is due now.")] = (
        None
    )


class CompleteActionAnswer(Answer):
    action: ActionOut
    enrollment: EnrollmentOut


class ActionReport(Given):
    """The arguments of complete_action"""

    action_id: UUID
    lease_token: UUID
    outcome: ActionOutcome
    provider: ProviderName | None = None
    provider_message_id: MessageId | None = None
    error: Annotated[Prose | None, Field(min_length=1, max_length=DESCRIPTION_MAX)] = None
    internet_message_id: InternetMessageId | None = None


class ReportRow(RowOut):
    action_id: Maybe[UUID] = None
    status: ReportVerdict


class CompleteActionsAnswer(Answer):
    completed: Annotated[int, untold]
    repeated: Annotated[int, Field(description="Reported so before; nothing was changed."), untold]
    refused: Annotated[int, untold]
    results: list[ReportRow]


class HoldOut(Answer):
    """`until` is when it ends by itself; without one it takes a person."""

    reason: HoldReason
    detail: str
    until: Maybe[datetime] = None
    position: Annotated[
        Maybe[int],
        Field(description="Position in the due queue, where a limit lets out one after the other; at most 10,001."),
    ] = None


class ExplainAnswer(Answer):
    due: Annotated[bool, Field(description="claim_due_actions would hand it out now.")]
    next_at: Annotated[Maybe[datetime], Field(description="When it can move; left out if that takes a person.")] = None
    holds: Annotated[list[HoldOut], Field(description="What holds it back, in the order in which it is looked at.")]
    channel: Annotated[Maybe[Channel], untold] = None
    step_number: Annotated[Maybe[int], Field(description="The step that comes next."), untold] = None

    @classmethod
    def of(cls, explanation: "Explanation") -> Self:
        step = explanation.step
        return cls(
            due=explanation.is_due,
            next_at=explanation.next_at,
            holds=[HoldOut.model_validate(hold) for hold in explanation.holds],
            channel=step.channel if step else None,
            step_number=step.step_number if step else None,
        )


class ForecastDay(Answer):
    """A day of a mailbox, in its time zone; without mailbox, of the steps that go out from none."""

    date: date
    mailbox: Maybe[str] = None
    planned: int
    binding_limit: Annotated[Maybe[str], Field(description="What kept people waiting who were due.")] = None


class ForecastAnswer(Answer):
    days: list[ForecastDay]
    ends_on: Annotated[Maybe[date], Field(description="When the last step goes out, if within 90 days.")] = None


class PreviewAnswer(Answer):
    """A step as it would be sent to one person, or why it can't be."""

    channel: Annotated[Channel, untold]
    step_number: Annotated[int, untold]
    step_type: Annotated[str, untold]
    a_b_variant: Annotated[Maybe[str], untold] = None
    subject: Maybe[str] = None
    body: Maybe[str] = None
    headers: Headers = None
    suppressed: Annotated[
        Maybe[SuppressionReason], Field(description="Why the person is suppressed: the step is not handed out.")
    ] = None
    unmet: Annotated[Maybe[str], Field(description="The condition that is false now."), untold] = None

"""The agent's loop: claim what is due, do it, report it."""

from collections import Counter
from functools import partial
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from db.domain.errors import InvalidInput
from db.domain.field_limits import DESCRIPTION_MAX
from db.domain.states import ActionOutcome, Channel, ReportVerdict
from db.services.dispatch import actions, claims, explain, forecast as forecasts
from db.services.dispatch.reports import Report, complete_all
from db.services.enrollments import enrollments
from db.services.people import suppressions
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.schemas.actions import (
    ActionReport,
    ClaimDueAnswer,
    CompleteActionAnswer,
    CompleteActionsAnswer,
    DueActionOut,
    ExplainAnswer,
    ForecastAnswer,
    ForecastDay,
    PreviewAnswer,
    ReportRow,
    SetAsideOut,
)
from mcp_server.schemas.base import (
    Detail,
    InternetMessageId,
    MessageId,
    Prose,
    ProviderName,
    Row,
    no_flag,
    sort_out,
)
from mcp_server.schemas.enrollments import ActionOut, EnrollmentOut
from mcp_server.schemas.mailboxes import MailboxName
from mcp_server.schemas.templates import StepNumber, Variant


def _without_suppressed(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
    """Returns the kept answer of a repeated claim without the people who opted out since."""
    given: list[dict[str, Any]] = answer["actions"]
    people = [(UUID(action["campaign_id"]), UUID(action["contact"]["id"])) for action in given]
    held = suppressions.of_people_in(call.session, people=people, now=call.now)
    left = [action for action, person in zip(given, people, strict=True) if person not in held]
    return {**answer, "actions": left}


@toolsets.actions.write("Claim due actions", again=_without_suppressed)
def claim_due_actions(
    call: Call,
    campaign_id: UUID | None = None,
    channel: Channel | None = None,
    limit: Annotated[int, Field(ge=1, le=500), no_flag] = 10,
    lease_seconds: Annotated[int, Field(ge=1, le=86_400), no_flag] = 300,
) -> ClaimDueAnswer:
    """Take due steps of active campaigns, longest due first.

    Each is yours until lease_until, and due again then: send it (an email with its headers), and call complete_action
    with its lease_token. set_aside counts people who were stopped or paused instead. With nothing due, next_due_at says
    when to come back, and explain_due why.
    """
    claim = claims.claim(
        call.session,
        campaign_id=campaign_id,
        channel=channel,
        limit=limit,
        lease_seconds=lease_seconds,
        now=call.now,
        public_url=call.app.settings.public_base,
    )
    return ClaimDueAnswer(
        actions=[DueActionOut.of(due) for due in claim.actions],
        set_aside=[SetAsideOut.model_validate(aside) for aside in claim.set_aside],
        next_due_at=claim.next_due_at,
    )


@toolsets.actions.write("Complete an action", idempotent=True)
def complete_action(
    call: Call,
    action_id: UUID,
    lease_token: UUID,
    outcome: ActionOutcome,
    provider: ProviderName | None = None,
    provider_message_id: Annotated[MessageId | None, Field(description="Ties later events to this step")] = None,
    error: Annotated[Prose | None, Field(min_length=1, max_length=DESCRIPTION_MAX)] = None,
    internet_message_id: Annotated[
        InternetMessageId | None, Field(description="Message-ID of the email, if not the one handed out")
    ] = None,
) -> CompleteActionAnswer:
    """Report a claimed step: sent (the next is scheduled), skipped, or failed (not sent).

    failed pauses the enrollment: update_enrollment resume brings the step again, advance skips it. The same report
    twice is safe; a lost lease is refused.
    """
    done = actions.complete(
        call.session,
        action_id=action_id,
        lease_token=lease_token,
        outcome=outcome,
        provider=provider,
        provider_message_id=provider_message_id,
        error=error,
        now=call.now,
        internet_message_id=internet_message_id,
    )
    return CompleteActionAnswer(
        action=ActionOut.model_validate(done.action), enrollment=EnrollmentOut.model_validate(done.enrollment)
    )


@toolsets.actions.write("Complete actions", idempotent=True)
def complete_actions(
    call: Call,
    reports: Annotated[
        list[Row[ActionReport]],
        Field(min_length=1, max_length=500, json_schema_extra={"told_in": "the arguments of complete_action"}),
    ],
    detail: Detail = "concise",
) -> CompleteActionsAnswer:
    """Report many claimed steps, each as complete_action does; a refused one does not hold up the others. results lists
    the refused; with full, all."""
    shapes, rejected = sort_out(reports)
    given = [Report(**dict(report)) for report in shapes.values()]
    results = complete_all(call.session, reports=given, now=call.now)
    rows = [ReportRow(index=index, status=ReportVerdict.REFUSED, reason=reason) for index, reason in rejected.items()]
    rows += [
        ReportRow(index=index, action_id=report.action_id, status=result.verdict, reason=result.reason)
        for (index, report), result in zip(shapes.items(), results, strict=True)
    ]
    rows.sort(key=attrgetter("index"))
    counts = Counter(row.status for row in rows)
    shown = rows if detail == "full" else [row for row in rows if row.status is ReportVerdict.REFUSED]
    return CompleteActionsAnswer(**{str(verdict): counts[verdict] for verdict in ReportVerdict}, results=shown)


@toolsets.actions.read("Preview an action")
def preview_action(
    call: Call,
    enrollment_id: UUID | None = None,
    campaign_id: UUID | None = None,
    contact_id: UUID | None = None,
    step_number: StepNumber | None = None,
    a_b_variant: Variant | None = None,
) -> PreviewAnswer:
    """Show a step as it would be sent in an enrollment, or to any contact (campaign_id and contact_id, enrolled or
    not). The next step, or step_number; a_b_variant is for contacts.
    """
    if (enrollment_id is None) != (campaign_id is not None and contact_id is not None):
        raise InvalidInput("Give enrollment_id, or campaign_id and contact_id.")
    step, text, unmet = actions.preview(
        call.session,
        enrollment_id=enrollment_id,
        campaign_id=campaign_id,
        contact_id=contact_id,
        step_number=step_number,
        a_b_variant=a_b_variant,
        public_url=call.app.settings.public_base,
    )
    if campaign_id is None or contact_id is None:
        assert enrollment_id is not None, "one of the two was asked for"
        enrollment = enrollments.get(call.session, enrollment_id=enrollment_id, now=call.now).enrollment
        campaign_id, contact_id = enrollment.campaign_id, enrollment.contact_id
    held = suppressions.of_people_in(call.session, people=[(campaign_id, contact_id)], now=call.now)
    refusal = held.get((campaign_id, contact_id))
    return PreviewAnswer(
        channel=step.channel,
        step_number=step.step_number,
        step_type=text.step_type,
        a_b_variant=step.a_b_variant,
        subject=text.subject,
        body=text.body,
        headers=text.headers,
        suppressed=None if refusal is None else refusal.reason,
        unmet=unmet,
    )


@toolsets.actions.read("Forecast", mode=Mode.APART)
def forecast(
    call: Call,
    campaign_id: UUID | None = None,
    mailbox: MailboxName | None = None,
    days: Annotated[int, Field(ge=1, le=forecasts.DAYS_MAX), no_flag] = 14,
) -> ForecastAnswer:
    """Say what will go out each day from each mailbox if nothing new comes in, and which limit keeps people waiting."""
    read = partial(
        forecasts.read,
        campaign_id=campaign_id,
        mailbox=mailbox,
        days=days,
        now=call.now,
        public_url=call.app.settings.public_base,
    )
    found = call.app.run("forecast", read, read_only=True)()
    return ForecastAnswer(days=[ForecastDay(**day._asdict()) for day in found.days], ends_on=found.ends_on)


@toolsets.actions.read("Explain what is due")
def explain_due(call: Call, enrollment_id: UUID | None = None, campaign_id: UUID | None = None) -> ExplainAnswer:
    """Say whether the next step of an enrollment, or any step of a campaign, can be handed out now; if not, what holds
    it back and until when. Give one of the two."""
    if (enrollment_id is None) == (campaign_id is None):
        raise InvalidInput("Give enrollment_id or campaign_id, and not both.")
    public_url = call.app.settings.public_base
    if enrollment_id is not None:
        found = explain.enrollment(call.session, enrollment_id=enrollment_id, now=call.now, public_url=public_url)
    else:
        assert campaign_id is not None, "one of the two was given"
        found = explain.campaign(call.session, campaign_id=campaign_id, now=call.now, public_url=public_url)
    return ExplainAnswer.of(found)

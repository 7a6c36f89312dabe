"""Records many reports of claimed steps at once. What one of them says, actions.complete records in the same way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput, LeaseLost, NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.states import ActionOutcome, Channel, ReportVerdict
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.campaigns import plans
from db.services.dispatch import actions, held_steps
from db.services.dispatch.held_steps import Held
from db.services.events import events
from db.services.events.record import Known
from db.services.mail import threads
from db.services.state import conversation_rows, enrollment_rows, message_rows, usage


@dataclass(frozen=True, slots=True)
class Report:
    """What the holder of a claimed step says of it; the arguments of actions.complete. at: when it happened, if not
    now."""

    action_id: UUID
    lease_token: UUID
    outcome: ActionOutcome
    provider: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    internet_message_id: str | None = None
    at: datetime | None = None


class Result(NamedTuple):
    """`reason` says why a report was refused, and what to do."""

    verdict: ReportVerdict
    reason: str | None = None


_COMPLETED = Result(ReportVerdict.COMPLETED)


def complete_all(session: Session, *, reports: Sequence[Report], now: datetime) -> list[Result]:
    """Records reports, each as actions.complete would. Returns one result each, in order. One that is refused changes
    nothing and holds up no other."""
    results: list[Result | None] = [None] * len(reports)
    together = _together(session, reports)
    if together:
        try:
            with session.begin_nested():
                _complete(session, together, reports, now)
            results = [_COMPLETED if index in together else None for index in range(len(reports))]
        except Exception as error:
            if not faults.is_of_a_row(error):
                raise
    return [result or _alone(session, report, now) for result, report in zip(results, reports, strict=True)]


def complete_new(session: Session, *, reports: Sequence[Report], now: datetime) -> dict[int, Held]:
    """Records those of these reports that are new and of the present holder of their step, one of an enrollment.
    Returns index -> its step. The others change nothing."""
    together = _together(session, reports)
    if together:
        _complete(session, together, reports, now)
    return together


def _together(session: Session, reports: Sequence[Report]) -> dict[int, Held]:
    """Returns the first report of each enrollment that is new, of its present holder, and says nothing that has to be
    looked at alone: index -> its step."""
    first: dict[UUID, int] = {}
    for index, report in enumerate(reports):
        first.setdefault(report.action_id, index)
    messages = {id_: reports[index].provider_message_id for id_, index in first.items()}
    found = held_steps.hold_all(session, messages=messages)
    chosen: dict[int, Held] = {}
    seen = set[UUID]()
    for id_, index in first.items():
        held, report = found.get(id_), reports[index]
        if held is None or held.enrollment.id in seen:
            continue
        seen.add(held.enrollment.id)
        is_odd = report.internet_message_id is not None and held.action.channel is not Channel.EMAIL
        if held.lease_token == report.lease_token and held.action.reported is None and not is_odd:
            chosen[index] = held
    return chosen


def _complete(session: Session, together: Mapping[int, Held], reports: Sequence[Report], now: datetime) -> None:
    released: Counter[usage.UsageKey] = Counter()
    for index, held in together.items():
        held.action.reported = reports[index].outcome
        if held.action.has_released:
            released.update(usage.usage_keys(held.action))
    usage.release(session, reservations=released)
    told = [known for index, held in together.items() if (known := _known(held, reports[index], now)) is not None]
    if told:
        events.record_own(session, known=told)
    _note_messages(session, together, reports, now)
    _pass_or_pause(session, together, reports, now)
    _note_reports(session, together, reports)


def _known(held: Held, report: Report, now: datetime) -> Known | None:
    """Returns the event of a report; None for a step that was passed over."""
    kind = held.sent_event_type if report.outcome is ActionOutcome.SENT else EventType.FAILED
    if report.outcome is not ActionOutcome.SENT and (
        report.outcome is ActionOutcome.SKIPPED or held.is_passed_by_hand or held.action.channel is not Channel.EMAIL
    ):
        return None
    event = NewEvent(
        event_type=kind,
        channel=held.action.channel,
        occurred_at=report.at or now,
        enrollment_id=held.enrollment.id,
        step_number=held.action.step_number,
        provider=report.provider,
        provider_message_id=report.provider_message_id if report.outcome is ActionOutcome.SENT else None,
        is_report=True,
    )
    return Known(event, held.enrollment, held.action, held.plan, held.has_message_elsewhere)


def _note_messages(session: Session, together: Mapping[int, Held], reports: Sequence[Report], now: datetime) -> None:
    sent = [index for index in together if reports[index].outcome is ActionOutcome.SENT]
    for index in sent:
        used = reports[index].internet_message_id
        if used is not None:
            message_rows.note_id(session, action_id=together[index].id, internet_message_id=used, now=now)
    threads.join_steps(session, action_ids=[together[index].id for index in sent])


def _pass_or_pause(session: Session, together: Mapping[int, Held], reports: Sequence[Report], now: datetime) -> None:
    unsent = {
        index: held
        for index, held in together.items()
        if reports[index].outcome is not ActionOutcome.SENT and not held.is_passed_by_hand
    }
    before = enrollment_rows.snapshot(held.enrollment for held in unsent.values())
    for index, held in unsent.items():
        held.skip(now) if reports[index].outcome is ActionOutcome.SKIPPED else held.fail(now)
    enrollment_rows.save(session, before=before, after=[held.enrollment for held in unsent.values()])


_NOTE = text("""
    UPDATE campaign_actions a
    SET status = n.status, reported = n.reported, error = n.error, updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS n(instance_id uuid, id uuid, status text, reported text, error text)
    WHERE a.instance_id = n.instance_id AND a.id = n.id
""")


def _note_reports(session: Session, together: Mapping[int, Held], reports: Sequence[Report]) -> None:
    """Stores what was not sent, and why."""
    rows: list[dict[str, object]] = []
    enrollment_ids: list[UUID] = []
    concerned: dict[UUID, plans.Plan] = {}
    for index, held in together.items():
        outcome = reports[index].outcome
        held.settle(outcome)
        if outcome is not ActionOutcome.SENT:
            concerned[held.action.campaign_id] = held.plan
            enrollment_ids.append(held.enrollment.id)
            note = {"status": held.status, "reported": held.action.reported, "error": reports[index].error}
            rows.append({"instance_id": held.action.campaign_id, "id": held.id, **note})
    if rows:
        session.execute(_NOTE, rows_parameter(rows))
        moments = plans.changed_at(session, campaign_ids=concerned)
        for campaign_id, plan in concerned.items():
            plans.check(plan, moments.get(campaign_id))
        conversation_rows.free(session, enrollment_ids=enrollment_ids)


def _alone(session: Session, report: Report, now: datetime) -> Result:
    """Records a report by itself: it may be repeated, or refused, or of an enrollment that has another report here."""
    before = held_steps.reported(session, action_id=report.action_id)
    try:
        with session.begin_nested():
            actions.complete(
                session,
                action_id=report.action_id,
                lease_token=report.lease_token,
                outcome=report.outcome,
                provider=report.provider,
                provider_message_id=report.provider_message_id,
                error=report.error,
                now=now,
                internet_message_id=report.internet_message_id,
            )
    except (InvalidInput, LeaseLost, NotFound, Refused) as refusal:
        return Result(ReportVerdict.REFUSED, str(refusal))
    except DBAPIError as error:
        if not faults.is_of_a_row(error):
            raise
        fault = faults.note("a report can't be recorded", error, action=str(report.action_id))
        return Result(ReportVerdict.REFUSED, f"This is a fault of the server, kept in its log as {fault}.")
    return Result(ReportVerdict.REPEATED if before == report.outcome else ReportVerdict.COMPLETED)

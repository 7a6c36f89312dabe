"""Events: what happened to the steps that were sent."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import Field

from db.domain.errors import InvalidInput
from db.domain.events import EventType, EventVerdict
from db.domain.field_limits import BATCH_MAX, PAGE_DEFAULT
from db.services.enrollments import enrollments
from db.services.events import events
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.process.telemetry import NO_PROVIDER
from mcp_server.schemas.base import Cursor, Detail, Limit, Moment, Row, check_range, shown_rows, sort_out, told_in
from mcp_server.schemas.events import EventIn, EventList, EventOut, RecordAnswer, RecordRow

if TYPE_CHECKING:
    from db.domain.events import NewEvent
    from db.services.events.record import Outcome


@toolsets.events.write("Record an event", mode=Mode.GROUPED)
def record_event(call: Call, event: EventIn) -> RecordAnswer:
    """Record one event and what it implies. A reply completes the enrollment; an unsubscribe, complaint or hard bounce
    also suppresses the person. One that fits no enrollment is kept as orphaned and counted once it fits. For many:
    record_events."""
    event.check_moment(call.now)
    (outcome,) = call.record(event.to_event(call.now))
    if outcome.verdict is EventVerdict.INVALID:
        raise InvalidInput(f"event: {outcome.reason}")
    return _answer([_row(0, outcome)], "concise")


@toolsets.events.write("Record many events")
def record_events(
    call: Call,
    events: Annotated[list[Row[EventIn]], Field(min_length=1, max_length=BATCH_MAX), told_in("event of record_event")],
    detail: Detail = "concise",
) -> RecordAnswer:
    """Record 1 to 10,000 events in one transaction, in any order, as record_event does. Rows are counted as recorded,
    duplicate, orphaned or invalid; results lists those with a reason; with full, all."""
    shapes, rejected = sort_out(events)
    fitting: dict[int, NewEvent] = {}
    for index, event in shapes.items():
        try:
            event.check_moment(call.now)
        except InvalidInput as refusal:
            rejected[index] = str(refusal)
        else:
            fitting[index] = event.to_event(call.now)
    outcomes = call.record(*fitting.values())
    call.counted[NO_PROVIDER, EventVerdict.INVALID] += len(rejected)
    rows = [RecordRow(index=index, status=EventVerdict.INVALID, reason=reason) for index, reason in rejected.items()]
    rows += [_row(index, outcome) for index, outcome in zip(fitting, outcomes, strict=True)]
    return _answer(rows, detail)


@toolsets.events.read("List events")
def list_events(
    call: Call,
    campaign_id: UUID,
    enrollment_id: UUID | None = None,
    event_type: Annotated[EventType | None, told_in("in record_event")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> EventList:
    """List the events of a campaign, latest first, with the person; full adds metadata. For counts: get_metrics."""
    check_range(since, until)
    page = events.list_(
        call.session,
        campaign_id=campaign_id,
        enrollment_id=enrollment_id,
        event_type=event_type,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    enrollment_ids = {event.enrollment_id for event in page.rows}
    people = enrollments.people(call.session, campaign_id=campaign_id, enrollment_ids=enrollment_ids)
    listed = [EventOut.listed(event, people.get(event.enrollment_id), detail) for event in page.rows]
    return EventList(events=listed, next_cursor=page.next_cursor)


def _row(index: int, outcome: "Outcome") -> RecordRow:
    return RecordRow(index=index, status=outcome.verdict, event_id=outcome.event_id, reason=outcome.reason)


def _answer(rows: list[RecordRow], detail: Detail) -> RecordAnswer:
    count = Counter(row.status for row in rows)
    return RecordAnswer(
        recorded=count[EventVerdict.RECORDED],
        duplicates=count[EventVerdict.DUPLICATE],
        orphaned=count[EventVerdict.ORPHANED],
        invalid=count[EventVerdict.INVALID],
        results=shown_rows(rows, detail),
    )

"""Events: what happened to the steps that were sent."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from pydantic import Field

from db import services
from db.domain.errors import InvalidInput
from db.domain.events import EventType, EventVerdict
from db.domain.rules import BATCH_MAX, PAGE_DEFAULT
from mcp_server.schemas.base import Cursor, Detail, Limit, Moment, Row, check_range, sort_out
from mcp_server.schemas.events import EventIn, EventList, EventOut, RecordAnswer, RecordRow
from mcp_server.toolset import Call
from mcp_server.toolsets import events


@events.write("Record an event")
def record_event(call: Call, event: EventIn) -> RecordAnswer:
    """Record one thing that happened, with all that it implies: counters, the enrollment's state, suppressions.

    An event with a provider_event_id counts once, however often it is sent. A reply completes the enrollment; an
    unsubscribe, a complaint or a hard bounce also suppresses the person. An event of an unknown enrollment is kept
    (orphaned) and counted as soon as it fits. For many events call record_events. Next: get_metrics.
    """
    answer = _record(call, [event], {})
    if answer.invalid:
        raise InvalidInput(f"event: {answer.results[0].reason}")
    return answer


@events.write("Record many events")
def record_events(
    call: Call, events: Annotated[list[Row[EventIn]], Field(min_length=1, max_length=BATCH_MAX)]
) -> RecordAnswer:
    """Record 1 to 10,000 events in one transaction, as record_event does. Any order will do.

    Each row is answered: recorded, duplicate, orphaned or invalid (with the reason); an invalid one fails alone.
    """
    fitting, rejected = sort_out(events)
    return _record(call, list(fitting.values()), rejected, list(fitting))


@events.read("List events")
def list_events(
    call: Call,
    campaign_id: UUID,
    enrollment_id: UUID | None = None,
    event_type: EventType | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> EventList:
    """List the events of a campaign, latest first; detail=full adds their metadata. To count, call get_metrics."""
    check_range(since, until)
    page = services.events.list_(
        call.session,
        campaign_id=campaign_id,
        enrollment_id=enrollment_id,
        event_type=event_type,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return EventList(events=[EventOut.of(event, detail) for event in page.rows], next_cursor=page.next_cursor)


def _record(
    call: Call, fitting: list[EventIn], rejected: dict[int, str], indexes: list[int] | None = None
) -> RecordAnswer:
    outcomes = services.events.record_events(call.session, events=[event.to_event(call.now) for event in fitting])
    rows = [RecordRow(index=index, status=EventVerdict.INVALID, reason=reason) for index, reason in rejected.items()]
    rows += [
        RecordRow(index=index, status=outcome.verdict, event_id=outcome.event_id, reason=outcome.reason)
        for index, outcome in zip(indexes or range(len(fitting)), outcomes, strict=True)
    ]
    rows.sort(key=lambda row: row.index)
    count = Counter(row.status for row in rows)
    for event, outcome in zip(fitting, outcomes, strict=True):
        call.events[event.provider or "none", outcome.verdict] += 1
    return RecordAnswer(
        recorded=count[EventVerdict.RECORDED],
        duplicates=count[EventVerdict.DUPLICATE],
        orphaned=count[EventVerdict.ORPHANED],
        invalid=count[EventVerdict.INVALID],
        results=rows,
    )

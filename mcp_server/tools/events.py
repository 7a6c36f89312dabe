"""Events: what happened to the steps that were sent."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import Field

from db.domain.errors import InvalidInput
from db.domain.events import EventType, EventVerdict
from db.domain.field_limits import BATCH_MAX, PAGE_DEFAULT
from db.domain.states import DeliveryStatus, OrphanStatus
from db.services.enrollments import enrollments
from db.services.events import deliveries, events, orphans
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.process.telemetry import NO_PROVIDER
from mcp_server.schemas.base import Cursor, Detail, Limit, Moment, Row, check_range, sort_out
from mcp_server.schemas.events import EventIn, EventList, EventOut, OrphanList, OrphanOut, RecordAnswer, RecordRow
from mcp_server.schemas.webhooks import DeliveryIds, DeliveryList, DeliveryOut, Provider, ReplayAnswer
from mcp_server.webhooks.replay import replay
from mcp_server.webhooks.ses import confirmation_url

if TYPE_CHECKING:
    from db.domain.events import NewEvent
    from db.services.events.record import Outcome


@toolsets.events.write("Record an event", mode=Mode.GROUPED)
def record_event(call: Call, event: EventIn) -> RecordAnswer:
    """Record one event and what it implies: counters, the enrollment's state, suppressions.

    A reply completes the enrollment; an unsubscribe, complaint or hard bounce also suppresses the person. One of an
    unknown enrollment is kept as orphaned and counted once it fits. For many: record_events. Next: get_metrics.
    """
    event.check_moment(call.now)
    (outcome,) = call.record(event.to_event(call.now))
    if outcome.verdict is EventVerdict.INVALID:
        raise InvalidInput(f"event: {outcome.reason}")
    return _answer([_row(0, outcome)])


@toolsets.events.write("Record many events")
def record_events(
    call: Call, events: Annotated[list[Row[EventIn]], Field(min_length=1, max_length=BATCH_MAX)]
) -> RecordAnswer:
    """Record 1 to 10,000 events in one transaction, in any order, as record_event does. Each row is answered: recorded,
    duplicate, orphaned or invalid (with the reason, and alone).
    """
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
    return _answer(sorted(rows, key=lambda row: row.index))


@toolsets.events.read("List events")
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
    """List the events of a campaign, latest first, with the person; full adds metadata. To count: get_metrics."""
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


@toolsets.events.read("List orphaned events")
def list_orphaned_events(
    call: Call,
    provider: Provider = None,
    status: OrphanStatus | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> OrphanList:
    """List events that fit no enrollment, latest first, with the reason; no metrics count them. Waiting ones are
    matched by themselves once their person is enrolled or their message id reported. since and until are of their
    arrival. Next: enroll_contacts, complete_action or replay_events.
    """
    check_range(since, until)
    page = orphans.list_(
        call.session, provider=provider, status=status, since=since, until=until, limit=limit, cursor=cursor
    )
    return OrphanList(orphans=[OrphanOut.of(row, detail) for row in page.rows], next_cursor=page.next_cursor)


@toolsets.events.read("List webhook deliveries")
def list_webhook_deliveries(
    call: Call,
    provider: Provider = None,
    status: DeliveryStatus | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> DeliveryList:
    """List requests of providers, latest first, with what became of their events; full adds the raw body, up to 1 MiB
    a page. failed ones say why; held ones ask an operator to confirm a subscription, at an address that full shows:
    open it only if you have just subscribed this server. Next: replay_events.
    """
    check_range(since, until)
    page, bodies = deliveries.list_(
        call.session,
        provider=provider,
        status=status,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
        with_bodies=detail == "full",
    )
    listed = [DeliveryOut.of(row, bodies.get(row.id), detail, confirmation_url) for row in page.rows]
    return DeliveryList(deliveries=listed, next_cursor=page.next_cursor)


@toolsets.events.write("Replay webhook deliveries", idempotent=True, mode=Mode.APART)
def replay_events(
    call: Call,
    provider: Provider = None,
    since: Moment | None = None,
    until: Moment | None = None,
    delivery_ids: DeliveryIds = None,
    after: Annotated[UUID | None, Field(description="next_after")] = None,
) -> ReplayAnswer:
    """Read stored requests of providers again, by today's rules, and record what they say; nothing counts twice.
    Without arguments all, oldest first, up to 5,000 a call; next_after says there are more. Next: list_orphaned_events.
    """
    check_range(since, until)
    return replay(call.app, provider=provider, since=since, until=until, ids=delivery_ids, after=after)


def _row(index: int, outcome: "Outcome") -> RecordRow:
    return RecordRow(index=index, status=outcome.verdict, event_id=outcome.event_id, reason=outcome.reason)


def _answer(rows: list[RecordRow]) -> RecordAnswer:
    count = Counter(row.status for row in rows)
    return RecordAnswer(
        recorded=count[EventVerdict.RECORDED],
        duplicates=count[EventVerdict.DUPLICATE],
        orphaned=count[EventVerdict.ORPHANED],
        invalid=count[EventVerdict.INVALID],
        results=rows,
    )

"""The requests of providers: what became of each, reading them again, and events that fit nobody."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.domain.field_limits import PAGE_DEFAULT
from db.domain.states import DeliveryStatus, OrphanStatus
from db.services.events import deliveries, orphans
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.schemas.base import Cursor, Detail, Limit, Moment, check_range
from mcp_server.schemas.events import OrphanList, OrphanOut
from mcp_server.schemas.webhooks import DeliveryIds, DeliveryList, DeliveryOut, Provider, ReplayAnswer
from mcp_server.webhooks.replay import replay
from mcp_server.webhooks.ses import confirmation_url


@toolsets.webhooks.read("List webhook deliveries")
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
    """List requests from providers, latest first, with what became of their events; full adds the raw body, up to 1 MiB
    a page. failed ones say why; held ones ask an operator to confirm a subscription, at an address that full shows:
    open it only if you have just subscribed this server."""
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


@toolsets.webhooks.write("Replay webhook deliveries", idempotent=True, mode=Mode.APART)
def replay_events(
    call: Call,
    provider: Provider = None,
    since: Moment | None = None,
    until: Moment | None = None,
    delivery_ids: DeliveryIds = None,
    after: Annotated[UUID | None, Field(description="next_after")] = None,
) -> ReplayAnswer:
    """Read stored requests from providers again, by today's rules, and record what they say; nothing counts twice.
    Without arguments, all, oldest first, up to 5,000 a call; next_after says there are more. Next:
    list_orphaned_events."""
    check_range(since, until)
    return replay(call.app, provider=provider, since=since, until=until, ids=delivery_ids, after=after)


@toolsets.webhooks.read("List orphaned events")
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
    matched once their person is enrolled or their message id reported. since and until mean their arrival."""
    check_range(since, until)
    page = orphans.list_(
        call.session, provider=provider, status=status, since=since, until=until, limit=limit, cursor=cursor
    )
    return OrphanList(orphans=[OrphanOut.of(row, detail) for row in page.rows], next_cursor=page.next_cursor)

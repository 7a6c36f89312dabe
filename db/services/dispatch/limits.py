"""What is left of the limits of streams, with the mailboxes that their steps go out from."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.allowance import Allowances
from db.domain.pools import COUNTED_MOST, Pools
from db.domain.scheduling import Plan
from db.domain.streams import DueStream
from db.services.dispatch import due_queue
from db.services.mail import pools
from db.services.state import usage


def pools_of(
    session: Session, *, plans: Mapping[UUID, Plan], streams: Sequence[DueStream], asking: UUID | None = None
) -> Pools:
    """Returns the mailboxes of these campaigns and streams. `asking`: see Pools."""
    ids = {
        stream.partition.mailbox_id
        for stream in streams
        if stream.partition is not None and stream.partition.mailbox_id
    }
    return pools.of_plans(session, plans=plans, mailbox_ids=ids, asking=asking)


def of_streams(
    session: Session,
    *,
    plans: Mapping[UUID, Plan],
    streams: Sequence[DueStream],
    known: Pools,
    now: datetime,
    lock: bool,
    limit: int | None = None,
) -> Allowances:
    """Returns what is left of the limits of these campaigns, and who writes to how many of their people, for
    hand-outs of up to `limit` steps (None: any number)."""
    allowances = usage.allowances_for(session, plans=plans, pools=known, now=now, lock=lock)
    new = [
        stream
        for stream in streams
        if stream.takes_new_people(plans[stream.campaign_id])
        and not stream.closed(plans[stream.campaign_id], known, now)
    ]
    # In this order: who gets a mailbox in between is missed by both, and nobody takes more than their share.
    known.people = pools.people(session, pools=known, campaigns={stream.campaign_id for stream in new})
    most = COUNTED_MOST if limit is None else known.counted_most(limit)
    known.waiting = due_queue.count_due(session, streams=new, now=now, most=most)
    return allowances

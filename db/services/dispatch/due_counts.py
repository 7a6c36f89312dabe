"""How many emails are due for each mailbox that the server sends from, whatever holds them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.streams import NOBODY
from db.models import Mailbox
from db.models.campaigns import PARTITION_MAILBOX, PARTITION_ZONE
from db.postgres.json import rows_parameter
from db.services.campaigns import plans
from db.services.dispatch import due_streams

COUNTED_MOST: Final = 10_000
"""Due emails of one campaign to one mailbox are counted up to here."""


class Due(NamedTuple):
    """overdue: those among them that are due for so long that they wait for a person."""

    emails: int
    overdue: int


_COUNT = text(f"""
    SELECT s.mailbox, sum(due.count), sum(due.overdue)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s(
        campaign uuid, mailbox uuid, zone text, next_after int[], due_from timestamptz)
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, count(*) FILTER (WHERE next_action_at < s.due_from) AS overdue FROM (
            SELECT next_action_at FROM campaign_enrollments
            WHERE instance_id = s.campaign AND {PARTITION_MAILBOX} = s.mailbox AND {PARTITION_ZONE} = s.zone
              AND status = 'active' AND next_action_at <= :now AND current_step = ANY (s.next_after)
            LIMIT {COUNTED_MOST}
        ) counted
    ) due
    GROUP BY s.mailbox
""")


def of_mailboxes(session: Session, *, rows: Iterable[Mailbox], now: datetime) -> Mapping[UUID | None, Due]:
    """Returns mailbox -> how many emails of active campaigns are due from it now, if any are. None: those to people who
    have no mailbox yet."""
    active = {id_: plan for id_, plan in plans.of_active(session).items() if plan.problem is None}
    streams = {
        stream
        for row in rows
        for stream in due_streams.of_mailbox(session, plans=active, mailbox_id=row.id, address=row.address, now=now)
    }
    asked = [
        {
            "campaign": stream.campaign_id,
            "next_after": stream.next_after,
            "due_from": stream.due_from,
            **stream.partition.to_row(),
        }
        for stream in streams
        if stream.partition is not None
    ]
    found = session.execute(_COUNT, {**rows_parameter(asked), "now": now}) if asked else ()
    return {None if mailbox == NOBODY else mailbox: Due(int(count), int(overdue)) for mailbox, count, overdue in found}

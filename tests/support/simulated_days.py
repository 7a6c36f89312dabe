"""Days that are run on a simulated clock: all that may go out is claimed and sent at once, by mailboxes and agents."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from db.domain.aside import SetAside
from db.domain.holds import HoldReason
from db.domain.mailboxes import CLAIMED_MOST
from db.domain.sending import QUARTER, quarter_of
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import claims, reports
from db.services.dispatch.claims import Claim
from db.services.dispatch.reports import Report

Rows: TypeAlias = Counter[tuple[date, str | None]]
_SOON = timedelta(seconds=5)


def run_days(
    database: Database,
    start: datetime,
    end: datetime,
    *,
    mailboxes: Sequence[UUID],
    zones: Mapping[UUID | str | None, str],
) -> Rows:
    """Runs the claims of `mailboxes` and of agents: at each moment those of the first of them that has something due,
    until nobody has. Returns how many steps went out on each day from each mailbox. `zones`: address or campaign -> the
    zone of its days."""
    rows: Rows = Counter()
    claimers = [*mailboxes, None]
    now, moments = start, dict.fromkeys(claimers, start)
    while now < end:
        while asking := [claimer for claimer in claimers if moments[claimer] <= now]:
            claimed = database.run("claim", partial(_claim, mailbox_id=asking[0], now=now))
            for due in claimed.actions:
                zone = zones[due.mailbox or due.enrollment.campaign_id]
                rows[now.astimezone(ZoneInfo(zone)).date(), due.mailbox] += 1
            if claimed.is_more or claimed.actions or any(not _is_busy(aside) for aside in claimed.set_aside):
                moments = dict.fromkeys(claimers, now)  # whatever has ended may let another one go on now
            if not (claimed.is_more or claimed.actions):
                at = claimed.next_due_at or end
                # Whoever waits for another mailbox asks again soon, and need not here: that one comes at its moment.
                moments[asking[0]] = at if at > now + _SOON else quarter_of(now) + QUARTER
        now = min(moments.values())
    return rows


def _is_busy(aside: SetAside) -> bool:
    return aside.reason is HoldReason.CONTACT_BUSY


def _claim(session: Session, *, mailbox_id: UUID | None, now: datetime) -> Claim:
    """One claim, all of whose steps are sent at once."""
    if mailbox_id is None:
        claimed = claims.claim(session, campaign_id=None, channel=None, limit=500, lease_seconds=300, now=now)
    else:
        claimed = claims.claim_for_mailbox(
            session, mailbox_id=mailbox_id, limit=CLAIMED_MOST, lease_seconds=300, now=now
        )
    told = [Report(due.action_id, due.lease_token, ActionOutcome.SENT) for due in claimed.actions]
    if told:
        reports.complete_all(session, reports=told, now=now)
    return claimed

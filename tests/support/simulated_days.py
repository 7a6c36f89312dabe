"""Days that are run on a simulated clock: all that may go out is claimed and sent at once, by mailboxes and agents."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from db.domain.sending import QUARTER, quarter_of
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import claims, reports
from db.services.dispatch.claims import Claim, DueAction
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
    """Runs the claims of `mailboxes`, in that order, and of agents. Returns how many steps went out on each day from
    each mailbox. `zones`: address or campaign -> the zone of its days."""
    rows: Rows = Counter()
    now = start
    while now < end:
        moments: list[datetime] = []
        for mailbox_id in [*mailboxes, None]:
            claimed = _claim_all(database, mailbox_id, now)
            for due in claimed.actions:
                zone = zones[due.mailbox or due.enrollment.instance_id]
                rows[now.astimezone(ZoneInfo(zone)).date(), due.mailbox] += 1
            moments += [claimed.next_due_at] if claimed.next_due_at is not None else []
        # Whoever waits for another mailbox asks again soon, and need not here: that one comes at its moment.
        quarter = quarter_of(now) + QUARTER
        now = min((at if at > now + _SOON else quarter for at in moments), default=end)
    return rows


def _claim_all(database: Database, mailbox_id: UUID | None, now: datetime) -> Claim:
    """Claims until nothing is due, as one claim."""
    actions: list[DueAction] = []
    while True:
        claimed = database.run("claim", partial(_claim, mailbox_id=mailbox_id, now=now))
        actions += claimed.actions
        if not claimed.actions and not claimed.is_more:
            return replace(claimed, actions=actions)


def _claim(session: Session, *, mailbox_id: UUID | None, now: datetime) -> Claim:
    """One claim, all of whose steps are sent at once."""
    if mailbox_id is None:
        claimed = claims.claim(session, campaign_id=None, channel=None, limit=500, lease_seconds=300, now=now)
    else:
        claimed = claims.claim_for_mailbox(session, mailbox_id=mailbox_id, limit=20, lease_seconds=300, now=now)
    told = [Report(due.action_id, due.lease_token, ActionOutcome.SENT) for due in claimed.actions]
    if told:
        reports.complete_all(session, reports=told, now=now)
    return claimed

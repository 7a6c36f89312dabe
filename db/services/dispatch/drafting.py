"""Drafts the texts of steps before they are due, so that a person can approve them in time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.aside import Fate
from db.domain.drafts import AHEAD_HOURS, LIVE_DRAFTS, Approval
from db.domain.enrollment import Enrollment
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan
from db.domain.states import EnrollmentStatus
from db.postgres.json import rows_parameter
from db.services.consent import drafting
from db.services.dispatch.candidates import Candidate, examine
from db.services.state import draft_rows, enrollment_rows

_MOST: Final = 500
"""How many are looked at by one claim: those who are due first. The next claim goes on."""
_LOOKED: Final = 1_000
"""Among how many of each campaign they are looked for."""
_AGAIN: Final = timedelta(hours=1)
"""So long whoever has nothing to draft is passed over, unless something about them changes: others come first."""
_SETTLED: Final = timedelta(days=365)
"""So long whoever has a draft is passed over, or needs none, unless something about them or their campaign changes."""

_LIVE = ", ".join(f"'{status}'" for status in LIVE_DRAFTS)
# Nothing here waits: rows that another transaction holds are left to the next claim.
_UNDRAFTED = text(f"""
    WITH looked AS MATERIALIZED (
        SELECT e.*
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s(campaign uuid, is_first_alone boolean, numbers int[])
        CROSS JOIN LATERAL (
            SELECT p.*, EXISTS (
                SELECT FROM action_drafts d
                WHERE d.enrollment_id = p.id AND d.status IN ({_LIVE})
                  AND d.step_number = (SELECT min(n) FROM unnest(s.numbers) AS n WHERE n > p.current_step)
            ) OR (
                s.is_first_alone
                AND EXISTS (
                    SELECT FROM (SELECT p.id AS enrollment_id, p.instance_id, p.current_step + 1 AS step_number) w
                    WHERE {draft_rows.SAID_BEFORE}
                )
            ) AS is_settled
            FROM campaign_enrollments p
            WHERE instance_id = s.campaign AND status = '{EnrollmentStatus.ACTIVE}'
              AND next_action_at IS NOT NULL AND next_action_at <= :ahead
              AND (draft_again_at IS NULL OR draft_again_at <= :now)
            ORDER BY next_action_at, id LIMIT :looked FOR NO KEY UPDATE SKIP LOCKED
        ) e
    ), settled AS (
        UPDATE campaign_enrollments SET draft_again_at = :settled
        WHERE id = ANY (ARRAY(SELECT id FROM looked WHERE is_settled))
    )
    SELECT {enrollment_rows.COLUMNS} FROM looked e WHERE NOT is_settled ORDER BY next_action_at, id LIMIT :limit
""").columns(*enrollment_rows.NAMES)
_PASS_OVER = text("""
    UPDATE campaign_enrollments e SET draft_again_at = :again
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, id uuid)
    WHERE e.instance_id = w.instance_id AND e.id = w.id
""")


def draft_ahead(
    session: Session, *, plans: Mapping[UUID, Plan], now: datetime, public_url: str | None
) -> list[tuple[Fate, Hold]]:
    """Drafts the steps that are due within two days, of campaigns that ask for an approval. Those that are due already
    wait for it from now on. Returns what became of these."""
    asking = {id_: plan for id_, plan in plans.items() if plan.sending.approval is not Approval.NONE}
    found = _undrafted(session, asking, now)
    if not found:
        return []
    before = enrollment_rows.snapshot(found)
    candidates = examine(session, enrollments=found, plans=asking, now=now, public_url=public_url)
    drafted = keep(session, candidates=candidates, plans=asking, now=now)
    paused: list[tuple[Fate, Hold]] = []
    for candidate in candidates:
        hold = candidate.holds[0] if candidate.holds else None
        if hold is not None and hold.reason is HoldReason.WAITING_FOR_APPROVAL:
            candidate.enrollment.pause(hold.detail)
            paused.append((Fate.PAUSED, hold))
    enrollment_rows.save(session, before=before, after=found)
    rows = [{"instance_id": one.campaign_id, "id": one.id} for one in found if one.id not in drafted]
    if rows:
        session.execute(_PASS_OVER, {**rows_parameter(rows), "again": now + _AGAIN})
    return paused


def _undrafted(session: Session, asking: Mapping[UUID, Plan], now: datetime) -> list[Enrollment]:
    """Returns whose step is due within two days and has no draft, locked. Those who have one or need none are not read
    again."""
    rows = [
        {
            "campaign": id_,
            "is_first_alone": plan.sending.approval is Approval.FIRST_STEP,
            "numbers": sorted({step.step_number for step in plan.steps}),
        }
        for id_, plan in asking.items()
    ]
    if not rows:
        return []
    moments = {"now": now, "ahead": now + timedelta(hours=AHEAD_HOURS), "settled": now + _SETTLED}
    values = {**rows_parameter(rows), **moments, "looked": _LOOKED, "limit": _MOST}
    return [enrollment_rows.from_row(row) for row in session.execute(_UNDRAFTED, values)]


def keep(session: Session, *, candidates: Sequence[Candidate], plans: Mapping[UUID, Plan], now: datetime) -> set[UUID]:
    """Drafts the words of those whose step waits for nothing but an approval, or for time besides. Returns their
    enrollments."""
    undecided = [
        found
        for candidate in candidates
        if (found := candidate.undecided) is not None and all(map(_is_approval_or_time, candidate.holds))
    ]
    drafting.keep(session, steps=undecided, plans=plans, now=now)
    return {found.enrollment.id for found in undecided}


def _is_approval_or_time(hold: Hold) -> bool:
    return hold.reason is HoldReason.WAITING_FOR_APPROVAL or hold.until is not None

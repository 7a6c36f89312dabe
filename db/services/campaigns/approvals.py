"""The approval that a campaign asks for, and those who wait for one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from db.domain.drafts import WAITING_FOR_APPROVAL, Approval
from db.domain.errors import Refused
from db.domain.states import EnrollmentStatus
from db.services.state import counters

# Large enough to make round trips cheap, and small enough to stay far from statement_timeout.
_CHUNK = 20_000


def kept(
    campaign_id: UUID, *, before: Mapping[str, Any], given: Mapping[str, Any], may_ask_less: bool
) -> dict[str, Any]:
    """Returns the settings `given` with the approval that holds from now on: that of the settings `before`, if they
    name none. Refused if it is less than before, unless the caller may lower it."""
    asked = Approval.of_settings(before)
    wanted = Approval(given.get("approval", asked))
    if wanted.asks_less_than(asked) and not may_ask_less:
        raise Refused(
            f"settings.approval: the campaign asks for {asked}, and {wanted} asks for less, which takes the scope "
            "approve. Nothing was changed. A person lowers it at the machine with `sales-automation-mcp campaigns "
            f"approval {campaign_id} {wanted}`; left out, it stays as it is."
        )
    return {**given, "approval": wanted} if "approval" in before else dict(given)


_GO_ON = text(f"""
    WITH picked AS MATERIALIZED (
        SELECT id FROM campaign_enrollments
        WHERE instance_id = :campaign AND id > :after AND status = '{EnrollmentStatus.PAUSED}'
          AND pause_reason LIKE '{WAITING_FOR_APPROVAL}%'
        ORDER BY id LIMIT :chunk FOR NO KEY UPDATE
    ), moved AS (
        UPDATE campaign_enrollments e
        SET status = '{EnrollmentStatus.ACTIVE}', pause_reason = NULL, updated_at = now()
        WHERE e.instance_id = :campaign AND e.id = ANY (ARRAY(SELECT id FROM picked)) RETURNING 1
    )
    SELECT (SELECT count(*) FROM moved), (SELECT id FROM picked ORDER BY id DESC LIMIT 1)
""")


# Whose words were drafted, or asked for no approval, may need others now: the next claims look at them again.
_LOOK_AGAIN = text("""
    WITH picked AS MATERIALIZED (
        SELECT id FROM campaign_enrollments
        WHERE instance_id = :campaign AND id > :after AND draft_again_at IS NOT NULL
          AND (SELECT settings ->> 'approval' <> 'none' FROM campaign_instances WHERE id = :campaign)
        ORDER BY id LIMIT :chunk FOR NO KEY UPDATE
    ), moved AS (
        UPDATE campaign_enrollments e SET draft_again_at = NULL
        WHERE e.instance_id = :campaign AND e.id = ANY (ARRAY(SELECT id FROM picked)) RETURNING 1
    )
    SELECT (SELECT count(*) FROM moved), (SELECT id FROM picked ORDER BY id DESC LIMIT 1)
""")


def ask_anew(session: Session, *, campaign_ids: Iterable[UUID]) -> None:
    """Lets those go on who wait for an approval in these campaigns, which the caller has locked and changed: it may be
    asked for no more, or of another step. The next claim holds the others again, and drafts what has no draft."""
    moves: Counter[tuple[UUID, EnrollmentStatus]] = Counter()
    for campaign_id in sorted(campaign_ids):
        moved = _in_chunks(session, _GO_ON, campaign_id)
        moves[campaign_id, EnrollmentStatus.ACTIVE] += moved
        moves[campaign_id, EnrollmentStatus.PAUSED] -= moved
        _in_chunks(session, _LOOK_AGAIN, campaign_id)
    counters.add_statuses(session, moves)  # last, so that nobody waits for a transaction that waits for them


def _in_chunks(session: Session, statement: TextClause, campaign_id: UUID) -> int:
    """Runs a statement over enrollments in key order. Returns how many it changed."""
    total, after = 0, UUID(int=0)
    while after is not None:
        values = {"campaign": campaign_id, "after": after, "chunk": _CHUNK}
        moved, after = session.execute(statement, values).one()
        total += moved
    return total

"""The returned mails and complaints that a transaction records. Once it is committed, the guardrails look at what they
concern: two transactions at the same moment don't see each other's, and whoever commits last sees both.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.action import Action, ActionState
from db.domain.metrics import MILESTONES, Milestone

_KEY: Final = "harmed"
_HARM: Final = tuple(MILESTONES.index(milestone) for milestone in (Milestone.BOUNCED, Milestone.COMPLAINED))


class Harmed(NamedTuple):
    """What an email was sent for and from that came back, or was complained of."""

    campaign_id: UUID
    account: str | None


def note(session: Session, *, changes: Iterable[tuple[Action, ActionState | None]]) -> None:
    """Notes the campaigns and accounts of the actions of which this is new; each with its state before."""
    found = {Harmed(action.campaign_id, action.sender) for action, before in changes if _is_new(action, before)}
    if found:
        session.info[_KEY] = found | noted(session)


def noted(session: Session) -> frozenset[Harmed]:
    """Returns what was noted in this transaction."""
    return frozenset(cast("Iterable[Harmed]", session.info.get(_KEY, ())))


def _is_new(action: Action, before: ActionState | None) -> bool:
    return any(
        action.times[place] is not None and (before is None or action.times[place] != before.times[place])
        for place in _HARM
    )

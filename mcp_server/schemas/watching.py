"""Shapes that only the dashboard uses: the due queue and the events of all campaigns, and the viewer."""

from datetime import datetime
from typing import Self
from uuid import UUID

from db.domain.access import Caller, Scope
from db.domain.events import EventType
from db.domain.states import Channel
from mcp_server.schemas.base import Answer, Maybe, NextCursor
from mcp_server.schemas.campaigns import CampaignLine
from mcp_server.schemas.drafts import DraftOut


class WaitingOut(Answer):
    enrollment_id: UUID
    campaign_id: UUID
    campaign_name: str
    name: Maybe[str] = None
    address: Maybe[str] = None
    current_step: int
    a_b_variant: Maybe[str] = None
    next_action_at: datetime


class WaitingList(Answer):
    """`due`: how many enrollments are past their due time, counted up to `due_most`."""

    waiting: list[WaitingOut]
    due: int
    due_most: int
    next_cursor: NextCursor = None


class DraftQueue(Answer):
    """The drafts that have waited longest, the oldest first. `has_more`: whether later ones wait."""

    drafts: list[DraftOut]
    has_more: bool


class HappenedOut(Answer):
    id: UUID
    campaign_id: UUID
    campaign_name: str
    enrollment_id: UUID
    name: Maybe[str] = None
    address: Maybe[str] = None
    event_type: EventType
    channel: Channel
    step_number: Maybe[int] = None
    occurred_at: datetime


class HappenedList(Answer):
    events: list[HappenedOut]


class FoundCampaigns(Answer):
    campaigns: list[CampaignLine]


class SendingOut(Answer):
    """Since when all sending is stopped, and how many mails had begun before that have no answer yet."""

    sending_stopped_at: Maybe[datetime] = None
    under_way: int = 0


class Viewer(Answer):
    """The viewer. `is_session`: the viewer signed in by a link, and so can sign out."""

    name: str
    scopes: list[Scope]
    is_session: bool
    version: str

    @classmethod
    def of(cls, caller: Caller, version: str, *, is_session: bool) -> Self:
        return cls(name=caller.name, scopes=sorted(caller.scopes), is_session=is_session, version=version)

"""Campaigns."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from db.domain import rules
from db.domain.states import CampaignStatus
from mcp_server.schemas.base import Answer, Given, Line, Maybe


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise PydanticCustomError("timezone", "Not a time zone of the IANA list; write one such as Europe/Berlin")
    return name


TimeZone = Annotated[
    Line, Field(min_length=1, max_length=rules.TIMEZONE_MAX, description="IANA name."), AfterValidator(_zone)
]


class CampaignSettings(Given):
    """How a campaign sends."""

    timezone: TimeZone | None = None
    daily_limit: (
        Annotated[
            int,
            Field(
                ge=1,
                le=1_000_000,
                description="Steps a day at most. Kept for whoever sends; claim_due_actions does not count yet.",
            ),
        ]
        | None
    ) = None


class CampaignOut(Answer):
    id: UUID
    name: str
    status: CampaignStatus
    template_id: UUID
    settings: dict[str, Any]
    provider_config: dict[str, Any]
    started_at: Maybe[datetime] = None
    paused_at: Maybe[datetime] = None
    completed_at: Maybe[datetime] = None
    created_at: datetime
    updated_at: datetime


class CampaignLine(Answer):
    """A campaign in a list."""

    id: UUID
    name: str
    status: CampaignStatus
    started_at: Maybe[datetime] = None
    campaign: Maybe[CampaignOut] = None

    @classmethod
    def of(cls, row: object, detail: str) -> Self:
        campaign = CampaignOut.model_validate(row)
        return cls(
            id=campaign.id,
            name=campaign.name,
            status=campaign.status,
            started_at=campaign.started_at,
            campaign=campaign if detail == "full" else None,
        )


class CampaignAnswer(Answer):
    campaign: CampaignOut


class CampaignList(Answer):
    campaigns: list[CampaignLine]
    next_cursor: Maybe[str] = None

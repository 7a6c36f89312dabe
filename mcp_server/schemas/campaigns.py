"""Campaigns."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from db.domain import field_limits
from db.domain.drafts import Approval
from db.domain.metrics import RATES
from db.domain.sending import WEEKDAYS, SentBy
from db.domain.states import CampaignStatus, Channel
from mcp_server.schemas.base import (
    Answer,
    Day,
    Given,
    Line,
    Maybe,
    NextCursor,
    Second,
    Undo,
    Warnings,
    no_flag,
    storable,
    told_in,
)
from mcp_server.schemas.contacts import Email
from mcp_server.schemas.zones import TimeZone

if TYPE_CHECKING:
    from db.services.reports.metrics import Group


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
assert get_args(Weekday) == WEEKDAYS

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def _wall_time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise PydanticCustomError("time", "must be a time of day such as 09:30")
    return text


def _end_time(text: str) -> str:
    return text if text == "24:00" else _wall_time(text)


WallTime = Annotated[str, AfterValidator(_wall_time), Field(description="HH:MM")]
EndTime = Annotated[str, AfterValidator(_end_time), Field(description="HH:MM, exclusive; up to 24:00")]
DailyLimit = Annotated[int, Field(ge=1, le=field_limits.DAILY_LIMIT_MAX), no_flag]
MinGap = Annotated[int, Field(ge=0, le=field_limits.MIN_GAP_SECONDS_MAX), no_flag]


class SendingWindow(Given):
    """Steps due outside wait for the next opening"""

    days: Annotated[list[Weekday], Field(max_length=7, description="Default mon to fri")] = [*WEEKDAYS[:5]]
    start: WallTime
    end: EndTime


class RampUp(Given):
    """daily_limit of the first day, and its daily growth"""

    start: DailyLimit
    increase: DailyLimit


class Sender(Given):
    account: Annotated[Line, Field(min_length=1, max_length=field_limits.SENDER_MAX)]
    timezone: TimeZone | None = None
    daily_limit: DailyLimit | None = None
    min_gap_seconds: MinGap | None = None


class Senders(Given):
    """Accounts to send from; campaigns that name the same one share its limits"""

    email: Sender | None = None
    linkedin: Annotated[Sender | None, told_in("email")] = None


_VARIABLE = re.compile(field_limits.VARIABLE_PATTERN)


def _variable_name(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise PydanticCustomError("variable_name", "its name must be a letter or _, and up to 63 letters, digits and _")
    return text


def _variable(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if not isinstance(value, int | float) or not -(2**63) <= value < 2**63:
        raise PydanticCustomError("variable", "must be text, a number of at most 64 bits, or true or false")
    return value


VariableName = Annotated[str, AfterValidator(_variable_name)]
Variable = Annotated[str | int | float | bool, BeforeValidator(_variable)]


_RATES = tuple(rate.slug for rate in RATES)


def _rate(slug: str) -> str:
    if slug not in _RATES:
        raise PydanticCustomError("rate", "must be one of {rates}", {"rates": ", ".join(_RATES)})
    return slug


# Plain text in the schema: a list of the rates would cost every model more tokens than a rare error does.
RateSlug = Annotated[str, AfterValidator(_rate)]


class CampaignSettings(Given):
    """How it sends; days and times are those of timezone"""

    timezone: Annotated[TimeZone | None, Field(description="IANA name; default: the workspace's")] = None
    use_contact_timezone: Annotated[
        bool | None, Field(description="The window opens in each person's zone, if known")
    ] = None
    sending_window: SendingWindow | None = None
    holidays: Annotated[
        list[Day] | None, Field(max_length=field_limits.HOLIDAYS_MAX, description="Days without sending, as 2026-12-24")
    ] = None
    daily_limit: Annotated[DailyLimit | None, Field(description="Steps a day")] = None
    min_gap_seconds: Annotated[MinGap | None, Field(description="Between two steps")] = None
    ramp_up: RampUp | None = None
    senders: Senders | None = None
    mailboxes: Annotated[
        list[Email] | None,
        Field(min_length=1, max_length=field_limits.POOL_MAX, description="Addresses that its emails come from"),
    ] = None
    sent_by: Annotated[SentBy | None, Field(description="Of emails with mailboxes. agent: whoever claims them")] = None
    include_overdue: Annotated[
        bool | None, Field(description="Send even what was due for 7 days when the server began to send")
    ] = None
    approval: Annotated[Approval | None, Field(description="Steps that a person approves first")] = None
    variables: Annotated[
        dict[VariableName, Variable] | None,
        Field(
            max_length=field_limits.VARIABLES_MAX,
            description="Text, number or flag by NAME, for {{ campaign.NAME }} in texts",
        ),
    ] = None
    primary_rate: Annotated[RateSlug | None, Field(description="Decides an A/B test")] = None

    @model_validator(mode="after")
    def _has_one_source_of_emails(self) -> Self:
        if self.mailboxes is not None and self.senders is not None and self.senders.email is not None:
            raise PydanticCustomError(
                "two_sources", "mailboxes and senders.email both say where emails come from: give one of them"
            )
        if self.mailboxes is not None and len(set(self.mailboxes)) < len(self.mailboxes):
            raise PydanticCustomError("repeated", "mailboxes names an address twice")
        return self

    def to_json(self) -> dict[str, Any]:
        """Returns it in the stored form, which db.domain.sending.of_settings reads. Unset fields are left out."""
        return self.model_dump(mode="json", exclude_none=True)


class NewApproval(BaseModel):
    """What update_campaign is asked for where it names an approval, as a person is asked about it."""

    class Settings(BaseModel):
        approval: Approval

    campaign_id: UUID
    settings: Settings


class CampaignOut(Answer):
    id: UUID
    name: str
    status: CampaignStatus
    template_id: UUID
    settings: dict[str, Any]
    provider_config: dict[str, Any]
    started_at: Maybe[datetime] = None
    paused_at: Maybe[datetime] = None
    pause_reason: Annotated[Maybe[str], Field(description="Why the server paused it, if a person did not.")] = None
    completed_at: Maybe[datetime] = None
    created_at: datetime
    updated_at: datetime


class CampaignLine(Answer):
    """A campaign in a list."""

    id: UUID
    name: str
    status: CampaignStatus
    started_at: Maybe[Second] = None
    pause_reason: Annotated[Maybe[str], Field(description="Why the server paused it, if a person did not.")] = None
    sent: Maybe[int] = None
    rates: Annotated[Maybe[dict[str, float]], Field(description="Of a campaign with one channel.")] = None
    channels: Annotated[
        Maybe[dict[Channel, dict[str, float]]], Field(description="Of one with both: the rates of each.")
    ] = None
    campaign: Maybe[CampaignOut] = None

    @classmethod
    def of(cls, row: object, detail: str) -> Self:
        campaign = CampaignOut.model_validate(row)
        return cls(
            id=campaign.id,
            name=campaign.name,
            status=campaign.status,
            started_at=campaign.started_at,
            pause_reason=campaign.pause_reason,
            campaign=campaign if detail == "full" else None,
        )

    def with_rates(self, counted: "Group | None") -> Self:
        """Returns the campaign with the number of steps sent, and with the rates that have a denominator."""
        self.sent = counted.totals["sent"] if counted else 0
        self.rates = _known(counted) if counted else {}
        if counted and counted.channels:
            self.rates = None
            self.channels = {Channel(channel.key): _known(channel) for channel in counted.channels}
        return self


def _known(counted: "Group") -> dict[str, float]:
    return {slug: round(rate, 4) for slug, rate in counted.rates.items() if rate is not None}


class CampaignAnswer(Answer):
    campaign: CampaignOut
    warnings: Warnings = []
    undo: Undo = None


class CampaignList(Answer):
    campaigns: list[CampaignLine]
    next_cursor: NextCursor = None

"""Templates and their steps."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from db.domain import field_limits
from db.domain.conditions import Otherwise
from db.domain.states import LinkedInStepType, PathType, TemplateType
from db.domain.templates import EmailStep, LinkedInStep
from mcp_server.schemas.base import (
    Answer,
    Given,
    Line,
    Maybe,
    NextCursor,
    Prose,
    Undo,
    Warnings,
    is_nothing,
    no_flag,
    said,
    untold,
)
from mcp_server.schemas.conditions import AlsoElse, AlsoWhen, Else, WaitHours, When, WhenOut, condition

if TYPE_CHECKING:
    from db.models import CampaignTemplate

StepNumber = Annotated[int, Field(ge=1, le=field_limits.STEP_NUMBER_MAX), no_flag]
DelayHours = Annotated[int, Field(ge=0, le=field_limits.DELAY_HOURS_MAX, description="After the step before"), no_flag]


Variant = Annotated[Line, Field(min_length=1, max_length=field_limits.VARIANT_MAX)]


_OF_CONDITION = {"when", "otherwise", "wait_hours"}


class EmailStepIn(Given):
    model_config = ConfigDict(serialize_by_alias=True)

    step_number: StepNumber
    subject: Annotated[
        Line | None,
        Field(
            min_length=1,
            max_length=field_limits.SUBJECT_MAX,
            description=f"At most {field_limits.SUBJECT_MAX} characters; left out of a follow-up: Re: the first's",
        ),
    ] = None
    body: Annotated[
        Prose,
        Field(
            min_length=field_limits.BODY_MIN,
            max_length=field_limits.BODY_MAX,
            description=f"{field_limits.BODY_MIN} to {field_limits.BODY_MAX:,} characters",
        ),
        AfterValidator(said),
    ]
    delay_hours: DelayHours = 0
    a_b_variant: Annotated[Variant | None, Field(description="Such as A")] = None
    is_active: bool = True
    new_thread: Annotated[bool, Field(description="Answers no mail before it")] = False
    when: When = None
    otherwise: Else = None
    wait_hours: WaitHours = None

    @model_validator(mode="after")
    def _condition_makes_sense(self) -> Self:
        condition(self.step_number, self.when, self.otherwise, self.wait_hours)
        return self

    def to_step(self) -> EmailStep:
        own = self.model_dump(exclude=_OF_CONDITION)
        return EmailStep(**own, condition=condition(self.step_number, self.when, self.otherwise, self.wait_hours))


class LinkedInStepIn(Given):
    model_config = ConfigDict(serialize_by_alias=True)

    step_number: StepNumber
    type: LinkedInStepType
    message: Annotated[
        Annotated[Prose, AfterValidator(said)] | None,
        Field(
            min_length=1,
            max_length=field_limits.LINKEDIN_MESSAGE_MAX,
            description=f"Needed for messages; at most {field_limits.LINKEDIN_MESSAGE_MAX:,} characters, "
            f"{field_limits.CONNECTION_MESSAGE_MAX} in a connection_request",
        ),
    ] = None
    delay_hours: DelayHours = 0
    is_active: bool = True
    when: AlsoWhen = None
    otherwise: AlsoElse = None
    wait_hours: WaitHours = None

    @model_validator(mode="after")
    def _condition_makes_sense(self) -> Self:
        condition(self.step_number, self.when, self.otherwise, self.wait_hours)
        return self

    @model_validator(mode="after")
    def _message_fits_type(self) -> Self:
        if self.message is None and self.type in (LinkedInStepType.MESSAGE, LinkedInStepType.VOICE_MESSAGE):
            raise ValueError(f"message is required for a {self.type}")
        longest = field_limits.CONNECTION_MESSAGE_MAX
        if self.type is LinkedInStepType.CONNECTION_REQUEST and self.message and len(self.message) > longest:
            raise ValueError(f"message of a connection_request has at most {longest} characters")
        return self

    def to_step(self) -> LinkedInStep:
        own = self.model_dump(exclude=_OF_CONDITION)
        return LinkedInStep(**own, condition=condition(self.step_number, self.when, self.otherwise, self.wait_hours))


class EmailStepOut(Answer):
    model_config = ConfigDict(serialize_by_alias=True)

    step_number: int
    subject: Annotated[Maybe[str], Field(description="Left out: Re: that of the thread's first mail.")] = None
    body: Maybe[str] = None
    delay_hours: int
    a_b_variant: Maybe[str] = None
    is_active: bool
    new_thread: Annotated[bool, Field(exclude_if=is_nothing, description="It begins a thread of its own.")] = False
    when: Maybe[WhenOut] = None
    otherwise: Annotated[Maybe[Otherwise], Field(serialization_alias="else")] = None
    wait_hours: Maybe[int] = None


class LinkedInStepOut(Answer):
    model_config = ConfigDict(serialize_by_alias=True)

    step_number: int
    type: LinkedInStepType
    message: Maybe[str] = None
    delay_hours: int
    is_active: bool
    when: Maybe[WhenOut] = None
    otherwise: Annotated[Maybe[Otherwise], Field(serialization_alias="else")] = None
    wait_hours: Maybe[int] = None


class TemplateOut(Answer):
    id: UUID
    name: str
    description: Maybe[str] = None
    type: TemplateType
    path_type: PathType
    is_active: bool
    settings: dict[str, Any]
    email_steps: list[EmailStepOut]
    linkedin_steps: list[LinkedInStepOut]
    created_at: datetime
    updated_at: datetime


class TemplateLine(Answer):
    """A template in a list."""

    id: UUID
    name: str
    type: TemplateType
    is_active: bool
    step_count: int
    template: Maybe[TemplateOut] = None

    @classmethod
    def of(cls, row: "CampaignTemplate", detail: str) -> Self:
        numbers = {step.step_number for step in (*row.email_steps, *row.linkedin_steps) if step.is_active}
        return cls(
            id=row.id,
            name=row.name,
            type=TemplateType(row.type),
            is_active=row.is_active,
            step_count=len(numbers),
            template=TemplateOut.model_validate(row) if detail == "full" else None,
        )


class AffectedOut(Answer):
    """A step that came into use, went out of it or has a new delay, and what that means for people in campaigns."""

    step_number: int
    is_in_use: Annotated[bool, Field(description="Whether it is in use now.")]
    will_get: Annotated[int, Field(description="People it is still to come for.")]
    will_not_get: Annotated[int, Field(description="People past it, or for whom it is out of use.")]
    waiting: Annotated[int, Field(description="People who wait for it now, by its delay of today.")]


class TemplateAnswer(Answer):
    template: TemplateOut
    warnings: Warnings = []
    affects: Annotated[
        list[AffectedOut],
        Field(exclude_if=is_nothing, description="What the change means for people in running campaigns, if anything."),
        untold,
    ] = []
    undo: Undo = None


class TemplateList(Answer):
    templates: list[TemplateLine]
    next_cursor: NextCursor = None

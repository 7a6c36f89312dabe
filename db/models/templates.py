"""Templates and their steps.

The keys of `template_steps` give each step number to one channel, and tie the channel to the template's type. So the
database itself refuses a LinkedIn step in an email template, and an email and a LinkedIn step with the same number.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.domain import conditions, field_limits
from db.domain.states import Channel, LinkedInStepType, PathType, TemplateType
from db.models.base import Base, Mutable, is_object, json_object, length, one_of, primary_key, within


class CampaignTemplate(Mutable, Base):
    __tablename__ = "campaign_templates"
    __table_args__ = (
        one_of("type", TemplateType),
        one_of("path_type", PathType),
        length("name", 1, field_limits.NAME_MAX),
        length("description", 0, field_limits.DESCRIPTION_MAX),
        is_object("settings"),
        UniqueConstraint("id", "type"),
    )

    id: Mapped[UUID] = primary_key()
    name: Mapped[str]
    description: Mapped[str | None]
    type: Mapped[str]
    path_type: Mapped[str]
    settings: Mapped[dict[str, Any]] = json_object()
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)

    email_steps: Mapped[list["EmailSequence"]] = relationship(
        lazy="raise", viewonly=True, order_by="(EmailSequence.step_number, EmailSequence.a_b_variant)"
    )
    linkedin_steps: Mapped[list["LinkedInSequence"]] = relationship(
        lazy="raise", viewonly=True, order_by="LinkedInSequence.step_number"
    )


class TemplateStep(Base):
    __tablename__ = "template_steps"
    __table_args__ = (
        one_of("channel", Channel),
        within("step_number", 1, field_limits.STEP_NUMBER_MAX),
        CheckConstraint("template_type = 'multi_channel' OR template_type = channel", name="channel_of_type"),
        ForeignKeyConstraint(
            ["template_id", "template_type"],
            ["campaign_templates.id", "campaign_templates.type"],
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        UniqueConstraint("template_id", "step_number", "channel"),
    )

    template_id: Mapped[UUID] = mapped_column(primary_key=True)
    step_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    channel: Mapped[str]
    template_type: Mapped[str]


def _step_key() -> ForeignKeyConstraint:
    columns = ("template_id", "step_number", "channel")
    return ForeignKeyConstraint(columns, [f"template_steps.{name}" for name in columns], ondelete="CASCADE")


def _json_or_null() -> Any:
    return mapped_column(JSONB(none_as_null=True))


def _condition() -> list[CheckConstraint]:
    rules = [CheckConstraint(rule, name=name) for name, rule in conditions.checks("condition").items()]
    return [is_object("condition"), *rules]


class _Conditional:
    """The condition of a step, in its parts."""

    condition: Mapped[dict[str, Any] | None] = _json_or_null()

    @property
    def when(self) -> dict[str, Any] | None:
        if self.condition is None:
            return None
        return {name: value for name, value in self.condition.items() if name not in ("else", "wait_hours")}

    @property
    def otherwise(self) -> str | None:
        return None if self.condition is None else self.condition.get("else")

    @property
    def wait_hours(self) -> int | None:
        return None if self.condition is None else self.condition.get("wait_hours")


class EmailSequence(_Conditional, Mutable, Base):
    __tablename__ = "email_sequences"
    __table_args__ = (
        _step_key(),
        CheckConstraint("channel = 'email'", name="channel"),
        length("subject", 1, field_limits.SUBJECT_MAX),
        CheckConstraint(r"subject ~ '\S'", name="subject_not_blank"),
        CheckConstraint("subject IS NOT NULL OR (step_number > 1 AND NOT new_thread)", name="subject_of_first"),
        CheckConstraint(f"subject !~ '{field_limits.LINE_BREAKS}'", name="subject_one_line"),
        length("body", field_limits.BODY_MIN, field_limits.BODY_MAX),
        length("a_b_variant", 1, field_limits.VARIANT_MAX),
        within("delay_hours", 0, field_limits.DELAY_HOURS_MAX),
        *_condition(),
        UniqueConstraint("template_id", "step_number", "a_b_variant", postgresql_nulls_not_distinct=True),
    )

    id: Mapped[UUID] = primary_key()
    template_id: Mapped[UUID] = mapped_column(ForeignKey("campaign_templates.id", ondelete="CASCADE"))
    step_number: Mapped[int]
    channel: Mapped[str] = mapped_column(server_default="email", default="email")
    a_b_variant: Mapped[str | None]
    subject: Mapped[str | None]
    body: Mapped[str]
    delay_hours: Mapped[int] = mapped_column(server_default="0")
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    new_thread: Mapped[bool] = mapped_column(server_default=text("false"), default=False)


class LinkedInSequence(_Conditional, Mutable, Base):
    __tablename__ = "linkedin_sequences"
    __table_args__ = (
        _step_key(),
        CheckConstraint("channel = 'linkedin'", name="channel"),
        one_of("type", LinkedInStepType),
        length("message", 1, field_limits.LINKEDIN_MESSAGE_MAX),
        CheckConstraint(
            f"type <> 'connection_request' OR char_length(message) <= {field_limits.CONNECTION_MESSAGE_MAX}",
            name="connection_message_length",
        ),
        CheckConstraint("type NOT IN ('message', 'voice_message') OR message IS NOT NULL", name="message_required"),
        within("delay_hours", 0, field_limits.DELAY_HOURS_MAX),
        *_condition(),
        UniqueConstraint("template_id", "step_number"),
    )

    id: Mapped[UUID] = primary_key()
    template_id: Mapped[UUID] = mapped_column(ForeignKey("campaign_templates.id", ondelete="CASCADE"))
    step_number: Mapped[int]
    channel: Mapped[str] = mapped_column(server_default="linkedin", default="linkedin")
    type: Mapped[str]
    message: Mapped[str | None]
    delay_hours: Mapped[int] = mapped_column(server_default="0")
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)


Index("ix_campaign_templates_active", CampaignTemplate.id, postgresql_where=text("is_active"))

"""The declarative base: constraint names by rule, and the column shapes that every table shares."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, ForeignKeyConstraint, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB, UUID as PGUUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.domain.ids import new_id

Id = Annotated[UUID, mapped_column(PGUUID(as_uuid=True))]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]


class Base(DeclarativeBase):
    """Every table of the schema. Times are timestamptz, texts are text with CHECKs, JSON is jsonb with a CHECK."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text(), datetime: DateTime(timezone=True)}


class Created:
    """A row that is written once."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Mutable(Created):
    """A row that changes."""

    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


def primary_key() -> Any:
    return mapped_column(PGUUID(as_uuid=True), primary_key=True, default=new_id)


def of_campaign() -> Any:
    """A campaign's id as the first part of a row's key, whose rows go with the campaign."""
    campaign = ForeignKey("campaign_instances.id", ondelete="CASCADE")
    return mapped_column("instance_id", campaign, primary_key=True, sort_order=-1)


def json_object(*, nullable: bool = False) -> Any:
    return mapped_column(JSONB, nullable=nullable, server_default=None if nullable else "{}")


def one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    """Returns the rule that `column` holds one of the vocabulary's values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def of_enrollment() -> ForeignKeyConstraint:
    """Returns the rule that a row belongs to an enrollment, or to none, and goes with it."""
    enrollment = ["campaign_enrollments.instance_id", "campaign_enrollments.id"]
    return ForeignKeyConstraint(["instance_id", "enrollment_id"], enrollment, ondelete="CASCADE")


def is_object(column: str) -> CheckConstraint:
    return CheckConstraint(f"jsonb_typeof({column}) = 'object'", name=f"{column}_object")


def length(column: str, low: int, high: int) -> CheckConstraint:
    """Returns the rule that `column` has `low` to `high` characters (NULL passes)."""
    return CheckConstraint(f"char_length({column}) BETWEEN {low} AND {high}", name=f"{column}_length")


def within(column: str, low: int, high: int) -> CheckConstraint:
    return CheckConstraint(f"{column} BETWEEN {low} AND {high}", name=f"{column}_range")

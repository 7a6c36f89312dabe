"""What was handed out, by the quarter of an hour, whether or not a limit is set. Zones differ by whole quarters, so the
day of any zone is a sum of these."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.states import Channel
from db.models.base import Base, length, one_of

_IS_QUARTER = "extract(epoch FROM quarter) % 900 = 0"


class _Usage:
    """`used` in the quarter of an hour that starts at `quarter`, the last of it at `last_at`, given back or not.

    backend: the process of the database that counted it, each in a row of its own. Only the sum of these has a meaning,
    since what one has counted another may give back.
    """

    quarter: Mapped[datetime] = mapped_column(primary_key=True)
    backend: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    used: Mapped[int]
    last_at: Mapped[datetime]


class CampaignUsage(_Usage, Base):
    __tablename__ = "campaign_usage"
    __table_args__ = (CheckConstraint(_IS_QUARTER, name="quarter"),)

    instance_id: Mapped[UUID] = mapped_column(
        ForeignKey("campaign_instances.id", ondelete="CASCADE"), primary_key=True, sort_order=-1
    )


class SenderUsage(_Usage, Base):
    """One account of one channel, whatever the campaigns that send from it."""

    __tablename__ = "sender_usage"
    __table_args__ = (
        CheckConstraint(_IS_QUARTER, name="quarter"),
        one_of("channel", Channel),
        length("account", 1, field_limits.SENDER_MAX),
    )

    channel: Mapped[str] = mapped_column(primary_key=True, sort_order=-2)
    account: Mapped[str] = mapped_column(primary_key=True, sort_order=-1)

"""What was handed out under a limit. Whoever hands out more locks the row first, so no limit is passed by two at once.

Campaigns and accounts without limits have no row, and wait for nobody.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import rules
from db.domain.states import Channel
from db.models.base import Base, Mutable, length, one_of


class _Usage(Mutable):
    """`used` counts those of `day`; the day of a row only moves forward."""

    day: Mapped[date]
    used: Mapped[int] = mapped_column(server_default="0", default=0)
    last_at: Mapped[datetime | None]


class CampaignUsage(_Usage, Base):
    __tablename__ = "campaign_usage"
    __table_args__ = (CheckConstraint("used >= 0", name="used"),)

    instance_id: Mapped[UUID] = mapped_column(ForeignKey("campaign_instances.id", ondelete="CASCADE"), primary_key=True)


class SenderUsage(_Usage, Base):
    """One account of one channel, whatever the campaigns that send from it."""

    __tablename__ = "sender_usage"
    __table_args__ = (
        CheckConstraint("used >= 0", name="used"),
        one_of("channel", Channel),
        length("account", 1, rules.SENDER_MAX),
    )

    channel: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)

"""How much was handed out in each quarter of an hour, whether or not a limit is set. Zones differ by whole quarters, so
the day of any zone is a sum of these rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.states import Channel
from db.models.base import Base, length, of_campaign, one_of

_IS_QUARTER = "extract(epoch FROM quarter) % 900 = 0"


class _Usage:
    """`used` counts the quarter of an hour that starts at `quarter`. The last reservation in it was taken at `last_at`,
    released or not.

    backend: the database process that counted it; each process has a row of its own. Only the sum of these rows has a
    meaning, since one process may release what another has counted.
    """

    quarter: Mapped[datetime] = mapped_column(primary_key=True)
    backend: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    used: Mapped[int]
    last_at: Mapped[datetime]


class CampaignUsage(_Usage, Base):
    __tablename__ = "campaign_usage"
    __table_args__ = (CheckConstraint(_IS_QUARTER, name="quarter"),)

    campaign_id: Mapped[UUID] = of_campaign()


class SenderUsage(_Usage, Base):
    """The usage of one account of a channel, by all campaigns that send from it."""

    __tablename__ = "sender_usage"
    __table_args__ = (
        CheckConstraint(_IS_QUARTER, name="quarter"),
        one_of("channel", Channel),
        length("account", 1, field_limits.SENDER_MAX),
    )

    channel: Mapped[str] = mapped_column(primary_key=True, sort_order=-2)
    account: Mapped[str] = mapped_column(primary_key=True, sort_order=-1)

"""The settings of the workspace: one row, or none as long as nobody has changed them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.workspace import Colleagues
from db.models.base import Base, Mutable, length, one_of, within


class Settings(Mutable, Base):
    """sending_stopped_at: since when nothing is sent from any mailbox; None if that is not stopped."""

    __tablename__ = "settings"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        length("timezone", 1, field_limits.TIMEZONE_MAX),
        within("retention_days", 1, field_limits.RETENTION_DAYS_MAX),
        within("days_between_campaigns", 0, field_limits.DAYS_BETWEEN_MAX),
        within("touches_per_week", 0, field_limits.TOUCHES_MAX),
        one_of("colleagues", Colleagues),
        within("bounce_rate", 0, 1),
        within("complaint_rate", 0, 1),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    timezone: Mapped[str | None]
    retention_days: Mapped[int | None]
    # The guardrails: shares of mails that pause a campaign or a mailbox.
    bounce_rate: Mapped[float | None]
    complaint_rate: Mapped[float | None]
    # How long a person hears of one campaign alone after its last step, and how often in a week; 0 is not a limit.
    days_between_campaigns: Mapped[int | None]
    touches_per_week: Mapped[int | None]
    colleagues: Mapped[str | None]
    sending_stopped_at: Mapped[datetime | None]
    # The campaign whose counters were compared with its rows last; those after it are next.
    recounted_to: Mapped[UUID | None]

"""Counters. Each row is a sum over the actions of one step, variant and day, so that not all calls for a campaign
update the same row."""

from datetime import date
from uuid import UUID

from sqlalchemy import DDL, CheckConstraint, event
from sqlalchemy.orm import Mapped, mapped_column

from db.domain.metrics import COUNTERS
from db.domain.states import Channel, EnrollmentStatus
from db.models.base import Base, Mutable, of_campaign, one_of


class CampaignMetrics(Mutable, Base):
    __tablename__ = "campaign_metrics"
    __table_args__ = (
        one_of("channel", Channel),
        CheckConstraint("step_number >= 0", name="step_number"),
        CheckConstraint("delivered <= sent", name="delivered_sent"),
        CheckConstraint("opened <= delivered", name="opened_delivered"),
        CheckConstraint("clicked <= opened", name="clicked_opened"),
        CheckConstraint("replied <= delivered", name="replied_delivered"),
        CheckConstraint("bounced <= sent", name="bounced_sent"),
        CheckConstraint("hard_bounced <= bounced", name="hard_bounced_bounced"),
        CheckConstraint("clicked <= total_clicks", name="clicked_total_clicks"),
        CheckConstraint(" AND ".join(f"{counter} >= 0" for counter in COUNTERS), name="not_negative"),
    )

    campaign_id: Mapped[UUID] = of_campaign()
    step_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    channel: Mapped[str] = mapped_column(primary_key=True)
    a_b_variant: Mapped[str] = mapped_column(primary_key=True)
    cohort_day: Mapped[date] = mapped_column(primary_key=True)
    sent: Mapped[int] = mapped_column(server_default="0")
    delivered: Mapped[int] = mapped_column(server_default="0")
    opened: Mapped[int] = mapped_column(server_default="0")
    clicked: Mapped[int] = mapped_column(server_default="0")
    replied: Mapped[int] = mapped_column(server_default="0")
    bounced: Mapped[int] = mapped_column(server_default="0")
    hard_bounced: Mapped[int] = mapped_column(server_default="0")
    unsubscribed: Mapped[int] = mapped_column(server_default="0")
    complained: Mapped[int] = mapped_column(server_default="0")
    accepted: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    total_opens: Mapped[int] = mapped_column(server_default="0")
    total_clicks: Mapped[int] = mapped_column(server_default="0")


class EnrollmentTotal(Base):
    """How many enrollments of a campaign are in each status, so that no report has to count them."""

    __tablename__ = "campaign_enrollment_totals"
    __table_args__ = (one_of("status", EnrollmentStatus), CheckConstraint("total >= 0", name="total"))

    campaign_id: Mapped[UUID] = of_campaign()
    status: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int] = mapped_column(server_default="0")


_SUMS = ", ".join(
    f"sum({counter}) AS {counter if counter.startswith('total_') else 'total_' + counter}" for counter in COUNTERS
)
CAMPAIGN_TOTALS_VIEW = (
    f"CREATE VIEW campaign_totals AS SELECT instance_id, {_SUMS} FROM campaign_metrics GROUP BY instance_id"  # noqa: S608  of COUNTERS alone
)

event.listen(Base.metadata, "after_create", DDL(CAMPAIGN_TOTALS_VIEW))
event.listen(Base.metadata, "before_drop", DDL("DROP VIEW IF EXISTS campaign_totals"))

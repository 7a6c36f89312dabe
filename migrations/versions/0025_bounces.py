"""Bounces that are for good are counted apart from those that are not."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COUNTERS = (
    "sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed", "complained", "accepted", "failed",
    "total_opens", "total_clicks",
)  # fmt: skip


def upgrade() -> None:
    """Add the milestone and its counter, and fill them from the events; a bounce that does not say is hard. Soft
    bounces that were delivered afterwards stop counting once their step is heard of again."""
    op.execute("DROP VIEW campaign_totals")
    op.add_column("campaign_actions", sa.Column("hard_bounced_at", sa.DateTime(timezone=True)))
    op.add_column("campaign_metrics", sa.Column("hard_bounced", sa.Integer, nullable=False, server_default="0"))
    op.execute("""
        UPDATE campaign_actions a SET hard_bounced_at = hard.at
        FROM (
            SELECT instance_id, enrollment_id, step_number, min(occurred_at) AS at FROM campaign_events
            WHERE event_type = 'bounced' AND metadata ->> 'bounce_type' IS DISTINCT FROM 'soft'
            GROUP BY instance_id, enrollment_id, step_number
        ) hard
        WHERE (a.instance_id, a.enrollment_id, a.step_number) = (hard.instance_id, hard.enrollment_id, hard.step_number)
          AND a.bounced_at IS NOT NULL
    """)
    op.execute("""
        UPDATE campaign_metrics m SET hard_bounced = least(counted.total, m.bounced)
        FROM (
            SELECT instance_id, step_number, channel, coalesce(a_b_variant, '') AS a_b_variant,
                   (coalesce(sent_at, failed_at) AT TIME ZONE 'UTC')::date AS cohort_day, count(hard_bounced_at) AS total
            FROM campaign_actions WHERE hard_bounced_at IS NOT NULL GROUP BY 1, 2, 3, 4, 5
        ) counted
        WHERE (m.instance_id, m.step_number, m.channel, m.a_b_variant, m.cohort_day)
            = (counted.instance_id, counted.step_number, counted.channel, counted.a_b_variant, counted.cohort_day)
    """)
    op.drop_constraint(op.f("ck_campaign_metrics_not_negative"), "campaign_metrics")
    counters = _add_hard(_COUNTERS)
    op.create_check_constraint(
        op.f("ck_campaign_metrics_not_negative"),
        "campaign_metrics",
        sa.text(" AND ".join(f"{counter} >= 0" for counter in counters)),
    )
    op.create_check_constraint(
        op.f("ck_campaign_metrics_hard_bounced_bounced"), "campaign_metrics", sa.text("hard_bounced <= bounced")
    )
    _create_view(counters)


def downgrade() -> None:
    """Take them away."""
    op.execute("DROP VIEW campaign_totals")
    op.drop_constraint(op.f("ck_campaign_metrics_not_negative"), "campaign_metrics")
    op.drop_column("campaign_metrics", "hard_bounced")
    op.drop_column("campaign_actions", "hard_bounced_at")
    op.create_check_constraint(
        op.f("ck_campaign_metrics_not_negative"),
        "campaign_metrics",
        sa.text(" AND ".join(f"{counter} >= 0" for counter in _COUNTERS)),
    )
    _create_view(_COUNTERS)


def _add_hard(counters: tuple[str, ...]) -> tuple[str, ...]:
    at = counters.index("bounced") + 1
    return (*counters[:at], "hard_bounced", *counters[at:])


def _create_view(counters: tuple[str, ...]) -> None:
    sums = ", ".join(
        f"sum({counter}) AS {counter if counter.startswith('total_') else 'total_' + counter}" for counter in counters
    )
    op.execute(f"CREATE VIEW campaign_totals AS SELECT instance_id, {sums} FROM campaign_metrics GROUP BY instance_id")

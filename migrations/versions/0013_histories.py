"""What it takes to place the events of an enrollment again when one of them comes late: which of them named no step, by
which message they came, and where the moment of a sending is from. And when a person unsubscribed, once."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns, and fill them from what is known. Of unsubscribes that count twice for a person, the first
    stays."""
    op.add_column("campaign_events", sa.Column("provider_message_id", sa.Text))
    op.add_column("campaign_events", sa.Column("is_inferred", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("campaign_events", sa.Column("from_provider", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("orphaned_events", sa.Column("from_provider", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("campaign_enrollments", sa.Column("unsubscribed_at", _TIME))
    op.add_column("campaign_enrollments", sa.Column("inferred_until", _TIME))
    op.add_column("campaign_actions", sa.Column("sent_source", sa.Text))
    op.add_column("campaign_actions", sa.Column("delivery_told_at", _TIME))
    _constrain("campaign_events", "provider_message_id_length", "char_length(provider_message_id) BETWEEN 1 AND 500")
    _constrain("campaign_actions", "sent_source", "sent_source IN ('implied', 'told', 'reported')")
    _constrain("campaign_actions", "sent_source_of_sent", "sent_source IS NULL OR sent_at IS NOT NULL")
    _constrain(
        "campaign_actions", "delivery_told_was_delivered", "delivery_told_at IS NULL OR delivered_at IS NOT NULL"
    )
    _fill_actions()
    _fill_unsubscribes()


def downgrade() -> None:
    """Take the columns away."""
    op.drop_column("campaign_actions", "delivery_told_at")
    op.drop_column("campaign_actions", "sent_source")
    op.drop_column("campaign_enrollments", "inferred_until")
    op.drop_column("campaign_enrollments", "unsubscribed_at")
    op.drop_column("orphaned_events", "from_provider")
    op.drop_column("campaign_events", "from_provider")
    op.drop_column("campaign_events", "is_inferred")
    op.drop_column("campaign_events", "provider_message_id")


def _constrain(table: str, name: str, rule: str) -> None:
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, sa.text(rule))


def _fill_actions() -> None:
    op.execute("""
        UPDATE campaign_actions a
        SET sent_source = CASE WHEN told.sends THEN 'told' ELSE 'implied' END, delivery_told_at = told.delivery
        FROM (
            SELECT a.instance_id, a.id, count(*) FILTER (WHERE e.event_type IN (
                       'sent', 'profile_visited', 'connection_sent', 'message_sent', 'voice_message_sent')) > 0 AS sends,
                   min(e.occurred_at) FILTER (WHERE e.event_type = 'delivered') AS delivery
            FROM campaign_actions a LEFT JOIN campaign_events e
            ON e.instance_id = a.instance_id AND e.enrollment_id = a.enrollment_id AND e.step_number = a.step_number
            WHERE a.sent_at IS NOT NULL GROUP BY a.instance_id, a.id
        ) told
        WHERE a.instance_id = told.instance_id AND a.id = told.id
          AND (told.delivery IS NULL OR a.delivered_at IS NOT NULL)
    """)


def _fill_unsubscribes() -> None:
    op.execute("""
        UPDATE campaign_enrollments n SET unsubscribed_at = first.at
        FROM (SELECT instance_id, enrollment_id, min(occurred_at) AS at FROM campaign_events
              WHERE event_type = 'unsubscribed' GROUP BY instance_id, enrollment_id) first
        WHERE n.instance_id = first.instance_id AND n.id = first.enrollment_id
    """)
    op.execute("""
        UPDATE campaign_actions a SET unsubscribed_at = NULL
        WHERE a.unsubscribed_at IS NOT NULL AND EXISTS (
            SELECT FROM campaign_actions b
            WHERE b.instance_id = a.instance_id AND b.enrollment_id = a.enrollment_id
              AND (b.unsubscribed_at, b.step_number) < (a.unsubscribed_at, a.step_number))
    """)
    op.execute("""
        UPDATE campaign_actions a SET unsubscribed_at = NULL
        FROM campaign_enrollments n
        WHERE n.instance_id = a.instance_id AND n.id = a.enrollment_id AND a.unsubscribed_at > n.unsubscribed_at
    """)
    op.execute("""
        UPDATE campaign_metrics m SET unsubscribed = counted.unsubscribed
        FROM (
            SELECT m.instance_id, m.step_number, m.channel, m.a_b_variant, m.cohort_day,
                   count(a.unsubscribed_at) AS unsubscribed
            FROM campaign_metrics m LEFT JOIN campaign_actions a
            ON a.instance_id = m.instance_id AND a.step_number = m.step_number AND a.channel = m.channel
               AND coalesce(a.a_b_variant, '') = m.a_b_variant
               AND (coalesce(a.sent_at, a.failed_at) AT TIME ZONE 'UTC')::date = m.cohort_day
            WHERE m.step_number > 0 GROUP BY 1, 2, 3, 4, 5
        ) counted
        WHERE (m.instance_id, m.step_number, m.channel, m.a_b_variant, m.cohort_day)
            = (counted.instance_id, counted.step_number, counted.channel, counted.a_b_variant, counted.cohort_day)
          AND m.unsubscribed <> counted.unsubscribed
    """)
    op.execute("DELETE FROM campaign_metrics WHERE step_number = 0")
    op.execute("""
        INSERT INTO campaign_metrics (instance_id, step_number, channel, a_b_variant, cohort_day, unsubscribed)
        SELECT n.instance_id, 0, 'email', coalesce(n.a_b_variant, ''), (n.unsubscribed_at AT TIME ZONE 'UTC')::date,
               count(*)
        FROM campaign_enrollments n
        WHERE n.unsubscribed_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM campaign_actions a
            WHERE a.instance_id = n.instance_id AND a.enrollment_id = n.id AND a.unsubscribed_at IS NOT NULL)
        GROUP BY 1, 2, 3, 4, 5
    """)

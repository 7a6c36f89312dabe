"""Where the delay of a next step counts from, apart from when the step is looked at; and the zone of each person."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_BY_ZONE = "ix_campaign_enrollments_due_by_zone"
_ZONE_LENGTH = "ck_campaign_enrollments_zone_length"

# What is known of the end of the last step: when it was sent, or passed over. Of the start it is what the moment kept
# until now was made of; whoever has a step under lease has no such moment, and began with the campaign or was enrolled.
_BASES = """
    WITH steps AS (
        SELECT template_id, step_number, min(delay_hours) AS hours FROM (
            SELECT template_id, step_number, delay_hours FROM email_sequences WHERE is_active
            UNION ALL
            SELECT template_id, step_number, delay_hours FROM linkedin_sequences WHERE is_active
        ) active GROUP BY template_id, step_number
    ), bases AS (
        SELECT e.instance_id, e.id, coalesce(
            (SELECT coalesce(a.sent_at, a.updated_at) FROM campaign_actions a
             WHERE a.instance_id = e.instance_id AND a.enrollment_id = e.id AND a.step_number = e.current_step),
            CASE WHEN EXISTS (
                SELECT FROM campaign_actions a
                WHERE a.instance_id = e.instance_id AND a.enrollment_id = e.id AND a.step_number > e.current_step
            ) THEN greatest(i.started_at, e.created_at) END,
            e.next_action_at - make_interval(hours => coalesce((
                SELECT s.hours FROM steps s
                WHERE s.template_id = i.template_id AND s.step_number > e.current_step
                ORDER BY s.step_number LIMIT 1
            ), 0))
        ) AS delay_from
        FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id
        WHERE e.next_action_at IS NOT NULL AND e.status IN ('enrolled', 'active', 'paused')
    )
    UPDATE campaign_enrollments e SET delay_from = b.delay_from FROM bases b
    WHERE e.instance_id = b.instance_id AND e.id = b.id
"""
_ZONES = """
    UPDATE campaign_enrollments e SET zone = coalesce(c.timezone, i.settings ->> 'timezone', 'UTC')
    FROM campaign_instances i, contacts c
    WHERE i.id = e.instance_id AND c.id = e.contact_id AND i.settings @> '{"use_contact_timezone": true}'
      AND e.status IN ('enrolled', 'active', 'paused')
"""


def upgrade() -> None:
    """Add the columns, fill them in, and add the index of the queues by zone."""
    op.add_column("campaign_enrollments", sa.Column("delay_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column("campaign_enrollments", sa.Column("zone", sa.Text(), nullable=True))
    op.create_check_constraint(op.f(_ZONE_LENGTH), "campaign_enrollments", "char_length(zone) BETWEEN 1 AND 64")
    op.execute(sa.text(_BASES))
    op.execute(sa.text(_ZONES))
    op.create_index(
        _BY_ZONE,
        "campaign_enrollments",
        ["instance_id", "zone", "next_action_at", "id"],
        postgresql_where=sa.text("status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index(_BY_ZONE, table_name="campaign_enrollments")
    op.drop_constraint(op.f(_ZONE_LENGTH), "campaign_enrollments", type_="check")
    op.drop_column("campaign_enrollments", "zone")
    op.drop_column("campaign_enrollments", "delay_from")

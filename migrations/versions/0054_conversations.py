"""Conversations: one campaign at a time writes to a person.

Of people who are in the middle of several campaigns, the one that touched them last has the conversation; the others
wait until it ends. Nobody writes enrollments while actions are read once for that. The new column comes after it: it is
NULL everywhere, and enrollments are locked, for readers too, while they are read once for its index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

_BEGUN = """
    INSERT INTO conversations (contact_id, instance_id, enrollment_id)
    SELECT DISTINCT ON (e.contact_id) e.contact_id, e.instance_id, e.id
    FROM campaign_enrollments e
    JOIN campaign_instances i ON i.id = e.instance_id AND i.status IN ('draft', 'active', 'paused')
    JOIN (
        SELECT instance_id, enrollment_id, max(sent_at) AS touched_at FROM campaign_actions
        WHERE sent_at IS NOT NULL OR status = 'claimed' GROUP BY 1, 2
    ) x ON x.instance_id = e.instance_id AND x.enrollment_id = e.id
    WHERE e.status IN ('enrolled', 'active', 'paused')
    ORDER BY e.contact_id, x.touched_at DESC NULLS LAST, e.id
"""


def upgrade() -> None:
    """Add the table with the conversations that go on, and the columns."""
    op.create_table(
        "conversations",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("pk_conversations")),
        sa.ForeignKeyConstraint(
            ["instance_id", "enrollment_id"],
            ["campaign_enrollments.instance_id", "campaign_enrollments.id"],
            name=op.f("fk_conversations_campaign_enrollments"),
            ondelete="CASCADE",
        ),
    )
    op.execute(_BEGUN)
    op.create_index("ix_conversations_enrollment_id", "conversations", ["enrollment_id", "instance_id"])
    op.add_column("campaign_enrollments", sa.Column("busy_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_campaign_enrollments_busy",
        "campaign_enrollments",
        ["instance_id", "id"],
        postgresql_where=sa.text("busy_since IS NOT NULL"),
    )
    for name, most in (("days_between_campaigns", 365), ("touches_per_week", 50)):
        op.add_column("settings", sa.Column(name, sa.Integer(), nullable=True))
        op.create_check_constraint(
            op.f(f"ck_settings_{name}_range"), "settings", sa.text(f"{name} BETWEEN 0 AND {most}")
        )


def downgrade() -> None:
    """Take them away: campaigns no longer wait for one another."""
    op.drop_column("settings", "touches_per_week")
    op.drop_column("settings", "days_between_campaigns")
    op.drop_index("ix_campaign_enrollments_busy", "campaign_enrollments")
    op.drop_column("campaign_enrollments", "busy_since")
    op.drop_table("conversations")

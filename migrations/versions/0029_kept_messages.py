"""What was handed out to be sent, in its words; and the settings of the workspace, which say how long they are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables. What was sent before is not known in its words."""
    op.create_table(
        "messages",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("mailbox_id", sa.UUID(), nullable=True),
        sa.Column("instance_id", sa.UUID(), nullable=True),
        sa.Column("enrollment_id", sa.UUID(), nullable=True),
        sa.Column("action_id", sa.UUID(), nullable=True),
        sa.Column("internet_message_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_messages_direction")),
        sa.CheckConstraint("channel IN ('email', 'linkedin')", name=op.f("ck_messages_channel")),
        sa.CheckConstraint(
            "char_length(internet_message_id) BETWEEN 1 AND 998", name=op.f("ck_messages_internet_message_id_length")
        ),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 998", name=op.f("ck_messages_subject_length")),
        sa.CheckConstraint(
            "mailbox_id IS NOT NULL OR action_id IS NOT NULL", name=op.f("ck_messages_mailbox_or_action")
        ),
        sa.CheckConstraint(
            "action_id IS NULL OR enrollment_id IS NOT NULL", name=op.f("ck_messages_action_of_enrollment")
        ),
        sa.CheckConstraint("(enrollment_id IS NULL) = (instance_id IS NULL)", name=op.f("ck_messages_enrollment")),
        sa.ForeignKeyConstraint(
            ["instance_id", "enrollment_id"],
            ["campaign_enrollments.instance_id", "campaign_enrollments.id"],
            name=op.f("fk_messages_campaign_enrollments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(
        "uq_messages_action_id", "messages", ["action_id"], unique=True, postgresql_where=sa.text("direction = 'out'")
    )
    op.create_index(
        "uq_messages_internet_message_id",
        "messages",
        ["mailbox_id", "internet_message_id", "direction"],
        unique=True,
        postgresql_where=sa.text("mailbox_id IS NOT NULL"),
    )
    op.create_index("ix_messages_enrollment_id", "messages", ["enrollment_id"])
    op.create_index("ix_messages_occurred_at", "messages", ["occurred_at"])
    op.create_table(
        "message_bodies",
        sa.Column("message_id", sa.UUID(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_bodies_messages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_bodies")),
    )
    op.create_table(
        "settings",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_settings_one_row")),
        sa.CheckConstraint("char_length(timezone) BETWEEN 1 AND 64", name=op.f("ck_settings_timezone_length")),
        sa.CheckConstraint("retention_days BETWEEN 1 AND 36500", name=op.f("ck_settings_retention_days_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settings")),
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("settings", "message_bodies", "messages"):
        op.drop_table(table)

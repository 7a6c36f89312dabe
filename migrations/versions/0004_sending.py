"""Sending windows and limits: what was handed out under them, and the worker's index by campaign."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DUE = "ix_campaign_enrollments_due"
_CAN_MOVE = sa.text("status = 'active' AND next_action_at IS NOT NULL")


def upgrade() -> None:
    """Add the tables of used limits and the columns of actions; lead the worker's index with the campaign."""
    op.create_table(
        "campaign_usage",
        sa.Column("instance_id", postgresql.UUID(as_uuid=True), nullable=False),
        *_usage(),
        sa.CheckConstraint("used >= 0", name=op.f("ck_campaign_usage_used")),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["campaign_instances.id"],
            name=op.f("fk_campaign_usage_campaign_instances"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_campaign_usage")),
    )
    op.create_table(
        "sender_usage",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        *_usage(),
        sa.CheckConstraint("channel IN ('email', 'linkedin')", name=op.f("ck_sender_usage_channel")),
        sa.CheckConstraint("char_length(account) BETWEEN 1 AND 320", name=op.f("ck_sender_usage_account_length")),
        sa.CheckConstraint("used >= 0", name=op.f("ck_sender_usage_used")),
        sa.PrimaryKeyConstraint("channel", "account", name=op.f("pk_sender_usage")),
    )
    op.add_column("campaign_actions", sa.Column("sender", sa.Text(), nullable=True))
    op.add_column("campaign_actions", sa.Column("reserved_on", sa.Date(), nullable=True))
    op.create_check_constraint(
        op.f("ck_campaign_actions_sender_length"), "campaign_actions", "char_length(sender) BETWEEN 1 AND 320"
    )
    op.drop_index(_DUE, table_name="campaign_enrollments")
    op.create_index(
        _DUE, "campaign_enrollments", ["instance_id", "next_action_at", "id"], unique=False, postgresql_where=_CAN_MOVE
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index(_DUE, table_name="campaign_enrollments")
    op.create_index(_DUE, "campaign_enrollments", ["next_action_at"], unique=False, postgresql_where=_CAN_MOVE)
    op.drop_constraint(op.f("ck_campaign_actions_sender_length"), "campaign_actions", type_="check")
    op.drop_column("campaign_actions", "reserved_on")
    op.drop_column("campaign_actions", "sender")
    op.drop_table("sender_usage")
    op.drop_table("campaign_usage")


def _usage() -> list[sa.Column[object]]:
    return [
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
            for name in ("updated_at", "created_at")
        ),
    ]

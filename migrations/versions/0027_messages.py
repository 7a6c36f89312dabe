"""The messages of a person beside those that their steps hold: of a step that was sent twice, and of no step."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TABLE = "campaign_messages"


def upgrade() -> None:
    """Add the table, and what events tell of messages that no step holds."""
    op.create_table(
        _TABLE,
        sa.Column("instance_id", sa.UUID(), nullable=False),
        sa.Column("enrollment_id", sa.UUID(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "char_length(provider_message_id) BETWEEN 1 AND 500", name=op.f(f"ck_{_TABLE}_provider_message_id_length")
        ),
        sa.CheckConstraint("char_length(provider) BETWEEN 1 AND 100", name=op.f(f"ck_{_TABLE}_provider_length")),
        sa.ForeignKeyConstraint(
            ["instance_id", "enrollment_id"],
            ["campaign_enrollments.instance_id", "campaign_enrollments.id"],
            name=op.f(f"fk_{_TABLE}_campaign_enrollments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("instance_id", "enrollment_id", "provider_message_id", name=op.f(f"pk_{_TABLE}")),
    )
    op.create_index(f"ix_{_TABLE}_provider_message_id", _TABLE, ["provider_message_id"])
    op.execute(f"""
        INSERT INTO {_TABLE} (instance_id, enrollment_id, provider_message_id, provider)
        SELECT e.instance_id, e.enrollment_id, e.provider_message_id, min(e.provider)
        FROM campaign_events e
        WHERE e.provider_message_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM campaign_actions a
            WHERE a.enrollment_id = e.enrollment_id AND a.instance_id = e.instance_id
              AND a.provider_message_id = e.provider_message_id
        )
        GROUP BY e.instance_id, e.enrollment_id, e.provider_message_id
    """)


def downgrade() -> None:
    """Take it away."""
    op.drop_table(_TABLE)

"""Indexes for what is given up or forgotten by age."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index(
        "ix_orphaned_events_waiting",
        "orphaned_events",
        ["created_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "ix_webhook_deliveries_kept",
        "webhook_deliveries",
        ["received_at"],
        postgresql_where=sa.text("body IS NOT NULL"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_webhook_deliveries_kept", table_name="webhook_deliveries")
    op.drop_index("ix_orphaned_events_waiting", table_name="orphaned_events")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")

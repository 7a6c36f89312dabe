"""Which events were placed by their message alone: they follow it when a lower step is named for it."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Of events that were recorded before, nobody knows: they stay at their steps."""
    op.add_column(
        "campaign_events", sa.Column("follows_message", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column("campaign_events", "follows_message")

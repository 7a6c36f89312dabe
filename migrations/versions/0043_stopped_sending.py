"""Since when all sending is stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: it takes no lock for longer than a moment."""
    op.add_column("settings", sa.Column("sending_stopped_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("settings", "sending_stopped_at")

"""Maintenance remembers up to which campaign it has compared the counters with their rows.

The settings are one row, and locked for a moment.
"""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. The first campaign is next."""
    op.add_column("settings", sa.Column("recounted_to", sa.Uuid(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("settings", "recounted_to")

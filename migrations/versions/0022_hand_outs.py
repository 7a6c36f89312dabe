"""When a step was first handed out: nothing that is told moves its sending before that."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Of what was handed out before, it is not known."""
    op.add_column("campaign_actions", sa.Column("claimed_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("campaign_actions", "claimed_at")

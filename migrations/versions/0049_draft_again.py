"""When an enrollment is looked at again for a draft, for which none could be made."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. It is empty everywhere, so the table is locked for a moment and not written again."""
    op.add_column("campaign_enrollments", sa.Column("draft_again_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("campaign_enrollments", "draft_again_at")

"""Why the server paused an enrollment, kept with it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLE = "campaign_enrollments"


def upgrade() -> None:
    """Add the column, empty: who was paused before keeps the reason in the action alone."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(_TABLE, sa.Column("pause_reason", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f(f"ck_{_TABLE}_pause_reason_length"), _TABLE, "char_length(pause_reason) BETWEEN 1 AND 2000"
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column(_TABLE, "pause_reason")

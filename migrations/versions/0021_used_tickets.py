"""The links and sessions of the dashboard that were used up, for every server and after a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TABLE = "used_tickets"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        _TABLE,
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(id) = 16", name=op.f("ck_used_tickets_id_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_used_tickets")),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table(_TABLE)

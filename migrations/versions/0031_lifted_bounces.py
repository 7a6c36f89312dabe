"""When somebody lifted the bounce of an address, so that no bounce from before suppresses it again."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column beside that of consents, of which one is given."""
    op.add_column("consents", sa.Column("works_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("consents", "given_at", nullable=True)
    op.create_check_constraint(
        op.f("ck_consents_says_something"), "consents", sa.text("num_nonnulls(given_at, works_at) > 0")
    )


def downgrade() -> None:
    """Take it away, with the rows that say nothing else."""
    op.execute("DELETE FROM consents WHERE given_at IS NULL")
    op.drop_column("consents", "works_at")  # and the rule about it
    op.alter_column("consents", "given_at", nullable=False)

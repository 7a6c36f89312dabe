"""Which of a person's other addresses is one of their own in another spelling, as somebody else has it."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Maintenance fills it, in turns over all contacts."""
    op.add_column("contact_addresses", sa.Column("same_as", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_contact_addresses_same_as_length"),
        "contact_addresses",
        sa.text("char_length(same_as) BETWEEN 3 AND 320"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column("contact_addresses", "same_as")

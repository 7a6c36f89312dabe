"""The addresses that a person had before, or has besides: what is asked for one of them holds for all."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TABLE = "contact_addresses"


def upgrade() -> None:
    """Add the table, empty: which addresses people had so far is not known any more."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        _TABLE,
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("address = lower(address)", name=op.f(f"ck_{_TABLE}_address_lower")),
        sa.CheckConstraint("char_length(address) BETWEEN 3 AND 320", name=op.f(f"ck_{_TABLE}_address_length")),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contacts.id"], name=op.f(f"fk_{_TABLE}_contacts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("contact_id", "address", name=op.f(f"pk_{_TABLE}")),
    )
    op.create_index(f"ix_{_TABLE}_address", _TABLE, ["address"])


def downgrade() -> None:
    """Take it away."""
    op.drop_table(_TABLE)

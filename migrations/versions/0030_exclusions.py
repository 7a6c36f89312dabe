"""Exclusions: addresses that one campaign must not write to."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_TABLE = "campaign_exclusions"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        _TABLE,
        sa.Column("instance_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("address = lower(address)", name=op.f(f"ck_{_TABLE}_address_lower")),
        sa.CheckConstraint("char_length(address) BETWEEN 2 AND 321", name=op.f(f"ck_{_TABLE}_address_length")),
        sa.CheckConstraint("char_length(source) BETWEEN 0 AND 500", name=op.f(f"ck_{_TABLE}_source_length")),
        sa.CheckConstraint(
            "reason IN ('unsubscribed', 'bounced', 'complained', 'manual')", name=op.f(f"ck_{_TABLE}_reason")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["campaign_instances.id"], name=op.f(f"fk_{_TABLE}_campaign_instances"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_id", "id", name=op.f(f"pk_{_TABLE}")),
        sa.UniqueConstraint("instance_id", "address", name=op.f(f"uq_{_TABLE}_instance_id_address")),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table(_TABLE)

"""The places under daily limits that claimed steps hold, so that a step whose lease ran out is found by its own."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEX = "ix_campaign_actions_places"


def upgrade() -> None:
    """Add the index of places."""
    op.create_index(
        _INDEX,
        "campaign_actions",
        ["instance_id", "reserved_on"],
        postgresql_where=sa.text("status = 'claimed' AND reserved_on IS NOT NULL"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_index(_INDEX, table_name="campaign_actions")

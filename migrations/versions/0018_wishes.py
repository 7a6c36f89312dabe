"""To which address a step went, and when a person gave new consent."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty for what was sent before, and the table."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("campaign_actions", sa.Column("sent_to", sa.Text(), nullable=True))
    op.execute(
        "ALTER TABLE campaign_actions ADD CONSTRAINT ck_campaign_actions_sent_to_length"
        " CHECK (char_length(sent_to) BETWEEN 3 AND 320)"
    )
    op.create_table(
        "consents",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("address = lower(address)", name=op.f("ck_consents_address_lower")),
        sa.CheckConstraint("char_length(address) BETWEEN 3 AND 320", name=op.f("ck_consents_address_length")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_consents")),
    )


def downgrade() -> None:
    """Take both away."""
    op.drop_table("consents")
    op.drop_column("campaign_actions", "sent_to")

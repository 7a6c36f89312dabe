"""How the holder of a step reported it, apart from what events tell of the step."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. A step that was claimed and has an outcome counts as reported so."""
    op.add_column("campaign_actions", sa.Column("reported", sa.Text))
    op.create_check_constraint(
        op.f("ck_campaign_actions_reported"), "campaign_actions", sa.text("reported IN ('sent', 'failed', 'skipped')")
    )
    op.execute("""
        UPDATE campaign_actions SET reported = status WHERE lease_token IS NOT NULL AND status <> 'claimed'
    """)


def downgrade() -> None:
    """Take it away."""
    op.drop_column("campaign_actions", "reported")

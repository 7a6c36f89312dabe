"""A reason to end for who is moved to another campaign."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_RULE = "ck_campaign_enrollments_stop_reason"
_BEFORE = "'finished', 'replied', 'unsubscribed', 'complained', 'bounced', 'suppressed', 'campaign_completed', 'manual'"


def upgrade() -> None:
    """Take the reason in."""
    op.drop_constraint(op.f(_RULE), "campaign_enrollments", type_="check")
    op.create_check_constraint(op.f(_RULE), "campaign_enrollments", f"stop_reason IN ({_BEFORE}, 'moved')")


def downgrade() -> None:
    """Who was moved was ended by hand."""
    op.drop_constraint(op.f(_RULE), "campaign_enrollments", type_="check")
    op.execute(sa.text("UPDATE campaign_enrollments SET stop_reason = 'manual' WHERE stop_reason = 'moved'"))
    op.create_check_constraint(op.f(_RULE), "campaign_enrollments", f"stop_reason IN ({_BEFORE})")

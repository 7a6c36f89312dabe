"""What an answer does to colleagues: a setting of the workspace, and why an enrollment ended.

Enrollments are locked, for readers too, while they are read once for their new rule.
"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

_RULE = "ck_campaign_enrollments_stop_reason"
_BEFORE = (
    "'finished', 'replied', 'unsubscribed', 'complained', 'bounced', 'suppressed', 'campaign_completed', 'manual', "
    "'moved', 'has_left'"
)


def upgrade() -> None:
    """Add the column and the reason."""
    op.add_column("settings", sa.Column("colleagues", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_settings_colleagues"), "settings", sa.text("colleagues IN ('nothing', 'hold', 'stop')")
    )
    op.drop_constraint(op.f(_RULE), "campaign_enrollments")
    op.create_check_constraint(
        op.f(_RULE), "campaign_enrollments", sa.text(f"stop_reason IN ({_BEFORE}, 'colleague_replied')")
    )


def downgrade() -> None:
    """Take them away. Who was stopped by an answer of a colleague counts as stopped by hand."""
    op.drop_constraint(op.f(_RULE), "campaign_enrollments")
    op.execute(
        sa.text("UPDATE campaign_enrollments SET stop_reason = 'manual' WHERE stop_reason = 'colleague_replied'")
    )
    op.create_check_constraint(op.f(_RULE), "campaign_enrollments", sa.text(f"stop_reason IN ({_BEFORE})"))
    op.drop_column("settings", "colleagues")

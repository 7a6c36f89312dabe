"""Until when a person is away, and a reason to end for who has left."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_RULE = "ck_campaign_enrollments_stop_reason"
_BEFORE = (
    "'finished', 'replied', 'unsubscribed', 'complained', 'bounced', 'suppressed', 'campaign_completed', 'manual', "
    "'moved'"
)
_TOGETHER = "ck_contacts_absence"
_EMPTY = "ck_contacts_absence_of_nobody"


def upgrade() -> None:
    """Take both in."""
    for column in ("absent_from", "absent_until"):
        op.add_column("contacts", sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    both = "num_nulls(absent_from, absent_until) <> 1 AND (absent_from IS NULL OR absent_from < absent_until)"
    op.create_check_constraint(op.f(_TOGETHER), "contacts", both)
    op.create_check_constraint(op.f(_EMPTY), "contacts", "erased_at IS NULL OR absent_until IS NULL")
    op.drop_constraint(op.f(_RULE), "campaign_enrollments", type_="check")
    op.create_check_constraint(op.f(_RULE), "campaign_enrollments", f"stop_reason IN ({_BEFORE}, 'has_left')")


def downgrade() -> None:
    """Who has left was ended by hand."""
    op.drop_constraint(op.f(_RULE), "campaign_enrollments", type_="check")
    op.execute(sa.text("UPDATE campaign_enrollments SET stop_reason = 'manual' WHERE stop_reason = 'has_left'"))
    op.create_check_constraint(op.f(_RULE), "campaign_enrollments", f"stop_reason IN ({_BEFORE})")
    for name in (_EMPTY, _TOGETHER):
        op.drop_constraint(op.f(name), "contacts", type_="check")
    for column in ("absent_until", "absent_from"):
        op.drop_column("contacts", column)

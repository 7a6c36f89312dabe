"""Names the index of who is due from a mailbox after what it holds.

It locks the index for a moment, whatever its size.
"""

from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

_BEFORE, _AFTER = "ix_campaign_enrollments_due_by_lane", "ix_campaign_enrollments_due_by_mailbox"


def upgrade() -> None:
    """Rename it."""
    op.execute(f"ALTER INDEX {_BEFORE} RENAME TO {_AFTER}")


def downgrade() -> None:
    """Give it its former name."""
    op.execute(f"ALTER INDEX {_AFTER} RENAME TO {_BEFORE}")

"""Finds what is rare among very many: the enrollments of a campaign that are not active, and the mails of a mailbox.

Both indexes are built while others read and write; for a million enrollments and a million messages that takes some
seconds each.
"""

from alembic import op

from migrations import concurrently

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

_ENROLLMENTS = "ix_campaign_enrollments_not_active"
_MESSAGES = "ix_messages_mailbox_id"


def upgrade() -> None:
    """Build the indexes."""
    with concurrently.outside_of_transactions():
        concurrently.build(
            _ENROLLMENTS, "campaign_enrollments", ["instance_id", "status", "id"], where="status <> 'active'"
        )
        concurrently.build(
            _MESSAGES, "messages", ["mailbox_id", "direction", "occurred_at"], where="mailbox_id IS NOT NULL"
        )


def downgrade() -> None:
    """Drop them."""
    op.drop_index(_ENROLLMENTS, "campaign_enrollments")
    op.drop_index(_MESSAGES, "messages")

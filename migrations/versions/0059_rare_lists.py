"""Lists what is rare: threads by the kind of their latest answer, and the writes of one tool or of one caller.

The indexes are built while others read and write; for a million threads and a million writes that takes some seconds.
"""

from alembic import op

from migrations import concurrently

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

_THREADS = "ix_threads_latest_last_kind"
_AUDIT = {"ix_audit_log_tool": ["tool", "at", "id"], "ix_audit_log_actor": ["actor", "at", "id"]}


def upgrade() -> None:
    """Build the indexes."""
    with concurrently.outside_of_transactions():
        concurrently.build(_THREADS, "threads", ["last_kind", "last_message_at", "id"], where="last_kind IS NOT NULL")
        for name, columns in _AUDIT.items():
            concurrently.build(name, "audit_log", columns)


def downgrade() -> None:
    """Drop them."""
    op.drop_index(_THREADS, "threads")
    for name in _AUDIT:
        op.drop_index(name, "audit_log")

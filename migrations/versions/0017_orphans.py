"""An index of events that wait by the id of their enrollment, which nobody reads."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INDEX = "ix_orphaned_events_enrollment_id"
_TABLE = "orphaned_events"


def upgrade() -> None:
    """Drop it."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(_INDEX, table_name=_TABLE)


def downgrade() -> None:
    """Make it again."""
    op.create_index(
        _INDEX,
        _TABLE,
        ["enrollment_id"],
        postgresql_where=sa.text("status = 'waiting' AND enrollment_id IS NOT NULL"),
    )

"""When a pause ends by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_TABLE = "campaign_enrollments"
_RULES = {
    "paused_until_when_paused": "paused_until IS NULL OR status = 'paused'",
    "paused_until_finite": "isfinite(paused_until)",
    "due_after_pause": "next_action_at >= paused_until",
}


def upgrade() -> None:
    """Take it in, with the indexes that find the pauses which are over, and those who wait behind one."""
    op.add_column(_TABLE, sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True))
    for name, rule in _RULES.items():
        op.create_check_constraint(op.f(f"ck_{_TABLE}_{name}"), _TABLE, rule)
    some = sa.text("paused_until IS NOT NULL")
    op.create_index(f"ix_{_TABLE}_paused_until", _TABLE, ["paused_until"], postgresql_where=some)
    op.create_index(
        f"ix_{_TABLE}_due_after_pause", _TABLE, ["instance_id", "next_action_at", "id"], postgresql_where=some
    )


def downgrade() -> None:
    """Who is paused until then stays paused until somebody resumes them."""
    for name in ("due_after_pause", "paused_until"):
        op.drop_index(f"ix_{_TABLE}_{name}", _TABLE)
    for name in _RULES:
        op.drop_constraint(op.f(f"ck_{_TABLE}_{name}"), _TABLE, type_="check")
    op.drop_column(_TABLE, "paused_until")

"""Nobody is active without the moment of the next step, and that moment is one of the calendar."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TABLE = "campaign_enrollments"
_CHECKS = {
    "active_has_next_action": "status <> 'active' OR next_action_at IS NOT NULL",
    "next_action_at_finite": "isfinite(next_action_at)",
}


def upgrade() -> None:
    """Give a moment to whoever has none, and add the rules."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "UPDATE campaign_enrollments SET next_action_at = now() WHERE status = 'active' AND next_action_at IS NULL"
    )
    op.execute("UPDATE campaign_enrollments SET next_action_at = now() WHERE NOT isfinite(next_action_at)")
    for name, rule in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{_TABLE}_{name}"), _TABLE, rule)


def downgrade() -> None:
    """Take the rules away."""
    for name in _CHECKS:
        op.drop_constraint(op.f(f"ck_{_TABLE}_{name}"), _TABLE)

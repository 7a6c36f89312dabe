"""What a stronger suppression has replaced, so that it stands again when that one is taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_CHECKS = (
    ("replaced_reason", "replaced_reason IN ('unsubscribed', 'bounced', 'complained', 'manual')"),
    ("replaced_source_length", "char_length(replaced_source) BETWEEN 0 AND 500"),
    (
        "replaced_whole",
        "replaced_reason IS NOT NULL OR (replaced_source IS NULL AND replaced_expires_at IS NULL)",
    ),
    ("replaced_only_manual_expires", "replaced_expires_at IS NULL OR replaced_reason = 'manual'"),
)


def upgrade() -> None:
    """Add the columns: they take no lock for longer than a moment, whatever the table holds."""
    op.add_column("suppressions", sa.Column("replaced_reason", sa.Text(), nullable=True))
    op.add_column("suppressions", sa.Column("replaced_source", sa.Text(), nullable=True))
    op.add_column("suppressions", sa.Column("replaced_expires_at", sa.DateTime(timezone=True), nullable=True))
    for name, rule in _CHECKS:
        op.create_check_constraint(op.f(f"ck_suppressions_{name}"), "suppressions", sa.text(rule))


def downgrade() -> None:
    """Take them away."""
    for name, _ in _CHECKS:
        op.drop_constraint(op.f(f"ck_suppressions_{name}"), "suppressions")
    for column in ("replaced_expires_at", "replaced_source", "replaced_reason"):
        op.drop_column("suppressions", column)

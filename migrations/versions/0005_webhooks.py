"""What providers send to the webhooks, word for word."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = "webhook_deliveries"
_COUNTS = ("events_recorded", "events_duplicate", "events_orphaned", "events_invalid", "events_ignored")


def upgrade() -> None:
    """Add the table of requests."""
    op.create_table(
        _TABLE,
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in _COUNTS),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
            for name in ("updated_at", "created_at")
        ),
        _check("status", "status IN ('waiting', 'recorded', 'failed', 'held')"),
        _check("provider_length", "char_length(provider) BETWEEN 1 AND 100"),
        _check("delivery_id_length", "char_length(delivery_id) BETWEEN 1 AND 500"),
        _check("error_length", "char_length(error) BETWEEN 1 AND 2000"),
        _check("body_hash_length", "octet_length(body_hash) = 32"),
        _check("body_length", "octet_length(body) BETWEEN 1 AND 16777216"),
        _check("waiting_has_body", "status <> 'waiting' OR body IS NOT NULL"),
        _check("failed_has_error", "status <> 'failed' OR error IS NOT NULL"),
        _check("recorded_at", "status <> 'recorded' OR recorded_at IS NOT NULL"),
        _check("counts", f"least({', '.join(_COUNTS)}) >= 0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "uq_webhook_deliveries_delivery_id",
        _TABLE,
        ["provider", "delivery_id"],
        unique=True,
        postgresql_where=sa.text("delivery_id IS NOT NULL"),
    )
    op.create_index(
        "uq_webhook_deliveries_body_hash",
        _TABLE,
        ["provider", "body_hash"],
        unique=True,
        postgresql_where=sa.text("delivery_id IS NULL"),
    )
    op.create_index("ix_webhook_deliveries_waiting", _TABLE, ["id"], postgresql_where=sa.text("status = 'waiting'"))
    op.create_index("ix_webhook_deliveries_provider_received", _TABLE, ["provider", "received_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table(_TABLE)


def _check(name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_webhook_deliveries_{name}"))

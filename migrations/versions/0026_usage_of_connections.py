"""Each connection counts what it hands out in a row of its own, so that claims do not wait for one another."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_KEYS = {"campaign_usage": ["instance_id", "quarter"], "sender_usage": ["channel", "account", "quarter"]}


def upgrade() -> None:
    """Add the connection to the keys. What was counted before stays, as that of none. Waits for claims to end."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table, key in _KEYS.items():
        op.add_column(table, sa.Column("backend", sa.Integer(), server_default="0", nullable=False))
        op.alter_column(table, "backend", server_default=None)
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, [*key, "backend"])
        op.drop_constraint(op.f(f"ck_{table}_used"), table, type_="check")


def downgrade() -> None:
    """Add up what the connections have counted."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table, key in _KEYS.items():
        keys = ", ".join(key)
        op.execute(
            f"CREATE TEMPORARY TABLE sums ON COMMIT DROP AS SELECT {keys}, greatest(0, sum(used))::int AS used, "
            f"max(last_at) AS last_at FROM {table} GROUP BY {keys}"
        )
        op.execute(f"DELETE FROM {table}")
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.drop_column(table, "backend")
        op.create_primary_key(op.f(f"pk_{table}"), table, key)
        op.create_check_constraint(op.f(f"ck_{table}_used"), table, "used >= 0")
        op.execute(f"INSERT INTO {table} ({keys}, used, last_at) SELECT {keys}, used, last_at FROM sums")
        op.execute("DROP TABLE sums")

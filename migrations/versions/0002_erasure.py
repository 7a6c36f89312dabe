"""Erasure: suppressions by keyed hash, temporary suppressions, and rules for what had none.

The rules are added NOT VALID, so that no table is read under the lock; the next revision checks the rows that stand.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Everybody else queues behind a lock that is waited for, so it is not waited for long.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"

_CHECKS = {
    "contacts": {
        "erased_is_empty": (
            "erased_at IS NULL OR (num_nonnulls(email, linkedin_url, first_name, last_name, company, title, timezone)"
            " = 0 AND attributes = '{}')"
        ),
    },
    "suppressions": {
        "one_target": "num_nonnulls(email, domain, linkedin_url, address_hash) = 1",
        "address_hash_length": "octet_length(address_hash) = 32",
        "only_manual_expires": "expires_at IS NULL OR reason = 'manual'",
    },
    "orphaned_events": {
        "step_number_range": "step_number BETWEEN 1 AND 1000",
        "email_length": "char_length(email) BETWEEN 3 AND 320",
        "provider_message_id_length": "char_length(provider_message_id) BETWEEN 1 AND 500",
    },
}


def upgrade() -> None:
    """Add the column, the table of keys, and the rules for rows to come."""
    op.execute(_LOCK_TIMEOUT)
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("ck_secrets_name_length")),
        sa.CheckConstraint("octet_length(value) = 32", name=op.f("ck_secrets_value_length")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.add_column("suppressions", sa.Column("address_hash", sa.LargeBinary(), nullable=True))
    op.drop_constraint(op.f("ck_suppressions_one_target"), "suppressions", type_="check")
    for table, checks in _CHECKS.items():
        for name, rule in checks.items():
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({rule}) NOT VALID")
    # The column is empty, so both indexes are, and cost one reading of the table.
    op.create_index(
        "uq_suppressions_address_hash",
        "suppressions",
        ["address_hash"],
        unique=True,
        postgresql_where=sa.text("address_hash IS NOT NULL"),
    )
    op.create_index(
        "ix_suppressions_temporary",
        "suppressions",
        ["id"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Take all of it away. Refused while somebody is suppressed by a hash, which the older schema could not keep."""
    op.execute(_LOCK_TIMEOUT)
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM suppressions WHERE address_hash IS NOT NULL)")):
        raise RuntimeError(
            "People were erased, and the older schema can't keep them suppressed. To go back all the same, run "
            "DELETE FROM suppressions WHERE address_hash IS NOT NULL first: they can be written to again after that."
        )
    op.drop_index("ix_suppressions_temporary", table_name="suppressions")
    op.drop_index("uq_suppressions_address_hash", table_name="suppressions")
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.drop_column("suppressions", "address_hash")
    op.execute(
        "ALTER TABLE suppressions ADD CONSTRAINT ck_suppressions_one_target"
        " CHECK (num_nonnulls(email, domain, linkedin_url) = 1)"
    )
    op.drop_table("secrets")

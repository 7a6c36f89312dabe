"""Lookups among a million: people of a company or a domain, and webhook requests that were not recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DELIVERIES = "webhook_deliveries"


def upgrade() -> None:
    """Add the index of companies and the statistics of domains; requests that failed join the index of those that
    wait."""
    op.create_index(
        "ix_contacts_lower_company",
        "contacts",
        [sa.literal_column("lower(company)")],
        postgresql_where=sa.text("company IS NOT NULL"),
    )
    op.execute("CREATE STATISTICS stat_contacts_domain ON (split_part(email, '@', 2)) FROM contacts")
    _lock_deliveries()
    op.create_index(
        "ix_webhook_deliveries_unrecorded",
        _DELIVERIES,
        ["status", "id"],
        postgresql_where=sa.text("status <> 'recorded'"),
    )
    op.drop_index("ix_webhook_deliveries_waiting", table_name=_DELIVERIES)
    # The planner knows neither before the table is analysed, which happens by itself only once many rows have changed. An
    # empty table is left alone, lest the planner take it for one that stays empty.
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM contacts)")):
        op.execute("ANALYZE contacts")


def downgrade() -> None:
    """Take them away, and index again what waits alone."""
    _lock_deliveries()
    op.create_index(
        "ix_webhook_deliveries_waiting", _DELIVERIES, ["id"], postgresql_where=sa.text("status = 'waiting'")
    )
    op.drop_index("ix_webhook_deliveries_unrecorded", table_name=_DELIVERIES)
    op.execute("DROP STATISTICS stat_contacts_domain")
    op.drop_index("ix_contacts_lower_company", table_name="contacts")


def _lock_deliveries() -> None:
    # At once as strong as the drop of an index needs it. Who has chosen rows before the first index is made, and writes
    # them before the other is dropped, would wait for us and we for them.
    op.execute(f"LOCK TABLE {_DELIVERIES} IN ACCESS EXCLUSIVE MODE")

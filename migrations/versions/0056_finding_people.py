"""Finds people among very many: by domain, by company, and by how a name or an address starts.

The index of the companies held those alone that are known. PostgreSQL does not look at the statistics of such an index, and
took each company for one of thousands of people. That of the addresses finds their starts in any collation now. The
statistics of the domains are those of their index.

All indexes are built while others read and write; for a million people that takes about ten seconds. Those that they
replace are dropped in a moment each.
"""

import sqlalchemy as sa
from alembic import op

from migrations import concurrently

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

_FULL_NAME = "lower(coalesce(first_name || ' ', '') || coalesce(last_name, ''))"
_NEW = {
    "ix_contacts_domain": "reverse(split_part(email, '@', 2)) text_pattern_ops",
    "ix_contacts_company": "lower(company)",
    "ix_contacts_last_name": "lower(last_name) text_pattern_ops",
    "ix_contacts_full_name": f"({_FULL_NAME}) text_pattern_ops",
}
_EMAIL = "uq_contacts_email"
_OLD = ("uq_contacts_lower_email", "ix_contacts_lower_company")
_STATISTICS = "stat_contacts_domain"


def upgrade() -> None:
    """Build the indexes, and drop those that they replace."""
    with concurrently.outside_of_transactions():
        for name, expression in _NEW.items():
            concurrently.build(name, "contacts", [expression])
        concurrently.build(_EMAIL, "contacts", ["lower(email) text_pattern_ops"], unique=True)
        for name in _OLD:
            op.drop_index(name, "contacts", if_exists=True, postgresql_concurrently=True)
        op.execute("ANALYZE contacts")
    op.execute(f"DROP STATISTICS IF EXISTS {_STATISTICS}")


def downgrade() -> None:
    """Put back what was there. The table is locked meanwhile."""
    unique, company = _OLD
    op.create_index(unique, "contacts", [sa.text("lower(email)")], unique=True)
    op.create_index(company, "contacts", [sa.text("lower(company)")], postgresql_where=sa.text("company IS NOT NULL"))
    for name in (*_NEW, _EMAIL):
        op.drop_index(name, "contacts")
    op.execute(f"CREATE STATISTICS {_STATISTICS} ON (split_part(email, '@', 2)) FROM contacts")

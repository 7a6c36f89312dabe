"""The rules of 0002 hold for every row, and a suppressed domain has the one spelling that emails have.

VALIDATE reads the tables beside their readers and writers: it blocks neither.
"""

from contextlib import suppress

import idna
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CHECKS = {
    "contacts": ("erased_is_empty",),
    "suppressions": ("one_target", "address_hash_length", "only_manual_expires"),
    "orphaned_events": ("step_number_range", "email_length", "provider_message_id_length"),
}


def upgrade() -> None:
    """Spell domains again, end the expiry of what never expires, and check the rows that stand."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _respell_domains()
    op.execute("UPDATE suppressions SET expires_at = NULL WHERE expires_at IS NOT NULL AND reason <> 'manual'")
    for table, checks in _CHECKS.items():
        for name in checks:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")


def downgrade() -> None:
    """Nothing: rules that hold for every row hold for those to come."""


def _respell_domains() -> None:
    """Punycode and other spellings become Unicode. Of two rows for one domain the one in that spelling stays."""
    connection = op.get_bind()
    found = connection.execute(
        sa.text("SELECT id, domain FROM suppressions WHERE domain ~ '[^ -~]' OR domain LIKE '%xn--%'")
    ).all()
    for id_, domain in found:
        spelled = domain
        with suppress(idna.IDNAError, UnicodeError):  # what is not a domain matched nobody, and stays as it is
            spelled = idna.decode(idna.encode(domain, uts46=True)).lower()
        if spelled == domain:
            continue
        values = {"id": id_, "domain": spelled}
        connection.execute(
            sa.text(
                "UPDATE suppressions SET domain = :domain WHERE id = :id"
                " AND NOT EXISTS (SELECT FROM suppressions WHERE domain = :domain)"
            ),
            values,
        )
        connection.execute(
            sa.text(
                "DELETE FROM suppressions s WHERE id = :id AND domain <> :domain"
                " AND EXISTS (SELECT FROM suppressions WHERE domain = :domain)"
            ),
            values,
        )

"""One spelling of a profile: those that stand are put into it, and two that differ in case alone are one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"

# What db.domain.addresses makes of them since: NFC, and nothing of the query or of the sentence behind the name.
_NORMAL = "normalize(rtrim(split_part(linkedin_url, '&', 1), '.,;:!?)'), NFC)"
_ODD = "linkedin_url ~ '^https://www\\.linkedin\\.com/in/.*([^ -~]|[&]|[.,;:!?)]$)'"

# Of two contacts with one profile neither is changed: nobody can tell here which of them it is.
_CONTACTS = f"""
    UPDATE contacts c SET linkedin_url = n.normal
    FROM (
        SELECT min(id::text)::uuid AS id, normal
        FROM (SELECT id, {_NORMAL} AS normal FROM contacts WHERE {_ODD}) odd
        GROUP BY normal HAVING count(*) = 1
    ) n
    WHERE c.id = n.id AND c.linkedin_url <> n.normal
      AND NOT EXISTS (SELECT FROM contacts other WHERE other.linkedin_url = n.normal)
"""
# The strongest of those about one profile stays.
_OF_ONE_PROFILE = f"""
    SELECT id, normal, row_number() OVER (
        PARTITION BY lower(normal)
        ORDER BY reason IN ('unsubscribed', 'complained') DESC, reason = 'bounced' DESC, expires_at DESC NULLS FIRST, id
    ) AS place
    FROM (
        SELECT id, reason, expires_at,
               CASE WHEN {_ODD} AND NOT EXISTS (SELECT FROM contacts c WHERE c.linkedin_url = s.linkedin_url)
               THEN {_NORMAL} ELSE linkedin_url END AS normal
        FROM suppressions s WHERE linkedin_url IS NOT NULL
    ) each_one
"""


def upgrade() -> None:
    """Put what stands into the normal form, and compare without regard to case."""
    op.execute(_LOCK_TIMEOUT)
    op.execute(_CONTACTS)
    op.execute(f"DELETE FROM suppressions WHERE id IN (SELECT id FROM ({_OF_ONE_PROFILE}) n WHERE place > 1)")
    op.execute(
        f"UPDATE suppressions s SET linkedin_url = n.normal FROM ({_OF_ONE_PROFILE}) n"
        " WHERE s.id = n.id AND s.linkedin_url <> n.normal"
    )
    _index(sa.text("lower(linkedin_url)"))


def downgrade() -> None:
    """Compare profiles as they are written again."""
    op.execute(_LOCK_TIMEOUT)
    _index("linkedin_url")


def _index(on: "str | sa.TextClause") -> None:
    op.drop_index("uq_contacts_linkedin_url", table_name="contacts")
    op.create_index("uq_contacts_linkedin_url", "contacts", [on], unique=True)
    op.drop_index("uq_suppressions_linkedin_url", table_name="suppressions")
    op.create_index(
        "uq_suppressions_linkedin_url",
        "suppressions",
        [on],
        unique=True,
        postgresql_where=sa.text("linkedin_url IS NOT NULL"),
    )

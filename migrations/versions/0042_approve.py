"""The scope of people who approve what goes out."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_SCOPES = "ck_access_tokens_scopes"


def _known(scopes: str) -> sa.TextClause:
    return sa.text(f"scopes <@ ARRAY[{scopes}] AND cardinality(scopes) > 0")


def upgrade() -> None:
    """Let tokens have it."""
    op.drop_constraint(op.f(_SCOPES), "access_tokens")
    op.create_check_constraint(op.f(_SCOPES), "access_tokens", _known("'read', 'write', 'ops', 'approve'"))


def downgrade() -> None:
    """Take it from all tokens: one that may do nothing else is revoked, and reads nothing any more."""
    op.execute("UPDATE access_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE scopes = ARRAY['approve']")
    op.execute(
        "UPDATE access_tokens SET scopes = CASE WHEN scopes = ARRAY['approve'] THEN ARRAY['read'] "
        "ELSE array_remove(scopes, 'approve') END WHERE 'approve' = ANY (scopes)"
    )
    op.drop_constraint(op.f(_SCOPES), "access_tokens")
    op.create_check_constraint(op.f(_SCOPES), "access_tokens", _known("'read', 'write', 'ops'"))

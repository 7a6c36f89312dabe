"""Bearer tokens with scopes, and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "access_tokens",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("ck_access_tokens_name_length")),
        sa.CheckConstraint(
            "name NOT IN ('default', 'local', 'stdio')", name=op.f("ck_access_tokens_name_not_reserved")
        ),
        sa.CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'ops'] AND cardinality(scopes) > 0",
            name=op.f("ck_access_tokens_scopes"),
        ),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_access_tokens_token_hash_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
    )
    op.create_index("uq_access_tokens_token_hash", "access_tokens", ["token_hash"], unique=True)
    op.create_index(
        "uq_access_tokens_name", "access_tokens", ["name"], unique=True, postgresql_where=sa.text("revoked_at IS NULL")
    )
    op.create_table(
        "audit_log",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("arguments_digest", sa.LargeBinary(), nullable=True),
        sa.Column("ids", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("is_cut", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("char_length(actor) BETWEEN 1 AND 100", name=op.f("ck_audit_log_actor_length")),
        sa.CheckConstraint("char_length(tool) BETWEEN 1 AND 100", name=op.f("ck_audit_log_tool_length")),
        sa.CheckConstraint("char_length(request_id) BETWEEN 1 AND 100", name=op.f("ck_audit_log_request_id_length")),
        sa.CheckConstraint("char_length(error) BETWEEN 1 AND 100", name=op.f("ck_audit_log_error_length")),
        sa.CheckConstraint("outcome IN ('ok', 'refused')", name=op.f("ck_audit_log_outcome")),
        sa.CheckConstraint("jsonb_typeof(ids) = 'object'", name=op.f("ck_audit_log_ids_object")),
        sa.CheckConstraint("octet_length(arguments_digest) = 32", name=op.f("ck_audit_log_arguments_digest_length")),
        sa.CheckConstraint("(outcome = 'refused') = (error IS NOT NULL)", name=op.f("ck_audit_log_error_when_refused")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at", "id"], unique=False)


def downgrade() -> None:
    """Take both away: the tokens hold no longer, and what was written by whom is forgotten."""
    op.drop_table("audit_log")
    op.drop_table("access_tokens")

"""Threads, and what is known of a message that came in."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_KINDS = "'human', 'auto_reply', 'absence', 'has_left', 'unsubscribe', 'bounce', 'complaint', 'other', 'owner_wrote'"
_BOUNCES = "'hard', 'soft', 'full', 'policy', 'auth', 'expired', 'too_large', 'unknown'"
_COLUMNS = (
    sa.Column("thread_id", sa.UUID(), nullable=True),
    sa.Column("status", sa.Text(), nullable=True),
    sa.Column("kind", sa.Text(), nullable=True),
    sa.Column("bounce", sa.Text(), nullable=True),
    sa.Column("rule", sa.Text(), nullable=True),
    sa.Column("evidence", sa.Text(), nullable=True),
    sa.Column("rules_version", sa.Integer(), nullable=True),
    sa.Column("findings", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    sa.Column("return_on", sa.Date(), nullable=True),
    sa.Column("is_guess", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    sa.Column("sorted_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("interest", sa.Text(), nullable=True),
    sa.Column("sender", sa.Text(), nullable=True),
    sa.Column("sender_name", sa.Text(), nullable=True),
    sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("folder", sa.Text(), nullable=True),
    sa.Column("uidvalidity", sa.BigInteger(), nullable=True),
    sa.Column("uid", sa.BigInteger(), nullable=True),
    sa.Column("hash", sa.LargeBinary(), nullable=True),
)
_CHECKS = (
    ("status", "status IN ('pending', 'recorded')"),
    ("kind", f"kind IN ({_KINDS})"),
    ("bounce", f"bounce IN ({_BOUNCES})"),
    ("interest", "interest IN ('interested', 'not_now', 'not_interested', 'question')"),
    ("incoming_status", "direction <> 'in' OR status IS NOT NULL"),
    ("recorded_kind", "(status IS NOT DISTINCT FROM 'recorded') = (kind IS NOT NULL)"),
    ("rule_of_kind", "rule IS NULL OR kind IS NOT NULL"),
    ("findings", "findings <@ ARRAY['hidden_text', 'instructions_to_an_agent', 'forged_quote']"),
    ("place", "num_nulls(folder, uidvalidity, uid) IN (0, 3)"),
    ("hash_length", "octet_length(hash) = 32"),
    ("rule_length", "char_length(rule) BETWEEN 1 AND 100"),
    ("evidence_length", "char_length(evidence) BETWEEN 1 AND 300"),
    ("sender_length", "char_length(sender) BETWEEN 1 AND 320"),
    ("sender_name_length", "char_length(sender_name) BETWEEN 1 AND 200"),
    ("folder_length", "char_length(folder) BETWEEN 1 AND 1000"),
)
_IDENTITY = "uq_messages_internet_message_id"


def upgrade() -> None:
    """Add threads, and the columns. Mails that were handed out before begin a thread when they are answered."""
    op.create_table(
        "threads",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("instance_id", sa.UUID(), nullable=False),
        sa.Column("enrollment_id", sa.UUID(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("mailbox_id", sa.UUID(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_kind", sa.Text(), nullable=True),
        sa.Column("messages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.CheckConstraint("state IN ('waiting', 'needs_answer', 'answered', 'closed')", name=op.f("ck_threads_state")),
        sa.CheckConstraint(f"last_kind IN ({_KINDS})", name=op.f("ck_threads_last_kind")),
        sa.CheckConstraint("messages >= 0", name=op.f("ck_threads_messages")),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 998", name=op.f("ck_threads_subject_length")),
        sa.ForeignKeyConstraint(
            ["instance_id", "enrollment_id"],
            ["campaign_enrollments.instance_id", "campaign_enrollments.id"],
            name=op.f("fk_threads_campaign_enrollments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threads")),
    )
    op.create_index("ix_threads_enrollment_id", "threads", ["enrollment_id"])
    for columns in ("", "state", "instance_id", "contact_id", "mailbox_id"):
        name = columns or "last_message_at"
        op.create_index(f"ix_threads_latest_{name}", "threads", [*filter(None, [columns]), "last_message_at", "id"])
    for column in _COLUMNS:
        op.add_column("messages", column)
    op.execute("UPDATE messages SET status = 'pending' WHERE direction = 'in'")
    for name, rule in _CHECKS:
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    op.create_foreign_key(op.f("fk_messages_threads"), "messages", "threads", ["thread_id"], ["id"], ondelete="CASCADE")
    op.drop_index(_IDENTITY, "messages")
    op.create_index(
        _IDENTITY,
        "messages",
        ["mailbox_id", "internet_message_id", "direction", "sender", "sent_at"],
        unique=True,
        postgresql_where=sa.text("mailbox_id IS NOT NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_messages_internet_message_id", "messages", ["internet_message_id"])
    op.create_index("ix_messages_thread_id", "messages", ["thread_id", "occurred_at"])
    op.create_index(
        "ix_messages_pending", "messages", ["mailbox_id", "id"], postgresql_where=sa.text("status = 'pending'")
    )
    op.add_column("message_bodies", sa.Column("raw", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Take them away, with the messages that came in."""
    op.execute("DELETE FROM messages WHERE direction = 'in'")
    op.drop_column("message_bodies", "raw")
    for index in ("ix_messages_pending", "ix_messages_thread_id", "ix_messages_internet_message_id", _IDENTITY):
        op.drop_index(index, "messages")
    op.create_index(
        _IDENTITY,
        "messages",
        ["mailbox_id", "internet_message_id", "direction"],
        unique=True,
        postgresql_where=sa.text("mailbox_id IS NOT NULL"),
    )
    op.drop_constraint(op.f("fk_messages_threads"), "messages")
    for name, _ in _CHECKS:
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
    for column in reversed(_COLUMNS):
        op.drop_column("messages", column.name)
    op.drop_table("threads")

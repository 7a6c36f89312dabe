"""Replies within threads: mails of no step, which wait as drafts where approval is asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

_MESSAGES = (
    (
        "reply",
        (
            "replies_to IS NULL OR (direction = 'out' AND action_id IS NULL AND thread_id IS NOT NULL "
            "AND coalesce(status NOT IN ('pending', 'recorded'), FALSE))"
        ),
    ),
    (
        "step_or_reply",
        "status IS NULL OR status IN ('pending', 'recorded') OR num_nonnulls(action_id, replies_to) = 1",
    ),
    ("cc", "cardinality(cc) <= 30 AND (cc = '{}' OR replies_to IS NOT NULL)"),
    ("claim_of_reply", "num_nonnulls(claim_token, reserved_at) = 0 OR replies_to IS NOT NULL"),
)
_DRAFTS = (
    ("step_or_thread", "num_nonnulls(step_number, thread_id) = 1"),
    (
        "reply",
        (
            "(thread_id IS NULL) = (replies_to IS NULL) "
            "AND (thread_id IS NULL OR (channel = 'email' AND source = 'written' AND subject IS NOT NULL))"
        ),
    ),
    ("cc", "cardinality(cc) <= 30 AND (cc = '{}' OR thread_id IS NOT NULL)"),
)


def _copies() -> sa.Column[list[str]]:
    return sa.Column("cc", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False)


def upgrade() -> None:
    """Add the columns and their rules. Nobody writes messages or drafts while their rows are checked, and while the
    indexes, of which each is empty, are made."""
    op.add_column("messages", sa.Column("replies_to", sa.UUID(), nullable=True))
    op.add_column("messages", _copies())
    op.add_column("messages", sa.Column("claim_token", sa.UUID(), nullable=True))
    op.add_column("messages", sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=True))
    # Replies of a time before an older version was gone back to.
    op.execute(
        "UPDATE messages SET replies_to = id WHERE status IN ('sent', 'refused', 'not_sent') AND action_id IS NULL"
    )
    for name, rule in _MESSAGES:
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    op.create_index(
        "uq_messages_reply",
        "messages",
        ["mailbox_id", "thread_id"],
        unique=True,
        postgresql_where=sa.text("replies_to IS NOT NULL AND status IN ('queued', 'sending', 'unknown')"),
    )
    op.create_index("ix_messages_cc", "messages", ["id"], postgresql_where=sa.text("cc <> '{}'"))
    op.alter_column("action_drafts", "step_number", nullable=True)
    op.add_column("action_drafts", sa.Column("thread_id", sa.UUID(), nullable=True))
    op.add_column("action_drafts", sa.Column("replies_to", sa.UUID(), nullable=True))
    op.add_column("action_drafts", _copies())
    op.create_foreign_key(
        op.f("fk_action_drafts_threads"), "action_drafts", "threads", ["thread_id"], ["id"], ondelete="CASCADE"
    )
    for name, rule in _DRAFTS:
        op.create_check_constraint(op.f(f"ck_action_drafts_{name}"), "action_drafts", sa.text(rule))
    op.create_index(
        "uq_action_drafts_reply",
        "action_drafts",
        ["thread_id"],
        unique=True,
        postgresql_where=sa.text("thread_id IS NOT NULL AND status = 'waiting'"),
    )
    op.create_index(
        "ix_action_drafts_thread_id", "action_drafts", ["thread_id"], postgresql_where=sa.text("thread_id IS NOT NULL")
    )
    op.create_index("ix_action_drafts_cc", "action_drafts", ["id"], postgresql_where=sa.text("cc <> '{}'"))


def downgrade() -> None:
    """Take them away, and the drafts of replies with them. Refused while a reply is still to go, or nobody knows
    whether it went."""
    open_ones = op.get_bind().scalar(
        sa.text(
            "SELECT count(*) FROM messages WHERE replies_to IS NOT NULL AND status IN ('queued', 'sending', 'unknown')"
        )
    )
    if open_ones:
        raise RuntimeError(
            f"{open_ones} replies are queued, or nobody knows whether they went out, and the older version sends none: "
            "let them go, settle those that are unknown with settle_message, and go back then."
        )
    op.execute("DELETE FROM action_drafts WHERE thread_id IS NOT NULL")
    for index in ("ix_action_drafts_cc", "ix_action_drafts_thread_id", "uq_action_drafts_reply"):
        op.drop_index(index, "action_drafts")
    for name, _ in _DRAFTS:
        op.drop_constraint(op.f(f"ck_action_drafts_{name}"), "action_drafts")
    op.drop_constraint(op.f("fk_action_drafts_threads"), "action_drafts")
    for column in ("cc", "replies_to", "thread_id"):
        op.drop_column("action_drafts", column)
    op.alter_column("action_drafts", "step_number", nullable=False)
    for index in ("ix_messages_cc", "uq_messages_reply"):
        op.drop_index(index, "messages")
    for name, _ in _MESSAGES:
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
    for column in ("reserved_at", "claim_token", "cc", "replies_to"):
        op.drop_column("messages", column)

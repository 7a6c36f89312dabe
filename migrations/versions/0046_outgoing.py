"""What became of each mail that this server sends."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_COLUMNS = (
    sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
    sa.Column("first_tried_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("sending_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("answer", sa.Text(), nullable=True),
    sa.Column("filed_at", sa.DateTime(timezone=True), nullable=True),
)
_NEW = (
    (
        "outgoing_status",
        (
            "status IN ('pending', 'recorded') OR status IS NULL OR (direction = 'out' AND channel = 'email' "
            "AND mailbox_id IS NOT NULL AND internet_message_id IS NOT NULL)"
        ),
    ),
    ("begun", "status NOT IN ('sending', 'sent', 'unknown') OR (hash IS NOT NULL AND sending_at IS NOT NULL)"),
    ("next_attempt_at", "next_attempt_at IS NULL OR status IS NOT DISTINCT FROM 'queued'"),
    ("attempts", "attempts >= 0 AND (attempts = 0 OR first_tried_at IS NOT NULL)"),
    ("filed_at", "filed_at IS NULL OR status IS NOT DISTINCT FROM 'sent'"),
    ("refused_bounce", "status IS DISTINCT FROM 'refused' OR bounce IS NOT NULL"),
    ("answer_length", "char_length(answer) BETWEEN 1 AND 500"),
)
_STATUSES = "'pending', 'recorded', 'queued', 'sending', 'sent', 'refused', 'unknown', 'not_sent'"
_CHANGED = (
    ("status", "status IN ('pending', 'recorded')", f"status IN ({_STATUSES})"),
    (
        "incoming_status",
        "direction <> 'in' OR status IS NOT NULL",
        "direction <> 'in' OR (status IS NOT NULL AND status IN ('pending', 'recorded'))",
    ),
    (
        "rule_of_kind",
        "rule IS NULL OR kind IS NOT NULL",
        "rule IS NULL OR kind IS NOT NULL OR status IS NOT DISTINCT FROM 'refused'",
    ),
)


def upgrade() -> None:
    """Add the columns and their rules. What was handed out before was handed to agents, and has no status."""
    for column in _COLUMNS:
        op.add_column("messages", column)
    for name, _, rule in _CHANGED:
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    for name, rule in _NEW:
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    op.create_index(
        "ix_messages_outgoing",
        "messages",
        ["mailbox_id", "status", "id"],
        postgresql_where=sa.text("status IN ('queued', 'sending', 'unknown')"),
    )
    op.create_index(
        "ix_messages_unfiled",
        "messages",
        ["mailbox_id", "id"],
        postgresql_where=sa.text("status = 'sent' AND filed_at IS NULL"),
    )
    op.add_column("mailboxes", sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("ck_mailboxes_refusals"), "mailboxes", sa.text("refusals >= 0"))


def downgrade() -> None:
    """Take them away. What was sent stays, as what agents have sent."""
    op.drop_constraint(op.f("ck_mailboxes_refusals"), "mailboxes")
    op.drop_column("mailboxes", "refusals")
    for index in ("ix_messages_unfiled", "ix_messages_outgoing"):
        op.drop_index(index, "messages")
    for name, _ in reversed(_NEW):
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
    op.execute("""
        UPDATE messages SET status = NULL, rule = NULL, bounce = NULL, hash = NULL
        WHERE status NOT IN ('pending', 'recorded')
    """)
    for name, rule, _ in reversed(_CHANGED):
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    for column in reversed(_COLUMNS):
        op.drop_column("messages", column.name)

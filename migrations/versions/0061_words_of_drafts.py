"""Drafts that are old and decided lose their words, as messages do.

Drafts are locked while they are read once for their new rules.
"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

_TABLE = "action_drafts"
_REASON, _REPLY, _FORGOTTEN = (f"ck_{_TABLE}_{name}" for name in ("reason_of_rejected", "reply", "forgotten"))
_OF_REPLY = "(thread_id IS NULL) = (replies_to IS NULL) AND (thread_id IS NULL OR (channel = 'email' AND source = 'written' AND "


def upgrade() -> None:
    """Let a draft have no body, and index those that have one by their age."""
    op.alter_column(_TABLE, "body", existing_type=sa.Text(), nullable=True)
    op.drop_constraint(op.f(_REASON), _TABLE)
    op.create_check_constraint(
        op.f(_REASON),
        _TABLE,
        sa.text("CASE status WHEN 'rejected' THEN reason IS NOT NULL OR body IS NULL ELSE reason IS NULL END"),
    )
    op.create_check_constraint(
        op.f(_FORGOTTEN),
        _TABLE,
        sa.text("body IS NOT NULL OR (subject IS NULL AND reason IS NULL AND cc = '{}' AND status <> 'waiting')"),
    )
    op.drop_constraint(op.f(_REPLY), _TABLE)
    op.create_check_constraint(op.f(_REPLY), _TABLE, sa.text(f"{_OF_REPLY}(subject IS NOT NULL OR body IS NULL)))"))
    op.create_index(
        "ix_action_drafts_words", _TABLE, ["created_at", "id"], postgresql_where=sa.text("body IS NOT NULL")
    )


def downgrade() -> None:
    """Take it back. Words that are gone are a hyphen."""
    op.drop_index("ix_action_drafts_words", table_name=_TABLE)
    for name in (_FORGOTTEN, _REASON, _REPLY):
        op.drop_constraint(op.f(name), _TABLE)
    op.execute(
        sa.text("""
            UPDATE action_drafts
            SET body = '-', subject = CASE WHEN thread_id IS NOT NULL THEN '-' END,
                reason = CASE WHEN status = 'rejected' THEN '-' END
            WHERE body IS NULL
        """)
    )
    op.create_check_constraint(op.f(_REASON), _TABLE, sa.text("(status = 'rejected') = (reason IS NOT NULL)"))
    op.create_check_constraint(op.f(_REPLY), _TABLE, sa.text(f"{_OF_REPLY}subject IS NOT NULL))"))
    op.alter_column(_TABLE, "body", existing_type=sa.Text(), nullable=False)

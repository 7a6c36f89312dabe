"""Mails of which nobody knows whether they went out are in threads, where a person finds them.

That an answer refers to such a mail is a fact of its own then: until now its thread told it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and put the mails of steps into their threads that are unknown now."""
    op.add_column("messages", sa.Column("came_back", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute(
        sa.text("""
            UPDATE messages SET came_back = TRUE
            WHERE status IN ('queued', 'sending', 'unknown') AND action_id IS NOT NULL AND thread_id IS NOT NULL
              AND sending_at IS NOT NULL
        """)
    )
    op.execute(
        sa.text("""
            WITH joining AS MATERIALIZED (
                SELECT m.id, m.instance_id, m.enrollment_id, e.contact_id, m.mailbox_id, m.subject, m.occurred_at,
                       CASE WHEN m.new_thread THEN m.id ELSE coalesce(before.thread_id, m.id) END AS thread_id
                FROM messages m
                JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
                JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id
                LEFT JOIN LATERAL (
                    SELECT p.thread_id FROM messages p
                    JOIN campaign_actions earlier ON earlier.instance_id = p.instance_id AND earlier.id = p.action_id
                    WHERE p.enrollment_id = m.enrollment_id AND p.thread_id IS NOT NULL
                      AND earlier.step_number < a.step_number
                    ORDER BY earlier.step_number DESC LIMIT 1
                ) before ON TRUE
                WHERE m.status = 'unknown' AND m.thread_id IS NULL
            ), kept AS (
                INSERT INTO threads (id, instance_id, enrollment_id, contact_id, mailbox_id, subject, last_message_at,
                                     messages)
                SELECT thread_id, instance_id, enrollment_id, contact_id, mailbox_id, subject, occurred_at, 1
                FROM joining
                ON CONFLICT (id) DO UPDATE
                SET messages = threads.messages + 1,
                    last_message_at = greatest(threads.last_message_at, excluded.last_message_at)
            )
            UPDATE messages m SET thread_id = joining.thread_id FROM joining WHERE m.id = joining.id
        """)
    )


def downgrade() -> None:
    """Take them out of their threads again, since an earlier version takes such a mail for an answered one."""
    op.execute(
        sa.text("""
            UPDATE messages SET thread_id = NULL
            WHERE status IN ('queued', 'sending', 'unknown') AND action_id IS NOT NULL AND NOT came_back
        """)
    )
    op.execute(sa.text("DELETE FROM threads t WHERE NOT EXISTS (SELECT FROM messages m WHERE m.thread_id = t.id)"))
    op.drop_column("messages", "came_back")

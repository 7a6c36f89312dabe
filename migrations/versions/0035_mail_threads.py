"""Which emails begin a thread, and which answer one under its subject."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Every mail of before was written with a subject of its own, in one thread."""
    for table in ("email_sequences", "messages"):
        op.add_column(table, sa.Column("new_thread", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.alter_column("email_sequences", "subject", nullable=True)
    op.create_check_constraint(
        op.f("ck_email_sequences_subject_of_first"),
        "email_sequences",
        sa.text("subject IS NOT NULL OR (step_number > 1 AND NOT new_thread)"),
    )


def downgrade() -> None:
    """Take them away. A mail without a subject gets one that says what it is."""
    op.drop_constraint(op.f("ck_email_sequences_subject_of_first"), "email_sequences")
    op.execute("UPDATE email_sequences SET subject = 'Re:' WHERE subject IS NULL")
    op.alter_column("email_sequences", "subject", nullable=False)
    for table in ("email_sequences", "messages"):
        op.drop_column(table, "new_thread")

"""How far each mailbox is read, who reads it, and where unrelated mail was seen."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def _mailbox(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_mailboxes")
    return sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "mailbox_leases",
        sa.Column("mailbox_id", sa.UUID(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.UUID(), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('reader', 'sender')", name=op.f("ck_mailbox_leases_role")),
        sa.CheckConstraint("char_length(holder) BETWEEN 1 AND 200", name=op.f("ck_mailbox_leases_holder_length")),
        sa.CheckConstraint("expires_at > renewed_at", name=op.f("ck_mailbox_leases_expires_at")),
        _mailbox("mailbox_leases"),
        sa.PrimaryKeyConstraint("mailbox_id", "role", name=op.f("pk_mailbox_leases")),
    )
    op.create_table(
        "mailbox_folders",
        sa.Column("mailbox_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("last_uid", sa.BigInteger(), nullable=False),
        sa.Column("first_uid", sa.BigInteger(), nullable=False),
        sa.Column("joined_back_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_join", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 1000", name=op.f("ck_mailbox_folders_name_length")),
        sa.CheckConstraint("role IN ('inbox', 'junk', 'sent', 'all')", name=op.f("ck_mailbox_folders_role")),
        sa.CheckConstraint("uidvalidity BETWEEN 0 AND 4294967295", name=op.f("ck_mailbox_folders_uidvalidity_range")),
        sa.CheckConstraint("last_uid BETWEEN 0 AND 4294967295", name=op.f("ck_mailbox_folders_last_uid_range")),
        sa.CheckConstraint("first_uid BETWEEN 1 AND 4294967296", name=op.f("ck_mailbox_folders_first_uid_range")),
        sa.CheckConstraint("to_join >= 0", name=op.f("ck_mailbox_folders_to_join")),
        _mailbox("mailbox_folders"),
        sa.PrimaryKeyConstraint("mailbox_id", "name", name=op.f("pk_mailbox_folders")),
    )
    op.create_table(
        "unrelated_mails",
        sa.Column("mailbox_id", sa.UUID(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_unrelated_mails_hash_length")),
        sa.CheckConstraint("char_length(folder) BETWEEN 1 AND 1000", name=op.f("ck_unrelated_mails_folder_length")),
        sa.CheckConstraint("uidvalidity BETWEEN 0 AND 4294967295", name=op.f("ck_unrelated_mails_uidvalidity_range")),
        sa.CheckConstraint("uid BETWEEN 1 AND 4294967295", name=op.f("ck_unrelated_mails_uid_range")),
        _mailbox("unrelated_mails"),
        sa.PrimaryKeyConstraint("mailbox_id", "hash", name=op.f("pk_unrelated_mails")),
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("unrelated_mails", "mailbox_folders", "mailbox_leases"):
        op.drop_table(table)

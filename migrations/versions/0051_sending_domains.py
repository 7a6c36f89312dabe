"""What the DNS says of the domains that mailboxes send from. A new table: it locks nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

_MOMENTS = ("looked_at", "absent_since", "absent_until", "signed_at")


def upgrade() -> None:
    """Make the table."""
    now = sa.text("now()")
    op.create_table(
        "sending_domains",
        sa.Column("domain", sa.Text(), nullable=False),
        *(sa.Column(moment, sa.DateTime(timezone=True), nullable=True) for moment in _MOMENTS),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint("char_length(domain) BETWEEN 1 AND 320", name=op.f("ck_sending_domains_domain_length")),
        sa.CheckConstraint("domain = lower(domain)", name=op.f("ck_sending_domains_domain_lower")),
        sa.CheckConstraint(
            "(absent_since IS NULL) = (absent_until IS NULL)", name=op.f("ck_sending_domains_absent_whole")
        ),
        sa.CheckConstraint("absent_since <= absent_until", name=op.f("ck_sending_domains_absent_order")),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_sending_domains")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("sending_domains")

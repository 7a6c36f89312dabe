"""Which mailbox writes to whom, and the pool of a campaign."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_KNOWN = "ck_campaign_instances_settings_known"
_POOL = "ck_campaign_instances_settings_mailboxes"
_NAMES = (
    "timezone", "use_contact_timezone", "sending_window", "holidays", "daily_limit", "min_gap_seconds", "ramp_up",
    "senders",
)  # fmt: skip
_LATER_NAMES = ("variables", "primary_rate")


def _known(names: tuple[str, ...]) -> sa.TextClause:
    keys = " || ".join(f'@.key == "{name}"' for name in names)
    return sa.text(f"NOT jsonb_path_exists(settings, '$ ? (exists(@.keyvalue() ? (!({keys}))))')")


def upgrade() -> None:
    """Add the column, and let settings name mailboxes."""
    op.add_column("campaign_enrollments", sa.Column("mailbox_id", sa.UUID(), nullable=True))
    op.create_foreign_key(
        op.f("fk_campaign_enrollments_mailboxes"), "campaign_enrollments", "mailboxes", ["mailbox_id"], ["id"]
    )
    op.create_index(
        "ix_campaign_enrollments_mailbox_id",
        "campaign_enrollments",
        ["mailbox_id", "instance_id"],
        postgresql_where=sa.text("mailbox_id IS NOT NULL"),
    )
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, "mailboxes", *_LATER_NAMES)))
    op.create_check_constraint(
        op.f(_POOL),
        "campaign_instances",
        sa.text(
            'NOT jsonb_path_exists(settings, \'$ ? (@.mailboxes.type() != "array" || @.mailboxes.size() > 200 || '
            'exists(@.mailboxes[*] ? (@.type() != "string" || exists(@ ? (!(@ like_regex "^[^@ ]+@[^@ ]+$"))))))\')'
        ),
    )


def downgrade() -> None:
    """Take them away: the campaigns name no mailboxes."""
    op.execute("UPDATE campaign_instances SET settings = settings - 'mailboxes' WHERE settings ? 'mailboxes'")
    op.drop_constraint(op.f(_POOL), "campaign_instances")
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, *_LATER_NAMES)))
    op.drop_index("ix_campaign_enrollments_mailbox_id", "campaign_enrollments")
    op.drop_column("campaign_enrollments", "mailbox_id")

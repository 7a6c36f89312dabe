"""Who sends a campaign's emails, and the index of what is due by mailbox."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_TABLE = "campaign_enrollments"
_KNOWN = "ck_campaign_instances_settings_known"
_SENT_BY = "ck_campaign_instances_settings_sent_by"
_NAMES = (
    "timezone", "use_contact_timezone", "sending_window", "holidays", "daily_limit", "min_gap_seconds", "ramp_up",
    "senders", "mailboxes",
)  # fmt: skip
_LATER_NAMES = ("variables", "primary_rate")


def _known(names: tuple[str, ...]) -> sa.TextClause:
    keys = " || ".join(f'@.key == "{name}"' for name in names)
    return sa.text(f"NOT jsonb_path_exists(settings, '$ ? (exists(@.keyvalue() ? (!({keys}))))')")


def upgrade() -> None:
    """Replace the index of zones by one of mailboxes and zones, and let settings say who sends.

    The emails of campaigns that name mailboxes went to agents so far. They stay with them.
    """
    op.create_index(
        f"ix_{_TABLE}_due_by_lane",
        _TABLE,
        [
            "instance_id",
            sa.text("coalesce(mailbox_id, '00000000-0000-0000-0000-000000000000'::uuid)"),
            sa.text("coalesce(zone, '')"),
            "next_action_at",
            "id",
        ],
        postgresql_where=sa.text("status = 'active' AND next_action_at IS NOT NULL"),
    )
    op.drop_index(f"ix_{_TABLE}_due_by_zone", _TABLE)
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, "sent_by", *_LATER_NAMES)))
    op.create_check_constraint(
        op.f(_SENT_BY),
        "campaign_instances",
        sa.text(
            'NOT jsonb_path_exists(settings, \'$ ? (@.sent_by.type() != "string" || '
            'exists(@.sent_by ? (!(@ like_regex "^(server|agent)$"))))\')'
        ),
    )
    op.execute(
        "UPDATE campaign_instances SET settings = settings || '{\"sent_by\": \"agent\"}' WHERE settings ? 'mailboxes'"
    )


def downgrade() -> None:
    """Take them away: agents claim the emails of every campaign."""
    op.execute("UPDATE campaign_instances SET settings = settings - 'sent_by' WHERE settings ? 'sent_by'")
    op.drop_constraint(op.f(_SENT_BY), "campaign_instances")
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, *_LATER_NAMES)))
    op.create_index(
        f"ix_{_TABLE}_due_by_zone",
        _TABLE,
        ["instance_id", "zone", "next_action_at", "id"],
        postgresql_where=sa.text("status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL"),
    )
    op.drop_index(f"ix_{_TABLE}_due_by_lane", _TABLE)
